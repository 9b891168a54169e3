"""Pages of the index: in HTML that needs no script and no other file, in JSON, and as RSS."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from seeder.gateway.index import IndexEntry, IndexPage
from seeder.gateway.s3errors import xml_text
from seeder.http.dates import format_date
from seeder.units import rounded_size

_PART = re.compile(r"<!-- part: (\w+).*-->\n")
"""The line above each part of the template but the first, which is the page."""
_TORRENT_NAMESPACE = "http://xmlns.ezrss.it/0.1/"
"""Clients' downloaders and indexers read its elements beside those of RSS."""
_UNKNOWN = 0
"""The length of an enclosure that nobody has measured, as the RSS Advisory Board advises."""


class HtmlPages:
    """Writes pages in HTML, after the template in index.html.

    `policy` is the Content-Security-Policy that lets a page have its style and nothing else.
    """

    def __init__(self) -> None:
        here = files("seeder.gateway")
        self._style = (here / "index.css").read_text(encoding="utf-8")
        self._icon = quote((here / "icon.svg").read_text(encoding="utf-8").strip())
        page, *named = _PART.split((here / "index.html").read_text(encoding="utf-8"))
        parts = {"page": page, **dict(zip(named[::2], named[1::2], strict=True))}
        self._parts = {name: Template(text.rstrip("\n")) for name, text in parts.items()}
        digest = b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ).encode()

    def render(self, page: IndexPage, *, title: str) -> bytes:
        """Return a page."""
        html = self._part(
            "page",
            title=escape(title),
            icon=self._icon,
            style=self._style,
            place=_place(page),
            content=self._table(page) if page.entries else self._part("nothing"),
            steps=self._steps(page),
        )
        return f"{html}\n".encode()

    def _part(self, name: str, **values: str) -> str:
        """Return a part of the template; each value stands in it as it is."""
        return self._parts[name].substitute(values)

    def _table(self, page: IndexPage) -> str:
        return self._part("table", rows="\n".join(map(self._row, page.entries)))

    def _row(self, entry: IndexEntry) -> str:
        return self._part(
            "row",
            key=escape(entry.key),
            bucket=escape(entry.bucket),
            size=rounded_size(entry.size),
            torrent_url=escape(entry.torrent_url),
            magnet=escape(entry.magnet),
            download=self._download(entry),
        )

    def _download(self, entry: IndexEntry) -> str:
        """Return the link to the object itself, where it is to be had."""
        if entry.download_url is None:
            return ""
        key, url = escape(entry.key), escape(entry.download_url)
        return " " + self._part("download", key=key, url=url)

    def _steps(self, page: IndexPage) -> str:
        """Return the links to the page before and to the next one, if there are any."""
        if page.previous is None and page.next is None:
            return ""
        previous = self._step("prev", "Previous", page.previous)
        following = self._step("next", "Next", page.next)
        return self._part("steps", previous=previous, next=following) + "\n"

    def _step(self, rel: str, text: str, after: str | None) -> str:
        if after is None:
            return self._part("no_step")
        return self._part("step", rel=rel, text=text, target=escape(page_target(after)))


def _place(page: IndexPage) -> str:
    """Return which of the torrents a page shows."""
    if len(page.entries) == page.total:
        return f"{page.total:,} torrent{'' if page.total == 1 else 's'}"
    last = page.first + len(page.entries) - 1
    return f"{page.first:,} to {last:,} of {page.total:,} torrents"


def page_target(after: str, form: str | None = None) -> str:
    """Return the URL of the page after a name, relative to any other page."""
    query = [f"format={form}"] if form else []
    query += [f"after={quote(after, safe='/')}"] if after else []
    return f"./?{'&'.join(query)}" if query else "./"


def json_page(page: IndexPage) -> bytes:
    """Return a page as JSON; `next` leads to the next one."""
    document = {
        "torrents": [
            {
                "bucket": entry.bucket,
                "key": entry.key,
                "size": entry.size,
                "info_hash": entry.info_hash,
                "torrent": entry.torrent_url,
                "magnet": entry.magnet,
                "download": entry.download_url,
                "published": entry.published,
            }
            for entry in page.entries
        ],
        "total": page.total,
        "next": page_target(page.next, "json") if page.next is not None else None,
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
