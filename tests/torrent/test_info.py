import hashlib
import pickle
import re
from pathlib import Path

import libtorrent as lt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seeder.errors import MetainfoError
from seeder.torrent import bencode
from seeder.torrent.info import (
    InfoHash,
    build_info,
    parse_info,
    parse_torrent,
    safe_name,
    torrent_file,
)
from seeder.torrent.layout import Layout
from seeder.units import KIB, MIB

CONTENT = bytes(range(256)) * 300  # 76,800 bytes: 5 pieces of 16 KiB, the last one short
LAYOUT = Layout(len(CONTENT), 16 * KIB)
PIECES = b"".join(
    hashlib.sha1(CONTENT[start : start + LAYOUT.piece_length]).digest()
    for start in range(0, LAYOUT.size, LAYOUT.piece_length)
)
RAW = build_info(name="Nelson", layout=LAYOUT, pieces=PIECES)


def info_with(**changes: bencode.Value | None) -> bytes:
    """Return RAW with keys replaced ("_" for a space), or left out where None."""
    info: dict[bytes, bencode.Value] = {
        b"length": LAYOUT.size,
        b"name": b"Nelson",
        b"piece length": LAYOUT.piece_length,
        b"pieces": PIECES,
    }
    for key, value in changes.items():
        name = key.replace("_", " ").encode()
        info.pop(name, None)
        if value is not None:
            info[name] = value
    return bencode.encode(info)


# The info hash


def test_an_info_hash_is_the_sha1_of_the_bytes() -> None:
    assert InfoHash.of(b"abc").hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert InfoHash.of(RAW) == hashlib.sha1(RAW).digest()


@pytest.mark.parametrize("length", [0, 19, 21, 32, 40])
def test_an_info_hash_has_20_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        InfoHash(bytes(length))


def test_an_info_hash_finds_what_plain_bytes_were_stored_under() -> None:
    raw = bytes(range(20))
    by_bytes: dict[bytes, str] = {raw: "here"}
    by_hash: dict[bytes, str] = {InfoHash(raw): "here"}
    assert by_bytes[InfoHash(raw)] == by_hash[raw] == "here"


@given(st.binary(min_size=20, max_size=20))
def test_an_info_hash_comes_back_from_hex_of_either_case(raw: bytes) -> None:
    assert InfoHash.from_hex(InfoHash(raw).hex()) == raw
    assert InfoHash.from_hex(raw.hex().upper()) == raw


@pytest.mark.parametrize(
    "text", ["", "ab" * 19, "ab" * 21, "g" * 40, "ab" * 19 + "  ", "ab " * 13 + "a", "é" * 40]
)
def test_other_text_is_no_info_hash(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        InfoHash.from_hex(text)


def test_spaces_between_the_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="40 hexadecimal"):
        InfoHash.from_hex("ab " * 20)


def test_an_info_hash_prints_as_hex_and_survives_pickling() -> None:
    info_hash = InfoHash(bytes(20))
    assert f"{info_hash}" == "0" * 40
    assert repr(info_hash) == f"InfoHash({'0' * 40})"
    copy = pickle.loads(pickle.dumps(info_hash))
    assert type(copy) is InfoHash
    assert copy == info_hash


# Info


def test_a_built_info_parses_to_what_it_was_built_from() -> None:
    info = parse_info(RAW)
    assert info.raw == RAW
    assert info.info_hash == InfoHash.of(RAW)
    assert info.name == "Nelson"
    assert info.name_is_safe
    assert info.layout == LAYOUT
    assert info.pieces == PIECES
    assert info.private is False


def test_an_info_prints_short() -> None:
    assert len(repr(parse_info(RAW))) < 300


def test_an_unlisted_key_stays_in_the_hash() -> None:
    raw = info_with(source=b"elsewhere")
    assert parse_info(raw).info_hash == hashlib.sha1(raw).digest() != InfoHash.of(RAW)


