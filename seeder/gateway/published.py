"""What is published and served: an object's torrent file, magnet link and bytes, as they are now.

It doesn't ask who may have them: `seeder.gateway.access` does.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from seeder.config.origins import OriginSettings
from seeder.errors import MetainfoError, StorageError
from seeder.gateway.access import Terms
from seeder.gateway.files import BundleFiles, split_key
from seeder.gateway.finding import Offered, find_object
from seeder.gateway.issuing import Issuer
from seeder.gateway.links import Links
from seeder.gateway.naming import ADDRESS
from seeder.gateway.s3errors import S3Error
from seeder.gateway.selecting import UNVERSIONED
from seeder.gateway.webseed import Content
from seeder.net.notices import Notices
from seeder.torrent.catalog import Catalog
from seeder.torrent.info import Info, safe_name
from seeder.torrent.objects import PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """The torrent file of an object."""

    body: bytes
    etag: str
    """With its quotes; another one for any other body."""
    filename: str
    """Safe on every system, `.torrent` included."""


class PublishedObjects:
    """The objects of the catalog, and what is served of each; it doesn't ask who may have it."""

    def __init__(
        self,
        catalog: Catalog,
        links: Links,
        origins: Mapping[str, OriginSettings],
        issuer: Issuer,
    ) -> None:
        self._catalog = catalog
        self._links = links
        self.issuer = issuer
        self._origins = origins
        self._files = BundleFiles()
        self._unreadable = Notices()

    @asynccontextmanager
    async def _at_hand(self, torrent: Torrent) -> AsyncIterator[Info]:
        """Have a torrent's info in memory for the block; S3Error where it can't be read.

        Anybody may ask again and again; the log tells of it once an hour.
        """
        try:
            yield await torrent.fetch_info()
        except (StorageError, MetainfoError) as error:
            if self._unreadable.is_due(torrent.info_hash, trio.current_time()):
                _LOG.error("%s: no torrent file: %s", torrent.pinned.ref, error)
            raise S3Error(
                "ServiceUnavailable", "The torrent can't be read; please try again."
            ) from error

    def find(self, bucket: str, key: str) -> Publication:
        """Return the publication of an object; S3Error NoSuchBucket, NoSuchKey, or InvalidURI if
        there is no key.

        S3Error ServiceUnavailable while it isn't known whether there is one.
        """
        publication = self._catalog.by_name(bucket, key)
        if publication is not None:
            return publication
        if not key and not self._catalog.loading:
            raise S3Error("InvalidURI", ADDRESS)
        if self._catalog.may_come(bucket, key):
            raise S3Error("ServiceUnavailable", "What is published is being looked up; try again.")
        if self._catalog.has_bucket(bucket):
            raise S3Error("NoSuchKey", "The specified key is not published here.")
        raise S3Error("NoSuchBucket", "Nothing of the specified bucket is published here.")

    def find_content(self, bucket: str, key: str) -> Offered:
        """Return the object at BUCKET/KEY, or the bundle with a file of that address.

        S3Error as for `find`.
        """
        found = find_object(self._catalog, bucket, key)
        if found is None:
            for prefix, path in split_key(key):
                bundle = self._catalog.by_name(bucket, prefix)
                torrent = bundle.torrent if bundle is not None else None
                if bundle is not None and torrent is not None and torrent.padded:
                    return Offered(bundle, path=path)
            coming = self._catalog.bundle_to_come(bucket, key)
            if coming is not None:
                return Offered(coming, key=key)
        return Offered(self.find(bucket, key)) if found is None else found

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether anything of a bucket is published."""
        return self._catalog.has_bucket(bucket)

    def find_version(self, found: Offered, version: str) -> Offered:
        """Return the version of an object; `null` is that of one without versions.

        S3Error NoSuchVersion.
        """
        if _is_version(found, version):
            return found
        for publication in self._catalog.all_by_name(found.ref.bucket, found.ref.key):
            if _is_version(Offered(publication), version):
                return Offered(publication)
        raise S3Error("NoSuchVersion", "The specified version is not published here.")

    def terms(self, publication: Publication) -> Terms:
        """Return the terms on which an object is given."""
        origin = self._origins[publication.ref.origin]
        return Terms(publication.public, origin.expected_bucket_owner, origin.request_payer)

    async def torrent_file(
        self, publication: Publication, holder: str | None = None
    ) -> TorrentFile:
        """Return the torrent file of an object as it is now; S3Error while there is none.

        If its swarm is for members alone, it is made for `holder`.
        """
        torrent = _served(publication)
        passkey = None
        if publication.for_members:
            assert holder is not None  # it isn't public, so somebody has signed
            passkey = await self.issuer.key(holder, str(publication.ref), torrent.info_hash)
        async with self._at_hand(torrent) as info:
            make = partial(
                self._links.torrent_file, torrent, public=publication.public, passkey=passkey
            )
            if torrent.hashes is None:
                body = make()
            else:
                try:
                    # Its piece layer is on disk.
                    body = await trio.to_thread.run_sync(make)
                except MetainfoError as error:
                    torrent.lose(error)
                    raise
        # A bundle's key ends with a slash: there is no file name in it.
        bundle = isinstance(torrent.pinned, PinnedBundle)
        name = info.name if bundle else safe_name(publication.ref.key)
        etag = hashlib.sha256(body).hexdigest()[:32]
        return TorrentFile(body, f'"{etag}"', f"{name}.torrent")

    async def magnet_link(self, publication: Publication) -> str:
        """Return the magnet link of an object as it is now; S3Error while there is none."""
        torrent = _served(publication)
        if publication.for_members:
            why = "There are no magnet links to private torrents; get ?torrent."
            raise S3Error("InvalidRequest", why)
        async with self._at_hand(torrent):
            return self._links.magnet(torrent, public=publication.public)

    async def content(self, found: Offered) -> Content:
        """Return an object or a bundle's file as it is now; S3Error while it isn't served."""
        if found.path is not None:
            return await self._file(found.publication, found.path)
        if found.member is not None:
            return self._member(found.publication, found.member)
        publication = found.publication
        torrent = _served(publication)
        if isinstance(torrent.pinned, PinnedBundle):
            raise S3Error("NoSuchKey", "That is a prefix; its torrent has the objects.")
        name, pinned = safe_name(publication.ref.key), publication.pinned or torrent.pinned
        tag = f'"{torrent.pinned.tag}"'
        return Content(self._kept(torrent), tag, name, pinned.description)

    def _kept(self, torrent: Torrent) -> Torrent:
        """Return the torrent whose pieces are cached: of two with the same content, only one."""
        return self._catalog.by_hash(torrent.info_hash) or torrent

    async def _file(self, publication: Publication, path: str) -> Content:
        """Return the file of a bundle that has a path in its torrent; S3Error."""
        torrent = self._kept(_served(publication))
        async with self._at_hand(torrent):
            file = await self._files.find(torrent, path)
        if file is None:
            raise S3Error("NoSuchKey", "The bundle has no such file.")
        return _content_of(torrent, file.pinned, file.start)

    def _member(self, publication: Publication, member: PinnedObject) -> Content:
        """Return an object of a bundle."""
        torrent = _served(publication)
        section = torrent.section_of(member.ref)
        start = 0 if section is None else section.first * torrent.layout.piece_length
        return _content_of(self._kept(torrent), member, start)

    def is_offered(self, found: Offered, torrent: Torrent) -> bool:
        """Tell whether an object is still published, and the same torrent serves it."""
        publication = found.publication
        if self._catalog.publications.get(publication.ref) is not publication:
            return False
        served = publication.torrent
        return served is not None and served.info_hash == torrent.info_hash

    def has_content(self, bucket: str, key: str) -> bool:
        """Tell whether there may be an object, or a file of a bundle, at BUCKET/KEY."""
        try:
            found = self.find_content(bucket, key)
        except S3Error:
            return False
        return found.path is not None or found.pinned is not None


def _is_version(found: Offered, version: str) -> bool:
    """Tell whether what is served is of a version; whatever isn't served yet may be."""
    pinned = found.pinned
    served = pinned is not None or found.path is not None
    return not served or version == ((pinned and pinned.version_id) or UNVERSIONED)


def _content_of(torrent: Torrent, pinned: PinnedObject, start: int) -> Content:
    """Return an object of a bundle, whose bytes begin at byte `start` of its torrent."""
    name, told = safe_name(pinned.ref.key), pinned.description
    return Content(torrent, f'"{pinned.tag}"', name, told, start=start, length=pinned.size)


def _served(publication: Publication) -> Torrent:
    """Return the torrent of a publication; S3Error while there is none."""
    if publication.torrent is not None:
        return publication.torrent
    if publication.state is State.FAILED:
        # The reason is for the operator only: it may tell of credentials.
        raise S3Error("NoSuchKey", "The object can't be published at present.")
    raise S3Error("ServiceUnavailable", "The torrent is being made; please try again.")
