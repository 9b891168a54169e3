"""Bundles: where every byte of every object is, what pads are, and how files are named."""

import hashlib
import itertools
import re

import libtorrent as lt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seeder.errors import MetainfoError
from seeder.torrent import bundle as bundles
from seeder.torrent.bundle import (
    File,
    build_bundle_info,
    bundle_files,
    bundle_layout,
    bundle_name,
    bundle_piece_length,
    padded,
    parse_bundle_info,
    safe_paths,
)
from seeder.torrent.info import InfoHash, parse_torrent, torrent_file
from seeder.torrent.layout import MOST_PIECES
from seeder.torrent.objects import ObjectRef, PinnedBundle, PinnedObject, cache_id
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB

PREFIX = ObjectRef("default", "bucket", "data/2026/")
LENGTH = 16

Bodies = dict[str, bytes]


def pinned_bundle(bodies: Bodies, prefix: ObjectRef = PREFIX) -> PinnedBundle:
    """Return the bundle of objects by what follows the prefix in their keys."""
    members = [
        PinnedObject(
            ObjectRef(prefix.origin, prefix.bucket, prefix.key + key),
            f'"{hashlib.md5(body).hexdigest()}"',
            len(body),
        )
        for key, body in bodies.items()
    ]
    return PinnedBundle.of(prefix, members)


def hash_pieces(bundle: PinnedBundle, bodies: Bodies, length: int) -> bytes:
    """Return the SHA-1s of each object's pieces, the last one filled up, without our layout."""
    hashes = bytearray()
    for member in bundle.members:
        body = bodies[member.ref.key.removeprefix(bundle.ref.key)]
        for at in range(0, len(body), length):
            hashes += hashlib.sha1(body[at : at + length].ljust(length, b"\0")).digest()
    return bytes(hashes)


def torrent_of(bodies: Bodies, length: int = LENGTH) -> Torrent:
    bundle = pinned_bundle(bodies)
    pieces = hash_pieces(bundle, bodies, length)
    raw = build_bundle_info(bundle, piece_length=length, pieces=pieces)
    return Torrent(parse_bundle_info(raw)[0], bundle, "build")


def read_by_libtorrent(raw_info: bytes) -> tuple[InfoHash, list[File]]:
    """Return the hash and the files, without the torrent's name, as libtorrent sees them."""
    data = torrent_file(raw_info, trackers=[["http://t/a"]], created_by="test")
    read = lt.load_torrent_buffer(data)
    assert read.ti is not None
    seen = read.ti.layout()
    files = [
        File(
            tuple(seen.file_path(index).split("/")[1:]),
            seen.file_size(index),
            pad=bool(seen.file_flags(index) & lt.file_flags_t.flag_pad_file),
        )
        for index in range(seen.num_files())
    ]
    return InfoHash(read.info_hashes.v1.to_bytes()), files


some_bodies = st.dictionaries(
    st.text("abc/", min_size=1, max_size=6), st.binary(max_size=50), min_size=1, max_size=8
)


@given(some_bodies)
@example({"empty": b""})
@example({"a": b"x" * LENGTH, "b": b"", "c": b"y" * (LENGTH + 1)})
def test_every_byte_of_every_file_is_at_one_place_in_one_object(bodies: Bodies) -> None:
    torrent = torrent_of(bodies)
    _, files = parse_bundle_info(torrent.raw_info)
    # What a peer would write, from the pieces that the source would read and fill up.
    stream = bytearray()
    for index in range(torrent.layout.piece_count):
        section, wanted = torrent.section(index), torrent.data_range(index)
        body = bodies[section.pinned.ref.key.removeprefix(PREFIX.key)]
        data = padded(bytearray(body[wanted.start : wanted.stop]), LENGTH)
        assert hashlib.sha1(data).digest() == torrent.piece_hash(index)
        assert torrent.data_size(index) == wanted.length
        stream += data
    assert len(stream) == torrent.layout.size == sum(file.length for file in files)
    at = 0
    found: list[bytes] = []
    for file in files:
        content = bytes(stream[at : at + file.length])
        if file.pad:
            assert content == bytes(file.length)
            assert re.fullmatch(rf"\.pad/{file.length}(-\d+)?", "/".join(file.path))
        else:
            found.append(content)
            assert at % LENGTH == 0
        at += file.length
    assert found == [bodies[key] for key in sorted(bodies)]
    assert len({file.path for file in files}) == len(files)


