"""The list of the public torrents at /: a page, JSON, and RSS, which clients' downloaders watch.

The page and the JSON go by name and are paged; the feed has the newest only, since whoever watches
it has seen the others.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from seeder.gateway.index import Listed, Page
from seeder.gateway.index_pages import ListingPage, json_page, rss_feed
from seeder.http.headers import accepted, tags_match
from seeder.http.messages import Header, Request, Response, decoded_query

PAGE = 100
"""Torrents on a page, or in the feed."""

Format: TypeAlias = Literal["html", "json", "rss"]
_TYPES: dict[Format, bytes] = {
    "html": b"text/html; charset=utf-8",
    "json": b"application/json",
    "rss": b"application/rss+xml; charset=utf-8",
}
# What clients accept -> what they get; of equally welcome ones the first.
_ACCEPTABLE: dict[bytes, Format] = {
    b"text/html": "html",
    b"application/xhtml+xml": "html",
    b"application/rss+xml": "rss",
    b"application/json": "json",
    b"application/xml": "rss",
    b"text/xml": "rss",
}


class ListingSource(Protocol):
    """Who knows the public torrents; `bucket` None is all of them."""

    def page(self, bucket: str | None, after: str, count: int) -> Page:
        """Return up to `count` torrents by name, those behind `after` (BUCKET/KEY, or "")."""
        ...

    def newest(self, bucket: str | None, count: int) -> Sequence[Listed]:
        """Return up to `count` torrents, the one that is served for the shortest time first."""
        ...


class ListingRoutes:
    """Answers for /; `url` is where that is."""

    def __init__(self, source: ListingSource, *, url: str) -> None:
        self._source = source
        self._url = url
        self._page = ListingPage()

    def listing(self, request: Request, bucket: str | None) -> Response:
        """Answer with the torrents of a bucket, or of all."""
        query = {
            name: value.decode("utf-8", "replace") for name, value in decoded_query(request.query)
        }
        form = _format(query.get(b"format"), request)
        if form is None:
            return Response(
                400, b"the formats are html, json and rss\n", ((b"Content-Type", b"text/plain"),)
            )
        title = "Torrents" if bucket is None else f"Torrents of {bucket}"
        if form == "rss":
            body = rss_feed(self._source.newest(bucket, PAGE), title=title, url=self._url)
        else:
            page = self._source.page(bucket, query.get(b"after", ""), PAGE)
            body = json_page(page) if form == "json" else self._page.html(page, title=title)
        return self._response(request, form, body)

    def _response(self, request: Request, form: Format, body: bytes) -> Response:
        etag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
        headers: tuple[Header, ...] = (
            (b"ETag", etag),
            (b"Cache-Control", b"no-cache"),
            (b"Vary", b"Accept"),
        )
        if tags_match(request.all_headers(b"if-none-match"), etag, weakly=True):
            return Response(304, b"", headers)
        headers += (
            (b"Content-Type", _TYPES[form]),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"no-referrer"),
        )
        if form == "html":
            headers += ((b"Content-Security-Policy", self._page.policy),)
        return Response(200, body, headers)


def _format(wanted: str | None, request: Request) -> Format | None:
    """Return what `?format=` or else the Accept header asks for; None if there is no such."""
    if wanted is not None:
        return next((form for form in _TYPES if form == wanted), None)
    best: Format = "html"
    best_quality = 0.0
    welcome = accepted(request.all_headers(b"accept"))
    for kind, form in _ACCEPTABLE.items():
        if welcome.get(kind, 0.0) > best_quality:
            best, best_quality = form, welcome[kind]
    return best
