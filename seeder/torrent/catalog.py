"""What is published: objects, the torrents made of them, and why some are not served. No I/O."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from seeder.errors import SeederError
from seeder.torrent.buckets import Bucket
from seeder.torrent.info import Info, InfoHash, Outline
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import KeptHashes
from seeder.torrent.names import KeyOrder, KeySequence, MemberKeys
from seeder.torrent.objects import (
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    Section,
    cache_id,
    sections_of,
)
from seeder.torrent.order import NameOrder
from seeder.torrent.work import Work
from seeder.units import ByteRange


class InfoSource(Protocol):
    """Has the info dictionaries of the torrents that hold only an outline."""

    def has(self, torrent: "Torrent") -> bool:
        """Tell whether `take` would find it in memory."""

    def take(self, torrent: "Torrent") -> Info:
        """Return the info, read from disk if need be; StorageError, MetainfoError."""

    async def fetch(self, torrent: "Torrent") -> Info:
        """Return the info like `take`, but without blocking while it is read."""

    def lose(self, torrent: "Torrent", error: SeederError) -> None:
        """Report that a hybrid's hashes on disk are damaged: its metainfo has to be made anew."""


class Question(Protocol):
    """Something that isn't known yet; whoever needs to know waits."""

    async def wait(self) -> None:
        """Wait until it is known."""


@dataclass(frozen=True, slots=True)
class Held:
    """What S3 isn't asked for, since it has another state of it that may have the same bytes."""

    cache_ids: frozenset[str]
    """Of the sections."""
    known: Question
    """Whether the bytes are the same."""


class Torrent:
    """A torrent that is served: verified metainfo and the pinned objects behind it.

    It holds its info dictionary, or only an outline of it; `infos` has the dictionary then.
    """

    __slots__ = (
        "_firsts",
        "_info",
        "_infos",
        "cache_id",
        "hashes",
        "held",
        "info_hash",
        "layout",
        "padded",
        "pinned",
        "private",
        "published",
        "rung",
        "sections",
        "short_v2_hash",
        "similar",
        "v2_hash",
    )

    def __init__(
        self,
        info: Info | Outline,
        pinned: PinnedObject,
        rung: str,
        hashes: KeptHashes | None = None,
        *,
        infos: InfoSource | None = None,
        published: int | None = None,
        similar: Sequence[InfoHash] = (),
    ) -> None:
        self._info = info if isinstance(info, Info) else None
        self._infos = infos
        self.pinned = pinned
        self.published = published
        """Unix seconds at which there was a torrent of this info hash for the first time."""
        self.similar = similar
        """Earlier torrents of the same bundle, the last one first."""
        self.rung = rung
        """The rung of the metainfo ladder that it came from."""
        self.layout: Layout = info.layout
        self.info_hash: InfoHash = info.info_hash
        self.private = info.private
        v2 = info.v2 if hashes is not None else None
        self.hashes = hashes
        """What v2 clients ask for (BEP 52); None for a torrent that is served as v1 only."""
        self.v2_hash: bytes | None = v2.info_hash if v2 else None
        """A hybrid's v2 info hash, uncut: the 32 bytes of info's SHA-256."""
        self.short_v2_hash: InfoHash | None = v2.short_hash if v2 else None
        """The same cut to 20 bytes, as v2 clients name the torrent to peers and trackers."""
        self.padded = isinstance(pinned, PinnedBundle)
        """Whether the last piece of each object is filled up with zeros."""
        self.sections = sections_of(pinned, info.layout)
        self.cache_id = (
            cache_id(pinned, info.layout.piece_length) if self.padded else self.sections[0].cache_id
        )
        self._firsts = [section.first for section in self.sections]
        self.held: Held | None = None

    def move(self, new: "Torrent") -> None:
        """Go on as `new`, which has the same info hash and is of another state of the object."""
        assert new.info_hash == self.info_hash
        self.pinned, self.rung, self.hashes = new.pinned, new.rung, new.hashes
        self.sections, self.cache_id, self._firsts = new.sections, new.cache_id, new._firsts
        self.held = None

    def question_of(self, index: int) -> Question | None:
        """Return what has to be known before S3 is asked for piece `index`, if anything."""
        held = self.held
        if held is None or self.section(index).cache_id not in held.cache_ids:
            return None
        return held.known

    @property
    def at_hand(self) -> bool:
        """Whether `info` is in memory."""
        return self._info is not None or (self._infos is not None and self._infos.has(self))

    @property
    def info(self) -> Info:
        """The metainfo, read from disk where it isn't at hand; StorageError, MetainfoError."""
        if self._info is not None:
            return self._info
        assert self._infos is not None
        return self._infos.take(self)

    async def fetch_info(self) -> Info:
        """Return `info` without blocking while it is read; StorageError, MetainfoError.

        It stays at hand at least as long as the caller keeps what this returns.
        """
        if self._info is not None:
            return self._info
        assert self._infos is not None
        return await self._infos.fetch(self)

    def lose(self, error: SeederError) -> None:
        """Report that the torrent's `hashes` are damaged; it may end before this returns."""
        if self._infos is not None:
            self._infos.lose(self, error)

    @property
    def raw_info(self) -> bytes:
        """The info dictionary as found (BEP 9 sends it)."""
        return self.info.raw

    def piece_hash(self, index: int) -> bytes:
        """Return the SHA-1 of piece `index` (20 bytes)."""
        return self.info.piece_hash(index)

    def section(self, index: int) -> Section:
        """Return the section that piece `index` belongs to. IndexError outside."""
        return self.sections[bisect_right(self._firsts, index) - 1]

    def section_of(self, ref: ObjectRef) -> Section | None:
        """Return the section of one of a bundle's objects; None of an empty one."""
        at = bisect_left(self.sections, ref.key, key=lambda each: each.pinned.ref.key)
        found = self.sections[at] if at < len(self.sections) else None
        return found if found is not None and found.pinned.ref == ref else None

    def piece_key(self, index: int) -> tuple[str, int]:
        """Return what piece `index` is cached under: equal keys mean equal bytes."""
        if not self.padded:  # asked for every block that is sent
            return self.cache_id, index
        section = self.section(index)
        return section.cache_id, index - section.first

    def run_stop(self, index: int) -> int:
        """Return the first piece after `index` that holds another object."""
        return self.section(index).stop

    def data_range(self, index: int) -> ByteRange:
        """Return where the bytes of piece `index` lie in its object, without padding."""
        section = self.section(index)
        return section.layout.piece_range(index - section.first)

    def data_size(self, index: int) -> int:
        """Return how many bytes of piece `index` are its object's. IndexError outside."""
        section = self.section(index)
        return section.layout.piece_size(index - section.first)


