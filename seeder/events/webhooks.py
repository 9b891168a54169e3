"""POST /events/NAME: S3 servers tell of their objects here.

The token comes as servers can send it: `Authorization: Bearer TOKEN` (MinIO, SeaweedFS), or in the
URL (Ceph): /events/NAME/TOKEN or /events/NAME?token=TOKEN.
"""

import hmac
from collections.abc import Mapping

from seeder.events.feed import EventFeed
from seeder.http.headers import bearer_token
from seeder.http.messages import Request, Response, decoded_query
from seeder.s3.notifications import LARGEST_MESSAGE

PATH = b"/events/"
_TEXT = ((b"Content-Type", b"text/plain; charset=utf-8"),)


class Webhooks:
    """The webhooks by name, each with its token; both may change."""

    def __init__(self, feeds: Mapping[str, EventFeed], tokens: Mapping[str, str]) -> None:
        self._feeds = feeds
        self.tokens = tokens

    def wanted(self, request: Request) -> int:
        """Return how many bytes are read of a request's body: none from who has no token."""
        if request.method != b"POST" or not request.path.startswith(PATH):
            return 0
        feed = self._feed(request)
        return LARGEST_MESSAGE if feed is not None and self._admits(feed, request) else 0

    async def __call__(self, request: Request) -> Response:
        """Answer a POST below PATH. What can't be read is no error: it would be sent for ever."""
        feed = self._feed(request)
        if feed is None:
            return Response(404, b"there is no such source of events\n", _TEXT)
        if not self._admits(feed, request):
            feed.messages["refused"] += 1
            return Response(401, b"the token is missing or wrong\n", _TEXT)
        await feed.take(request.body)
        return Response(200, b"heard\n", _TEXT)

    def _feed(self, request: Request) -> EventFeed | None:
        name = request.path.removeprefix(PATH).partition(b"/")[0].decode("latin-1")
        return self._feeds.get(name) if name in self.tokens else None

    def _admits(self, feed: EventFeed, request: Request) -> bool:
        token = self.tokens[feed.name].encode()
        return any(hmac.compare_digest(given, token) for given in _given(request))


def _given(request: Request) -> list[bytes]:
    """Return what may be the token: from the header, the path and the query."""
    given = [request.path.removeprefix(PATH).partition(b"/")[2]]
    given += map(bearer_token, request.all_headers(b"authorization")[:2])
    given += [value for name, value in decoded_query(request.query) if name == b"token"][:2]
    return given
