"""The index at /: a page in HTML, JSON, and RSS, which clients' downloaders watch.

The page and the JSON go by name and are paged. The feed has only the newest torrents: a program
that watches it has seen the others.
"""

import hashlib
from typing import Literal, TypeAlias

from seeder.gateway.index import Index
from seeder.gateway.index_pages import HtmlPages, json_page, rss_feed
from seeder.gateway.s3errors import S3Error
from seeder.http.headers import accepted, tags_match
from seeder.http.messages import Header, Request, Response, decoded_query

MOST_ENTRIES = 100
"""Torrents on a page, or in the feed."""

Format: TypeAlias = Literal["html", "json", "rss"]
_TYPES: dict[Format, bytes] = {
    "html": b"text/html; charset=utf-8",
    "json": b"application/json",
    "rss": b"application/rss+xml; charset=utf-8",
}
# What a client accepts -> what it gets; of types that it likes equally, the first.
_ACCEPTABLE: dict[bytes, Format] = {
    b"text/html": "html",
    b"application/xhtml+xml": "html",
    b"application/rss+xml": "rss",
    b"application/json": "json",
    b"application/xml": "rss",
    b"text/xml": "rss",
}


class IndexRoutes:
    """Answers for /."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._pages = HtmlPages()

    def answer(self, request: Request, bucket: str | None) -> Response:
        """Answer with the torrents of a bucket, or of all (None).

        S3Error ServiceUnavailable while they aren't known.
        """
        query = {
            name: value.decode("utf-8", "replace") for name, value in decoded_query(request.query)
        }
        form = _format(query.get(b"format"), request)
        if form is None:
            return Response(
                400, b"the formats are html, json and rss\n", ((b"Content-Type", b"text/plain"),)
            )
        if self._index.loading:
            # A feed without entries would be believed.
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")
        title = "Torrents" if bucket is None else f"Torrents of {bucket}"
        if form == "rss":
            newest = self._index.newest(bucket, MOST_ENTRIES)
            body = rss_feed(newest, title=title, url=self._index.url)
        else:
            page = self._index.page(bucket, query.get(b"after", ""), MOST_ENTRIES)
            body = json_page(page) if form == "json" else self._pages.render(page, title=title)
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
            headers += ((b"Content-Security-Policy", self._pages.policy),)
        return Response(200, body, headers)


def _format(wanted: str | None, request: Request) -> Format | None:
    """Return the format that `?format=` or else Accept asks for; None for an unknown one."""
    if wanted is not None:
        return next((form for form in _TYPES if form == wanted), None)
    best: Format = "html"
    best_quality = 0.0
    welcome = accepted(request.all_headers(b"accept"))
    for kind, form in _ACCEPTABLE.items():
        if welcome.get(kind, 0.0) > best_quality:
            best, best_quality = form, welcome[kind]
    return best
