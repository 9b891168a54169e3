"""Objects of S3: their names, their pinned states, and where their bytes lie in a torrent.

`Purpose` and `Meter` say what a request to S3 is for and what counts it. They stand here since
`seeder.s3` and `seeder.ledger` both need them, and neither imports the other.

No I/O.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self, TypeAlias

from seeder.torrent.layout import Layout

_PUBLISHED_SHA256 = "x-amz-meta-sha256"
"""Where publishers put it, since S3 keeps none of what is uploaded in parts."""
_SHA256 = re.compile("[0-9a-f]{64}")

Purpose: TypeAlias = Literal["metainfo", "hashing", "pieces"]
"""What a request to S3 is for."""


class Meter(Protocol):
    """Counts what requests to S3 cost, for one object or for all."""

    def origin_request(self, purpose: Purpose) -> None: ...

    def origin_received(self, purpose: Purpose, count: int) -> None: ...

    def requester_charged(self) -> None: ...


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
class Description:
    """What S3 tells of an object beside its bytes, for those who get it from us."""

    modified: int | None = None
    """Last-Modified in Unix seconds; None where S3 doesn't tell."""
    headers: tuple[tuple[str, str], ...] = ()
    """The headers that its publisher gave it: names in lower case, values that fit in a line."""
    sha256: str | None = None
    """The SHA-256 of all its bytes that S3 checked and keeps, 64 hexadecimal digits; else None."""

    @property
    def digest(self) -> tuple[str, Literal["s3", "publisher"]] | tuple[None, None]:
        """The SHA-256 of all its bytes, and who says so: S3, or else its publisher in metadata."""
        if self.sha256 is not None:
            return self.sha256, "s3"
        told = dict(self.headers).get(_PUBLISHED_SHA256, "").lower()
        return (told, "publisher") if _SHA256.fullmatch(told) else (None, None)


@dataclass(frozen=True, slots=True)
class PinnedObject:
    """One state of an object, as HEAD described it: what ranged GETs are pinned to."""

    ref: ObjectRef
    etag: str
    """As S3 sent it, quotes included; it goes back unchanged in If-Match."""
    size: int
    version_id: str | None = None
    description: Description | None = field(default=None, compare=False)
    """None where S3 wasn't asked. It may change while the bytes stay: it makes no other state."""

    @property
    def version(self) -> str:
        """The version id where the bucket keeps versions, else the ETag."""
        return self.version_id or self.etag

    @property
    def tag(self) -> str:
        """What the ETag says, without quotes and without what makes it weak."""
        return opaque(self.etag)

    @property
    def strong_etag(self) -> str:
        """The ETag in its quotes without what makes it weak, which a proxy may have added."""
        return self.etag.removeprefix("W/")

    def identity(self) -> str:
        """Return 32 hex digits that name this state of this object, for files on disk."""
        ref = self.ref
        parts = [ref.origin, ref.bucket, ref.key, self.strong_etag, str(self.size)]
        if self.ref.version_id is not None:
            # Two versions may have one ETag and size, and other bytes.
            parts.append(self.ref.version_id)
        text = "\n".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class PinnedBundle(PinnedObject):
    """One state of all the objects below a prefix, which is the key of `ref`.

    `size` is the sum of the members' sizes, and the ETag is a hash of their states.
    """

    members: tuple[PinnedObject, ...] = ()
    """Sorted by key."""

    @classmethod
    def of(cls, ref: ObjectRef, members: Sequence[PinnedObject]) -> Self:
        """Return the bundle of `members`, which may come in any order."""
        ordered = tuple(sorted(members, key=lambda member: member.ref.key))
        states = "".join(member.identity() for member in ordered)
        etag = f'"{hashlib.sha256(states.encode()).hexdigest()[:32]}"'
        return cls(ref, etag, sum(member.size for member in ordered), members=ordered)


def member_dates(bundle: PinnedBundle) -> list[int | None]:
    """Return when each object of a bundle changed last, in Unix seconds, as far as it is known."""
    told = (each.description for each in bundle.members)
    return [None if each is None else each.modified for each in told]


