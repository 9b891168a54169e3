"""Hashing objects piece by piece, each byte read once by parallel ranged GETs.

A GET brings whole pieces of one object, 8 MiB at most (one piece, if that is larger). Their hashes
go into a journal before they themselves go into the cache, so that a build that was killed goes on
where it stopped: what is in the journal is never read again for hashing. The leaves of a hybrid's
Merkle tree go to disk before either. The pieces are kept because they were paid for, and the first
peers will ask for them.
"""

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import trio

from seeder.cache.memory import Piece
from seeder.cache.pieces import PieceCache
from seeder.cache.reading import runs
from seeder.errors import AccessDenied, BudgetSpent, MetainfoError, ObjectChanged, ObjectMissing
from seeder.metainfo.journal import HashJournal
from seeder.metainfo.trees import TreeBuilder
from seeder.metainfo.whole import EtagMeaning, WholeDigest
from seeder.metainfo.workers import do_all
from seeder.s3.answers import label
from seeder.s3.client import S3Origin
from seeder.torrent.bundle import padded
from seeder.torrent.info import Info
from seeder.torrent.layout import SHA1_LENGTH, Layout, sha1
from seeder.torrent.merkle import NODE_LENGTH
from seeder.torrent.objects import (
    Meter,
    PinnedBundle,
    PinnedObject,
    Section,
    cache_id,
    sections_of,
)
from seeder.torrent.torrent import Torrent
from seeder.units import MIB, ByteRange

_LOG = logging.getLogger(__name__)

LARGEST_RANGE = 8 * MIB
"""S3 gives its best rate from ranges of 8 to 16 MiB."""
PARALLEL_READS = 8
CHECKED_AT_A_TIME = 64
"""Pieces whose leaves on disk are checked by one call of a thread: a stop waits for that."""
_LOOKED_UP_AT_A_TIME = 16 * 1024
"""Pieces that are looked for in the journal without a pause: a multiple of those of one GET."""
MOST_LOOKS = 3
"""How many times an object is read whose bytes aren't what its ETag says."""
_BUNDLE_WIDTH = 20
"""Bytes of a piece's number in the journal of a bundle: 16 name the state of its object."""
_OF_ONE_OBJECT = (AccessDenied, ObjectChanged, ObjectMissing)
"""Errors that say nothing of the other objects in a bundle."""

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes hashed so far, and with the object's size."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive pieces of a section, read by one GET."""

    numbers: range
    """The numbers of all pieces of the section in the journal."""
    first: int
    """The first piece's index within the section."""
    count: int


class _Progress:
    """Tells `progress` how many of `size` bytes are hashed: `done` at first."""

    def __init__(self, progress: OnProgress, done: int, size: int) -> None:
        self._progress = progress
        self._done = done
        self._size = size
        progress(done, size)

    def add(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._size)


def journal_numbers(pinned: PinnedObject, section: Section) -> range:
    """Return the numbers under which a journal has the pieces of a section of `pinned`.

    In a bundle they follow from the state of the section's object alone, so that hashes stay of use
    when other objects come or go.
    """
    base = int(section.pinned.identity(), 16) << 32 if isinstance(pinned, PinnedBundle) else 0
    return range(base, base + section.count)


def known_hashes(pinned: PinnedObject, info: Info) -> dict[int, bytes]:
    """Return the hashes in the info of an earlier state, by their numbers in a journal."""
    return {
        number: info.piece_hash(index)
        for section in sections_of(pinned, info.layout)
        for index, number in enumerate(journal_numbers(pinned, section), section.first)
    }


def _without(digests: Mapping[int, bytes], ranges: Iterable[range]) -> dict[int, bytes]:
    """Return the digests but for those whose numbers are in one of the ranges."""
    left = dict(digests)
    for numbers in ranges:
        for number in numbers:
            left.pop(number, None)
    return left


class LastTorrent(Protocol):
    """The torrent of an object's last state, which may have the bytes of the new one.

    It is served while that is hashed, or has ended of late.
    """

    @property
    def cache_ids(self) -> frozenset[str]:
        """The names of pieces that are of use as long as it may have the same bytes."""

    @property
    def layout(self) -> Layout:
        """How it is cut into pieces."""

    @property
    def hybrid(self) -> bool:
        """Whether it is served to v2 clients as well."""

    async def fetch_info(self) -> Info | None:
        """Return its info dictionary; None if that can't be read any more."""

    async def compare(self, section: Section, first: int, digests: list[bytes]) -> None:
        """Take note of the SHA-1s of pieces from `first` of the section on, as they are now."""


