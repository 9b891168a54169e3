"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

import hashlib
import logging

from seeder import __version__
from seeder.errors import ConfigError, StorageError
from seeder.settings import Config, PeerSettings
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.magnet import magnet_link
from seeder.torrent.metainfo import safe_name, torrent_file
from seeder.values import Address
from seeder.web.objects import NoTorrent, TorrentFile

_LOG = logging.getLogger(__name__)

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
    """Return the torrent file; the same torrent gives the same bytes every time.

    StorageError where a hybrid's piece layer can't be read.
    """
    # A creation date would make every copy another file.
    return torrent_file(
        torrent.raw_info,
        announce=[announce],
        created_by=CREATED_BY,
        creation_date=None,
        piece_layers=torrent.hashes.piece_layers() if torrent.hashes is not None else None,
    )


def magnet_of(torrent: Torrent, announce: str, peer: PeerSettings) -> str:
    """Return the magnet link; with our own address as x.pe where it is known."""
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(
        torrent.info_hash,
        name=torrent.info.name,
        trackers=[announce],
        peers=peers,
        v2_hash=torrent.v2_hash,
    )


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
        try:
            body = torrent_file_of(torrent, self._announce)
        except StorageError as error:
            _LOG.error("%s/%s: no torrent file: %s", bucket, key, error)
            return NoTorrent("ServiceUnavailable", "The torrent can't be read; please try again.")
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{safe_name(key)}.torrent")

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


def _not_now(publication: Publication) -> NoTorrent:
    if publication.state is State.FAILED:
        # The reason is the operator's affair: it may tell of credentials.
        return NoTorrent("NoSuchKey", "The object can't be published at present.")
    return NoTorrent("ServiceUnavailable", "The torrent is being made; please try again.")
