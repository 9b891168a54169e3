"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

import hashlib
from collections.abc import Mapping

from seeder import __version__
from seeder.errors import ConfigError
from seeder.settings import Config, OriginSettings, PeerSettings
from seeder.torrent.catalog import Catalog, Publication, State, Torrent
from seeder.torrent.magnet import magnet_link
from seeder.torrent.metainfo import safe_name, torrent_file
from seeder.values import Address
from seeder.web.access import Terms
from seeder.web.objects import TorrentFile
from seeder.web.s3errors import S3Error

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


def gateway_url(config: Config, announce: str) -> str:
    """Return what stands before /BUCKET/KEY for clients."""
    if config.gateway.url is not None:
        return config.gateway.url
    # Objects lie beside the tracker's page, whatever a proxy puts before both.
    return announce.partition("?")[0].rpartition("/")[0]


def torrent_file_of(torrent: Torrent, announce: str) -> bytes:
    """Return the torrent file; the same torrent gives the same bytes every time."""
    # A creation date would make every copy another file.
    return torrent_file(
        torrent.raw_info, announce=[announce], created_by=CREATED_BY, creation_date=None
    )


def magnet_of(
    torrent: Torrent, announce: str, peer: PeerSettings, *, name: str | None = None
) -> str:
    """Return the magnet link; with our own address as x.pe where it is known.

    `name` is shown until the metadata is there; None is the torrent's own.
    """
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(
        torrent.info_hash, name=name or torrent.info.name, trackers=[announce], peers=peers
    )


class PublicFace:
    """The catalog as the public may see it: torrents by object, and on what terms they are given.

    What may be had is not asked here, but of `seeder.web.access`.
    """

    def __init__(
        self,
        catalog: Catalog,
        announce: str,
        peer: PeerSettings,
        origins: Mapping[str, OriginSettings],
    ) -> None:
        self._catalog = catalog
        self._announce = announce
        self._peer = peer
        self._origins = origins

    def terms(self, bucket: str, key: str) -> Terms:
        """Return the terms of an object; S3Error NoSuchBucket, NoSuchKey."""
        publication = self._find(bucket, key)
        origin = self._origins[publication.ref.origin]
        return Terms(publication.public, origin.expected_bucket_owner, origin.request_payer)

    def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        """Return the torrent of an object as it is now; S3Error while there is none."""
        body = torrent_file_of(self._torrent(bucket, key), self._announce)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{safe_name(key)}.torrent")

    def magnet_link(self, bucket: str, key: str) -> str:
        """Return the magnet link of an object as it is now; S3Error while there is none."""
        return magnet_of(self._torrent(bucket, key), self._announce, self._peer)

    def _torrent(self, bucket: str, key: str) -> Torrent:
        publication = self._find(bucket, key)
        if publication.torrent is not None:
            return publication.torrent
        if publication.state is State.FAILED:
            # The reason is the operator's affair: it may tell of credentials.
            raise S3Error("NoSuchKey", "The object can't be published at present.")
        raise S3Error("ServiceUnavailable", "The torrent is being made; please try again.")

    def _find(self, bucket: str, key: str) -> Publication:
        publication = self._catalog.by_name(bucket, key)
        if publication is not None:
            return publication
        if self._catalog.has_bucket(bucket):
            raise S3Error("NoSuchKey", "The specified key is not published here.")
        raise S3Error("NoSuchBucket", "Nothing of the specified bucket is published here.")
