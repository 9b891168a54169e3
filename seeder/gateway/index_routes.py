"""The index at /: a page in HTML, JSON, and RSS, which clients' downloaders watch.

The page and the JSON are paged and go by name, or by date or size. The feed has only the newest
torrents: a program that watches it has seen the others.
"""

import gzip
import hashlib
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from seeder.gateway.index import LONGEST_SEARCH, Index, IndexEntry, IndexQuery, Order
from seeder.gateway.index_pages import HtmlPages, json_page, rss_feed
from seeder.gateway.s3errors import S3Error
from seeder.http.headers import accepted, tags_match, takes_gzip
from seeder.http.messages import Header, Request, Response, decoded_query

ROWS = 50
"""Torrents on a page in HTML; in JSON and the feed there are more."""

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

    async def answer(self, request: Request, bucket: str | None) -> Response:
        """Answer with the torrents of a bucket, or of all (None).

        S3Error ServiceUnavailable while they aren't known.
        """
        said = _said(request)
        form = _format(said.get("format"), request)
        order = _order(said.get("order", "name"))
        if form is None or order is None:
            why = b"the formats are html, json and rss; the orders name, newest and size\n"
            return Response(400, why, ((b"Content-Type", b"text/plain"),))
        if self._index.loading:
            # A feed without entries would be believed.
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")
        title = "Torrents" if bucket is None else f"Torrents of {bucket}"
        query = IndexQuery(bucket, said.get("q", "").strip(), order, said.get("after", ""))
        if form == "html":
            query = replace(query, count=ROWS)
            body = self._pages.render(await self._index.page(query), query, title=title)
        elif form == "json":
            body = json_page(await self._index.page(query), query)
        else:
            page = await self._index.page(replace(query, order="newest", after=""))
            # One item for each info hash, which two objects of the same content may share.
            entries: dict[str, IndexEntry] = {}
            for entry in page.entries:
                entries.setdefault(entry.info_hash, entry)
            body = rss_feed([*entries.values()], title=title, url=self._index.url)
        return self._response(request, form, body)

    def _response(self, request: Request, form: Format, body: bytes) -> Response:
        packed = takes_gzip(request)
        tag = hashlib.sha256(body).hexdigest()[:32].encode()
        etag = b'"%s%s"' % (tag, b"-gzip" if packed else b"")
        headers: tuple[Header, ...] = (
            (b"Cache-Control", b"no-cache"),
            (b"Vary", b"Accept, Accept-Encoding"),
            (b"ETag", etag),
        )
        if tags_match(request.all_headers(b"if-none-match"), etag, weakly=True):
            return Response(304, b"", headers)
        if packed:
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers += ((b"Content-Encoding", b"gzip"),)
        headers += (
            (b"Content-Type", _TYPES[form]),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"no-referrer"),
        )
        if form == "html":
            headers += ((b"Content-Security-Policy", self._pages.policy),)
        return Response(200, body, headers)


def _said(request: Request) -> dict[str, str]:
    """Return what the query says; in what is searched, a plus is a space, as forms send it."""
    said = {
        name.decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in decoded_query(request.query)
    }
    if "q" in said:
        plain = dict(decoded_query(request.query.replace(b"+", b" ")))
        said["q"] = plain[b"q"].decode("utf-8", "replace")[:LONGEST_SEARCH]
    return said


def _order(wanted: str) -> Order | None:
    return next((order for order in get_args(Order) if order == wanted), None)


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
