"""Pages of the index: in HTML that works without its script, in JSON, and as RSS."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from seeder.gateway.index import IndexEntry, IndexPage, IndexQuery, Order
from seeder.gateway.s3errors import xml_text
from seeder.http.dates import format_date
from seeder.units import rounded_size

_PART = re.compile(r"<!-- part: (\w+).*-->\n")
"""The line above each part of the template but the first, which is the page."""
_TORRENT_NAMESPACE = "http://xmlns.ezrss.it/0.1/"
"""Clients' downloaders and indexers read its elements beside those of RSS."""
_UNKNOWN = 0
"""The length of an enclosure that nobody has measured, as the RSS Advisory Board advises."""


_ORDERS: dict[Order, str] = {"name": "Name", "newest": "Newest", "size": "Largest"}
_SHA256 = {"s3": "SHA-256, S3's", "publisher": "SHA-256, publisher's"}
"""Names of the hash, by who says so."""


class HtmlPages:
    """Writes pages in HTML, after the template in index.html.

    `policy` is the Content-Security-Policy that lets a page have its style and its script, ask for
    other pages of the list, and nothing else.
    """

    def __init__(self) -> None:
        here = files("seeder.gateway")
        self._style = (here / "index.css").read_text(encoding="utf-8")
        self._script = (here / "index.js").read_text(encoding="utf-8")
        self._icon = quote((here / "icon.svg").read_text(encoding="utf-8").strip())
        page, *named = _PART.split((here / "index.html").read_text(encoding="utf-8"))
        parts = {"page": page, **dict(zip(named[::2], named[1::2], strict=True))}
        self._parts = {name: Template(text.rstrip("\n")) for name, text in parts.items()}
        self.policy = (
            f"default-src 'none'; style-src '{_digest(self._style)}';"
            f" script-src '{_digest(self._script)}'; connect-src 'self'; img-src data:;"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ).encode()

    def render(self, page: IndexPage, query: IndexQuery, *, title: str) -> bytes:
        """Return a page."""
        html = self._part(
            "page",
            title=escape(title),
            icon=self._icon,
            style=self._style,
            script=self._script,
            search=escape(query.search),
            kept=self._kept(query),
            tools=self._tools(page, query) if page.entries or query.words else "",
            content=self._content(page, query),
            steps=self._steps(page, query),
            feed=escape(page_target(query, form="rss")),
            json=escape(page_target(query, form="json")),
        )
        return f"{html}\n".encode()

    def _part(self, part: str, /, **values: str) -> str:
        """Return a part of the template; each value stands in it as it is."""
        return self._parts[part].substitute(values)

    def _kept(self, query: IndexQuery) -> str:
        """Return what a search keeps of how the page is shown."""
        return self._part("kept_order", order=query.order) if query.order != "name" else ""

    def _tools(self, page: IndexPage, query: IndexQuery) -> str:
        orders = "".join(self._order(order, query) for order in _ORDERS)
        return self._part("tools", place=_place(page, query), orders=orders) + "\n"

    def _order(self, order: Order, query: IndexQuery) -> str:
        target = escape(page_target(replace(query, order=order)))
        part = "present_order" if order == query.order else "order"
        return self._part(part, target=target, text=_ORDERS[order])

    def _content(self, page: IndexPage, query: IndexQuery) -> str:
        if page.entries:
            return self._part("table", rows="\n".join(map(self._row, page.entries)))
        return self._part("not_found" if query.words else "nothing")

    def _row(self, entry: IndexEntry) -> str:
        return self._part(
            "row",
            key=escape(entry.key),
            bucket=escape(entry.bucket),
            size=rounded_size(entry.size),
            added=self._date(entry),
            seeds=f"{entry.seeds:,}",
            leechers=f"{entry.leechers:,}",
            hashes=self._hashes(entry),
            torrent_url=escape(entry.torrent_url),
            magnet=escape(entry.magnet),
            download=self._download(entry),
        )

    def _date(self, entry: IndexEntry) -> str:
        """Return when the torrent was published, in UTC; nothing where that isn't known."""
        if entry.published is None:
            return ""
        then = datetime.fromtimestamp(entry.published, UTC)
        return self._part("date", exact=f"{then:%Y-%m-%dT%H:%M:%SZ}", day=f"{then:%Y-%m-%d}")

    def _hashes(self, entry: IndexEntry) -> str:
        hashes = {"Info hash": entry.info_hash, "Info hash, v2": entry.info_hash_v2}
        if entry.sha256_from is not None:
            hashes[_SHA256[entry.sha256_from]] = entry.sha256
        return "".join(
            self._part("hash", name=name, digits=digits)
            for name, digits in hashes.items()
            if digits is not None
        )

    def _download(self, entry: IndexEntry) -> str:
        """Return the link to the object itself, where it is to be had."""
        if entry.download_url is None:
            return ""
        key, url = escape(entry.key), escape(entry.download_url)
        return self._part("download", key=key, url=url, space=" ")

    def _steps(self, page: IndexPage, query: IndexQuery) -> str:
        """Return the links to the page before and to the next one, if there are any."""
        if page.previous is None and page.next is None:
            return ""
        previous = self._step(query, "prev", "Previous", page.previous)
        following = self._step(query, "next", "Next", page.next)
        return self._part("steps", previous=previous, next=following) + "\n"

    def _step(self, query: IndexQuery, rel: str, text: str, after: str | None) -> str:
        if after is None:
            return self._part("no_step")
        return self._part("step", rel=rel, text=text, target=escape(page_target(query, after)))


