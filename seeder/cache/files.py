"""What the disk tier does to its directory, as plain functions for threads.

`<root>/<cache_id>/<index // 256>/<index>` is one piece; `<root>/writing.tmp` is the one that is
being written, and `<root>/lock` keeps a second process out. All functions raise OSError.

An error may be of one file alone, or of the disk: `is_of_one_file` tells, and then only the piece
that met it does without.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from seeder.cache.memory import Key, Piece
from seeder.files import NotAFile, open_regular, remove_file, replace_file, set_aside
from seeder.files import try_writing as try_writing_to
from seeder.torrent.layout import sha1
from seeder.units import MIB, rounded_size

_TEMPORARY = "writing.tmp"
_OF_THE_DISK = frozenset({errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS})
"""Errors that the next file would meet as well."""
RESERVE = 64 * MIB
"""Bytes of a file system that pieces leave to others, such as the ledger; of a small one less."""
_RESERVED_PART = 32
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
    remove_file(f"{root}/{_TEMPORARY}")


def try_writing(root: str) -> None:
    """Create and unlink an empty file."""
    try_writing_to(f"{root}/{_TEMPORARY}", 0o600)


def is_of_one_file(root: str, error: OSError) -> bool:
    """Tell whether an error says nothing of other files: the directory takes one all the same."""
    return error.errno not in _OF_THE_DISK and _takes_files(root)


def _takes_files(root: str) -> bool:
    try:
        try_writing(root)
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Found:
    """What a scan found."""

    pieces: list[tuple[Key, int]] = field(default_factory=list)
    """Every piece with its size, oldest mtime first."""
    bad: int = 0
    """Files that were unlinked."""
    unread: list[OSError] = field(default_factory=list)
    """Why directories or files couldn't be looked at."""


def scan(root: str) -> Found:
    """Find every piece, and unlink the bad ones; OSError only if `root` itself can't be read.

    A file is bad if its piece can't have its size. One that isn't named like a piece isn't ours,
    and is left alone, as is whatever can't be read or unlinked.
    """
    result = Found()
    found: list[tuple[int, Key, int]] = []
    bad: list[Key] = []
    for cache_id in _entries(root, _CACHE_ID, directories=True):
        piece_length = int(cache_id.name.rpartition("-")[2])
        try:
            for group in _entries(cache_id.path, _NUMBER, directories=True):
                for file in _entries(group.path, _NUMBER, directories=False):
                    key = (cache_id.name, int(file.name))
                    if file.path != piece_path(root, key):
                        continue
                    status = file.stat(follow_symlinks=False)
                    if 0 < status.st_size <= piece_length:
                        found.append((status.st_mtime_ns, key, status.st_size))
                    else:
                        bad.append(key)
        except FileNotFoundError:
            # Somebody removes files while we look.
            continue
        except OSError as error:
            result.unread.append(error.with_traceback(None))
    for key in bad:
        try:
            unlink_piece(root, key)
        except OSError as error:
            result.unread.append(error.with_traceback(None))
        else:
            result.bad += 1
    found.sort()
    result.pieces = [(key, size) for _, key, size in found]
    return result


def read_piece(path: str, size: int, digest: bytes) -> tuple[Piece, int] | None:
    """Return the whole file and its mtime (ns); None if it has another size or hash, or is none."""
    try:
        descriptor = open_regular(path)
    except NotAFile:
        return None
    try:
        piece = _read_whole(descriptor, size)
        if piece is None or sha1(piece) != digest:
            return None
        with suppress(OSError):
            # The next start takes its order from here.
            os.utime(descriptor)
        return piece, os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def check_piece(path: str, size: int, digest: bytes) -> int | None:
    """Return the mtime (ns) of a file that has this size and hash, as if nobody had read it.

    None if it has others, or is no file.
    """
    try:
        descriptor = open_regular(path)
    except NotAFile:
        return None
    try:
        mtime = os.fstat(descriptor).st_mtime_ns
        had = _is_cached(descriptor)
        piece = _read_whole(descriptor, size)
        if not had:
            # It must not push out what peers ask for.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return mtime if piece is not None and sha1(piece) == digest else None
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, size: int) -> bytes | None:
    """Return all bytes of an open file; None if it hasn't `size`."""
    if os.fstat(descriptor).st_size != size:
        return None
    piece = os.read(descriptor, size)
    while len(piece) < size and (more := os.read(descriptor, size - len(piece))):
        piece += more
    return piece if len(piece) == size else None