@given(some_bodies)
def test_keys_of_pieces_are_those_of_the_object_alone(bodies: Bodies) -> None:
    torrent = torrent_of(bodies)
    pieces = range(torrent.layout.piece_count)
    keys = [torrent.piece_key(index) for index in pieces]
    assert len(set(keys)) == len(keys)
    for key, body in bodies.items():
        alone = torrent_of({key: body})
        theirs = [alone.piece_key(index) for index in range(alone.layout.piece_count)]
        assert set(theirs) <= set(keys)
    for index in pieces:
        stop = torrent.run_stop(index)
        same = {torrent.piece_key(other)[0] for other in range(index, stop)}
        assert same == {keys[index][0]}
        assert stop == len(keys) or keys[stop][0] != keys[index][0]
    with pytest.raises(IndexError):
        torrent.data_size(len(keys))


def test_the_last_piece_of_a_bundle_is_not_that_of_the_object_alone() -> None:
    member = pinned_bundle({"a": b"abc"}).members[0]
    assert torrent_of({"a": b"abc"}).piece_key(0)[0] != cache_id(member, LENGTH)


@given(some_bodies)
def test_info_comes_back_as_it_was_written(bodies: Bodies) -> None:
    bundle = pinned_bundle(bodies)
    pieces = hash_pieces(bundle, bodies, LENGTH)
    raw = build_bundle_info(bundle, piece_length=LENGTH, pieces=pieces, private=True)
    info, files = parse_bundle_info(raw)
    assert (info.raw, info.name, info.private) == (raw, "2026", True)
    assert (info.pieces, info.info_hash) == (pieces, InfoHash.of(raw))
    assert info.layout == bundle_layout([len(body) for body in bodies.values()], LENGTH)
    assert list(files) == bundle_files(bundle, LENGTH)


@given(some_bodies)
def test_libtorrent_reads_the_same_files_and_knows_the_pads(bodies: Bodies) -> None:
    length = 16 * KIB
    bundle = pinned_bundle(bodies)
    pieces = hash_pieces(bundle, bodies, length)
    if not pieces:
        return  # libtorrent takes no torrent without a byte
    raw = build_bundle_info(bundle, piece_length=length, pieces=pieces)
    info_hash, files = read_by_libtorrent(raw)
    ours = bundle_files(bundle, length)
    assert info_hash == InfoHash.of(raw)
    assert [(file.length, file.pad) for file in files] == [(file.length, file.pad) for file in ours]
    assert [file for file in files if not file.pad] == [file for file in ours if not file.pad]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda info: info.pop(b"files"),
        lambda info: info.update({b"length": 5}),
        lambda info: info[b"files"][0].pop(b"path"),
        lambda info: info[b"files"][0].update({b"length": -1}),
        lambda info: info[b"files"][0].update({b"length": 17}),
        lambda info: info[b"files"][0].update({b"path": []}),
        lambda info: info[b"files"][0].update({b"path": [1]}),
        lambda info: info[b"files"].append(b"file"),
        lambda info: info.update({b"pieces": b""}),
    ],
)
def test_what_is_no_bundle_is_refused(spoil: object) -> None:
    info = lt.bdecode(torrent_of({"a": b"abc"}).raw_info)
    assert callable(spoil)
    spoil(info)
    with pytest.raises(MetainfoError):
        parse_bundle_info(lt.bencode(info))


def test_torrents_of_several_files_are_refused_where_one_object_is_meant() -> None:
    raw = torrent_of({"a": b"abc"}).raw_info
    data = torrent_file(raw, trackers=[["http://t/a"]], created_by="test")
    with pytest.raises(MetainfoError, match="several files"):
        parse_torrent(data)


def test_a_torrent_that_no_client_would_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "LARGEST_INFO", 100)
    with pytest.raises(MetainfoError, match="bucket/data/2026/: the torrent of its 1 object would"):
        torrent_of({"a": b"abc"})


@given(st.lists(st.integers(0, 2**37), min_size=1, max_size=50), st.none() | st.just(64 * KIB))
def test_piece_lengths_suit_the_sizes(sizes: list[int], earlier: int | None) -> None:
    length = bundle_piece_length(sizes, earlier)
    assert length & (length - 1) == 0
    assert 16 * KIB <= length <= 64 * MIB
    assert bundle_layout(sizes, length).piece_count <= MOST_PIECES + len(sizes)


def test_many_small_objects_are_not_drowned_in_padding() -> None:
    assert bundle_piece_length([10 * KIB] * 100_000) == 16 * KIB
    assert bundle_piece_length([MIB + 1] * 1000) == 128 * KIB
    assert bundle_piece_length([100 * MIB] * 1000) == 4 * MIB