def test_private_is_read_and_changes_the_hash() -> None:
    raw = build_info(name="Nelson", layout=LAYOUT, pieces=PIECES, private=True)
    assert parse_info(raw).private is True
    assert InfoHash.of(raw) != InfoHash.of(RAW)
    assert parse_info(info_with(private=0)).private is False


def test_each_piece_has_its_own_hash() -> None:
    info = parse_info(RAW)
    for index in range(LAYOUT.piece_count):
        piece = LAYOUT.piece_range(index)
        content = CONTENT[piece.start : piece.stop]
        assert info.piece_hash(index) == hashlib.sha1(content).digest()


@pytest.mark.parametrize("index", [-1, 5, 2**32])
def test_a_piece_outside_has_no_hash(index: int) -> None:
    with pytest.raises(IndexError):
        parse_info(RAW).piece_hash(index)


def test_an_empty_object_has_no_piece() -> None:
    raw = build_info(name="Nothing", layout=Layout(0, 16 * KIB), pieces=b"")
    info = parse_info(raw)
    assert info.layout.piece_count == 0
    assert info.pieces == b""
    with pytest.raises(IndexError):
        info.piece_hash(0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"piece_length": 0}, "piece length is 0"),
        ({"piece_length": -16384}, "piece length is -16384"),
        ({"piece_length": 128 * MIB + 1}, "piece length is 134217729"),
        ({"piece_length": 2**63 - 1}, "piece length is 9223372036854775807"),
        ({"piece_length": b"16384"}, "piece length must be an integer"),
        ({"piece_length": None}, "piece length must be an integer"),
        ({"length": -1}, "length is -1"),
        ({"length": -(2**63)}, "length is -9223372036854775808"),
        ({"length": b"76800"}, "length must be an integer"),
        ({"length": None}, "length must be an integer"),
        ({"length": 2**63 - 1}, "need 562949953421312 hashes"),
        ({"length": LAYOUT.size + 16 * KIB}, "need 6 hashes"),
        ({"length": 4 * 16 * KIB}, "need 4 hashes"),
        ({"length": 0}, "need 0 hashes"),
        ({"pieces": PIECES[:-1]}, "has 99 bytes"),
        ({"pieces": PIECES + b"\0"}, "has 101 bytes"),
        ({"pieces": PIECES[20:]}, "has 80 bytes"),
        ({"pieces": b""}, "has 0 bytes"),
        ({"pieces": [PIECES]}, "pieces must be a string"),
        ({"pieces": None}, "pieces must be a string"),
        ({"name": None}, "name must be a string"),
        ({"name": 7}, "name must be a string"),
        ({"private": 2}, "private is 2"),
        ({"private": b"1"}, "private must be an integer"),
        ({"length": None, "files": [{b"length": 1, b"path": [b"a"]}]}, "several files"),
        ({"files": []}, "several files"),
        ({"length": None, "pieces": None, "meta_version": 2, "file_tree": {}}, "v2 only"),
        ({"pieces": None, "meta_version": 2}, "v2 only"),
        ({"pieces": None, "file_tree": {}}, "v2 only"),
    ],
)
def test_an_info_that_cannot_be_is_refused(
    changes: dict[str, bencode.Value | None], reason: str
) -> None:
    with pytest.raises(MetainfoError, match=reason) as caught:
        parse_info(info_with(**changes))
    assert "\n" not in str(caught.value)


def test_the_largest_piece_length_is_taken() -> None:
    info = parse_info(info_with(piece_length=128 * MIB, pieces=bytes(20)))
    assert info.layout == Layout(LAYOUT.size, 128 * MIB)


@pytest.mark.parametrize("raw", [b"", b"le", b"i1e", b"4:info", b"de", RAW + b"e", RAW[:-1]])
def test_what_is_no_dictionary_is_no_info(raw: bytes) -> None:
    with pytest.raises(MetainfoError):
        parse_info(raw)


