"""Metainfo on disk: found again, and damage never believed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from seeder.errors import StorageError
from seeder.origin.store import MetainfoStore, Record, file_stem
from seeder.torrent.bundle import build_bundle_info, parse_bundle_info
from seeder.torrent.catalog import ObjectRef, PinnedBundle, PinnedObject
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
    return record(pinned=bundle, info=parse_bundle_info(raw)[0], refused={})


def test_a_bundle_comes_back_with_its_objects(tmp_path: Path) -> None:
    store = MetainfoStore(tmp_path)
    saved = bundle_record()
    store.save(saved)
    found = store.load(REF)
    assert found == saved
    assert found is not None
    assert isinstance(found.pinned, PinnedBundle)


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
