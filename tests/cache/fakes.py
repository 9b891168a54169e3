"""Torrents, a source and a directory for the cache's tests."""

import hashlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

import trio
import trio.testing

from seeder.cache.memory import Piece
from seeder.cache.pieces import PieceCache
from seeder.cache.reading import T
from seeder.errors import OriginError, SeederError
from seeder.torrent.layout import Layout

LONGEST_WAIT = 30.0
R = TypeVar("R")
A = TypeVarTuple("A")


@dataclass(frozen=True)
class Run:
    """Pieces that are kept under one name."""

    cache_id: str
    first: int
    count: int


class FakeTorrent:
    """A torrent whose bytes follow from its name; `size` bytes in pieces of `piece_length`."""

    def __init__(self, name: str = "a", size: int = 1000, piece_length: int = 100) -> None:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        self.cache_id = f"{digest}-{piece_length}"
        self.layout = Layout(size, piece_length)
        self.sections: tuple[Run, ...] = (Run(self.cache_id, 0, self.layout.piece_count),)
        self._name = name

    def __repr__(self) -> str:
        return f"FakeTorrent({self._name!r})"

    def piece(self, index: int) -> bytes:
        size = self.layout.piece_size(index)
        seed = hashlib.sha256(f"{self.cache_id}/{index}".encode()).digest()
        return (seed * (size // len(seed) + 1))[:size]

    def piece_hash(self, index: int) -> bytes:
        return hashlib.sha1(self.piece(index)).digest()

    def piece_key(self, index: int) -> tuple[str, int]:
        return self.cache_id, index

    def question_of(self, _: int) -> None:
        return None

    def run_stop(self, index: int) -> int:
        return self.layout.piece_count


Answer: TypeAlias = bytes | Exception


class FakeSource:
    """An origin that answers truly, unless told what to answer or to wait."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.gets: list[tuple[int, int]] = []
        self.running = 0
        self.answers: dict[int, list[Answer]] = {}
        self.gate: trio.Event | None = None
        """Waited for at the beginning of each GET."""
        self.gates: dict[int, trio.Event] = {}
        """Waited for before a piece comes."""

    async def read_pieces(
        self, torrent: FakeTorrent, first: int, count: int, take: Callable[[bytearray], None]
    ) -> None:
        indices = range(first, first + count)
        self.reads += indices
        self.gets.append((first, count))
        self.running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            await trio.lowlevel.checkpoint()
        finally:
            self.running -= 1
        for index in indices:
            if index in self.gates:
                await self.gates[index].wait()
            told = self.answers.get(index)
            answer = told.pop(0) if told else torrent.piece(index)
            if isinstance(answer, Exception):
                raise answer
            take(bytearray(answer))


@dataclass(frozen=True)
class Settings:
    directory: Path
    memory: int = 10_000
    disk: int = 10_000


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def get_piece(cache: PieceCache[T], torrent: T, index: int) -> Piece:
    """Wait for a piece and return it, or raise the error. Cancelled, the fetch goes on."""
    outcome: list[Piece | SeederError | None] = []
    settled = trio.Event()

    def waiter(_: int, piece: Piece | None, error: SeederError | None) -> None:
        outcome.append(piece if error is None else error)
        settled.set()

    cache.request(torrent, index, waiter)
    try:
        await settled.wait()
    finally:
        if not outcome:
            cache.forget(torrent, index, waiter)
    [found] = outcome
    if isinstance(found, SeederError):
        raise found
    assert found is not None
    return found


def pieces_on_disk(cache: PieceCache[Any], cache_id: str) -> frozenset[int]:
    """Return the pieces that have a file; one from an earlier run may still prove corrupt."""
    return cache._files.pieces_of(cache_id)


def evictions(cache: PieceCache[Any]) -> int:
    """Return how many pieces were evicted from either tier."""
    statistics = cache.statistics()
    return statistics.memory_evictions + statistics.disk_evictions


async def drop_pieces(cache: PieceCache[Any], cache_id: str) -> None:
    """Discard every piece, and wait until the files are unlinked, or the disk refuses."""
    cache.discard(cache_id)
    await wait_written(cache)


async def wait_written(cache: PieceCache[Any]) -> None:
    """Wait until the writer has nothing left to do, or the disk refuses it."""
    writer = cache._writer
    while True:
        # What a thread has ended must have been taken note of.
        await trio.testing.wait_all_tasks_blocked()
        if not writer._accepting or not (writer._work.is_set() or writer._thread.borrowed_tokens):
            return
        await trio.sleep(0.001)


@dataclass
class Stand:
    """A cache with everything around it that a test may turn."""

    settings: Settings
    source: FakeSource = field(default_factory=FakeSource)
    clock: Clock = field(default_factory=Clock)
    faults: list[tuple[FakeTorrent, OriginError]] = field(default_factory=list)
    recoveries: list[tuple[FakeTorrent, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = self.open(lambda torrent, error: self.faults.append((torrent, error)))

    def open(self, on_fault: Callable[[FakeTorrent, OriginError], None]) -> PieceCache[FakeTorrent]:
        """Return a new cache."""
        return PieceCache(
            self.source,
            self.settings.directory,
            memory=self.settings.memory,
            disk=self.settings.disk,
            on_fault=on_fault,
            on_recovery=lambda *recovered: self.recoveries.append(recovered),
            clock=self.clock,
        )

    async def get(self, torrent: FakeTorrent, index: int) -> Piece:
        return await get_piece(self.cache, torrent, index)

    def on_disk(self, cache_id: str) -> frozenset[int]:
        return pieces_on_disk(self.cache, cache_id)

    async def drop(self, cache_id: str) -> None:
        await drop_pieces(self.cache, cache_id)

    async def idle(self) -> None:
        """Wait until nothing is left to write or to unlink, or the disk refuses."""
        await wait_written(self.cache)


@asynccontextmanager
async def running(
    directory: Path, *, memory: int = 10_000, disk: int = 10_000
) -> AsyncIterator[Stand]:
    """A cache that runs inside the block, stopped and closed after it."""
    stand = Stand(Settings(directory, memory, disk))
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.cache.run)
        with trio.fail_after(LONGEST_WAIT):
            yield stand
        nursery.cancel_scope.cancel()


def piece_file(directory: Path, torrent: FakeTorrent, index: int) -> Path:
    return directory / torrent.cache_id / str(index // 256) / str(index)


def bytes_in(directory: Path) -> int:
    """The sizes of all files below, the temporary one included."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@contextmanager
def measured(directory: Path) -> Iterator[list[int]]:
    """Measure the directory at its fullest: whenever a whole temporary file is about to move."""
    replace, sizes = os.replace, []

    def measure(source: str, target: str) -> None:
        sizes.append(bytes_in(directory))
        replace(source, target)

    os.replace = measure  # type: ignore[assignment]
    try:
        yield sizes
    finally:
        os.replace = replace


class ThreadGate:
    """A function that waits in its thread until it is let through."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._entered = threading.Event()
        self._open = threading.Event()
        self.calls = 0

    def __call__(self, *args: object) -> Any:
        self.calls += 1
        self._entered.set()
        assert self._open.wait(LONGEST_WAIT)
        return self._function(*args)

    async def wait_entered(self) -> None:
        assert await trio.to_thread.run_sync(self._entered.wait, LONGEST_WAIT)

    def let_through(self) -> None:
        self._open.set()


@contextmanager
def gated(module: Any, name: str) -> Iterator[ThreadGate]:
    """Replace a function by one that waits; whatever waits at the end is let through."""
    function = getattr(module, name)
    gate = ThreadGate(function)
    setattr(module, name, gate)
    try:
        yield gate
    finally:
        setattr(module, name, function)
        gate.let_through()


Where: TypeAlias = tuple[FakeTorrent, int]


class Loop:
    """A cache that runs in a thread of its own, called from this one."""

    def __init__(self, directory: Path, memory: int, disk: int) -> None:
        self._options = directory, memory, disk
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._ready.wait(30)

    async def _main(self) -> None:
        directory, memory, disk = self._options
        self._stop = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        async with running(directory, memory=memory, disk=disk) as self.stand:
            self._ready.set()
            await self._stop.wait()

    def call(self, function: Callable[[Stand, *A], Awaitable[R]], *args: *A) -> R:
        async def call() -> R:
            result = await function(self.stand, *args)
            await self.stand.idle()
            return result

        return trio.from_thread.run(call, trio_token=self._token)

    def stop(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()


async def peek(stand: Stand, torrent: FakeTorrent, index: int) -> bytes | None:
    piece = stand.cache.peek(torrent, index)
    return None if piece is None else bytes(piece)


async def keep(stand: Stand, torrent: FakeTorrent, index: int) -> bool:
    return await stand.cache.keep(torrent.cache_id, index, torrent.piece(index))


async def drop(stand: Stand, torrent: FakeTorrent) -> None:
    await stand.drop(torrent.cache_id)
