"""What tests of several modules of the gateway use."""

from collections.abc import Sequence

from seeder.config.sections import OriginSettings, PeerSettings
from seeder.gateway.access import Terms
from seeder.gateway.index import Listed, Page
from seeder.gateway.objects import PublicFace, TorrentFile
from seeder.gateway.s3errors import S3Error
from seeder.net.addresses import HostPort
from seeder.torrent.catalog import Catalog

ANNOUNCE = "http://tracker.example.org:6969/announce"
TORRENT = TorrentFile(b"d4:infodee", '"0123"', "Nelson.torrent")
MAGNET = "magnet:?xt=urn:btih:6868"
LISTED = Listed(
    bucket="quotes",
    key="Nelson",
    size=3 * 2**30,
    info_hash="68" * 20,
    torrent_url="https://t.example.org/quotes/Nelson?torrent",
    magnet="magnet:?xt=urn:btih:6868&dn=Nelson&tr=http%3A%2F%2Ft.example.org%2Fannounce",
)


def face(catalog: Catalog) -> PublicFace:
    """Return what the public sees of a catalog with two origins."""
    public = PeerSettings(public_address=HostPort("203.0.113.7", 6881))
    origins = {
        "default": OriginSettings(),
        "payer": OriginSettings(request_payer=True, expected_bucket_owner="111122223333"),
    }
    return PublicFace(catalog, ANNOUNCE, public, origins)


class Source:
    """Answers with one page, and notes what was asked."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.asked: list[tuple[object, ...]] = []

    def page(self, bucket: str | None, after: str, count: int) -> Page:
        self.asked.append((bucket, after, count))
        return self._page

    def newest(self, bucket: str | None, count: int) -> Sequence[Listed]:
        self.asked.append((bucket, count))
        return self._page.torrents


def page_of(*torrents: Listed, previous: str | None = None, after: str | None = None) -> Page:
    """Return a page that shows these torrents."""
    return Page(torrents, first=1, total=len(torrents), previous=previous, next=after)


class Lookup:
    """Knows quotes/Nelson and a few that have no torrent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def terms(self, bucket: str, key: str) -> Terms:
        if key.startswith("missing"):
            raise S3Error("NoSuchKey", "The specified key does not exist.")
        paid = bucket == "paid"
        return Terms(key != "private", "111122223333" if paid else None, paid)

    def _look_up(self, bucket: str, key: str) -> None:
        self.asked.append((bucket, key))
        if key == "soon":
            raise S3Error("ServiceUnavailable", "being made")

    async def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        self._look_up(bucket, key)
        return TORRENT

    async def magnet_link(self, bucket: str, key: str) -> str:
        self._look_up(bucket, key)
        return MAGNET
