"""One torrent of many objects: its files, their names, and its info dictionary (BEP 3, BEP 47).

Each object starts a piece, and a pad file of zeros fills up its last piece; the last object is
padded too. So a piece holds bytes of one object only, and its hash doesn't depend on what else is
in the torrent: when one object changes, the others keep their pieces.

No I/O.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seeder.errors import MetainfoError
from seeder.torrent import bencode
from seeder.torrent.info import Info, check_info, decode_info, safe_name
from seeder.torrent.layout import (
    LARGEST_PIECE_LENGTH,
    MOST_PIECES,
    SHA1_LENGTH,
    SMALLEST_PIECE_LENGTH,
    Layout,
    default_piece_length,
)
from seeder.torrent.objects import PinnedBundle
from seeder.units import counted

LARGEST_INFO = 10_000_000
"""Bytes; libtorrent reads no larger torrent file."""
_MOST_VALUES = 3_000_000
LARGEST_PADDING = 1 / 8
"""Share of the objects' bytes that padding may take before smaller pieces are chosen."""
LARGEST_DRIFT = 4
"""Factor by which an earlier piece length may be off before all is hashed anew with another."""
_PAD_DIRECTORY = ".pad"
_LONGEST_EXTENSION = 16
_LONGEST_SEGMENT = 240
"""UTF-8 bytes of a file's or directory's name; libtorrent cuts longer ones."""
_PLACEHOLDER = "_"

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """An entry of `files`; a pad holds only zeros, and clients don't download it."""

    path: Path
    length: int
    pad: bool = False


def padded(piece: bytearray, length: int) -> bytearray:
    """Return a piece filled up with zeros to `length` bytes."""
    missing = length - len(piece)
    return piece + bytes(missing) if missing else piece