def described_by(old: PinnedObject, new: PinnedObject) -> PinnedObject:
    """Return a state as it was pinned, with what S3 tells of it now beside its bytes."""
    if isinstance(new, PinnedBundle):
        return new  # of the same objects; to change each of the old ones would take long
    return replace(old, description=new.description)


def told_alike(one: PinnedObject, other: PinnedObject) -> bool:
    """Tell whether S3 told the same of a state twice, beside its bytes."""
    if isinstance(one, PinnedBundle) and isinstance(other, PinnedBundle):
        return member_dates(one) == member_dates(other)
    return one.description == other.description


def same_state(one: PinnedObject, other: PinnedObject) -> bool:
    """Tell whether two answers about an object describe the same bytes, by ETag and size.

    By weak comparison (RFC 9110, 8.8.3.2): what makes an ETag weak is a proxy, not other bytes.
    """
    return (one.tag, one.size) == (other.tag, other.size)


def opaque(etag: str) -> str:
    """Return an ETag without its quotes and without the W/ of a weak one."""
    return etag.removeprefix("W/").strip('"')


def still_there(old: PinnedObject, new: PinnedObject) -> bool:
    """Tell whether every object of an old bundle is in a new one as it was."""
    if not isinstance(old, PinnedBundle) or not isinstance(new, PinnedBundle):
        return False
    return not _gone(old, new)


def _gone(old: PinnedBundle, new: PinnedBundle) -> set[str]:
    """Return the identities of an old bundle's states that a new one doesn't have."""
    return {each.identity() for each in old.members} - {each.identity() for each in new.members}


def may_be_equal(old: PinnedObject, new: PinnedObject) -> bool:
    """Tell whether two states may have the same bytes: they are of the same keys and sizes."""
    if isinstance(old, PinnedBundle) and isinstance(new, PinnedBundle):
        shapes = ([(each.ref, each.size) for each in bundle.members] for bundle in (old, new))
        return next(shapes) == next(shapes)
    return old.size == new.size


def changed_sections(torrent_sections: "Sequence[Section]", new: PinnedObject) -> frozenset[str]:
    """Return the cache ids of the sections whose objects have another state in `new`."""
    now = new.members if isinstance(new, PinnedBundle) else (new,)
    there = {each.identity() for each in now}
    return frozenset(
        each.cache_id for each in torrent_sections if each.pinned.identity() not in there
    )


def cache_id(pinned: PinnedObject, piece_length: int) -> str:
    """Return the name under which pieces of this length of an object are cached."""
    return f"{pinned.identity()}-{piece_length}"


def padded_cache_id(pinned: PinnedObject, piece_length: int) -> str:
    """Return the name for the pieces of an object whose last piece is filled up with zeros."""
    digest = hashlib.sha256(f"padded {pinned.identity()}".encode()).hexdigest()
    return f"{digest[:32]}-{piece_length}"


@dataclass(frozen=True, slots=True)
class Section:
    """The pieces of a torrent that hold one object, from piece `first` on."""

    pinned: PinnedObject
    cache_id: str
    first: int
    layout: Layout
    """Of the object alone, without padding."""

    @property
    def count(self) -> int:
        return self.layout.piece_count

    @property
    def stop(self) -> int:
        """The piece after the last one."""
        return self.first + self.count


def sections_of(pinned: PinnedObject, layout: Layout) -> tuple[Section, ...]:
    """Return where the pieces of each object are; an empty object has none.

    In a bundle each object starts a piece, and its last piece is filled up with zeros.
    """
    if not isinstance(pinned, PinnedBundle):
        return (Section(pinned, cache_id(pinned, layout.piece_length), 0, layout),)
    sections: list[Section] = []
    first = 0
    for member in pinned.members:
        if member.size:
            name = padded_cache_id(member, layout.piece_length)
            section = Section(member, name, first, Layout(member.size, layout.piece_length))
            sections.append(section)
            first = section.stop
    return tuple(sections)
