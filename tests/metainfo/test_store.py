"""Metainfo on disk: found again, and damage never believed."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seeder.errors import StorageError
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore, file_stem
from seeder.metainfo.trees import TreeFile
from seeder.torrent.bundle import build_bundle_info, parse_bundle_info
from seeder.torrent.info import InfoHash, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.merkle import Shape
from seeder.torrent.objects import (
    Description,
    ObjectRef,
    PinnedBundle,
    PinnedObject,
    member_dates,
)
from seeder.torrent.torrent import Torrent
from tests.support.disks import DAMAGE, NOT_FILES, failing_disk

REF = ObjectRef("default", "bucket", "a key/with ünïcode")
INFO = parse_info(build_info(name="n", layout=Layout(7, 16384), pieces=b"p" * 20))


def record(**more: object) -> Record:
    values: dict[str, object] = {
        "pinned": PinnedObject(REF, '"etag"', 7, "v1"),
        "info": INFO,
        "outline": INFO.outline,
        "rung": "build",
        "wanted": "as it is",
        "refused": {"origin": "it lied"},
    }
    return Record(**(values | more))  # type: ignore[arg-type]


def unsealed(line: bytes) -> dict[str, Any]:
    """Return a record's line without its checksum, as older releases wrote it."""
    told: dict[str, Any] = json.loads(line)
    del told["crc32"]
    return told


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    assert store.load(REF) is None
    for saved in (
        record(),
        record(info=None, outline=None),
        record(pinned=PinnedObject(REF, '"e"', 7)),
    ):
        store.save(saved)
        assert store.load(REF) == saved


