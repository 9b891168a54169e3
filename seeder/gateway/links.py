"""What the public gets of a torrent: its file, its magnet link, and the URLs in them."""

import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import trio

from seeder import __version__
from seeder.config.sections import Config, OriginSettings, PeerSettings
from seeder.config.texts import Address
from seeder.errors import ConfigError, MetainfoError, StorageError
from seeder.gateway.access import Terms
from seeder.gateway.naming import object_path
from seeder.gateway.objects import TorrentFile
from seeder.gateway.s3errors import S3Error
from seeder.gateway.webseed import Content
from seeder.torrent.catalog import Catalog, ObjectRef, PinnedBundle, Publication, State, Torrent
from seeder.torrent.info import Info, safe_name, torrent_file
from seeder.torrent.magnet import magnet_link

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


def gateway_url(config: Config, announce: str) -> str:
    """Return what stands before /BUCKET/KEY where clients reach us, without a trailing slash."""
    if config.gateway.url is not None:
        return config.gateway.url
    # Objects lie beside the tracker's page, whatever a proxy puts before both.
    parts = urlsplit(announce)
    before, found, _ = parts.path.rpartition("/announce")
    path = before if found else parts.path.rpartition("/")[0]
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def web_seed_url(config: Config, announce: str) -> str | None:
    """Return the `gateway_url` that torrents name as their web seed's; None where it is off."""
    return gateway_url(config, announce) if config.gateway.web_seed else None


def object_url(before: str, ref: ObjectRef) -> str:
    """Return the URL of an object; `before` is the `gateway_url`."""
    return before + object_path(ref.bucket, ref.key)


def web_seeds_of(torrent: Torrent, before: str | None) -> list[str]:
    """Return the web seeds that a torrent names.

    None if it is private, for clients may know no other source, and none of a bundle, whose files
    are not called as their keys.
    """
    if before is None or torrent.private or isinstance(torrent.pinned, PinnedBundle):
        return []
    return [object_url(before, torrent.pinned.ref)]


def torrent_file_of(torrent: Torrent, announce: str, web_seed: str | None = None) -> bytes:
    """Return the torrent file; the same torrent gives the same bytes every time.

    `web_seed` is the `web_seed_url`. StorageError or MetainfoError where what is on disk can't be
    read: the info, or a hybrid's piece layer.
    """
    return torrent_file(
        torrent.raw_info,
        announce=[announce],
        created_by=CREATED_BY,
        # It would make every copy another file.
        creation_date=None,
        url_list=web_seeds_of(torrent, web_seed),
        piece_layers=torrent.hashes.piece_layers() if torrent.hashes is not None else None,
    )


def magnet_of(
    torrent: Torrent,
    announce: str,
    peer: PeerSettings,
    web_seed: str | None = None,
    *,
    name: str | None = None,
) -> str:
    """Return the magnet link; with our own address as x.pe where it is known.

    `name` is shown until the metadata is there; None is the torrent's own.
    """
    peers = [str(peer.public_address)] if peer.public_address is not None else []
    return magnet_link(
        torrent.info_hash,
        name=name or torrent.info.name,
        trackers=[announce],
        peers=peers,
        web_seeds=web_seeds_of(torrent, web_seed),
        v2_hash=torrent.v2_hash,
    )


class PublicFace:
    """The catalog as the public may see it: torrents by object, and on what terms they are given.

    What may be had is not asked here, but of `seeder.gateway.access`.
    """

    def __init__(
        self,
        catalog: Catalog,
        announce: str,
        peer: PeerSettings,
        origins: Mapping[str, OriginSettings],
        web_seed: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._announce = announce
        self._peer = peer
        self._origins = origins
        self._web_seed = web_seed

    def terms(self, bucket: str, key: str) -> Terms:
        """Return the terms of an object; S3Error NoSuchBucket, NoSuchKey."""
        publication = self._find(bucket, key)
        origin = self._origins[publication.ref.origin]
        return Terms(publication.public, origin.expected_bucket_owner, origin.request_payer)

    async def torrent_file(self, bucket: str, key: str) -> TorrentFile:
        """Return the torrent of an object as it is now; S3Error while there is none."""
        publication = self._find(bucket, key)
        torrent, web_seed = _served(publication), self._web_seed_of(publication)
        async with _at_hand(torrent) as info:
            make = partial(torrent_file_of, torrent, self._announce, web_seed)
            # A hybrid's piece layer is on disk.
            body = make() if torrent.hashes is None else await trio.to_thread.run_sync(make)
        # A prefix ends with a slash, behind which there is no name.
        name = info.name if isinstance(torrent.pinned, PinnedBundle) else safe_name(key)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{name}.torrent")

    async def magnet_link(self, bucket: str, key: str) -> str:
        """Return the magnet link of an object as it is now; S3Error while there is none."""
        publication = self._find(bucket, key)
        torrent, web_seed = _served(publication), self._web_seed_of(publication)
        async with _at_hand(torrent):
            return magnet_of(torrent, self._announce, self._peer, web_seed)

    def content(self, bucket: str, key: str) -> Content:
        """Return an object as it is now; S3Error while it isn't served."""
        torrent = _served(self._find(bucket, key))
        if isinstance(torrent.pinned, PinnedBundle):
            raise S3Error("NoSuchKey", "That is a prefix; its torrent has the objects.")
        tag = torrent.pinned.etag.removeprefix("W/").strip('"')
        # Of two objects with the same content, the pieces of one are kept.
        kept = self._catalog.by_hash(torrent.info_hash) or torrent
        return Content(kept, f'"{tag}"', safe_name(key))

    def _web_seed_of(self, publication: Publication) -> str | None:
        """Return the web seed that a torrent names: BitTorrent clients sign nothing."""
        return self._web_seed if publication.public else None

    def _find(self, bucket: str, key: str) -> Publication:
        publication = self._catalog.by_name(bucket, key)
        if publication is not None:
            return publication
        if self._catalog.has_bucket(bucket):
            raise S3Error("NoSuchKey", "The specified key is not published here.")
        raise S3Error("NoSuchBucket", "Nothing of the specified bucket is published here.")


@asynccontextmanager
async def _at_hand(torrent: Torrent) -> AsyncIterator[Info]:
    """Have a torrent's info in memory for the block; S3Error where the disk doesn't give it."""
    try:
        yield await torrent.fetch_info()
    except (StorageError, MetainfoError) as error:
        _LOG.error("%s: no torrent file: %s", torrent.pinned.ref, error)
        raise S3Error(
            "ServiceUnavailable", "The torrent can't be read; please try again."
        ) from error


def _served(publication: Publication) -> Torrent:
    if publication.torrent is not None:
        return publication.torrent
    if publication.state is State.FAILED:
        # The reason is the operator's affair: it may tell of credentials.
        raise S3Error("NoSuchKey", "The object can't be published at present.")
    raise S3Error("ServiceUnavailable", "The torrent is being made; please try again.")
