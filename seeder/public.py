"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

import hashlib
from urllib.parse import quote

from seeder import __version__
from seeder.errors import ConfigError
from seeder.settings import Config, PeerSettings
from seeder.torrent.catalog import Catalog, ObjectRef, Publication, State, Torrent
from seeder.torrent.magnet import magnet_link
from seeder.torrent.metainfo import safe_name, torrent_file
from seeder.values import Address
from seeder.web.objects import NoTorrent, TorrentFile
from seeder.web.webseed import Content

CREATED_BY = f"seeder {__version__}"


def announce_url(config: Config, port: int) -> str:
    """Return the URL that torrents name; ConfigError when nothing tells where clients reach us.

    `port` is the tracker listener's.
    """
    if config.tracker.announce_url is not None:
        return config.tracker.announce_url
    hosts = [address.host for address in config.tracker.listen]
    if config.peer.public_address is not None:
        hosts.append(config.peer.public_address.host)
    for host in hosts:
        if host not in ("0.0.0.0", "::"):
            return f"http://{Address(host, port)}/announce"
    raise ConfigError(
        [
            "tracker.announce_url: is missing, and no other address says where clients reach the"
            f' tracker; set it, such as "http://tracker.example.org:{port}/announce"'
        ]
    )


def web_seed_url(config: Config, announce: str) -> str | None:
    """Return what stands before /BUCKET/KEY in the URLs of web seeds; None where they are off."""
    if not config.gateway.web_seed:
        return None
    if config.gateway.url is not None:
        return config.gateway.url
    # Objects lie beside the tracker's page, whatever a proxy puts before both.
    return announce.partition("?")[0].rpartition("/")[0]


def object_url(before: str, ref: ObjectRef) -> str:
    """Return the URL of an object, which clients take as it is.

    A slash at the end would have them append the torrent's name (BEP 19), and segments of dots or
    of nothing are cleaned away on the way.
    """
    segments = ref.key.split("/")
    fragile = any(segment in ("", ".", "..") for segment in segments)
    return f"{before}/{quote(ref.bucket, safe='')}/{quote(ref.key, safe='' if fragile else '/')}"


def web_seeds_of(torrent: Torrent, before: str | None) -> list[str]:
    """Return the web seeds that a torrent names: none if it is private, for they let nobody in."""
    return [] if before is None or torrent.private else [object_url(before, torrent.pinned.ref)]


def torrent_file_of(torrent: Torrent, announce: str, web_seed: str | None = None) -> bytes:
    """Return the torrent file; the same torrent gives the same bytes every time."""
    # A creation date would make every copy another file.
    return torrent_file(
        torrent.raw_info,
        announce=[announce],
        created_by=CREATED_BY,
        creation_date=None,
        url_list=web_seeds_of(torrent, web_seed),
    )


def magnet_of(
    torrent: Torrent, announce: str, peer: PeerSettings, web_seed: str | None = None
) -> str:
    """Return the magnet link; with our own address as x.pe where it is known."""
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(
        torrent.info_hash,
        name=torrent.info.name,
        trackers=[announce],
        peers=peers,
        web_seeds=web_seeds_of(torrent, web_seed),
    )


class PublicFace:
    """The catalog as the public may see it: torrents by object, private ones left out."""

    def __init__(
        self, catalog: Catalog, announce: str, peer: PeerSettings, web_seed: str | None = None
    ) -> None:
        self._catalog = catalog
        self._announce = announce
        self._peer = peer
        self._web_seed = web_seed

    def torrent_file(self, bucket: str, key: str) -> TorrentFile | NoTorrent:
        """Return the torrent of an object as it is now."""
        torrent = self._find(bucket, key)
        if isinstance(torrent, NoTorrent):
            return torrent
        body = torrent_file_of(torrent, self._announce, self._web_seed)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{safe_name(key)}.torrent")

    def magnet_link(self, bucket: str, key: str) -> str | NoTorrent:
        """Return the magnet link of an object as it is now."""
        torrent = self._find(bucket, key)
        if isinstance(torrent, NoTorrent):
            return torrent
        return magnet_of(torrent, self._announce, self._peer, self._web_seed)

    def content(self, bucket: str, key: str) -> Content | NoTorrent:
        """Return an object as it is now; who may read a private one isn't asked here."""
        publication = self._publication(bucket, key)
        if isinstance(publication, NoTorrent):
            return publication
        torrent = publication.torrent
        if torrent is None:
            return _not_now(publication)
        tag = torrent.pinned.etag.removeprefix("W/").strip('"')
        # Of two objects with the same content, the pieces of one are kept.
        kept = self._catalog.by_hash(torrent.info_hash) or torrent
        return Content(kept, f'"{tag}"', safe_name(key), private=publication.private)

    def _publication(self, bucket: str, key: str) -> Publication | NoTorrent:
        publication = self._catalog.by_name(bucket, key)
        if publication is not None:
            return publication
        if any(other.ref.bucket == bucket for other in self._catalog):
            return NoTorrent("NoSuchKey", "The specified key is not published here.")
        return NoTorrent("NoSuchBucket", "Nothing of the specified bucket is published here.")

    def _find(self, bucket: str, key: str) -> Torrent | NoTorrent:
        publication = self._publication(bucket, key)
        if isinstance(publication, NoTorrent):
            return publication
        if publication.private:
            return NoTorrent("AccessDenied", "This torrent is not public.")
        if publication.torrent is None:
            return _not_now(publication)
        return publication.torrent


def _not_now(publication: Publication) -> NoTorrent:
    if publication.state is State.FAILED:
        # The reason is the operator's affair: it may tell of credentials.
        return NoTorrent("NoSuchKey", "The object can't be published at present.")
    return NoTorrent("ServiceUnavailable", "The torrent is being made; please try again.")