def test_unsorted_keys_inside_info_are_refused() -> None:
    unsorted = b"d4:name1:x6:lengthi0e12:piece lengthi16384e6:pieces0:e"
    with pytest.raises(MetainfoError, match="out of order"):
        parse_info(unsorted)
    with pytest.raises(MetainfoError, match="out of order"):
        parse_torrent(b"d4:info" + unsorted + b"e")


@given(st.binary(max_size=60))
def test_garbage_in_info_raises_only_the_documented_error(garbage: bytes) -> None:
    with pytest.raises(MetainfoError):
        parse_info(garbage)
    with pytest.raises(MetainfoError):
        parse_torrent(garbage)


@given(st.data())
def test_a_damaged_torrent_raises_only_the_documented_error(data: st.DataObject) -> None:
    damaged = bytearray(b"d8:announce8:http://t4:info" + RAW + b"e")
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        metainfo = parse_torrent(bytes(damaged))
    except MetainfoError:
        return
    info = metainfo.info
    assert info.raw in bytes(damaged)
    assert len(info.pieces) == 20 * info.layout.piece_count


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "\\\\server\\share",
        "C:\\x",
        "c:x",
        "a\0b",
        "a\nb",
        "a\x1b[2J",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
    ],
)
def test_an_unsafe_name_is_told_but_no_error(name: str) -> None:
    info = parse_info(info_with(name=name.encode()))
    assert info.name == name
    assert not info.name_is_safe


def test_a_name_of_broken_utf8_is_unsafe_and_still_printable() -> None:
    info = parse_info(info_with(name=b"caf\xe9"))
    assert not info.name_is_safe
    assert info.name.encode()


@pytest.mark.parametrize("name", ["a", "...", ".bashrc", "Käse 奶酪.iso", "12:30", "v1.0 (final)"])
def test_an_ordinary_name_is_safe(name: str) -> None:
    assert parse_info(info_with(name=name.encode())).name_is_safe


def test_build_info_refuses_pieces_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="80 bytes of hashes for 5 pieces"):
        build_info(name="x", layout=LAYOUT, pieces=PIECES[20:])
    with pytest.raises(ValueError, match="piece length"):
        build_info(name="x", layout=Layout(1, 256 * MIB), pieces=bytes(20))


@given(
    name=st.text(max_size=20),
    size=st.integers(0, 2000),
    piece_length=st.integers(1, 500),
    private=st.booleans(),
)
def test_whatever_is_built_parses_back(
    name: str, size: int, piece_length: int, private: bool
) -> None:
    layout = Layout(size, piece_length)
    pieces = bytes(20 * layout.piece_count)
    info = parse_info(build_info(name=name, layout=layout, pieces=pieces, private=private))
    assert (info.name, info.layout, info.pieces, info.private) == (name, layout, pieces, private)


# The torrent file


def test_a_torrent_file_parses_back_with_the_info_as_found() -> None:
    data = torrent_file(
        RAW,
        trackers=[["http://one.example/announce"]],
        created_by="seeder",
        url_list=["https://s3.example/quotes/Nelson"],
    )
    metainfo = parse_torrent(data)
    assert metainfo.info == parse_info(RAW)
    assert bencode.encode(bencode.decode(data)) == data


def test_libtorrent_reads_the_same_torrent() -> None:
    data = torrent_file(
        RAW,
        trackers=[["http://one.example/announce"]],
        created_by="seeder",
        url_list=["https://s3.example/quotes/Nelson"],
    )
    read = lt.load_torrent_buffer(data)
    assert read.info_hashes.v1.to_bytes() == InfoHash.of(RAW)
    assert not read.info_hashes.has_v2()
    assert read.trackers == ["http://one.example/announce"]
    assert read.url_seeds == ["https://s3.example/quotes/Nelson"]
    assert read.created_by == "seeder"
    assert read.ti is not None
    assert read.ti.name() == "Nelson"
    assert read.ti.total_size() == LAYOUT.size
    assert read.ti.num_pieces() == LAYOUT.piece_count
    assert [read.ti.hash_for_piece(index) for index in range(5)] == [
        PIECES[start : start + 20] for start in range(0, 100, 20)
    ]


