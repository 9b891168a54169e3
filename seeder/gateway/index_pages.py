"""The list of public torrents as a page that needs no script and no other file."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from urllib.parse import quote

from seeder.gateway.index import Listed, Page
from seeder.gateway.s3errors import xml_text
from seeder.units import rounded_size


class ListingPage:
    """Writes the page; `policy` is the Content-Security-Policy that lets it have its style."""

    def __init__(self) -> None:
        here = files("seeder.gateway")
        self._style = (here / "listing.css").read_text(encoding="utf-8")
        icon = (here / "icon.svg").read_text(encoding="utf-8")
        self._icon = quote(icon.strip())
        digest = b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ).encode()

    def html(self, page: Page, *, title: str) -> bytes:
        """Return the page in HTML."""
        name, content = escape(title), _table(page) if page.torrents else _NOTHING
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<link rel="icon" href="data:image/svg+xml,{self._icon}">
<link rel="alternate" type="application/rss+xml" title="{name}" href="./?format=rss">
<style>{self._style}</style>
</head>
<body>
<header>
  <h1>{name}</h1>
  <p>{_place(page)}</p>
</header>
<main>
{content}
</main>
{_steps(page)}<footer>
  Open a torrent or a magnet link with a BitTorrent client.
  <a href="./?format=rss">RSS: the newest</a><a href="./?format=json">JSON</a>
</footer>
</body>
</html>
""".encode()


_NOTHING = "<p>There are no public torrents here at present.</p>"


def _table(page: Page) -> str:
    rows = "\n".join(map(_row, page.torrents))
    return f"""<table>
<caption class="away">Torrents by bucket and key</caption>
<thead>
<tr><th scope="col">Object</th><th scope="col" class="size">Size</th><th scope="col" class="get">\
<span class="away">Download</span></th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>"""


def _row(listed: Listed) -> str:
    # In <bdi>, since a key may turn the reading direction of what stands behind it.
    key, bucket = f"<bdi>{escape(listed.key)}</bdi>", escape(listed.bucket)
    of = f'<span class="away"> of {key}</span>'
    return (
        f'<tr><th scope="row">{key}<small>{bucket}</small></th>'
        f'<td class="size">{rounded_size(listed.size)}</td>'
        f'<td class="get"><a href="{escape(listed.torrent_url)}">Torrent{of}</a>'
        f' <a href="{escape(listed.magnet)}">Magnet link{of}</a></td></tr>'
    )


def _place(page: Page) -> str:
    if len(page.torrents) == page.total:
        return f"{page.total:,} torrent{'' if page.total == 1 else 's'}"
    last = page.first + len(page.torrents) - 1
    return f"{page.first:,} to {last:,} of {page.total:,} torrents"


def _steps(page: Page) -> str:
    """Return the links to the pages before and behind, if there are any."""
    if page.previous is None and page.next is None:
        return ""
    links = [
        f'<a rel="{rel}" href="{escape(page_target(after))}">{text}</a>'
        if after is not None
        else "<span></span>"
        for rel, text, after in (
            ("prev", "Previous", page.previous),
            ("next", "Next", page.next),
        )
    ]
    return f'<nav aria-label="Pages">{"".join(links)}</nav>\n'


# Which the clients' downloaders and indexers read beside RSS itself.
_TORRENT_NAMESPACE = "http://xmlns.ezrss.it/0.1/"
_UNKNOWN = 0
"""The length of an enclosure for which nobody has looked, as the RSS Advisory Board advises."""


def page_target(after: str, form: str | None = None) -> str:
    """Return the URL of the page behind a name, seen from any other page."""
    query = [f"format={form}"] if form else []
    query += [f"after={quote(after, safe='/')}"] if after else []
    return f"./?{'&'.join(query)}" if query else "./"


def json_page(page: Page) -> bytes:
    """Return a page as JSON; `next` leads to the one behind it."""
    document = {
        "torrents": [
            {
                "bucket": each.bucket,
                "key": each.key,
                "size": each.size,
                "info_hash": each.info_hash,
                "torrent": each.torrent_url,
                "magnet": each.magnet,
            }
            for each in page.torrents
        ],
        "total": page.total,
        "next": page_target(page.next, "json") if page.next is not None else None,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def rss_feed(torrents: Sequence[Listed], *, title: str, url: str) -> bytes:
    """Return a feed of torrents as RSS 2.0 with an enclosure each."""
    items = "".join(
        f"<item><title>{xml_text(each.name)}</title>"
        f"<link>{xml_text(each.torrent_url)}</link>"
        f'<guid isPermaLink="false">urn:btih:{each.info_hash}</guid>'
        f'<enclosure url="{xml_text(each.torrent_url)}" length="{_UNKNOWN}"'
        ' type="application/x-bittorrent"/>'
        f"<torrent:infoHash>{each.info_hash}</torrent:infoHash>"
        f"<torrent:contentLength>{each.size}</torrent:contentLength>"
        f"<torrent:magnetURI>{xml_text(each.magnet)}</torrent:magnetURI></item>\n"
        for each in torrents
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<rss version="2.0" xmlns:torrent="{_TORRENT_NAMESPACE}"><channel>'
        f"<title>{xml_text(title)}</title><link>{xml_text(url)}</link>"
        f"<description>The torrents that were added last</description>\n{items}</channel></rss>\n"
    ).encode()
