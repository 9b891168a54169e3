"""The public listener's table of routes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address
from secrets import token_hex

import trio

from seeder.errors import AnnounceError
from seeder.tracker.limiter import Limiter
from seeder.tracker.source import TrustedProxies
from seeder.tracker.swarms import Swarms
from seeder.web.announces import Sources, TrackerRoutes
from seeder.web.messages import Request, Response
from seeder.web.objects import NoTorrent, ObjectRoutes, TorrentLookup, object_named
from seeder.web.webseed import WebSeed

_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_READS = (b"GET", b"HEAD")
_SUBRESOURCES = frozenset(
    b"acl attributes cors legal-hold partNumber policy retention tagging uploadId uploads"
    b" versionId versions".split()
)
"""Of S3: who asks for one of them must not get the object instead."""


def _request_id() -> str:
    """Return 16 hexadecimal digits, as in S3's x-amz-request-id."""
    return token_hex(8).upper()


class PublicRoutes:
    """The handler of the public listener.

    | path                                | answer                                   |
    |-------------------------------------|------------------------------------------|
    | /announce, /announce/ANYTHING       | the tracker                              |
    | /scrape, /scrape/ANYTHING           | the tracker                              |
    | /BUCKET/KEY?torrent, ?magnet        | the object's torrent file, magnet link   |
    | /BUCKET/KEY                         | the object, where there is a web seed    |
    | /                                   | one line of text                         |

    Where a key can follow, the query decides before the path, so that a bucket may be called
    `announce`. Otherwise a passkey follows, of which none are configured: it doesn't matter.
    """

    def __init__(
        self,
        swarms: Swarms,
        lookup: TorrentLookup,
        *,
        proxies: TrustedProxies,
        limiter: Limiter | None = None,
        web_seed: WebSeed | None = None,
        clock: Callable[[], float] = trio.current_time,
        request_id: Callable[[], str] = _request_id,
    ) -> None:
        self._sources = Sources(proxies, limiter, clock)
        self._tracker = TrackerRoutes(swarms, self._sources, clock=clock)
        self._objects = ObjectRoutes(lookup, request_id=request_id)
        self._web_seed = web_seed
        self._request_id = request_id

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request."""
        path, may_read = request.path, request.method in _READS and not request.has_body
        # By far the most frequent, and no objects: a key comes after the bucket.
        if path == b"/announce" and may_read:
            return self._tracker.announce(request)
        if path == b"/scrape" and may_read:
            return self._tracker.scrape(request)
        page = _object_page(request)
        if page is not None:
            return self._object(request, page, may_read)
        if self._web_seed is not None and self._names_content(self._web_seed, request):
            return self._object(request, None, may_read)
        if not may_read:
            return Response(405, b"only GET and HEAD\n", (_TEXT, (b"Allow", b"GET, HEAD")))
        if path.startswith(b"/announce/"):
            return self._tracker.announce(request)
        if path.startswith(b"/scrape/"):
            return self._tracker.scrape(request)
        if path == b"/":
            return Response(200, b"A BitTorrent tracker for objects in S3.\n", (_TEXT,))
        return Response(404, b"not found; torrents are at /BUCKET/KEY?torrent\n", (_TEXT,))

    def _names_content(self, web_seed: WebSeed, request: Request) -> bool:
        """Tell whether a path without a page is an object's: not when it may be the tracker's."""
        named = object_named(request.path)
        if isinstance(named, NoTorrent):
            return False
        return not request.path.startswith((b"/announce/", b"/scrape/")) or (
            b"info_hash=" not in request.query and web_seed.publishes(*named)
        )

    def _object(
        self, request: Request, page: bytes | None, may_read: bool
    ) -> Response | Awaitable[Response]:
        if not may_read:
            why = NoTorrent("MethodNotAllowed", "only GET and HEAD, without a body")
            return self._objects.refuse(request, why)
        try:
            source, _ = self._sources.source(request)
        except AnnounceError as error:
            return self._objects.refuse(request, NoTorrent("InvalidRequest", error.reason))
        if not self._sources.admit(source):
            return self._objects.refuse(request, NoTorrent("SlowDown", "reduce your request rate"))
        if page == b"torrent":
            return self._objects.torrent(request)
        if page == b"magnet":
            return self._objects.magnet(request)
        return self._content(request, str(ip_address(source)))

    async def _content(self, request: Request, address: str) -> Response:
        """Answer with the object itself."""
        named = object_named(request.path)
        assert self._web_seed is not None
        assert not isinstance(named, NoTorrent)
        if other := _names(request) & _SUBRESOURCES:
            what = ", ".join(sorted(name.decode() for name in other))
            why = f"There is the object, ?torrent and ?magnet, but no {what}."
            return self._objects.refuse(request, NoTorrent("InvalidRequest", why))
        answer = await self._web_seed.answer(request, *named, address)
        if isinstance(answer, NoTorrent):
            return self._objects.refuse(request, answer)
        named_by_id = ((b"x-amz-request-id", self._request_id().encode()), *answer.headers)
        return replace(answer, headers=named_by_id)


def _object_page(request: Request) -> bytes | None:
    """Return which of an object's pages the query asks for, if any."""
    names = _names(request)
    for page in (b"torrent", b"magnet"):
        if page in names:
            return page
    return None


def _names(request: Request) -> set[bytes]:
    return {part.partition(b"=")[0] for part in request.query.split(b"&")}