def test_a_bundle_that_grows_keeps_its_piece_length() -> None:
    sizes = [40 * MIB]
    assert bundle_piece_length(sizes) == 64 * KIB
    assert bundle_piece_length([*sizes, 400 * MIB]) == 256 * KIB
    assert bundle_piece_length([*sizes, 400 * MIB], 64 * KIB) == 64 * KIB
    assert bundle_piece_length([*sizes, 4000 * MIB], 64 * KIB) == 1 * MIB


# -- names

SEGMENT = re.compile(r'[^<>:"/\\|?*\x00-\x1f\x7f-\x9f]+', re.DOTALL)
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)

nasty_text = st.text(
    st.sampled_from('aAbBéÉ/./:*?<>|\\" \0\x1f\u202eßſK')
    | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
) | st.sampled_from(
    ["CON", "con.txt", "../..", "a//b", "//", ".pad/16", ".PAD/1", "a" * 300, "é" * 200]
)


@given(st.sets(nasty_text, max_size=12))
@example({"a", "a/b", "A", "A/B"})
@example({"a?", "a_", "a:"})
@example({"e\u0301", "\u00e9"})
@example({"x" * 300 + "1.txt", "x" * 300 + "2.txt"})
@example({"a?", "a_", "a_-" + hashlib.sha256(b"data/2026/a?").hexdigest()[:8]})
def test_names_are_safe_and_distinct_everywhere(keys: set[str]) -> None:
    ordered = [PREFIX.key + key for key in sorted(keys)]
    paths = safe_paths(PREFIX.key, ordered)
    for path in paths:
        for segment in path:
            assert SEGMENT.fullmatch(segment), segment
            assert segment.rstrip(". ") == segment
            assert segment not in (".", "..")
            assert not DEVICE.fullmatch(segment)
            assert len(segment.encode()) <= 240
        assert path[0].casefold() != ".pad"
    folded = [tuple(segment.casefold() for segment in path) for path in paths]
    assert len(set(folded)) == len(folded)
    directories = {path[:end] for path in folded for end in range(1, len(path))}
    assert not directories & set(folded)
    assert paths == safe_paths(PREFIX.key, ordered)


@given(st.sets(nasty_text, min_size=1, max_size=12))
def test_libtorrent_leaves_safe_names_alone(keys: set[str]) -> None:
    bundle = pinned_bundle(dict.fromkeys(keys, b"x"))
    length = 16 * KIB
    pieces = hash_pieces(bundle, dict.fromkeys(keys, b"x"), length)
    raw = build_bundle_info(bundle, piece_length=length, pieces=pieces)
    ours = [file for file in bundle_files(bundle, length) if not file.pad]
    assert [file for file in read_by_libtorrent(raw)[1] if not file.pad] == ours


@pytest.mark.parametrize(
    ("prefix", "keys", "expected"),
    [
        ("data/", ["data/a/b.txt", "data/c"], ["a/b.txt", "c"]),
        ("", ["a/b.txt", "c"], ["a/b.txt", "c"]),
        ("/", ["/a"], ["a"]),
        # A prefix that ends within a segment: names are whole ones.
        ("data/20", ["data/20", "data/2025/a", "data/2026"], ["20", "2025/a", "2026"]),
        ("da", ["data/a"], ["data/a"]),
        ("d/", ["d//a", "d/../a", "d/./a ", "d/..."], ["_/a-*", "_/a", "_/a-*", "_-*"]),
        # What is safe as it is keeps its name, whatever comes first.
        ("", ["a:b", "a_b"], ["a_b-*", "a_b"]),
        ("", ["README", "readme", "readme.md"], ["README", "readme-*", "readme.md"]),
        ("", ["n.tar.gz", "N.tar.gz"], ["n.tar-*.gz", "N.tar.gz"]),
        ("", ["a", "a/b"], ["a-*", "a/b"]),
        ("", [".pad/16", "x/.pad/16"], ["_.pad/16", "x/.pad/16"]),
    ],
)
def test_files_are_named_by_what_is_below_the_prefix(
    prefix: str, keys: list[str], expected: list[str]
) -> None:
    found = ["/".join(path) for path in safe_paths(prefix, keys)]
    patterns = [re.escape(name).replace(r"\*", "[0-9a-f]{8}") for name in expected]
    assert all(itertools.starmap(re.fullmatch, zip(patterns, found, strict=True))), found


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("data/2026/", "2026"), ("data", "data"), ("", "bucket"), ("//", "bucket"), ("a/b?/", "b_")],
)
def test_a_bundle_is_named_by_the_last_segment_of_its_prefix(prefix: str, name: str) -> None:
    assert bundle_name("bucket", prefix) == name
