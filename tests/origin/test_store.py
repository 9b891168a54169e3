"""Metainfo on disk: found again, and damage never believed."""

from pathlib import Path

import pytest

from seeder.errors import StorageError
from seeder.origin.store import MetainfoStore, Record, file_stem
from seeder.torrent.catalog import ObjectRef, PinnedObject
from seeder.torrent.layout import Layout
from seeder.torrent.metainfo import build_info, parse_info

REF = ObjectRef("default", "bucket", "a key/with ünïcode")
INFO = parse_info(build_info(name="n", layout=Layout(7, 16384), pieces=b"p" * 20))


def record(**more: object) -> Record:
    values: dict[str, object] = {
        "pinned": PinnedObject(REF, '"etag"', 7, "v1"),
        "info": INFO,
        "rung": "build",
        "wanted": "as it is",
        "refused": {"origin": "it lied"},
    }
    return Record(**(values | more))  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path / "metainfo")
    assert store.load(REF) is None
    for saved in (record(), record(info=None), record(pinned=PinnedObject(REF, '"e"', 7))):
        store.save(saved)
        assert store.load(REF) == saved


def test_each_version_has_a_record_of_its_own(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    store.save(record())
    version = ObjectRef(REF.origin, REF.bucket, REF.key, "v1")
    assert store.load(version) is None
    assert file_stem(version) != file_stem(REF)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[:-1],
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


def test_a_directory_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "metainfo").write_text("in the way")
    with pytest.raises(StorageError, match="metainfo"):
        MetainfoStore(tmp_path / "metainfo").save(record())