def bundle_piece_length(sizes: Sequence[int], earlier: int | None = None) -> int:
    """Return the piece length in bytes (a power of two) for objects of these sizes.

    The default for their sum, or a smaller one if that would pad too much. An `earlier` one is kept
    while it isn't far off, since with another length every object would be read again.
    """
    total = sum(sizes)
    length = default_piece_length(total)
    while (
        length > SMALLEST_PIECE_LENGTH
        and _piece_count(sizes, length) * length - total > total * LARGEST_PADDING
        and _piece_count(sizes, length // 2) <= MOST_PIECES
    ):
        length //= 2
    near = (
        earlier is not None
        and length <= earlier * LARGEST_DRIFT
        and earlier <= length * LARGEST_DRIFT
    )
    if earlier is not None and near and _piece_count(sizes, earlier) <= MOST_PIECES:
        return earlier
    return length


def _piece_count(sizes: Sequence[int], piece_length: int) -> int:
    return sum(Layout(size, piece_length).piece_count for size in sizes)


def bundle_layout(sizes: Sequence[int], piece_length: int) -> Layout:
    """Return the layout of the whole torrent, padding included."""
    return Layout(_piece_count(sizes, piece_length) * piece_length, piece_length)


def bundle_files(bundle: PinnedBundle, piece_length: int) -> list[File]:
    """Return the files of the torrent in their order, each with the pad that it needs.

    BEP 47 names a pad by its length. rtorrent 0.9.8 refuses two files of the same name, so a
    further pad of the same length gets a number as well.
    """
    keys = [member.ref.key for member in bundle.members]
    paths = safe_paths(bundle.ref.key, keys)
    files: list[File] = []
    pads: Counter[int] = Counter()
    for path, member in zip(paths, bundle.members, strict=True):
        files.append(File(path, member.size))
        missing = -member.size % piece_length
        if missing:
            pads[missing] += 1
            name = str(missing) if pads[missing] == 1 else f"{missing}-{pads[missing]}"
            files.append(File((_PAD_DIRECTORY, name), missing, pad=True))
    return files


def build_bundle_info(
    bundle: PinnedBundle, *, piece_length: int, pieces: bytes, private: bool = False
) -> bytes:
    """Return the bytes of a multi-file info dictionary.

    ValueError if the pieces don't fit; MetainfoError if clients would refuse it for its size.
    """
    files = bundle_files(bundle, piece_length)
    if len(pieces) * piece_length != sum(file.length for file in files) * SHA1_LENGTH:
        raise ValueError(f"{len(pieces)} bytes of hashes for {len(files)} files")
    if piece_length > LARGEST_PIECE_LENGTH:
        raise ValueError(f"a piece length of {piece_length} is over {LARGEST_PIECE_LENGTH}")
    entries: list[bencode.Encodable] = []
    for file in files:
        entry: dict[bytes, bencode.Encodable] = {b"attr": b"p"} if file.pad else {}
        entry[b"length"] = file.length
        entry[b"path"] = [segment.encode() for segment in file.path]
        entries.append(entry)
    info: dict[bytes, bencode.Encodable] = {
        b"files": entries,
        b"name": bundle_name(bundle.ref.bucket, bundle.ref.key).encode(),
        b"piece length": piece_length,
        b"pieces": pieces,
    }
    if private:
        info[b"private"] = 1
    raw = bencode.encode(info)
    if len(raw) > LARGEST_INFO:
        raise MetainfoError(
            f"{bundle.ref}: the torrent of its {counted(len(bundle.members), 'object')} would have"
            f" {len(raw)} bytes, clients take {LARGEST_INFO}; publish prefixes further down"
        )
    return raw


def parse_bundle_info(raw: bytes) -> tuple[Info, tuple[File, ...]]:
    """Return a multi-file info dictionary and its files; MetainfoError if `raw` isn't one."""
    info = decode_info(raw, _MOST_VALUES)
    entries = info.get(b"files")
    if not isinstance(entries, list) or b"length" in info:
        raise MetainfoError("info.files must be a list, and info.length absent")
    files = tuple(map(_file, entries))
    return check_info(raw, info, sum(file.length for file in files)), files


def _file(entry: bencode.Value) -> File:
    if isinstance(entry, dict):
        path, length, attr = entry.get(b"path"), entry.get(b"length"), entry.get(b"attr", b"")
        if isinstance(path, list) and path and isinstance(length, int) and length >= 0:
            segments = [part.decode(errors="replace") for part in path if isinstance(part, bytes)]
            if len(segments) == len(path) and isinstance(attr, bytes):
                return File(tuple(segments), length, pad=b"p" in attr)
    raise MetainfoError("info.files has an entry without a length or a path")


# -- names


def bundle_name(bucket: str, prefix: str) -> str:
    """Return the torrent's name: the prefix's last segment, or the bucket where it has none."""
    segments = [segment for segment in prefix.split("/") if segment]
    return safe_name(segments[-1] if segments else bucket)


def safe_paths(prefix: str, keys: Sequence[str]) -> list[Path]:
    """Return a path for each key: what is below the prefix, fit for every file system.

    No two paths differ only in case or Unicode normalization, none is a directory of another, and
    none is in the pads' directory. Where keys clash, one keeps its plain path: a key that is safe
    as it is, or else the first in order. Each of the others gets some digits of its key's SHA-256.
    """
    base = prefix.rpartition("/")[0]
    start = len(base) + 1 if base or prefix.startswith("/") else 0
    plain = [_safe_path(key[start:]) for key in keys]
    directories = {folded[:end] for folded in map(_fold, plain) for end in range(1, len(folded))}
    taken: set[Path] = set()
    paths = list(plain)

    def is_changed(at: int) -> bool:
        return "/".join(plain[at]) != keys[at][start:]

    for at in sorted(range(len(keys)), key=lambda at: (is_changed(at), keys[at])):
        path, digits = plain[at], 8
        while _fold(path) in taken or _fold(path) in directories:
            mark = _digest(keys[at])[:digits]
            path = (*plain[at][:-1], _marked(plain[at][-1], mark))
            digits += 1
        taken.add(_fold(path))
        paths[at] = path
    return paths


def _safe_path(key: str) -> Path:
    segments = [_safe_segment(segment) for segment in key.split("/")]
    if _fold((segments[0],)) == (_PAD_DIRECTORY,):
        segments[0] = _PLACEHOLDER + segments[0]
    return tuple(segments)


def _safe_segment(segment: str) -> str:
    name = safe_name(segment) if segment.strip(". ") else _PLACEHOLDER
    return name if len(name.encode()) <= _LONGEST_SEGMENT else _marked(name, _digest(segment)[:8])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _fold(path: Path) -> Path:
    """Return how a file system that ignores case and normalization compares a path."""
    return tuple(
        unicodedata.normalize("NFD", unicodedata.normalize("NFD", segment).casefold())
        for segment in path
    )


def _marked(name: str, mark: str) -> str:
    """Return a safe name with a mark before its extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > _LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    end = f"-{mark}{dot}{extension}"
    return stem.encode()[: _LONGEST_SEGMENT - len(end.encode())].decode(errors="ignore") + end