def test_a_record_is_recalled_without_its_info(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    assert store.recall(REF) == record(info=None)
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    # Damage that leaves the length alone shows when the info itself is read.
    path.write_bytes(line + b"\n" + raw[:-2] + b"xe")
    assert store.recall(REF) == record(info=None)
    assert store.load(REF) is None
    # A line longer than one read, and none at all of the length.
    store.save(record(refused={"origin": "it lied " * 5000}))
    recalled = store.recall(REF)
    assert recalled is not None
    assert recalled.outline == INFO.outline
    path.write_bytes(raw)
    assert store.recall(REF) is None


def test_a_torrent_keeps_the_time_at_which_it_was_first_published(tmp_path: Path) -> None:
    now = 1000.5
    store = MetainfoStore(tmp_path, clock=lambda: now)

    def published() -> set[int | None]:
        # After a restart, too.
        again = MetainfoStore(tmp_path)
        found = [again.load(REF), again.recall(REF)]
        return {each.published if each is not None else -1 for each in found}

    first = record()
    store.save(first)
    assert first.published == 1000
    assert published() == {1000}
    now = 2000.0
    # The same bytes under another ETag are the same torrent; other bytes are not.
    store.save(record(pinned=PinnedObject(REF, '"other"', 7)))
    store.describe(PinnedObject(REF, '"other"', 7, None, Description(5, ())))
    assert published() == {1000}
    other = parse_info(build_info(name="n", layout=Layout(7, 16384), pieces=b"q" * 20))
    store.save(record(info=other, outline=other.outline))
    assert published() == {2000}
    # Without metainfo there is no torrent.
    store.save(record(info=None, outline=None))
    assert published() == {None}


def test_a_record_of_an_earlier_release_is_as_old_as_its_file(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path, clock=lambda: 9000.0)
    store.save(record())
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    told = unsealed(line)
    del told["published"]
    path.write_bytes(json.dumps(told).encode() + b"\n" + raw)
    os.utime(path, (3000, 3000))
    found = store.recall(REF)
    assert found is not None
    assert found.published == 3000
    assert found == record(info=None)
    # It stays so once the file is written anew.
    store.save(record())
    found = store.load(REF)
    assert found is not None
    assert found.published == 3000
    for wrong in (-1, "soon", None, 1.5):
        path.write_bytes(json.dumps(told | {"published": wrong}).encode() + b"\n" + raw)
        assert store.recall(REF) is None


def test_a_record_of_an_earlier_release_is_recalled_by_reading_its_info(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    told = json.loads(line)
    for name in ("info_hash", "info_length", "length", "piece_length", "private", "crc32"):
        del told[name]
    path.write_bytes(json.dumps(told).encode() + b"\n" + raw)
    assert store.recall(REF) == record(info=None)
    assert store.load(REF) == record()


def hybrid_record(tmp_path: Path) -> Record:
    layout = Layout(3 * 16384, 16384)
    tree = TreeFile.write(tmp_path / "tree", Shape(layout), b"h" * 96)
    raw = build_info(name="n", layout=layout, pieces=b"p" * 60, root=tree.root)
    info = parse_info(raw)
    pinned = PinnedObject(REF, '"etag"', layout.size)
    return record(pinned=pinned, info=info, outline=info.outline, tree=tree)


def test_a_hybrid_is_recalled_with_its_v2_hash_and_its_tree(tmp_path: Path) -> None:
    saved = hybrid_record(tmp_path)
    assert saved.info is not None
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(saved)
    for found in (store.recall(REF), store.load(REF)):
        assert found is not None
        assert found.outline == saved.info.outline
        assert found.outline.v2 == saved.info.v2
        assert found.tree is not None
        assert found.tree.read(0, 0, 3) == b"h" * 96
        torrent = Torrent(found.outline, found.pinned, found.rung, found.tree)
        assert saved.info.v2 is not None
        assert torrent.v2_hash == saved.info.v2.info_hash
        assert torrent.short_v2_hash == saved.info.v2.short_hash
    # Another's tree is none: then nothing is known of the object.
    other = TreeFile.write(tmp_path / "other", Shape(saved.info.layout), b"x" * 96)
    assert saved.tree is not None
    other.move(saved.tree.path)
    assert (store.recall(REF), store.load(REF)) == (None, None)


def test_a_hybrid_that_is_served_as_v1_comes_back_as_such(tmp_path: Path) -> None:
    saved = hybrid_record(tmp_path)
    saved.tree = None
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(saved)
    for found in (store.recall(REF), store.load(REF)):
        assert found is not None
        assert found.outline is not None
        assert (found.outline.v2, found.tree) == (None, None)


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("v2_hash", "00" * 31),
        ("v2_hash", "00" * 32),
        ("v2_hash", 7),
        ("v2_root", "zz" * 32),
        ("v2_root", None),
        ("piece_length", 8192),
    ],
)
def test_what_a_line_tells_wrongly_of_a_hybrid_is_not_believed(
    tmp_path: Path, told: str, instead: object
) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(hybrid_record(tmp_path))
    path = tmp_path / "metainfo" / f"{file_stem(REF)}.info"
    line, _, raw = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(unsealed(line) | {told: instead}).encode() + b"\n" + raw)
    assert store.load(REF) is None
    # A whole hash that is another's shows when the info itself is read.
    assert (store.recall(REF) is None) == (instead != "00" * 32)


