"""The admin listener's pages: the status page, /status.json, /metrics, /healthz and /readyz.

Anybody who can reach the listener may read them, so they change nothing. S3 servers that have a
token tell of their objects here, too (`seeder.events.webhooks`). Scripts of other sites may not
read: there is no CORS header, nothing to embed, the page's policy allows only its own files, and a
Host that could be another site's is refused (`seeder.admin.hosts`).
"""

import json
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

from seeder.admin.cockpit import Cockpit
from seeder.admin.exposition import CONTENT_TYPE as METRICS_TYPE
from seeder.admin.history import history_body, parse_query
from seeder.admin.hosts import is_answered
from seeder.admin.stream import EventStream
from seeder.admin.view import View
from seeder.errors import StorageError
from seeder.events.webhooks import PATH as WEBHOOKS
from seeder.events.webhooks import Webhooks
from seeder.http.headers import takes_gzip
from seeder.http.messages import BodySource, Request, Response
from seeder.http.parts import BodyParts

MOST_STREAMS = 32
"""Status pages that are kept up to date at a time."""
_TEXT = b"text/plain; charset=utf-8"
_OTHER_HOST = (
    b"this listener answers to IP addresses, localhost and the names in admin.hosts only:"
    b" use the address, or add the name to hosts in [admin]\n"
)

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}
"""Of the files in static/ that are served, by how their names end."""

_HEADERS = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (
        b"Content-Security-Policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: bytes


class AdminRoutes:
    """The handler of the admin listener; it answers to the host names in `hosts`, too."""

    def __init__(self, cockpit: Cockpit, webhooks: Webhooks, hosts: Collection[str] = ()) -> None:
        self._overview = cockpit.overview
        self._cockpit = cockpit
        self._streams: set[EventStream] = set()
        self._hosts = frozenset(hosts)
        self._webhooks = webhooks
        self._files = {
            f"/{file.name}".encode(): _File(file.read_bytes(), content_type)
            for file in (files("seeder.admin") / "static").iterdir()
            if (content_type := _TYPES.get(PurePath(file.name).suffix)) is not None
        }
        self._files[b"/"] = self._files.pop(b"/index.html")
        icon = (files("seeder.gateway") / "icon.svg").read_bytes()
        self._files[b"/icon.svg"] = _File(icon, b"image/svg+xml")

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer GET and HEAD, and POST to a webhook; 404 for other paths, 405 for other methods,
        421 for other hosts."""
        if not is_answered(request.header(b"host"), self._hosts):
            return _response(421, _OTHER_HOST)
        if request.method == b"POST" and request.path.startswith(WEBHOOKS):
            return self._webhooks(request)
        if request.path.startswith(WEBHOOKS):
            return _response(405, b"S3 servers POST here\n", allow=b"POST")
        if request.method not in (b"GET", b"HEAD"):
            return _response(405, b"only GET and HEAD are answered here\n", allow=b"GET, HEAD")
        match request.path:
            case b"/status.json":
                return self._status(_limit(request.query))
            case b"/events":
                return self._events(request)
            case b"/history.json":
                return self._history(request)
            case b"/metrics":
                return self._metrics()
            case b"/healthz":
                return _response(200, b"alive\n")
            case b"/readyz":
                reason = self._overview.unready
                if reason is not None:
                    return _response(503, f"not ready: {reason}\n".encode())
                cluster = self._overview.cluster
                fault = None if cluster is None else cluster.fault
                # It serves all the same: taken out of service it would be of no use at all.
                return _response(
                    200, f"ready, degraded: {fault}\n".encode() if fault else b"ready\n"
                )
        file = self._files.get(request.path)
        if file is not None:
            return _response(200, file.body, content_type=file.content_type)
        return _response(404, b"no such page; the status page is at /\n")

    async def _status(self, limit: int | None) -> Response:
        status = await self._overview.status(limit)
        document = json.dumps(status.document, allow_nan=False).encode()
        head, empty, tail = document.partition(b'"torrents": [')
        body = BodyParts((head, empty, *status.torrents, tail))
        response = _response(200, body, content_type=b"application/json")
        return response._replace(content_length=body.length)

    async def _history(self, request: Request) -> Response:
        try:
            span, scope = parse_query(request.query)
        except ValueError as error:
            return _response(400, f"{error}\n".encode())
        overview, compressed = self._overview, takes_gzip(request)
        try:
            body = await history_body(
                overview.history, overview.prices, span, scope, compressed=compressed
            )
        except StorageError as error:
            return _response(503, f"{error}\n".encode())
        response = _response(200, body, content_type=b"application/json")
        return _as_gzip(response) if compressed else response

    def _events(self, request: Request) -> Response:
        if len(self._streams) >= MOST_STREAMS:
            return _response(503, b"too many pages are open; close some\n")
        view, rates = View.of(request.query), self._cockpit.rates()
        compressed = takes_gzip(request)
        stream = EventStream(
            lambda: self._cockpit.document(view, rates),
            compressed=compressed,
            closed=self._streams.discard,
        )
        self._streams.add(stream)
        response = _response(200, stream, content_type=b"text/event-stream")
        return _as_gzip(response) if compressed else response

    async def _metrics(self) -> Response:
        body = await self._overview.metrics()
        return _response(200, body, content_type=METRICS_TYPE.encode())


def _as_gzip(response: Response) -> Response:
    return response._replace(headers=(*response.headers, (b"Content-Encoding", b"gzip")))


def _limit(query: bytes) -> int | None:
    """Return the number in `limit=N`; None without one."""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"limit" and value.isdigit() and len(value) < 10:
            return int(value)
    return None


def _response(
    status: int,
    body: bytes | BodySource,
    *,
    content_type: bytes = _TEXT,
    allow: bytes | None = None,
) -> Response:
    allowed = ((b"Allow", allow),) if allow is not None else ()
    headers = ((b"Content-Type", content_type), *_HEADERS, *allowed)
    return Response(status=status, body=body, headers=headers)