def _digest(text: str) -> str:
    """Return what a Content-Security-Policy names a style or a script by."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _place(page: IndexPage, query: IndexQuery) -> str:
    """Return which of the torrents a page shows."""
    what = "found" if query.words else "torrent" if page.total == 1 else "torrents"
    if len(page.entries) == page.total or not page.entries:
        return f"{page.total:,} {what}"
    last = page.first + len(page.entries) - 1
    return f"{page.first:,} to {last:,} of {page.total:,} {what}"


def page_target(query: IndexQuery, after: str = "", *, form: str | None = None) -> str:
    """Return the URL of the page that begins after what a page names, relative to any other."""
    told = {
        "format": form or "",
        "q": query.search if query.words else "",
        "order": query.order if query.order != "name" and form != "rss" else "",
        "after": after,
    }
    parts = [f"{name}={quote(value, safe='/')}" for name, value in told.items() if value]
    return f"./?{'&'.join(parts)}" if parts else "./"


def json_page(page: IndexPage, query: IndexQuery) -> bytes:
    """Return a page as JSON; `next` leads to the next one."""
    document = {
        "torrents": [
            {
                "bucket": entry.bucket,
                "key": entry.key,
                "size": entry.size,
                "info_hash": entry.info_hash,
                "info_hash_v2": entry.info_hash_v2,
                "sha256": entry.sha256,
                "sha256_from": entry.sha256_from,
                "torrent": entry.torrent_url,
                "magnet": entry.magnet,
                "download": entry.download_url,
                "published": entry.published,
                "seeds": entry.seeds,
                "downloading": entry.leechers,
            }
            for entry in page.entries
        ],
        "total": page.total,
        "next": page_target(query, page.next, form="json") if page.next is not None else None,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def rss_feed(entries: Sequence[IndexEntry], *, title: str, url: str) -> bytes:
    """Return a feed of torrents as RSS 2.0 with an enclosure each; `url` is the index's.

    The enclosure is the torrent, and the link leads to the object where it is to be had.
    """
    items = "".join(
        f"<item><title>{xml_text(entry.name)}</title>"
        f"<link>{xml_text(entry.download_url or entry.torrent_url)}</link>"
        f'<guid isPermaLink="false">urn:btih:{entry.info_hash}</guid>'
        f"{_date(entry)}"
        f'<enclosure url="{xml_text(entry.torrent_url)}" length="{_UNKNOWN}"'
        ' type="application/x-bittorrent"/>'
        f"<torrent:infoHash>{entry.info_hash}</torrent:infoHash>"
        f"<torrent:contentLength>{entry.size}</torrent:contentLength>"
        f"<torrent:magnetURI>{xml_text(entry.magnet)}</torrent:magnetURI></item>\n"
        for entry in entries
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<rss version="2.0" xmlns:torrent="{_TORRENT_NAMESPACE}"><channel>'
        f"<title>{xml_text(title)}</title><link>{xml_text(url)}</link>"
        f"<description>The torrents that were added last</description>\n{items}</channel></rss>\n"
    ).encode()


def _date(entry: IndexEntry) -> str:
    """Return when a torrent was published; without it, readers take the time of their visit."""
    return f"<pubDate>{format_date(entry.published)}</pubDate>" if entry.published else ""