class State(StrEnum):
    """Where a publication stands; the values are those of `state` in /status.json."""

    WAITING = "waiting"
    """Not tried yet, or it failed and will be tried again; `reason` says why."""
    BUILDING = "building"
    SERVING = "serving"
    FAULTY = "faulty"
    """Served from the cache only: the origin gives wrong bytes, or none."""
    DUPLICATE = "duplicate"
    """Has the content and the name of another publication, whose torrent serves both."""
    EMBARGOED = "embargoed"
    """Its metainfo is there, and its time has not come; `reason` says when that is."""
    FAILED = "failed"
    """Not tried again before the object or the configuration changes."""


UNFIT = "unfit"
"""The state of an added entry that is wrong by now, and so has no publication."""
MADE_ELSEWHERE = "another node of the cluster makes its metainfo"
"""The reason of one that waits for that."""


@dataclass(slots=True)
class Publication:
    """One configured object and what has become of it."""

    ref: ObjectRef
    public: bool = True
    """Whether anybody may have the torrent; if not, only those who may read the object."""
    bundle: bool = False
    """Whether it is of all objects below a prefix, which is the key of `ref`."""
    state: State = State.WAITING
    reason: str | None = None
    progress: float | None = None
    """Share of the object hashed, 0 to 1, while building."""
    work: Work | None = None
    """How the building goes on, once it has begun."""
    torrent: Torrent | None = None
    pinned: PinnedObject | None = None
    """The object as S3 described it last; None while that isn't known."""
    hidden: bool = False
    """Whether nobody may know of it yet: it is found by no name, and has no torrent."""

    @property
    def for_members(self) -> bool:
        """Whether only holders of passkeys may have its torrent: it is private and not public."""
        return self.torrent is not None and self.torrent.private and not self.public

    def settle(self, state: State, reason: str | None = None) -> None:
        """Move to `state`; progress is over."""
        self.state = state
        self.reason = reason
        self.progress = self.work = None


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