def test_the_shortest_torrent_file_has_a_tracker_a_creator_and_info() -> None:
    data = torrent_file(RAW, trackers=[["http://t/a"]], created_by="seeder")
    assert data == b"d8:announce10:http://t/a10:created by6:seeder4:info" + RAW + b"e"
    assert lt.load_torrent_buffer(data).info_hashes.v1.to_bytes() == InfoHash.of(RAW)


def test_libtorrent_finds_a_private_torrent_private() -> None:
    raw = build_info(name="Nelson", layout=LAYOUT, pieces=PIECES, private=True)
    data = torrent_file(raw, trackers=[["http://t/a"]], created_by="seeder")
    read = lt.load_torrent_buffer(data)
    assert read.ti is not None
    assert read.ti.priv()
    assert read.info_hashes.v1.to_bytes() == InfoHash.of(raw)


def test_an_odd_info_is_carried_as_found() -> None:
    raw = info_with(source=b"\xff\x00odd", name=b"../../etc/passwd")
    data = torrent_file(raw, trackers=[["http://t/a"]], created_by="seeder")
    assert raw in data
    assert parse_torrent(data).info.raw == raw
    assert lt.load_torrent_buffer(data).info_hashes.v1.to_bytes() == InfoHash.of(raw)


@pytest.mark.parametrize("flags", [0, lt.create_torrent.v1_only])
def test_what_libtorrent_makes_is_read_hybrids_too(tmp_path: Path, flags: int) -> None:
    (tmp_path / "Nelson").write_bytes(CONTENT)
    maker = lt.create_torrent(lt.list_files(str(tmp_path / "Nelson")), 16 * KIB, flags)
    maker.add_tracker("http://t.example/announce")
    lt.set_piece_hashes(maker, str(tmp_path))
    data = bytes(lt.bencode(maker.generate()))
    metainfo = parse_torrent(data)
    assert metainfo.info.layout == LAYOUT
    assert metainfo.info.pieces == PIECES
    expected = lt.load_torrent_buffer(data).info_hashes.v1.to_bytes()
    assert metainfo.info.info_hash == expected
    again = torrent_file(metainfo.info.raw, trackers=[["http://t/a"]], created_by="seeder")
    assert lt.load_torrent_buffer(again).info_hashes.v1.to_bytes() == expected


def test_libtorrents_v2_only_torrent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Nelson").write_bytes(CONTENT)
    maker = lt.create_torrent(
        lt.list_files(str(tmp_path / "Nelson")), 16 * KIB, lt.create_torrent.v2_only
    )
    lt.set_piece_hashes(maker, str(tmp_path))
    with pytest.raises(MetainfoError, match="v2 only"):
        parse_torrent(bytes(lt.bencode(maker.generate())))


def test_outer_keys_in_any_order_are_taken_as_ceph_writes_them() -> None:
    data = b"d4:info" + RAW + b"8:announce8:http://t10:created by3:rgwe"
    metainfo = parse_torrent(data)
    assert metainfo.info.info_hash == InfoHash.of(RAW)


