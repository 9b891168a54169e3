"""Objects to publish and torrents of them, made without the project's own code."""

import hashlib
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bencode2 import bencode

KIB = 1024
MIB = 1024 * KIB
_CHUNK = 8 * MIB


def content(size: int, *, seed: int = 1) -> bytes:
    """Return `size` bytes that don't compress and don't repeat; the same for the same seed."""
    return random.Random(seed).randbytes(size)


def write_content(path: Path, size: int, *, seed: int = 1) -> None:
    """Write `size` bytes of content without holding them all; not those of `content`."""
    source = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size, _CHUNK):
            file.write(source.randbytes(min(_CHUNK, size - start)))


def digest(source: bytes | Path) -> str:
    """Return the SHA-256 of bytes or of a file, in hex."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Torrent:
    """A single-file torrent (BEP 3) and what one needs to speak about it."""

    name: str
    size: int
    piece_length: int
    info: bytes
    trackers: tuple[str, ...]

    @property
    def info_hash(self) -> bytes:
        return hashlib.sha1(self.info, usedforsecurity=False).digest()

    @property
    def magnet(self) -> str:
        """The magnet link with the trackers, whose URLs need no quoting here."""
        trackers = "".join(f"&tr={url}" for url in self.trackers)
        return f"magnet:?xt=urn:btih:{self.info_hash.hex()}&dn={self.name}{trackers}"

    def file(self) -> bytes:
        """Return the bytes of the .torrent file; the first tracker is `announce`."""
        outside: dict[bytes, object] = {}
        if self.trackers:
            urls = [url.encode() for url in self.trackers]
            outside = {b"announce": urls[0], b"announce-list": [[url] for url in urls]}
        return b"d" + bencode(outside)[1:-1] + b"4:info" + self.info + b"e"

    def write(self, path: Path) -> Path:
        """Write the .torrent file to `path` and return it."""
        path.write_bytes(self.file())
        return path


def make_torrent(
    source: bytes | Path,
    *,
    name: str,
    piece_length: int,
    trackers: Sequence[str] = (),
    private: bool = False,
) -> Torrent:
    """Return a torrent of bytes or of a file, its pieces of `piece_length` bytes."""
    pieces = bytearray()
    size = 0
    for piece in _pieces(source, piece_length):
        pieces += hashlib.sha1(piece, usedforsecurity=False).digest()
        size += len(piece)
    info: dict[bytes, object] = {
        b"length": size,
        b"name": name.encode(),
        b"piece length": piece_length,
        b"pieces": bytes(pieces),
    }
    if private:
        info[b"private"] = 1
    return Torrent(name, size, piece_length, bencode(info), tuple(trackers))


def _pieces(source: bytes | Path, piece_length: int) -> Iterator[bytes]:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        while piece := file.read(piece_length):
            yield piece