class Hasher:
    """Reads an object, or the objects of a bundle, once; returns the hash of each piece.

    `tree` gets the leaf hashes of a hybrid (BEP 52), which is of one object. An object whose bytes
    haven't the MD5 in its ETag is read once more, in other ranges; what `etags` says is learnt from
    that.
    """

    def __init__(
        self,
        origin: S3Origin,
        cache: PieceCache[Torrent],
        meter: Meter,
        pinned: PinnedObject,
        layout: Layout,
        *,
        etags: EtagMeaning,
        tree: TreeBuilder | None = None,
        former: LastTorrent | None = None,
    ) -> None:
        self._origin = origin
        self._cache = cache
        self._meter = meter
        self._pinned = pinned
        self._layout = layout
        self._etags = etags
        self._tree = tree
        self._former = former
        self._largest = LARGEST_RANGE
        """Bytes that a GET brings at most; one piece, if that is larger."""
        self._sections = {
            journal_numbers(pinned, each): each for each in sections_of(pinned, layout)
        }

    async def run(
        self, path: Path, progress: OnProgress, earlier: Mapping[int, bytes] | None = None
    ) -> bytes:
        """Return the concatenated SHA-1s (20 bytes a piece); `path` is the journal.

        Pieces whose numbers are in `earlier` aren't read. OriginError, BudgetSpent, StorageError;
        what was hashed before that stays in the journal. MetainfoError if S3 gives other bytes each
        time.
        """
        journal = self.journal(path)
        digests = await self._known(journal, earlier or {})
        looks: dict[range, list[tuple[bytes, ...]]] = {}
        """What the pieces of each doubtful section have been."""
        while doubtful := await self._hash(journal, digests, earlier or {}, progress):
            # First of all: what is in doubt mustn't be believed after an error or a crash.
            await trio.to_thread.run_sync(journal.start, _without(digests, doubtful))
            again = [numbers for numbers in doubtful if await self._look(numbers, digests, looks)]
            if not again:
                break
            for numbers in again:
                self._cache.discard(self._sections[numbers].cache_id)
            digests = await trio.to_thread.run_sync(_without, digests, again)
            # What comes wrong may depend on the ranges that are read.
            self._largest = max(1, self._largest // 2)
            if self._tree is not None:
                await trio.to_thread.run_sync(self._tree.start)
        return b"".join(
            digests[number][:SHA1_LENGTH] for numbers in self._sections for number in numbers
        )

    async def _look(
        self,
        numbers: range,
        digests: Mapping[int, bytes],
        looks: dict[range, list[tuple[bytes, ...]]],
    ) -> bool:
        """Tell whether a section that hasn't the MD5 in its ETag is to be read again."""
        pinned = self._sections[numbers].pinned
        look = tuple(digests[number] for number in numbers)
        before = looks.setdefault(numbers, [])
        if not before and not await self._origin.is_md5(pinned, self._meter):
            return False
        if before and look == before[-1]:
            self._etags.misfits()
            _LOG.info("%s: its ETag is not the MD5 of its bytes, however they are read", pinned.ref)
            return False
        if len(before) == MOST_LOOKS - 1:
            raise MetainfoError(f"{label(pinned.ref)}: S3 gives other bytes each time it is read")
        before.append(look)
        _LOG.warning("%s: its bytes haven't the MD5 in its ETag; they are read again", pinned.ref)
        return True

    async def _hash(
        self,
        journal: HashJournal,
        digests: dict[int, bytes],
        earlier: Container[int],
        progress: OnProgress,
    ) -> list[range]:
        """Add the digests that are missing; return the sections that haven't the MD5 they should.

        The sections are named by the numbers of their pieces.
        """
        await trio.to_thread.run_sync(journal.start, digests)
        size = await trio.to_thread.run_sync(self._size_of, digests)
        done = _Progress(progress, size, self._pinned.size)
        known = dict(digests)
        wholes = await trio.to_thread.run_sync(self._wholes, known, earlier)

        async def read(run: _Run) -> None:
            whole = wholes.get(run.numbers)
            try:
                found, size = await self._read_run(run, journal, whole)
            except BaseException:
                if whole is not None:
                    whole.give_up()
                raise
            digests.update(enumerate(found, run.numbers.start + run.first))
            done.add(size)

        # After one of these errors the other workers go on: what they read is of use all the same.
        harmless = _OF_ONE_OBJECT if isinstance(self._pinned, PinnedBundle) else ()
        await do_all(
            self._missing(known),
            read,
            workers=PARALLEL_READS,
            harmless=(BudgetSpent, *harmless),
        )
        for whole in wholes.values():
            await whole.finish()
            if whole.fits:
                self._etags.fits()
        return [numbers for numbers, whole in wholes.items() if whole.differs]

    def _wholes(
        self, known: Mapping[int, bytes], earlier: Container[int]
    ) -> dict[range, WholeDigest]:
        """Return what checks sections by their ETags, where that may be, and they are new."""
        return {
            numbers: self._whole(numbers, section, expected, known)
            for numbers, section in self._sections.items()
            if (expected := self._etags.md5_of(section.pinned)) is not None
            and not all(number in earlier for number in numbers)
        }

    def _whole(
        self, numbers: range, section: Section, expected: bytes, known: Mapping[int, bytes]
    ) -> WholeDigest:
        is_padded = section.pinned is not self._pinned

        async def recall(index: int) -> Piece | None:
            size = self._layout.piece_length if is_padded else section.layout.piece_size(index)
            digest = known[numbers[index]][:SHA1_LENGTH]
            return await self._cache.recall(section.cache_id, index, size, digest)

        return WholeDigest(expected, section.layout, recall, lambda index: numbers[index] in known)

    def journal(self, path: Path) -> HashJournal:
        """Return the journal of this hashing at `path`."""
        length = self._layout.piece_length
        if isinstance(self._pinned, PinnedBundle):
            return HashJournal(path, f"bundle-{length}", _BUNDLE_WIDTH)
        name = cache_id(self._pinned, length)
        if self._tree is None:
            return HashJournal(path, name)
        digest_length = SHA1_LENGTH + NODE_LENGTH
        return HashJournal(path, f"{name} and tree", digest_length=digest_length)

    async def _known(self, journal: HashJournal, earlier: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the digests that needn't be made again, by number, in the order of the pieces."""
        digests = await trio.to_thread.run_sync(self._noted, journal, earlier)
        return digests if self._tree is None else await self._with_leaves(self._tree, digests)

    def _noted(self, journal: HashJournal, earlier: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the digests in the journal or in `earlier`, in the order of the pieces."""
        known = {**earlier, **journal.load()}
        return {
            number: known[number]
            for numbers in self._sections
            for number in numbers
            if number in known
        }

    def _size_of(self, digests: Container[int]) -> int:
        """Return the bytes of the pieces whose digests are there."""
        return sum(
            section.layout.piece_size(index)
            for numbers, section in self._sections.items()
            for index, number in enumerate(numbers)
            if number in digests
        )

    async def _with_leaves(self, tree: TreeBuilder, hashes: dict[int, bytes]) -> dict[int, bytes]:
        """Return the hashes whose leaves are on disk as well; without any, begin the file anew."""
        if not hashes:
            await trio.to_thread.run_sync(tree.start)
        noted = [(index, digest[SHA1_LENGTH:]) for index, digest in hashes.items()]
        intact: set[int] = set()
        for at in range(0, len(noted), CHECKED_AT_A_TIME):
            intact |= await trio.to_thread.run_sync(tree.intact, noted[at : at + CHECKED_AT_A_TIME])
        return {index: digest for index, digest in hashes.items() if index in intact}

    def _missing(self, known: Container[int]) -> Iterator[_Run]:
        """Yield what is still to be read."""
        for numbers, section in self._sections.items():
            most = self._largest // section.layout.piece_length
            for start in range(0, len(numbers), _LOOKED_UP_AT_A_TIME):
                some = range(start, min(start + _LOOKED_UP_AT_A_TIME, len(numbers)))
                missing = [index for index in some if numbers[index] not in known]
                for first, count in runs(missing, most):
                    yield _Run(numbers, first, count)

    async def _read_run(
        self, run: _Run, journal: HashJournal, whole: WholeDigest | None
    ) -> tuple[list[bytes], int]:
        """Read pieces, note their digests, keep them; return the digests and the bytes read."""
        section, length = self._sections[run.numbers], self._layout.piece_length
        start = run.first * length
        stop = section.layout.piece_range(run.first + run.count - 1).stop
        pieces: list[bytearray] = []
        await self._origin.read_parts(
            section.pinned,
            ByteRange(start, stop - start),
            self._meter,
            "hashing",
            part_length=length,
            take=pieces.append,
        )
        if section.pinned is not self._pinned:
            pieces[-1] = padded(pieces[-1], length)
        digests = await trio.to_thread.run_sync(digest_pieces, run.first, pieces, self._tree)
        journal.append(run.numbers.start + run.first, digests)
        if self._former is not None:
            hashes = [digest[:SHA1_LENGTH] for digest in digests]
            await self._former.compare(section, run.first, hashes)
        for index, piece in enumerate(pieces, run.first):
            await self._cache.keep(section.cache_id, index, piece)
        if whole is not None:
            await whole.add(run.first, pieces)
        return digests, stop - start


def digest_pieces(first: int, pieces: list[bytearray], tree: TreeBuilder | None) -> list[bytes]:
    """Return what the journal notes of consecutive pieces; their leaves go to `tree`."""
    digests = [sha1(piece) for piece in pieces]
    if tree is None:
        return digests
    roots = tree.add(first, pieces)
    return [digest + root for digest, root in zip(digests, roots, strict=True)]