def test_a_torrent_of_ceph_20_is_refused() -> None:
    # The piece count where the length of the string belongs, and the last "e" missing.
    broken = RAW.replace(b"6:pieces100:", b"6:pieces5:")
    assert broken != RAW
    with pytest.raises(MetainfoError):
        parse_torrent(b"d4:info" + broken)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"de",
        b"le",
        b"<?xml version='1.0'?>",
        b"d4:infoi1ee",
        b"d4:infodee",
        b"d4:info" + RAW,
        b"d4:info" + RAW + b"e\n",
        b"d4:info" + RAW + b"4:info" + RAW + b"e",
        b"d4:Info" + RAW + b"e",
        b"d1:ad4:info" + RAW + b"ee",
    ],
)
def test_what_is_no_torrent_is_refused(data: bytes) -> None:
    with pytest.raises(MetainfoError):
        parse_torrent(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"announce", 1),
        (b"announce", b""),
        (b"announce", b"http://\xff"),
        (b"announce-list", b"http://t"),
        (b"announce-list", [b"http://t", 1, [], [1, [b"x"]]]),
        (b"url-list", 7),
        (b"url-list", b""),
        (b"url-list", [1, b"\xff"]),
    ],
)
def test_what_else_stands_outside_info_is_passed_over(key: bytes, value: bencode.Value) -> None:
    data = b"d4:info" + RAW + bencode.encode(key) + bencode.encode(value) + b"e"
    assert parse_torrent(data).info.raw == RAW


# The file name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Nelson", "Nelson"),
        ("datasets/2026/train.tar.gz", "train.tar.gz"),
        ("Käse 奶酪 🧀.iso", "Käse 奶酪 🧀.iso"),
        (".bashrc", ".bashrc"),
        ("../../etc/passwd", "passwd"),
        ("/", "object"),
        ("", "object"),
        ("a/", "object"),
        ("a/..", "object"),
        ("a/.", "object"),
        ("...", "object"),
        (" . . ", "object"),
        ("a\\..\\b", "a_.._b"),
        ("C:\\boot.ini", "C__boot.ini"),
        ('<a>:"b"|c?*', "_a___b__c__"),
        ("a\0b\nc\x7fd\x85e", "a_b_c_d_e"),
        ("trailing. . ", "trailing"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("com¹.log", "_com¹.log"),
        ("LPT9 .x", "_LPT9 .x"),
        ("conin$", "_conin$"),
        ("aux .", "_aux"),
        ("CONSOLE", "CONSOLE"),
        ("COM", "COM"),
        ("com10", "com10"),
        ("evil\u202egpj.exe", "evil_gpj.exe"),
        ("half\ud83d", "half_"),
        ("a" * 300 + ".tar.gz", "a" * 248 + ".tar.gz"),
        ("a" * 300, "a" * 255),
        ("奶" * 100 + ".iso", "奶" * 83 + ".iso"),
        ("a." + "b" * 300, "a." + "b" * 253),
        ("CON" + " " * 300 + ".txt", "_CON" + " " * 247 + ".txt"),
        ("CON" + " " * 248 + "x.txt", "_CON" + " " * 247 + ".txt"),
    ],
)
def test_names_of_keys(key: str, name: str) -> None:
    assert safe_name(key) == name


WINDOWS_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE
)
# Every character that safe_name has an opinion on, and some that it has none on.
tricky_keys = st.text(
    st.sampled_from('/\\:*?"<>| ..\0\n\x7f\x9f\u2028\u202e\ud800\ufffdCONconAUXaux1¹é🧀'),
    max_size=12,
)
long_keys = st.builds(
    lambda start, filler, count, end: start + filler * count + end,
    st.sampled_from(["", "CON", "a/", "x.", "nul."]),
    st.sampled_from(["a", " ", ".", "é", "奶", "🧀", ". "]),
    st.integers(50, 300),
    tricky_keys,
)


@given(st.text(st.characters()) | tricky_keys | long_keys)
@example("CON" + " " * 248 + "x.txt")
@example("com1." + "." * 300)
def test_a_safe_name_is_safe_everywhere_and_stays(key: str) -> None:
    name = safe_name(key)
    assert 1 <= len(name.encode()) <= 255
    assert not set(name) & set('<>:"/\\|?*')
    assert name not in (".", "..")
    assert all(ord(char) >= 32 and not 0x7F <= ord(char) <= 0x9F for char in name)
    assert name[-1] not in ". "
    assert not WINDOWS_RESERVED.fullmatch(name.partition(".")[0].rstrip(" "))
    assert safe_name(name) == name


