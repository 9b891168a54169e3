"""A process that fills a cache until it is killed; run with `python -m tests.cache.victim`.

Arguments: the directory, and when to die by SIGKILL: "later" (somebody else does it), or with the
fourth temporary file "half-written" or "whole", or "adopting", when ten pieces have been fetched
and the fourth gets another name. It prints one line for every piece fetched.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.cache.fakes import FakeTorrent, running

PIECES = 40
PIECE_LENGTH = 50_000
DISK = 25 * PIECE_LENGTH
ROOT = Path(__file__).parents[2]


def torrent() -> FakeTorrent:
    """The torrent whose pieces are fetched, round and round."""
    return FakeTorrent("victim", size=PIECES * PIECE_LENGTH - 1, piece_length=PIECE_LENGTH)


def kill_after(directory: Path, lines: int, when: str = "later") -> None:
    """Let a process fill `directory` and kill it when it has printed so many lines."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cache.victim", str(directory), when],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as victim:
        assert victim.stdout is not None
        for _ in range(lines):
            assert victim.stdout.readline()
        if when == "later":
            victim.kill()
        else:
            victim.stdout.read()
    assert victim.returncode == -signal.SIGKILL


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_half_written() -> None:
    write, writes = os.write, 0

    def fourth(descriptor: int, view: memoryview) -> int:
        nonlocal writes
        writes += 1
        if writes == 4:
            write(descriptor, view[:1000])
            _die()
        return write(descriptor, view)

    os.write = fourth  # type: ignore[assignment]


def _die_whole() -> None:
    replace, replaces = os.replace, 0

    def fourth(source: str, target: str) -> None:
        nonlocal replaces
        replaces += 1
        if replaces == 4:
            _die()
        replace(source, target)

    os.replace = fourth  # type: ignore[assignment]


def _die_renaming() -> None:
    rename, renames = os.rename, 0

    def fourth(source: str, target: str) -> None:
        nonlocal renames
        renames += 1
        if renames == 4:
            _die()
        rename(source, target)

    os.rename = fourth  # type: ignore[assignment]


async def _adopt(directory: Path) -> None:
    twin = FakeTorrent("twin", torrent().layout.size, PIECE_LENGTH)
    async with running(directory, memory=0, disk=DISK) as stand:
        for index in range(10):
            await stand.get(torrent(), index)
            await stand.idle()
            print(index, flush=True)
        await stand.cache.adopt(torrent().cache_id, twin.cache_id)


async def _fill(directory: Path) -> None:
    async with running(directory, memory=0, disk=DISK) as stand:
        while True:
            for index in range(PIECES):
                await stand.get(torrent(), index)
                print(index, flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "half-written":
        _die_half_written()
    elif sys.argv[2] == "whole":
        _die_whole()
    elif sys.argv[2] == "adopting":
        _die_renaming()
        trio.run(_adopt, Path(sys.argv[1]))
    trio.run(_fill, Path(sys.argv[1]))
