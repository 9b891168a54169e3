"""File systems that are soon full, disks that fail, and what strangers leave in a directory."""

import os
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "mkdir", "replace", "rename", "unlink", "rmdir", "scandir", "utime")
"""What the system is asked for with a path first."""
READS = ("open", "scandir")


@contextmanager
def small_file_system(point: Path, size: int, *, inodes: int = 0) -> Iterator[Path]:
    """Mount one of `size` bytes for the length of a block; skips the test where it can't.

    `inodes` limits its files and directories, the uppermost included; 0 doesn't.
    """
    point.mkdir()
    options = f"size={size},nr_inodes={inodes}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"can't mount a small file system: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


class DyingDisk:
    """A file system on an image: what lies behind a part of that is lost until it is mended."""

    def __init__(self, point: Path, image: Path) -> None:
        self.point = point
        self._image = image
        self._content = b""

    def lose(self, kept: int) -> None:
        """Answer reads and writes behind the first `kept` bytes with EIO."""
        subprocess.run(["sync", "-f", str(self.point)], check=True)
        self._content = self._image.read_bytes()
        os.truncate(self._image, kept)
        # What the kernel remembers of files and of the device would be given all the same.
        for path in (*filter(Path.is_file, self.point.rglob("*")), self._device()):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def mend(self) -> None:
        """Be as it was."""
        with self._image.open("r+b") as file:
            file.write(self._content)

    def _device(self) -> Path:
        words = ["findmnt", "-no", "SOURCE", str(self.point)]
        return Path(
            subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        )


@contextmanager
def dying_disk(below: Path, size: int) -> Iterator[DyingDisk]:
    """Mount one of `size` bytes for the length of a block; skips the test where it can't."""
    point, image = below / "disk", below / "image"
    point.mkdir()
    image.touch()
    os.truncate(image, size)
    # Without a journal, one that is lost doesn't make it read-only.
    make = ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", str(image)]
    mount = ["mount", "-o", "loop", str(image), str(point)]
    for words in (make, mount):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"can't mount an image: {done.stderr.strip()}")
    try:
        yield DyingDisk(point, image)
    finally:
        subprocess.run(["umount", str(point)], check=True)


@contextmanager
def failing_disk(
    number: int,
    below: Path,
    *,
    calls: Collection[str] = CALLS,
    reads_only: bool = False,
    writes_only: bool = False,
) -> Iterator[list[str]]:
    """Let calls for `below` and what is there fail with an error number, in every thread.

    Yields the paths that were refused. With `reads_only` files may still be made, with
    `writes_only` they may still be read.
    """
    refused: list[str] = []
    root = os.fspath(below)

    def wrap(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **named: Any) -> Any:
            asked = "" if isinstance(path, int) else os.fspath(path)
            writes = name == "open" and args and args[0] & (os.O_WRONLY | os.O_RDWR)
            hit = asked == root or asked.startswith(f"{root}/")
            reads = name in READS and not writes
            if hit and not (reads_only and writes) and not (writes_only and reads):
                refused.append(asked)
                raise OSError(number, os.strerror(number), asked)
            return real(path, *args, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in READS if reads_only else calls:
            patch.setattr(os, name, wrap(getattr(os, name), name))
        yield refused


def _clear(path: Path) -> bytes:
    """Remove a file and return what it held."""
    content = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    return content


def _directory(path: Path) -> None:
    _clear(path)
    path.mkdir()
    (path / "of somebody").write_bytes(b"something")


def _pipe(path: Path) -> None:
    _clear(path)
    os.mkfifo(path)


def _socket(path: Path) -> None:
    _clear(path)
    # The path of a UNIX socket has at most 107 bytes.
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)


def _looping_link(path: Path) -> None:
    _clear(path)
    path.symlink_to(path)


def _dangling_link(path: Path) -> None:
    _clear(path)
    path.symlink_to(path.parent / "nothing is here")


def _link_outside(path: Path) -> None:
    content = _clear(path)
    outside = path.parent.parent / "of somebody else"
    outside.write_bytes(content or b"of somebody else")
    path.symlink_to(outside)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(len(_clear(path)) or 100))


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _sparse(path: Path) -> None:
    """Ten gigabytes that take no room."""
    os.truncate(path, 10 * 2**30)


def _sparse_from_nothing(path: Path) -> None:
    _clear(path)
    path.touch()
    _sparse(path)


def _text(text: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        _clear(path)
        path.write_bytes(text)

    return write


NOT_FILES: dict[str, Callable[[Path], None]] = {
    "a directory": _directory,
    "a pipe": _pipe,
    "a socket": _socket,
    "a looping link": _looping_link,
    "a dangling link": _dangling_link,
    "a link outside": _link_outside,
}
"""What may have the name of a file, each put there by a function."""

DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": _text(b""),
    "zeros": _zeros,
    "truncated": _truncated,
    "flipped": _flipped,
    "sparse": _sparse,
    "all sparse": _sparse_from_nothing,
    "nested lists": _text(b"[" * 100_000),
    "nested objects": _text(b'{"object":' * 100_000),
    "nested and closed": _text(b"[" * 900 + b"]" * 900 + b"\n"),
    "not a number": _text(b"NaN\n"),
    "null": _text(b"null\n"),
    "a list": _text(b"[]\n"),
    "an object": _text(b"{}\n"),
    "a number": _text(b"1e999\n"),
    "many digits": _text(b"1" * 10_000 + b"\n"),
    "half a character": _text(b'{"object":"\\ud800"}\n'),
    "no text": _text(b"\xff\xfe\x00\n"),
}
"""What may have become of a file's content."""


def rot(path: Path, at: int = 50) -> None:
    """Flip a bit of a file as a dying disk does: in place, and its times stay as they were."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
