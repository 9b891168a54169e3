"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

import hashlib

from seeder import __version__
from seeder.errors import ConfigError
from seeder.settings import Config, PeerSettings
from seeder.torrent.catalog import Catalog, PinnedBundle, Publication, State, Torrent
from seeder.torrent.magnet import magnet_link
from seeder.torrent.metainfo import safe_name, torrent_file
from seeder.values import Address
from seeder.web.objects import NoTorrent, TorrentFile

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


def torrent_file_of(torrent: Torrent, announce: str) -> bytes:
    """Return the torrent file; the same torrent gives the same bytes every time."""
    # A creation date would make every copy another file.
    return torrent_file(
        torrent.raw_info, announce=[announce], created_by=CREATED_BY, creation_date=None
    )


def magnet_of(torrent: Torrent, announce: str, peer: PeerSettings) -> str:
    """Return the magnet link; with our own address as x.pe where it is known."""
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(torrent.info_hash, name=torrent.info.name, trackers=[announce], peers=peers)


class PublicFace:
    """The catalog as the public may see it: torrents by object, private ones left out."""

    def __init__(self, catalog: Catalog, announce: str, peer: PeerSettings) -> None:
        self._catalog = catalog
        self._announce = announce
        self._peer = peer

    def torrent_file(self, bucket: str, key: str) -> TorrentFile | NoTorrent:
        """Return the torrent of an object as it is now."""
        torrent = self._find(bucket, key)
        if isinstance(torrent, NoTorrent):
            return torrent
        body = torrent_file_of(torrent, self._announce)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{_file_name(torrent, key)}.torrent")

    def magnet_link(self, bucket: str, key: str) -> str | NoTorrent:
        """Return the magnet link of an object as it is now."""
        torrent = self._find(bucket, key)
        if isinstance(torrent, NoTorrent):
            return torrent
        return magnet_of(torrent, self._announce, self._peer)

    def _find(self, bucket: str, key: str) -> Torrent | NoTorrent:
        publication = self._catalog.by_name(bucket, key)
        if publication is None:
            if any(other.ref.bucket == bucket for other in self._catalog):
                return NoTorrent("NoSuchKey", "The specified key is not published here.")
            return NoTorrent("NoSuchBucket", "Nothing of the specified bucket is published here.")
        if publication.private:
            return NoTorrent("AccessDenied", "This torrent is not public.")
        if publication.torrent is None:
            return _not_now(publication)
        return publication.torrent


def _file_name(torrent: Torrent, key: str) -> str:
    # A prefix ends with a slash, behind which there is no name.
    return torrent.info.name if isinstance(torrent.pinned, PinnedBundle) else safe_name(key)


def _not_now(publication: Publication) -> NoTorrent:
    if publication.state is State.FAILED:
        # The reason is the operator's affair: it may tell of credentials.
        return NoTorrent("NoSuchKey", "The object can't be published at present.")
    return NoTorrent("ServiceUnavailable", "The torrent is being made; please try again.")
