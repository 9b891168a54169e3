"""Paths that a passkey opens, /-/PASSKEY/BUCKET/KEY: the web seeds of private torrents.

Nobody but whom a torrent was made for knows its path, and it is good as long as the passkey is.

No I/O.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from seeder.http.messages import Header, Request, Response
from seeder.tracker.holders import Refused

_BEFORE = b"/-/"
"""No bucket is named so."""
UNSEEN: tuple[Header, ...] = ((b"Referrer-Policy", b"no-referrer"),)
"""Where a page among the objects leads must not learn its address."""
_TEXTS = {
    Refused.MISSING: b"this link is not valid: get the torrent anew\n",
    Refused.WRONG: b"this link is not valid: get the torrent anew\n",
    Refused.EXPIRED: b"this link has expired: get the torrent anew\n",
    Refused.REVOKED: b"this link was revoked\n",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asked for an object, and got it."""

    name: str | None
    """By which it is counted what a member of a private swarm gets; others have none."""
    is_welcome: Callable[[], bool]
    """Tells whether he still may have it: a reload may take it, or his key, away meanwhile."""


def keyed_path(passkey: str) -> str:
    """Return what stands before /BUCKET/KEY for the holder of a passkey."""
    return f"{_BEFORE.decode()}{passkey}"


def split_keyed(request: Request) -> tuple[bytes, Request] | None:
    """Return the passkey in the path of a request, and the request without it; None without one."""
    if not request.path.startswith(_BEFORE):
        return None
    key, _, rest = request.path[len(_BEFORE) :].partition(b"/")
    return unquote_to_bytes(key), request._replace(path=b"/" + rest, query=b"")


def refuse_keyed(why: Refused) -> Response:
    """Answer a request with a bad key; it doesn't tell whether there is such an object."""
    return Response(403, _TEXTS[why], ((b"Content-Type", b"text/plain; charset=utf-8"), *UNSEEN))
