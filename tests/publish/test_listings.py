"""The last listing of a prefix comes back from disk, or counts as unknown."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seeder.publish.listings import ListingStore
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef
from seeder.units import MIB

REF = ObjectRef("default", "bucket", "a key/with ünïcode")
MOST = 1000
LISTING = {"a/b": Listed('"e"', 5), "a/ünï": Listed('"f-2"', 0)}


def test_a_listing_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ListingStore(tmp_path / "listings")
    assert store.load(REF, MOST) is None
    for saved in (LISTING, {}):
        store.save(REF, saved)
        assert store.load(REF, MOST) == saved
    assert store.load(ObjectRef(REF.origin, REF.bucket, "another"), MOST) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data.replace(b"bucket", b"basket"),
        lambda data: data.replace(b"5]", b'"x"]'),
        lambda data: data.replace(b", 5]", b"]"),
        lambda data: b"[]",
    ],
)
def test_a_damaged_listing_counts_as_none(tmp_path: Path, damage: object) -> None:
    store = ListingStore(tmp_path)
    store.save(REF, LISTING)
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert store.load(REF, MOST) is None


@pytest.mark.parametrize("size", ["-5", "9e90", "5.0", "true", '"5"', "null"])
def test_a_listing_has_sizes_that_an_object_may_have(tmp_path: Path, size: str) -> None:
    store = ListingStore(tmp_path)
    store.save(REF, {"a": Listed('"e"', 5)})
    [path] = tmp_path.iterdir()
    rows = f'"objects": [["a", "e", {size}]]'
    prefix = f'"prefix": ["{REF.origin}", "{REF.bucket}", "{REF.key}"]'
    # As earlier versions wrote it: without a checksum.
    path.write_text(f"{{{prefix}, {rows}}}", encoding="utf-8")
    assert store.load(REF, MOST) is None
    path.write_text(f"{{{prefix}, {rows.replace(size, '5')}}}", encoding="utf-8")
    assert store.load(REF, MOST) == {"a": Listed("e", 5)}


def test_a_file_that_no_listing_can_be_is_not_read_into_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ListingStore(tmp_path)
    store.save(REF, LISTING)
    [path] = tmp_path.iterdir()
    os.truncate(path, 10**9)
    with traced() as most:
        assert store.load(REF, MOST) is None
    assert most() < MIB
    [told] = [record.getMessage() for record in caplog.records]
    assert "it has 1000000000 bytes, more than" in told


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Count the bytes that Python allocates, and yield what returns the most at a time."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
