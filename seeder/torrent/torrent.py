"""A torrent that is served: its metainfo, and the objects behind it. No I/O."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seeder.errors import SeederError
from seeder.torrent.info import Info, InfoHash, Outline
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import KeptHashes
from seeder.torrent.objects import (
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    Section,
    cache_id,
    sections_of,
)
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
