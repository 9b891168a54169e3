"""Torrents from outside: bencode, metainfo of one object and of many, Merkle trees."""

import contextlib
import hashlib
from collections.abc import Sequence

import bencode2

from seeder.errors import BencodeError, MetainfoError
from seeder.torrent import bencode
from seeder.torrent.bundle import parse_bundle_info, safe_paths
from seeder.torrent.info import (
    LONGEST_NAME,
    Info,
    build_info,
    parse_info,
    parse_torrent,
    safe_name,
    torrent_file,
)
from seeder.torrent.layout import SHA1_LENGTH, Layout
from seeder.torrent.merkle import MOST_HASHES, HashRequest, hashes_for
from tests.fuzz.inputs import Choices, target
from tests.torrent.trees import WholeTree, proves

LAYOUT = Layout(3 * 16384 + 5, 16384)
PIECES = bytes(range(80))
ROOT = bytes(range(32))
PLAIN = build_info(name="Nelson", layout=LAYOUT, pieces=PIECES)
HYBRID = build_info(name="a.tar.gz", layout=LAYOUT, pieces=PIECES, private=True, root=ROOT)
BUNDLE = bencode.encode(
    {
        b"files": [
            {b"length": 5, b"path": [b"a", b"b"]},
            {b"attr": b"p", b"length": 16379, b"path": [b".pad", b"16379"]},
        ],
        b"name": b"some",
        b"piece length": 16384,
        b"pieces": PIECES[:20],
    }
)


def _torrent(info: bytes, **more: bytes) -> bytes:
    return torrent_file(
        info,
        trackers=[["http://t.example.org/announce"]],
        created_by="fuzz",
        url_list=["http://t.example.org/a"],
        piece_layers={ROOT: bytes(128)},
    )


@target(
    b"",
    b"i0e",
    b"i-1e",
    b"le",
    b"de",
    b"d1:ai1e1:bl1:x2:yzee",
    b"0:",
    b"i9223372036854775807e",
    b"l" * 32 + b"e" * 32,
    b"d1:bi1e1:ai2ee",
    PLAIN,
)
def bencode_(data: bytes) -> None:
    """Whatever is read is written the same, and as another implementation reads it."""
    value: bencode.Value | None = None
    with contextlib.suppress(BencodeError):
        value = bencode.decode(data)
    if value is not None:
        assert bencode.encode(value) == data
        with contextlib.suppress(bencode2.BencodeDecodeError):
            # It may be stricter than we are (depth), but never read another value.
            assert bencode2.bdecode(data) == value
    with contextlib.suppress(BencodeError):
        loose = bencode.decode(data, canonical=False)
        again = bencode.encode(loose)
        assert bencode.decode(again) == loose
        if value is not None:
            assert loose == value
    with contextlib.suppress(BencodeError):
        first, end = bencode.decode_prefix(data)
        assert 0 < end <= len(data)
        assert bencode.encode(first) == data[:end]
    with contextlib.suppress(BencodeError):
        found, span = bencode.decode_dict_with_span(data, b"info", canonical=False)
        assert (span is None) == (b"info" not in found)
        if span is not None:
            raw = data[slice(*span)]
            assert bencode.decode(raw, canonical=False) == found[b"info"]


def _check_info(info: Info, raw: bytes) -> None:
    layout = info.layout
    assert info.raw == raw
    assert info.info_hash == hashlib.sha1(raw, usedforsecurity=False).digest()
    assert len(info.pieces) == layout.piece_count * SHA1_LENGTH
    if layout.piece_count:
        assert len(info.piece_hash(layout.piece_count - 1)) == SHA1_LENGTH
        last = layout.piece_range(layout.piece_count - 1)
        assert last.stop == layout.size
    info.name.encode()
    name = safe_name(info.name)
    assert safe_name(name) == name
    assert len(name.encode()) <= LONGEST_NAME
    if info.v2 is not None:
        assert info.v2_fault is None
        assert info.v2.info_hash == hashlib.sha256(raw).digest()
        assert len(info.v2.short_hash) == SHA1_LENGTH
    assert info.outline.layout == layout


@target(_torrent(PLAIN), _torrent(HYBRID), PLAIN, HYBRID, b"d4:info" + PLAIN + b"e", b"d4:infodee")
def metainfo(data: bytes) -> None:
    """A torrent of anybody's: info is never encoded again, and fits its hashes."""
    with contextlib.suppress(MetainfoError):
        found = parse_torrent(data)
        assert found.info.raw in data
        _check_info(found.info, found.info.raw)
        for root, layer in found.piece_layers.items():
            assert isinstance(root, bytes)
            assert isinstance(layer, bytes)
        made = _torrent(found.info.raw)
        assert parse_torrent(made).info == found.info
    with contextlib.suppress(MetainfoError):
        _check_info(parse_info(data), data)


@target(BUNDLE, BUNDLE.replace(b"1:b", b"2:.."), PLAIN)
def bundle(data: bytes) -> None:
    """The info of many objects, and names for keys of any kind."""
    with contextlib.suppress(MetainfoError):
        info, files = parse_bundle_info(data)
        _check_info(info, data)
        assert sum(file.length for file in files) == info.layout.size
        assert all(file.path and file.length >= 0 for file in files)
    keys = [part.decode(errors="replace") for part in data[:4096].split(b"\n")]
    _check_paths("", [key for key in dict.fromkeys(keys) if key])


def _check_paths(prefix: str, keys: Sequence[str]) -> None:
    paths = safe_paths(prefix, keys)
    folded = [tuple(segment.casefold() for segment in path) for path in paths]
    assert len(set(folded)) == len(keys)
    for path in paths:
        for segment in path:
            assert segment not in ("", ".", "..")
            assert not set("/\\\0") & set(segment)
            assert len(segment.encode()) <= LONGEST_NAME


_TREES = [
    WholeTree(bytes(size), length)
    for size, length in ((1, 16384), (16_385, 16384), (70_000, 16384), (300_000, 65536))
]


@target(bytes(18), b"\x02" + bytes(17), b"\x03\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0\2", b"\x03" * 18)
def merkle(data: bytes) -> None:
    """Requests for hashes: refused, or answered with a proof of exactly what was asked."""
    choices = Choices(data)
    tree = _TREES[choices.number() % len(_TREES)]
    root = tree.root if choices.number() < 250 else bytes(32)
    base, index, length, proofs = (choices.number(4) for _ in range(4))
    request = HashRequest(root, base, index, length, proofs)
    fault = tree.shape.fault(request, tree.root, has_leaves=tree.has_leaves)
    if fault is not None:
        return
    answer = hashes_for(request, tree.shape, tree.read)
    assert len(answer) <= 32 * (max(MOST_HASHES, length) + proofs)
    assert proves(request, answer, tree)
