"""All that is published, by object, name and info hash. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from seeder.torrent.buckets import Bucket
from seeder.torrent.info import InfoHash
from seeder.torrent.names import KeyOrder, KeySequence, MemberKeys
from seeder.torrent.objects import ObjectRef, PinnedBundle
from seeder.torrent.order import NameOrder
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent


@dataclass(slots=True)
class Catalog:
    """Every publication by object, and every live torrent by info hash (a hybrid by both)."""

    publications: dict[ObjectRef, Publication] = field(default_factory=dict)
    loading: bool = False
    """Whether configured objects are missing here that will come in a moment."""
    unlisted: set[ObjectRef] = field(default_factory=set)
    """The prefixes that S3 hasn't listed since the start: what is below them isn't all known."""
    order: NameOrder | None = None
    """What has all of them in order, once somebody has made it; it is kept so."""
    _buckets: dict[str, Bucket[Publication]] = field(default_factory=dict)
    _live: dict[InfoHash, Torrent] = field(default_factory=dict)
    _hybrids: dict[bytes, Torrent] = field(default_factory=dict)
    """By their v2 hashes, cut to 20 bytes."""
    _owner: dict[InfoHash, ObjectRef] = field(default_factory=dict)
    _alike: dict[InfoHash, set[ObjectRef]] = field(default_factory=dict)
    """The objects whose torrents have one info hash, where there are several."""
    alike_changes: int = 0
    """Grows when `first_ref` may return another object."""

    def __iter__(self) -> Iterator[Publication]:
        return iter(self.publications.values())

    def add(self, publication: Publication) -> None:
        """Take a publication in; ValueError when the object already has one."""
        if publication.ref in self.publications:
            raise ValueError(f"{publication.ref} is published already")
        self.publications[publication.ref] = publication
        if self.order is not None:
            self.order.add(publication.ref)
        if not publication.hidden:
            self.reveal(publication)

    def reveal(self, publication: Publication) -> None:
        """Have a publication found by its name from now on."""
        publication.hidden = False
        ref = publication.ref
        bucket = self._buckets.setdefault(ref.bucket, Bucket())
        bucket.add(ref.key, publication, bundle=publication.bundle)

    def remove(self, ref: ObjectRef) -> Torrent | None:
        """Forget a publication; return its torrent if that was live."""
        publication = self.publications.pop(ref)
        if self.order is not None:
            self.order.discard(ref)
        if publication.hidden:
            return None
        self._differ(publication)
        bucket = self._buckets[ref.bucket]
        bucket.remove(ref.key, publication)
        if not bucket:
            del self._buckets[ref.bucket]
        torrent = publication.torrent
        if torrent is None or self._owner.get(torrent.info_hash) != ref:
            return None
        self._drop(torrent)
        return torrent

    def serve(self, publication: Publication, torrent: Torrent) -> bool:
        """Make `torrent` live; False when another object's torrent already has its info hash."""
        self._unbundle(publication)
        publication.torrent, publication.pinned = torrent, torrent.pinned
        bucket = self._buckets[publication.ref.bucket]
        if isinstance(torrent.pinned, PinnedBundle):
            bucket.open_bundle(publication.ref.key, publication)
        if torrent.published is not None:
            bucket.note_published(torrent.published)
        owner = self._owner.setdefault(torrent.info_hash, publication.ref)
        if owner != publication.ref:
            self._alike.setdefault(torrent.info_hash, {owner}).add(publication.ref)
            self.alike_changes += 1
            publication.settle(State.DUPLICATE, f"same content and name as {owner}")
            return False
        self._live[torrent.info_hash] = torrent
        if torrent.short_v2_hash is not None:
            self._hybrids[torrent.short_v2_hash] = torrent
        publication.settle(State.SERVING)
        return True

    def retire(self, publication: Publication, reason: str) -> Torrent | None:
        """End a publication's torrent for `reason`; return it if it was live."""
        self._unbundle(publication)
        self._differ(publication)
        torrent, publication.torrent = publication.torrent, None
        publication.pinned = None
        publication.settle(State.WAITING, reason)
        if torrent is None or self._owner.get(torrent.info_hash) != publication.ref:
            return None
        self._drop(torrent)
        return torrent

    def _unbundle(self, publication: Publication) -> None:
        torrent, ref = publication.torrent, publication.ref
        if torrent is not None and isinstance(torrent.pinned, PinnedBundle):
            self._buckets[ref.bucket].close_bundle(ref.key, publication)

    def _differ(self, publication: Publication) -> None:
        """Count a publication no longer among those of its info hash."""
        torrent = publication.torrent
        alike = self._alike.get(torrent.info_hash) if torrent is not None else None
        if torrent is not None and alike is not None:
            alike.discard(publication.ref)
            self.alike_changes += 1
            if not alike:
                del self._alike[torrent.info_hash]

    def first_ref(self, torrent: Torrent) -> ObjectRef:
        """Return the object of a torrent: of several with its info hash, the first by name.

        It is the same for all nodes, whichever of the objects a node serves it for.
        """
        alike = self._alike.get(torrent.info_hash)
        return min(alike, key=_by_name) if alike else torrent.pinned.ref

    def _drop(self, torrent: Torrent) -> None:
        del self._owner[torrent.info_hash]
        live = self._live.pop(torrent.info_hash)
        if live.short_v2_hash is not None:
            del self._hybrids[live.short_v2_hash]

    def by_hash(self, info_hash: bytes) -> Torrent | None:
        """Return the live torrent of a v1 info hash, or of a v2 one cut to 20 bytes."""
        live = self._live.get(info_hash)  # type: ignore[call-overload]
        return live or self._hybrids.get(info_hash)

    @property
    def live_count(self) -> int:
        """How many torrents are live."""
        return len(self._live)

    def owner(self, torrent: Torrent) -> Publication | None:
        """Return the publication that keeps a live torrent."""
        ref = self._owner.get(torrent.info_hash)
        return self.publications.get(ref) if ref is not None else None

    def for_members(self, torrent: Torrent) -> bool:
        """Tell whether only holders of passkeys may have a live torrent."""
        owner = self.owner(torrent)
        return owner is not None and owner.for_members

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether anything of a bucket is published."""
        return bucket in self._buckets

    @property
    def buckets(self) -> Sequence[str]:
        """The buckets of which anything is published, in order."""
        return sorted(self._buckets)

    def since(self, bucket: str) -> int | None:
        """Return when the first torrent of a bucket was published, in Unix seconds."""
        found = self._buckets.get(bucket)
        return None if found is None else found.since

    def keys_of(self, bucket: str, first: str = "") -> KeyOrder[Publication]:
        """Return the keys of a bucket in order, from `first` on; for one go.

        Those of what is published, bundles by their prefixes too, and of the objects of bundles.
        """
        found = self._buckets.get(bucket)
        return KeyOrder(()) if found is None else found.keys(first, _members)

    def bundles_with(self, bucket: str, key: str) -> Iterator[Publication]:
        """Yield the bundles that have a torrent and may have an object, longest prefix first."""
        found = self._buckets.get(bucket)
        return iter(()) if found is None else found.bundles_with(key)

    def bundle_to_come(self, bucket: str, key: str) -> Publication | None:
        """Return a bundle without a torrent that an object may be in, longest prefix first."""
        found = self._buckets.get(bucket)
        covering = () if found is None else found.prefixes_of(key)
        return next((each for each in covering if each.torrent is None), None)

    def may_list(self, bucket: str, prefix: str) -> bool:
        """Tell whether all that may lie below BUCKET/PREFIX is known."""
        return not self.loading and not any(
            bucket == each.bucket and (prefix.startswith(each.key) or each.key.startswith(prefix))
            for each in self.unlisted
        )

    def by_name(self, bucket: str, key: str) -> Publication | None:
        """Return the publication of BUCKET/KEY; the unversioned one where there are several."""
        found = self.all_by_name(bucket, key)
        if len(found) == 1:
            return found[0]
        unversioned = (each for each in found if each.ref.version_id is None)
        return next(unversioned, found[0] if found else None)

    def all_by_name(self, bucket: str, key: str) -> Sequence[Publication]:
        """Return the publications of BUCKET/KEY, whatever the origin and the version."""
        found = self._buckets.get(bucket)
        return () if found is None else found.of_key(key)

    def may_come(self, bucket: str, key: str) -> bool:
        """Tell whether it isn't known yet if BUCKET/KEY is to be published."""
        return self.loading or any(
            bucket == prefix.bucket and key.startswith(prefix.key) for prefix in self.unlisted
        )


def _by_name(ref: ObjectRef) -> tuple[str, ...]:
    return ref.origin, ref.bucket, ref.key, ref.version_id or ""


def _members(bundle: Publication) -> KeySequence:
    """Return the keys of the objects of a bundle that has a torrent."""
    assert bundle.torrent is not None
    pinned = bundle.torrent.pinned
    assert isinstance(pinned, PinnedBundle)
    return MemberKeys(pinned)
