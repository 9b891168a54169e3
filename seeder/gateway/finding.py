"""What is published at BUCKET/KEY: an object of its own, or one of a bundle's. No I/O."""

from dataclasses import dataclass, replace

from seeder.torrent.catalog import Catalog
from seeder.torrent.names import member_of
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject
from seeder.torrent.publications import Publication


@dataclass(frozen=True, slots=True)
class Offered:
    """An object that is published, or will be."""

    publication: Publication
    """Its own, or that of the bundle that it is in."""
    member: PinnedObject | None = None
    """The object as one of a bundle's."""
    path: str | None = None
    """Of a file of a bundle that is asked for at the address of a web seed: where it stands there
    in the torrent."""
    key: str | None = None
    """Of an object that may be in a bundle, which has no torrent yet."""

    @property
    def ref(self) -> ObjectRef:
        """What a key has to be allowed to read."""
        ref = self.publication.ref if self.member is None else self.member.ref
        return ref if self.key is None else replace(ref, key=self.key)

    @property
    def pinned(self) -> PinnedObject | None:
        """The object as S3 described it; None while it isn't served, or if it is a bundle."""
        if self.member is not None:
            return self.member
        return self.publication.pinned if _is_object(self.publication) else None

    @property
    def published(self) -> int | None:
        """Unix seconds at which there was this torrent for the first time."""
        torrent = self.publication.torrent
        return torrent.published if torrent is not None else None


def find_object(catalog: Catalog, bucket: str, key: str) -> Offered | None:
    """Return what is published at BUCKET/KEY.

    What is published alone goes first, if it can be had or must not be; else a public bundle.
    """
    alone = catalog.by_name(bucket, key)
    found = Offered(alone) if alone is not None else None
    if alone is not None and (_is_object(alone) or not alone.public):
        return found
    for bundle in catalog.bundles_with(bucket, key):
        member = member_of(_described(bundle), key)
        if member is not None and (found is None or found.member is None or bundle.public):
            found = Offered(bundle, member)
            if bundle.public:
                break
    return found


def _is_object(publication: Publication) -> bool:
    """Tell whether a publication is an object that is to be had, which a bundle isn't."""
    torrent = publication.torrent
    return torrent is not None and not isinstance(torrent.pinned, PinnedBundle)


def _described(publication: Publication) -> PinnedBundle:
    """Return the bundle that is served, as S3 described it last."""
    assert publication.torrent is not None
    served, now = publication.torrent.pinned, publication.pinned
    assert isinstance(served, PinnedBundle)
    same = isinstance(now, PinnedBundle) and now.etag == served.etag
    return now if same and isinstance(now, PinnedBundle) else served
