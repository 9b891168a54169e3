"""What the list of public torrents holds, and how it reads as JSON and as RSS 2.0. No I/O."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from seeder.gateway.s3errors import xml_text

# Which the clients' downloaders and indexers read beside RSS itself.
_TORRENT_NAMESPACE = "http://xmlns.ezrss.it/0.1/"

_UNKNOWN = 0
"""The length of an enclosure for which nobody has looked, as the RSS Advisory Board advises."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A public torrent."""

    bucket: str
    key: str
    size: int
    """Bytes of the object."""
    info_hash: str
    """40 hexadecimal digits."""
    torrent_url: str
    magnet: str

    @property
    def name(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the public torrents, by name."""

    torrents: Sequence[Listed]
    first: int
    """The place of the first of them, from 1."""
    total: int
    previous: str | None
    """Behind which name the page before begins ("" for the first); None where there is none."""
    next: str | None


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