def _is_cached(descriptor: int) -> bool:
    """Tell whether the page cache has the beginning of an open file."""
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def read_cached(path: str, reads: Sequence[Read], mtime: int) -> bool:
    """Fill the buffers from the page cache; False if a part of it would have to be waited for.

    False, too, if the file has another mtime (ns): somebody wrote to it. Where the file system
    can't tell what is cached, OSError with EOPNOTSUPP.
    """
    # Without a look at what it is: what is no file can't be read at an offset.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_mtime_ns != mtime:
            return False
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


@dataclass(slots=True)
class Changed:
    """What came of a change."""

    unlinked: list[Key] = field(default_factory=list)
    written: dict[Key, int] = field(default_factory=dict)
    """With the mtimes (ns) of the files."""
    refused: list[tuple[Key, OSError]] = field(default_factory=list)
    """Pieces that couldn't be unlinked or written, for reasons of their own."""
    error: OSError | None = None
    """Why the rest was left: the disk refuses."""


def change(root: str, doomed: Sequence[Key], pieces: Sequence[tuple[Key, Piece]]) -> Changed:
    """Unlink, then write, until the disk refuses."""
    changed = Changed()
    for victim in doomed:
        try:
            unlink_piece(root, victim)
        except OSError as error:
            # Of a disk that can be written, a file that can't be unlinked says nothing.
            alone = error.errno == errno.EIO and _takes_files(root)
            if not alone and not is_of_one_file(root, error):
                changed.error = error
                return changed
            changed.refused.append((victim, error))
        else:
            changed.unlinked.append(victim)
    for key, piece in pieces:
        try:
            _leave_room(root, len(piece))
            mtime = write_piece(root, key, piece)
        except OSError as error:
            if not is_of_one_file(root, error):
                changed.error = error
                return changed
            changed.refused.append((key, error))
        else:
            changed.written[key] = mtime
    return changed


def _leave_room(root: str, size: int) -> None:
    """Raise OSError if `size` bytes more would leave too little for others on the file system.

    Pieces can be had again, and what others keep there can't, such as the ledger: a cache that was
    given more than there is must not be what fills the disk.
    """
    try:
        found = os.statvfs(root)
    except OSError:
        return  # whoever writes there says what is wrong
    reserve = min(RESERVE, found.f_blocks * found.f_frsize // _RESERVED_PART)
    # Some file systems don't tell their size.
    if found.f_blocks and found.f_bavail * found.f_frsize < size + reserve:
        why = f"{os.strerror(errno.ENOSPC)} but {rounded_size(reserve)} for others"
        raise OSError(errno.ENOSPC, why, root)


def rename_pieces(root: str, moves: Iterable[tuple[Key, Key]]) -> list[tuple[Key, Key]]:
    """Rename pieces, as far as the disk lets us; return which of the moves were made."""
    moved: list[tuple[Key, Key]] = []
    for key, target in moves:
        path, place = piece_path(root, key), piece_path(root, target)
        try:
            _make_way(os.path.dirname(place))
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            os.rename(path, place)
        except OSError:
            continue  # it is read from S3 again
        _remove_empty_directories(path)
        moved.append((key, target))
    return moved


def unlink_piece(root: str, key: Key) -> None:
    """Remove a piece, and its directories if they are empty; nothing if it isn't there."""
    path = piece_path(root, key)
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)
    _remove_empty_directories(path)


def write_piece(root: str, key: Key, piece: Piece) -> int:
    """Write the temporary file, rename it and return its mtime (ns).

    A failure leaves neither of the two.
    """
    path = piece_path(root, key)
    _make_way(os.path.dirname(path))
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
        return os.lstat(path).st_mtime_ns
    except OSError:
        _remove_empty_directories(path)
        raise


def _make_way(group: str) -> None:
    """Set aside what has the name of one of a piece's directories: a file, or a link elsewhere."""
    for directory in (os.path.dirname(group), group):
        try:
            found = os.lstat(directory)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(found.st_mode):
            set_aside(directory, "it is not a directory")


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