@given(st.text() | tricky_keys | long_keys)
def test_a_safe_name_passes_the_check_of_info(key: str) -> None:
    raw = build_info(name=safe_name(key), layout=LAYOUT, pieces=PIECES)
    assert parse_info(raw).name_is_safe


@given(long_keys.filter(lambda key: "/" not in key))
def test_a_long_name_keeps_its_extension(key: str) -> None:
    assert safe_name(key + ".iso").endswith(".iso")


# -- hybrids (BEP 52)

_HYBRID_LAYOUT = Layout(5, 16384)
_ROOT = b"r" * 32


def hybrid_with(
    layout: Layout = _HYBRID_LAYOUT, changes: dict[str, bencode.Value | None] | None = None
) -> bytes:
    """Return a hybrid's info dictionary; a change of None leaves the key out."""
    root = _ROOT if layout.size else b""
    pieces = bytes(20 * layout.piece_count)
    info = bencode.decode(build_info(name="n", layout=layout, pieces=pieces, root=root))
    assert isinstance(info, dict)
    named = {key.replace("_", " ").encode(): value for key, value in (changes or {}).items()}
    return bencode.encode({k: v for k, v in (info | named).items() if v is not None})


def test_a_hybrid_says_what_v2_clients_need() -> None:
    raw = hybrid_with()
    v2 = parse_info(raw).v2
    assert v2 is not None
    assert (v2.root, v2.info_hash) == (_ROOT, hashlib.sha256(raw).digest())
    assert v2.short_hash == v2.info_hash[:20]
    nothing = parse_info(hybrid_with(Layout(0, 16384))).v2
    assert nothing is not None
    assert nothing.root == b""


def _tree(**properties: bencode.Value) -> bencode.Value:
    named = {key.replace("_", " ").encode(): value for key, value in properties.items()}
    return {b"n": {b"": named}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"meta_version": 3}, "meta version is 3"),
        ({"meta_version": b"2"}, "meta version"),
        ({"file_tree": None}, "file tree"),
        ({"file_tree": b"n"}, "file tree"),
        ({"file_tree": {}}, "file tree"),
        ({"file_tree": {b"other": {b"": {b"length": 5, b"pieces root": _ROOT}}}}, "file tree"),
        ({"file_tree": {b"n": {b"x": {b"": {b"length": 5}}}}}, "file tree"),
        ({"file_tree": _tree(length=6, pieces_root=_ROOT)}, "file tree"),
        ({"file_tree": _tree(pieces_root=_ROOT)}, "file tree"),
        ({"file_tree": _tree(length=5)}, "pieces root"),
        ({"file_tree": _tree(length=5, pieces_root=_ROOT[:-1])}, "pieces root"),
        ({"file_tree": _tree(length=5, pieces_root=1)}, "pieces root"),
        ({"piece_length": 8192}, "piece length"),
        ({"piece_length": 3 * 16384}, "piece length"),
    ],
)
def test_a_v2_part_that_cannot_be_leaves_a_v1_torrent(
    changes: dict[str, bencode.Value | None], reason: str
) -> None:
    info = parse_info(hybrid_with(changes=changes))
    assert info.v2 is None
    assert reason in str(info.v2_fault)
    assert info.layout.size == 5


def test_a_file_may_have_further_attributes_in_the_tree() -> None:
    info = parse_info(
        hybrid_with(changes={"file_tree": _tree(attr=b"x", length=5, pieces_root=_ROOT)})
    )
    assert info.v2 is not None


def test_a_v1_torrent_has_nothing_to_say_to_v2() -> None:
    info = parse_info(hybrid_with(changes={"meta_version": None, "file_tree": None}))
    assert (info.v2, info.v2_fault) == (None, None)
