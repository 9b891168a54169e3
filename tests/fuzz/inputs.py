"""Inputs of the targets: seeds, corpus, blown-up ones; and the check of one input."""

import atexit
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CORPUS = Path(__file__).parent / "corpus"
FINDINGS = Path(__file__).parent / "findings"
LONGEST = 64 * 1024
"""Bytes of an input that the fuzzer makes."""
BLOWN_UP = 256 * 1024
"""Bytes of an input that is made longer, to see that no work grows faster than its input."""
MOST_SECONDS = 2.0
"""CPU seconds that an input may take; bencode of 256 KiB takes the longest, a quarter of it."""
MOST_MEMORY = 200 * 2**20
"""Bytes by which one input may raise the most memory that the process ever had."""

Run: TypeAlias = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """A part of the seeder that takes bytes, and inputs to begin with."""

    name: str
    run: Run
    seeds: tuple[bytes, ...]
    blown_up: int = BLOWN_UP
    """Bytes of the longest input; shorter where each byte is a step of its own."""

    @property
    def corpus(self) -> Path:
        """Where the fuzzer's finds are kept."""
        return CORPUS / self.name


TARGETS: dict[str, Target] = {}
"""By name; `tests.fuzz.targets` fills it."""


class TooMuch(AssertionError):
    """An input took too long, or too much memory."""


def target(*seeds: bytes, blown_up: int = BLOWN_UP) -> Callable[[Run], Run]:
    """Make a function a target of its own name, without the underscore behind it."""

    def add(run: Run) -> Run:
        name = run.__name__.rstrip("_")
        TARGETS[name] = Target(name, run, seeds, blown_up)
        return run

    return add


def scratch() -> Path:
    """Make a directory for a target's files, in memory if that can be had and TMPDIR isn't set.

    It goes when the process that made it ends, not when one does that was forked from it. libFuzzer
    ends a process without that: who starts it sets TMPDIR, and removes what is there.
    """
    in_memory = "TMPDIR" not in os.environ and Path("/dev/shm").is_dir()
    made = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if in_memory else None))
    maker = os.getpid()

    def remove() -> None:
        if os.getpid() == maker:
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)
    return made


def check(tried: Target, data: bytes, *, most_seconds: float = MOST_SECONDS) -> None:
    """Give a target one input; TooMuch if it took too much, or what the target raised."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    tried.run(data)
    seconds = time.process_time() - started
    if seconds > most_seconds:
        # Once more: the first time may have imported, compiled or collected something.
        started = time.process_time()
        tried.run(data)
        seconds = min(seconds, time.process_time() - started)
        if seconds > most_seconds:
            raise TooMuch(f"{len(data)} bytes took {seconds:.1f} s")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
    if grown > MOST_MEMORY:
        raise TooMuch(f"{len(data)} bytes took {grown >> 20} MiB")


def kept_inputs(tried: Target) -> Iterator[bytes]:
    """Yield the seeds and the corpus."""
    yield from tried.seeds
    for path in sorted(tried.corpus.glob("*")):
        yield path.read_bytes()


def blown_up(tried: Target, inputs: Iterable[bytes], rng: random.Random) -> Iterator[bytes]:
    """Yield two long inputs for each: some of its bytes, or some at two places, repeated."""
    for data in inputs:
        if data:
            yield _repeated(data, tried.blown_up, rng)
            half = (len(data) + tried.blown_up) // 2
            yield _repeated(_repeated(data, half, rng), tried.blown_up, rng)


def _repeated(data: bytes, size: int, rng: random.Random) -> bytes:
    """Return the input with some of its bytes repeated where they stand, until it has a size."""
    start = rng.randrange(len(data))
    stop = start + min(len(data) - start, 1 << rng.randrange(7))
    repeated = (size - len(data)) // (stop - start)
    return data[:start] + data[start:stop] * max(1, repeated) + data[stop:]


class Choices:
    """Takes numbers off the front of an input; zeros once it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """Return an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def flag(self) -> bool:
        return bool(self.number() & 1)

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def text(self) -> bytes:
        """Return bytes behind a length of their own, one byte of it."""
        return self.take(self.number())

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data))


def chunks(data: bytes, rng: random.Random, *, most: int = 40) -> list[bytes]:
    """Cut bytes into at most `most` + 1 parts at random places, some of them empty."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most + 1)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def damaged(right: bytes, told: bytes) -> bytes:
    """Return bytes with some changed, three bytes of `told` for each, or cut off."""
    wrong = bytearray(right)
    choices = Choices(told)
    while choices:
        place = choices.number(2)
        if place == 0xFFFF:
            del wrong[choices.number(2) :]
        elif wrong:
            wrong[place % len(wrong)] ^= choices.number()
    return bytes(wrong)
