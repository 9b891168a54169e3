"""The public listener's table of routes."""

from collections.abc import Callable
from secrets import token_hex

import trio

from seeder.errors import AnnounceError
from seeder.tracker.limiter import Limiter
from seeder.tracker.source import TrustedProxies
from seeder.tracker.swarms import Swarms
from seeder.web.announces import Sources, TrackerRoutes
from seeder.web.messages import Request, Response
from seeder.web.objects import NoTorrent, ObjectRoutes, TorrentLookup

_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_READS = (b"GET", b"HEAD")


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
        clock: Callable[[], float] = trio.current_time,
        request_id: Callable[[], str] = _request_id,
    ) -> None:
        self._sources = Sources(proxies, limiter, clock)
        self._tracker = TrackerRoutes(swarms, self._sources, clock=clock)
        self._objects = ObjectRoutes(lookup, request_id=request_id)

    def __call__(self, request: Request) -> Response:
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
        if not may_read:
            return Response(405, b"only GET and HEAD\n", (_TEXT, (b"Allow", b"GET, HEAD")))
        if path.startswith(b"/announce/"):
            return self._tracker.announce(request)
        if path.startswith(b"/scrape/"):
            return self._tracker.scrape(request)
        if path == b"/":
            return Response(200, b"A BitTorrent tracker for objects in S3.\n", (_TEXT,))
        return Response(404, b"not found; torrents are at /BUCKET/KEY?torrent\n", (_TEXT,))

    def _object(self, request: Request, page: bytes, may_read: bool) -> Response:
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
        return self._objects.magnet(request)


def _object_page(request: Request) -> bytes | None:
    """Return which of an object's pages the query asks for, if any."""
    names = {part.partition(b"=")[0] for part in request.query.split(b"&")}
    for page in (b"torrent", b"magnet"):
        if page in names:
            return page
    return None
