"""Metainfo (BEP 3, 12, 19, 27, 52): torrent files read, checked and written.

`info` is never re-encoded: its hash is taken over the bytes as they were found, and those bytes
are what a new torrent file carries.

No I/O.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from seeder.errors import BencodeError, MetainfoError
from seeder.torrent import bencode, merkle
from seeder.torrent.layout import LARGEST_PIECE_LENGTH, SHA1_LENGTH, Layout, sha1
from seeder.units import MIB

META_VERSION = 2
LARGEST_TORRENT_FILE = 10 * MIB
"""Bytes. Clients take hardly more: libtorrent 10^7 bytes."""
LONGEST_NAME = 255
"""UTF-8 bytes of a file name that every usual file system takes."""

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# They reverse the reading direction, so that "gpj.exe" shows as "exe.jpg".
_DIRECTION_MARKS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Not text: halves of UTF-16 pairs, and the character that broken UTF-8 is decoded to.
_BROKEN = r"\ud800-\udfff\ufffd"
_UNSAFE = re.compile(rf"[/\\{_CONTROLS}{_BROKEN}]|^[A-Za-z]:|^\.{{0,2}}\Z")
_REPLACED = re.compile(rf'[<>:"/\\|?*{_CONTROLS}{_DIRECTION_MARKS}{_BROKEN}]')
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|\Z)", re.I)
_EXTENSION = re.compile(r"(\.tar)?\.[^. ]{1,16}\Z")


class InfoHash(bytes):
    """The SHA-1 of a torrent's info: exactly 20 bytes, ValueError otherwise."""

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        if len(value) != SHA1_LENGTH:
            raise ValueError(f"an info hash is {SHA1_LENGTH} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def of(cls, raw_info: bytes) -> Self:
        """Return the hash of an info dictionary's bytes as found."""
        return cls(sha1(raw_info))

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Return the hash written as 40 hexadecimal digits of either case; else ValueError."""
        if len(text) != 2 * SHA1_LENGTH:
            raise ValueError(f"an info hash is {2 * SHA1_LENGTH} hexadecimal digits: {text!r:.99}")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"InfoHash({self.hex()})"


@dataclass(frozen=True, slots=True)
class InfoV2:
    """What a hybrid's info dictionary says to v2 clients (BEP 52)."""

    info_hash: bytes
    """The SHA-256 of the info dictionary, whole: 32 bytes."""
    root: bytes
    """The file's pieces root, 32 bytes; empty for a file of 0 bytes."""

    def __post_init__(self) -> None:
        if len(self.info_hash) != merkle.NODE_LENGTH or len(self.root) not in (
            0,
            merkle.NODE_LENGTH,
        ):
            raise ValueError("an info hash or pieces root of v2 is 32 bytes")

    @property
    def short_hash(self) -> InfoHash:
        """The info hash as handshakes and announces carry it."""
        return InfoHash(self.info_hash[:SHA1_LENGTH])


@dataclass(frozen=True, slots=True)
class Outline:
    """What is kept of an info dictionary while its hashes are not needed."""

    info_hash: InfoHash
    layout: Layout
    private: bool
    v2: InfoV2 | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Info:
    """A v1 info dictionary; all is checked except that its hashes are the object's."""

    raw: bytes = field(repr=False)
    info_hash: InfoHash
    name: str
    """As the torrent has it; check `name_is_safe` before it is used in a path."""
    layout: Layout
    pieces: bytes = field(repr=False)
    private: bool
    v2: InfoV2 | None = None
    """What a hybrid says of the same file to v2 clients."""
    v2_fault: str | None = None
    """Why the part for v2 clients is ignored; None if it is used, or absent."""

    @property
    def name_is_safe(self) -> bool:
        """Whether `name` is one plain file name: no path, no `..`, no control, no broken UTF-8."""
        return _UNSAFE.search(self.name) is None

    @property
    def outline(self) -> Outline:
        return Outline(self.info_hash, self.layout, self.private, self.v2)

    def piece_hash(self, index: int) -> bytes:
        """Return the SHA-1 of piece `index`, 20 bytes. IndexError outside."""
        if not 0 <= index < self.layout.piece_count:
            raise IndexError(index)
        return self.pieces[index * SHA1_LENGTH : (index + 1) * SHA1_LENGTH]


@dataclass(frozen=True, slots=True)
class Metainfo:
    """A torrent file: its info, and what it holds for v2 clients outside info."""

    info: Info
    piece_layers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """A hybrid's: by pieces root, 32 bytes a piece, as found."""


def parse_torrent(data: bytes) -> Metainfo:
    """Return the torrent that `data` holds; MetainfoError says what is wrong with it.

    Outside info the keys may be in any order (Ceph RGW), and all but `piece layers` is ignored.
    """
    try:
        torrent, span = bencode.decode_dict_with_span(data, b"info", canonical=False)
    except BencodeError as error:
        raise MetainfoError(f"not a torrent file: {error}") from error
    if span is None:
        raise MetainfoError("not a torrent file: it has no info")
    return Metainfo(
        info=parse_info(data[slice(*span)]),
        piece_layers=_strings(torrent.get(b"piece layers")),
    )


def parse_info(raw: bytes) -> Info:
    """Return the single-file info dictionary that `raw` holds; MetainfoError if it is not one."""
    info = decode_info(raw)
    _refuse_other_kinds(info)
    return check_info(raw, info, _integer(info, b"length", 0, bencode.LARGEST_INTEGER))


def decode_info(raw: bytes, most_values: int = bencode.MOST_VALUES) -> dict[bytes, bencode.Value]:
    """Return the dictionary that `raw` holds; MetainfoError if it holds something else."""
    try:
        info = bencode.decode(raw, most_values=most_values)
    except BencodeError as error:
        raise MetainfoError(f"info can't be read: {error}") from error
    if not isinstance(info, dict):
        raise MetainfoError("info is not a dictionary")
    return info


def check_info(raw: bytes, info: dict[bytes, bencode.Value], size: int) -> Info:
    """Return `info`, decoded from `raw`, as the Info of `size` bytes; MetainfoError."""
    layout = Layout(size, _integer(info, b"piece length", 1, LARGEST_PIECE_LENGTH))
    pieces = _string(info, b"pieces")
    if len(pieces) != layout.piece_count * SHA1_LENGTH:
        raise MetainfoError(
            f"info.pieces has {len(pieces)} bytes, but {layout.size} bytes in pieces of "
            f"{layout.piece_length} need {layout.piece_count} hashes of {SHA1_LENGTH}"
        )
    name = _string(info, b"name")
    v2, v2_fault = _hybrid(info, raw, name, layout)
    return Info(
        raw=raw,
        info_hash=InfoHash.of(raw),
        name=name.decode(errors="replace"),
        layout=layout,
        pieces=pieces,
        private=b"private" in info and _integer(info, b"private", 0, 1) == 1,
        v2=v2,
        v2_fault=v2_fault,
    )


def build_info(
    *, name: str, layout: Layout, pieces: bytes, private: bool = False, root: bytes | None = None
) -> bytes:
    """Return the bytes of a single-file info dictionary; ValueError if the pieces don't fit.

    `root`, the pieces root of BEP 52 (empty for 0 bytes), makes it a hybrid's.
    """
    if len(pieces) != layout.piece_count * SHA1_LENGTH:
        raise ValueError(f"{len(pieces)} bytes of hashes for {layout.piece_count} pieces")
    if layout.piece_length > LARGEST_PIECE_LENGTH:
        raise ValueError(f"a piece length of {layout.piece_length} is over {LARGEST_PIECE_LENGTH}")
    info: dict[bytes, bencode.Value] = {
        b"length": layout.size,
        b"name": name.encode(),
        b"piece length": layout.piece_length,
        b"pieces": pieces,
    }
    if private:
        info[b"private"] = 1
    if root is not None:
        info[b"meta version"] = META_VERSION
        info[b"file tree"] = _file_tree(name.encode(), layout, root)
    return bencode.encode(info)


def torrent_file(
    raw_info: bytes,
    *,
    trackers: Sequence[Sequence[str]],
    created_by: str,
    url_list: Sequence[str] = (),
    piece_layers: Mapping[bytes, bytes] | None = None,
    similar: Sequence[InfoHash] = (),
    collections: Sequence[str] = (),
) -> bytes:
    """Return a torrent file around the info bytes as found; the same arguments give the same bytes.

    `trackers` are announce URLs in tiers (BEP 12), the first of which is the one for clients that
    know only one. `url_list` are its web seeds (BEP 19). `similar` are torrents that may have some
    of its files, `collections` name what such torrents have in common (BEP 38 lets both stand
    outside info, where they don't change its hash). A hybrid has `piece_layers`, even if they are
    empty (BEP 52). There is no creation date: with one, no two copies would be equal.
    """
    outside: dict[bytes, bencode.Encodable] = {
        b"announce": trackers[0][0].encode(),
        b"created by": created_by.encode(),
    }
    if sum(map(len, trackers)) > 1:
        outside[b"announce-list"] = [[url.encode() for url in tier] for tier in trackers]
    if url_list:
        outside[b"url-list"] = [url.encode() for url in url_list]
    if similar:
        outside[b"similar"] = list(similar)
    if collections:
        outside[b"collections"] = [name.encode() for name in collections]
    if piece_layers is not None:
        outside[b"piece layers"] = piece_layers
    encoded = {key: bencode.encode(value) for key, value in outside.items()}
    encoded[b"info"] = raw_info
    parts = (bencode.encode(key) + encoded[key] for key in sorted(encoded))
    return b"d" + b"".join(parts) + b"e"


def safe_name(key: str) -> str:
    """Return the last segment of an S3 key as a file name that every system takes.

    At most 255 UTF-8 bytes, the extension kept; "object" where nothing else remains. Safe names
    come back unchanged.
    """
    name = _shortened(_REPLACED.sub("_", key.rpartition("/")[2]).rstrip(". "))
    if _RESERVED.match(name):
        name = _shortened("_" + name)
    return name or "object"


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    found = _EXTENSION.search(name)
    extension = found[0] if found else ""
    room = LONGEST_NAME - len(extension.encode())
    stem = encoded[:room].decode(errors="ignore")
    return (stem + extension).rstrip(". ")


def _refuse_other_kinds(info: dict[bytes, bencode.Value]) -> None:
    if b"files" in info:
        raise MetainfoError("the torrent has several files; make one torrent for each object")
    if b"pieces" not in info and (b"meta version" in info or b"file tree" in info):
        raise MetainfoError("the torrent is BitTorrent v2 only; make a v1 torrent of the object")


def _file_tree(name: bytes, layout: Layout, root: bytes) -> dict[bytes, bencode.Value]:
    """Return BEP 52's tree of one file."""
    properties: dict[bytes, bencode.Value] = {b"length": layout.size}
    if root:
        properties[b"pieces root"] = root
    return {name: {b"": properties}}


def _hybrid(
    info: dict[bytes, bencode.Value], raw: bytes, name: bytes, layout: Layout
) -> tuple[InfoV2 | None, str | None]:
    """Return what an info dictionary says to v2 clients, or why that is ignored."""
    version = info.get(b"meta version")
    if version is None:
        return None, None
    if version != META_VERSION:
        return None, f"its meta version is {version!r:.20}, not {META_VERSION}"
    if layout.piece_length < merkle.BLOCK or layout.piece_length & (layout.piece_length - 1):
        return None, f"its piece length of {layout.piece_length} is not one of v2"
    files = info.get(b"file tree")
    match files.get(name) if isinstance(files, dict) and len(files) == 1 else None:
        case {b"": {b"length": layout.size, **properties}}:
            root = properties.get(b"pieces root", b"")
        case _:
            return None, "its file tree is not that of its v1 part"
    if not isinstance(root, bytes) or len(root) != (merkle.NODE_LENGTH if layout.size else 0):
        return None, "its file tree has no proper pieces root"
    return InfoV2(hashlib.sha256(raw).digest(), root), None


def _integer(info: dict[bytes, bencode.Value], key: bytes, least: int, most: int) -> int:
    value = info.get(key)
    if not isinstance(value, int):
        raise MetainfoError(f"info.{key.decode()} must be an integer")
    if not least <= value <= most:
        raise MetainfoError(f"info.{key.decode()} is {value}, not within {least} and {most}")
    return value


def _string(info: dict[bytes, bencode.Value], key: bytes) -> bytes:
    value = info.get(key)
    if not isinstance(value, bytes):
        raise MetainfoError(f"info.{key.decode()} must be a string")
    return value


def _strings(values: bencode.Value | None) -> dict[bytes, bytes]:
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, bytes)}
