"""What is published: objects, the torrents made of them, and why some are not served. No I/O."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from seeder.torrent.layout import Layout
from seeder.torrent.merkle import KeptHashes
from seeder.torrent.metainfo import Info, InfoHash


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object as the operator names it; without `version_id` the newest one is meant."""

    origin: str
    bucket: str
    key: str
    version_id: str | None = None

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class PinnedObject:
    """One state of an object, as HEAD described it: what ranged GETs are pinned to."""

    ref: ObjectRef
    etag: str
    """As S3 sent it, quotes included: it goes back as it came in If-Match."""
    size: int
    version_id: str | None = None

    @property
    def version(self) -> str:
        """The version id where the bucket keeps versions, else the ETag."""
        return self.version_id or self.etag

    def identity(self) -> str:
        """Return 32 hex digits that name this state of this object, for files on disk."""
        parts = (self.ref.origin, self.ref.bucket, self.ref.key, self.etag, str(self.size))
        text = "\n".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def same_state(one: PinnedObject, other: PinnedObject) -> bool:
    """Tell whether two looks at an object saw the same bytes, as far as S3 tells."""
    return (one.etag, one.size) == (other.etag, other.size)


def cache_id(pinned: PinnedObject, piece_length: int) -> str:
    """Return the name that the pieces of one object, cut one way, are cached under."""
    return f"{pinned.identity()}-{piece_length}"


class Torrent:
    """A torrent that is served: verified metainfo and the pinned object behind it."""

    __slots__ = (
        "cache_id",
        "hashes",
        "info",
        "info_hash",
        "layout",
        "pinned",
        "rung",
        "short_v2_hash",
        "v2_hash",
    )

    def __init__(
        self, info: Info, pinned: PinnedObject, rung: str, hashes: KeptHashes | None = None
    ) -> None:
        self.info = info
        self.pinned = pinned
        self.rung = rung
        """The rung of the metainfo ladder that it came from."""
        self.layout: Layout = info.layout
        self.info_hash: InfoHash = info.info_hash
        self.cache_id = cache_id(pinned, info.layout.piece_length)
        v2 = info.v2 if hashes is not None else None
        self.hashes = hashes
        """What v2 clients ask for (BEP 52); None for a torrent that is served as v1 only."""
        self.v2_hash: bytes | None = v2.info_hash if v2 else None
        """The SHA-256 of info, whole, of a hybrid."""
        self.short_v2_hash: InfoHash | None = v2.short_hash if v2 else None
        """The same as v2 clients name it on the wire and to trackers."""

    @property
    def raw_info(self) -> bytes:
        """The info dictionary as found (BEP 9 sends it)."""
        return self.info.raw

    @property
    def private(self) -> bool:
        return self.info.private

    def piece_hash(self, index: int) -> bytes:
        """Return the SHA-1 of piece `index` (20 bytes)."""
        return self.info.piece_hash(index)


class State(StrEnum):
    """Where a publication stands; the values are those of `state` in /status.json."""

    WAITING = "waiting"
    """Not reached yet, or tried and to be tried again; `reason` says why."""
    BUILDING = "building"
    SERVING = "serving"
    FAULTY = "faulty"
    """Served as far as the cache reaches: the origin gives wrong or no bytes."""
    DUPLICATE = "duplicate"
    """Same content and name as another publication; that one's torrent serves both."""
    FAILED = "failed"
    """Useless to try again before the object or the configuration changes."""


@dataclass(slots=True)
class Publication:
    """One configured object and what has become of it."""

    ref: ObjectRef
    private: bool = False
    state: State = State.WAITING
    reason: str | None = None
    progress: float | None = None
    """Share of the object hashed, 0 to 1, while building."""
    torrent: Torrent | None = None
    pinned: PinnedObject | None = None
    """The object as S3 described it last; None while it isn't known, or no longer."""

    def settle(self, state: State, reason: str | None = None) -> None:
        """Move to `state`; progress is over."""
        self.state = state
        self.reason = reason
        self.progress = None


@dataclass(slots=True)
class Catalog:
    """Every publication by object, and every live torrent by info hash: a hybrid by both."""

    publications: dict[ObjectRef, Publication] = field(default_factory=dict)
    _live: dict[InfoHash, Torrent] = field(default_factory=dict)
    _owner: dict[InfoHash, ObjectRef] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Publication]:
        return iter(self.publications.values())

    def add(self, publication: Publication) -> None:
        """Take a publication in; ValueError when the object already has one."""
        if publication.ref in self.publications:
            raise ValueError(f"{publication.ref} is published already")
        self.publications[publication.ref] = publication

    def remove(self, ref: ObjectRef) -> Torrent | None:
        """Forget a publication; return its torrent if that was live."""
        publication = self.publications.pop(ref)
        torrent = publication.torrent
        if torrent is None or self._owner.get(torrent.info_hash) != ref:
            return None
        self._drop(torrent)
        return torrent

    def serve(self, publication: Publication, torrent: Torrent) -> bool:
        """Make `torrent` live; False when another object's torrent already has its info hash."""
        publication.torrent, publication.pinned = torrent, torrent.pinned
        owner = self._owner.setdefault(torrent.info_hash, publication.ref)
        if owner != publication.ref:
            publication.settle(State.DUPLICATE, f"same content and name as {owner}")
            return False
        self._live[torrent.info_hash] = torrent
        if torrent.short_v2_hash is not None:
            self._live[torrent.short_v2_hash] = torrent
        publication.settle(State.SERVING)
        return True

    def retire(self, publication: Publication, reason: str) -> Torrent | None:
        """End a publication's torrent for `reason`; return it if it was live."""
        torrent, publication.torrent = publication.torrent, None
        publication.pinned = None
        publication.settle(State.WAITING, reason)
        if torrent is None or self._owner.get(torrent.info_hash) != publication.ref:
            return None
        self._drop(torrent)
        return torrent

    def _drop(self, torrent: Torrent) -> None:
        del self._owner[torrent.info_hash]
        live = self._live.pop(torrent.info_hash)
        if live.short_v2_hash is not None:
            del self._live[live.short_v2_hash]

    def by_hash(self, info_hash: bytes) -> Torrent | None:
        """Return the live torrent of a v1 info hash, or of a v2 one cut to 20 bytes."""
        return self._live.get(info_hash)  # type: ignore[call-overload, no-any-return]

    def owner(self, torrent: Torrent) -> Publication | None:
        """Return the publication that keeps a live torrent."""
        ref = self._owner.get(torrent.info_hash)
        return self.publications.get(ref) if ref is not None else None

    def by_name(self, bucket: str, key: str) -> Publication | None:
        """Return the publication of BUCKET/KEY; the unversioned one where there are several."""
        found = None
        for publication in self.publications.values():
            ref = publication.ref
            if ref.bucket == bucket and ref.key == key:
                if ref.version_id is None:
                    return publication
                found = found or publication
        return found
