"""What the disk tier does to its directory, as plain functions for threads.

`<root>/<cache_id>/<index // 256>/<index>` is one piece; `<root>/writing.tmp` is the one that is
being written, and `<root>/lock` keeps a second process out. All functions raise OSError.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from seeder.cache.memory import Key, Piece
from seeder.files import replace_file
from seeder.torrent.layout import sha1

_TEMPORARY = "writing.tmp"
_CACHE_ID = re.compile(r"[0-9a-f]{32}-[1-9][0-9]*", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_PIECES_A_DIRECTORY = 256

Read: TypeAlias = tuple[int, Sequence[memoryview]]
"""An offset in a file, and the buffers to fill from there on, 1024 at most."""


def check_cache_id(cache_id: str) -> None:
    """Raise ValueError unless `cache_id` is 32 hex digits, a hyphen and a piece length."""
    if not _CACHE_ID.fullmatch(cache_id):
        raise ValueError(f"not a cache id: {cache_id!r}")


def piece_path(root: str, key: Key) -> str:
    """Return where a piece is, or would be."""
    return f"{root}/{key[0]}/{key[1] // _PIECES_A_DIRECTORY}/{key[1]}"


def remove_leftover(root: str) -> None:
    """Unlink the temporary file that a killed process may have left."""
    with suppress(FileNotFoundError):
        os.unlink(f"{root}/{_TEMPORARY}")


def try_writing(root: str) -> None:
    """Create and unlink an empty file."""
    temporary = f"{root}/{_TEMPORARY}"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(temporary)


def scan(root: str) -> tuple[list[tuple[Key, int]], int]:
    """Return every piece with its size, oldest mtime first, and how many bad ones were unlinked.

    A file is bad if its piece can't have its size. One that isn't named like a piece isn't ours,
    and is left alone.
    """
    found: list[tuple[int, Key, int]] = []
    bad: list[Key] = []
    for cache_id in _entries(root, _CACHE_ID, directories=True):
        piece_length = int(cache_id.name.rpartition("-")[2])
        for group in _entries(cache_id.path, _NUMBER, directories=True):
            for file in _entries(group.path, _NUMBER, directories=False):
                key = (cache_id.name, int(file.name))
                if file.path != piece_path(root, key):
                    continue
                stat = file.stat(follow_symlinks=False)
                if 0 < stat.st_size <= piece_length:
                    found.append((stat.st_mtime_ns, key, stat.st_size))
                else:
                    bad.append(key)
    for key in bad:
        unlink_piece(root, key)
    found.sort()
    return [(key, size) for _, key, size in found], len(bad)


def read_piece(path: str, size: int, digest: bytes | None) -> Piece | None:
    """Return the whole file; None if it has another size, or not the hash `digest` (if given)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_size != size:
            return None
        piece = os.read(descriptor, size)
        while len(piece) < size and (more := os.read(descriptor, size - len(piece))):
            piece += more
        if len(piece) != size:
            return None
        if digest is not None and sha1(piece) != digest:
            return None
        with suppress(OSError):
            # The next start takes its order from here.
            os.utime(descriptor)
        return piece
    finally:
        os.close(descriptor)


def read_cached(path: str, reads: Sequence[Read]) -> bool:
    """Fill the buffers from the page cache; False if a part of it would have to be waited for.

    Where the file system can't tell, OSError with EOPNOTSUPP.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        for offset, buffers in reads:
            if os.preadv(descriptor, buffers, offset, os.RWF_NOWAIT) != sum(map(len, buffers)):
                return False
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def renew(root: str, keys: Iterable[Key]) -> None:
    """Make these files the newest, in this order; the next start takes its order from them."""
    # The time that the system gives to files is too coarse to tell them apart.
    for now, key in enumerate(keys, time.time_ns()):
        with suppress(FileNotFoundError):
            os.utime(piece_path(root, key), ns=(now, now))


def change(
    root: str, doomed: Sequence[Key], pieces: Sequence[tuple[Key, Piece]]
) -> tuple[int, int, OSError | None]:
    """Unlink, then write; return how many were unlinked and written, and what stopped it."""
    unlinked = written = 0
    try:
        for victim in doomed:
            unlink_piece(root, victim)
            unlinked += 1
        for key, piece in pieces:
            write_piece(root, key, piece)
            written += 1
    except OSError as error:
        return unlinked, written, error
    return unlinked, written, None


def unlink_piece(root: str, key: Key) -> None:
    """Remove a piece, and its directories if they are empty; nothing if it isn't there."""
    path = piece_path(root, key)
    with suppress(FileNotFoundError):
        os.unlink(path)
    _remove_empty_directories(path)


def write_piece(root: str, key: Key, piece: Piece) -> None:
    """Write the temporary file and rename it; a failure leaves neither of the two."""
    path = piece_path(root, key)
    try:
        replace_file(
            path,
            piece,
            # Not synced: the first read after a start checks the hash, and S3 has the piece still.
            durable=False,
            # The same for all pieces, so that the next start finds and removes a leftover.
            temporary=f"{root}/{_TEMPORARY}",
            mode=0o600,
            directory_mode=0o700,
        )
    except OSError:
        _remove_empty_directories(path)
        raise


def _remove_empty_directories(path: str) -> None:
    group = os.path.dirname(path)
    with suppress(OSError):
        # Both fail unless they are empty.
        os.rmdir(group)
        os.rmdir(os.path.dirname(group))


def _entries(path: str, names: re.Pattern[str], *, directories: bool) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if names.fullmatch(entry.name) and (
                entry.is_dir(follow_symlinks=False)
                if directories
                else entry.is_file(follow_symlinks=False)
            ):
                yield entry