def test_each_version_has_a_record_of_its_own(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    version = ObjectRef(REF.origin, REF.bucket, REF.key, "v1")
    assert store.load(version) is None
    assert file_stem(version) != file_stem(REF)


def bundle_record() -> Record:
    members = [
        PinnedObject(
            ObjectRef("default", "bucket", f"{REF.key}/{key}"), '"e"', 0 if key == "empty" else 7
        )
        for key in ("a", "b/c", "empty")
    ]
    bundle = PinnedBundle.of(REF, members)
    count = sum(member.size > 0 for member in members)
    raw = build_bundle_info(bundle, piece_length=16384, pieces=b"p" * 20 * count)
    info = parse_bundle_info(raw)[0]
    return record(pinned=bundle, info=info, outline=info.outline, refused={})


def test_a_bundle_comes_back_with_its_objects(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    saved = bundle_record()
    store.save(saved)
    found = store.load(REF)
    assert found == saved
    assert found is not None
    assert isinstance(found.pinned, PinnedBundle)
    saved.info = None
    assert store.recall(REF) == saved


def test_a_bundle_tells_when_its_objects_changed_if_that_is_known(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    saved = bundle_record()
    store.save(saved)

    def told() -> list[int | None]:
        found = store.recall(REF)
        assert found is not None
        assert isinstance(found.pinned, PinnedBundle)
        return member_dates(found.pinned)

    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    older = unsealed(line)
    older.pop("members_modified")
    path.write_bytes(json.dumps(older).encode() + b"\n" + raw)
    assert told() == [None] * 3
    bundle = saved.pinned
    assert isinstance(bundle, PinnedBundle)
    for dates in ([5, None, 7], [5, 6, 7]):
        members = [
            replace(each, description=None if date is None else Description(date))
            for each, date in zip(bundle.members, dates, strict=True)
        ]
        store.describe(PinnedBundle.of(REF, members))
        assert told() == dates
    line, _, raw = path.read_bytes().partition(b"\n")
    for damage in ([1, 2], ["1", 2, 3], [1, 2, -3], 7):
        spoilt = unsealed(line) | {"members_modified": damage}
        path.write_bytes(json.dumps(spoilt).encode() + b"\n" + raw)
        assert store.load(REF) is None


def test_a_bundle_remembers_the_last_few_of_its_torrents(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    hashes: list[InfoHash] = []
    for number in range(12):
        saved = bundle_record()
        raw = saved.info.raw.replace(b"p" * 20, bytes([number]) * 20)  # type: ignore[union-attr]
        saved.info = parse_bundle_info(raw)[0]
        for _ in range(2):  # the same torrent once more
            store.save(saved)
            found = store.recall(REF)
            assert found is not None
            assert found.similar == saved.similar == tuple(hashes[::-1][:8])
        hashes.append(saved.info.info_hash)
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    wrongs: list[object] = ["no list", ["00"], [7], {}]
    for wrong in wrongs:
        path.write_bytes(json.dumps(unsealed(line) | {"similar": wrong}).encode() + b"\n" + raw)
        assert store.recall(REF) is None


def test_one_object_after_another_shares_no_file(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    store.save(bundle_record())
    found = store.load(REF)
    assert found is not None
    assert found.similar == ()


def test_a_bundle_whose_pieces_are_more_than_its_objects_need_is_not_recalled(
    tmp_path: Path,
) -> None:
    store = MetainfoStore(tmp_path)
    store.save(bundle_record())
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"length": 32768', b'"length": 49152', 1))
    assert store.recall(REF) is None


@pytest.mark.parametrize(
    "damage",
    [
        # An object of another state, one too few, and the files of another bundle.
        lambda data: data.replace(b'"\\"e\\"", 7', b'"\\"f\\"", 7', 1),
        lambda data: data.replace(b"empty", b"other", 1),
        lambda data: re.sub(rb', \["[^"]*empty", [^]]*\]', b"", data),
        lambda data: data.replace(b"6:lengthi7e", b"6:lengthi6e", 1),
        lambda data: data.replace(b'"members": [[', b'"members": [[5, ', 1),
        lambda data: re.sub(rb'"members": \[.*\]\]', b'"members": null', data),
    ],
)
def test_a_damaged_record_of_a_bundle_counts_as_none(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = MetainfoStore(tmp_path)
    store.save(bundle_record())
    [path] = tmp_path.iterdir()
    spoilt = damage(path.read_bytes())
    assert spoilt != path.read_bytes()
    path.write_bytes(spoilt)
    assert store.load(REF) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"e",
        lambda data: data.replace(b'"piece_length": 16384', b'"piece_length": 0'),
        lambda data: data.replace(b'"info_hash": "', b'"info_hash": "00'),
        lambda data: data.replace(b"bucket", b"basket"),
        lambda data: data.replace(b'"size": 7', b'"size": "x"'),
        lambda data: b"[]\n" + data.partition(b"\n")[2],
        lambda data: b"\xff\xfe" + data,
    ],
)
def test_a_damaged_record_counts_as_none(tmp_path: Path, damage: object) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert store.load(REF) is None
    assert store.recall(REF) is None


def test_a_directory_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with (
        failing_disk(errno.EACCES, tmp_path / "metainfo"),
        pytest.raises(StorageError, match=r"metainfo.*Permission denied"),
    ):
        MetainfoStore(tmp_path / "metainfo").save(record())


# -- what strangers leave


@pytest.mark.parametrize("kind", [*DAMAGE, *NOT_FILES])
@pytest.mark.parametrize("whole", [False, True])
def test_a_record_that_is_no_record_counts_as_missing_and_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, whole: bool
) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(record())
    [path] = (tmp_path / "metainfo").iterdir()
    (DAMAGE | NOT_FILES)[kind](path)
    found = store.load(REF) if whole else store.recall(REF)
    assert found is None
    [told] = [entry.getMessage() for entry in caplog.records]
    assert str(path) in told
    assert told.endswith(f"; the metainfo of {REF} is made anew")
    assert len(told) < 600
    store.save(record())
    assert store.load(REF) == record()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_record_that_can_not_be_read_counts_as_missing_where_another_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    store.save(record())
    [path] = (tmp_path / "metainfo").iterdir()
    with failing_disk(number, path, calls=("open",)):
        assert store.recall(REF) is None
        assert f"{path}: it can't be read: {os.strerror(number)}" in caplog.text
        store.save(record())
    # Without a directory that takes files it is waited for: making it anew may cost the object.
    with (
        failing_disk(number, tmp_path / "metainfo"),
        pytest.raises(StorageError, match=os.strerror(number)),
    ):
        store.recall(REF)
    assert store.load(REF) == record()


@pytest.mark.parametrize(
    "change",
    [
        {"size": 2**63},
        {"size": -1},
        {"size": 7.0},
        {"size": True},
        {"etag": ["nested"]},
        {"etag": None},
        {"version_id": 7},
        {"rung": {}},
        {"wanted": 7},
        {"refused": {"origin": 7}},
        {"refused": []},
        {"refused": "text"},
        {"length": 10**18, "piece_length": 16384},
        {"piece_length": 0},
        {"piece_length": "16384"},
        {"info_hash": "ab"},
        {"info_hash": 7},
        {"v2_hash": "abcd", "v2_root": "abcd"},
        {"members": 7},
        {"members": [[]]},
        {"members": [["a key", '"etag"', "7"]]},
        {"object": None},
    ],
)
def test_a_value_of_another_kind_is_damage(tmp_path: Path, change: dict[str, object]) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    told = unsealed(line)
    path.write_bytes(json.dumps(told | change).encode() + b"\n" + raw)
    assert store.recall(REF) is None
    assert store.load(REF) is None


def test_what_is_no_directory_of_records_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "metainfo").write_text("in the way")
    store = MetainfoStore(tmp_path / "metainfo")
    assert store.recall(REF) is None
    store.save(record())
    assert store.load(REF) == record()
    assert len(list(tmp_path.iterdir())) == 2


TOLD = Description(
    784111777, (("content-type", "text/csv"), ("x-amz-meta-by", "Nelson")), sha256="0f" * 32
)


def test_what_s3_tells_of_an_object_is_kept_and_changes_alone(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    pinned = PinnedObject(REF, '"etag"', 7, "v1", TOLD)
    store.save(record(pinned=pinned))
    recalled = store.recall(REF)
    assert recalled is not None
    assert recalled.pinned.description == TOLD

    store.describe(replace(pinned, description=Description(1)))
    loaded = store.load(REF)
    assert loaded == record()
    assert loaded.pinned.description == Description(1)

    # Of another state, it says nothing.
    store.describe(PinnedObject(REF, '"other"', 7, "v1", TOLD))
    loaded = store.load(REF)
    assert loaded is not None
    assert loaded.pinned.description == Description(1)


def test_an_earlier_record_doesnt_know_what_s3_tells(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    for found in (store.recall(REF), store.load(REF)):
        assert found is not None
        assert found.pinned.description is None
    store.describe(PinnedObject(REF, '"etag"', 7, "v1", TOLD))
    found = store.recall(REF)
    assert found is not None
    assert found.pinned.description == TOLD


@pytest.mark.parametrize(
    "damage",
    [
        {"headers": "none"},
        {"headers": {"content-type": 1}},
        {"headers": {"content-type": "a\r\nset-cookie: b"}},
        {"modified": "today"},
        {"modified": -1},
    ],
)
def test_a_line_that_tells_nonsense_of_an_object_is_damage(
    tmp_path: Path, damage: dict[str, object]
) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record(pinned=PinnedObject(REF, '"etag"', 7, "v1", TOLD)))
    [path] = tmp_path.iterdir()
    line, _, raw = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(unsealed(line) | damage).encode() + b"\n" + raw)
    assert store.load(REF) is None
