"""Entries that were added at run time, on disk."""

from datetime import datetime
from pathlib import Path

import pytest

from seeder.config.added import (
    ADDED,
    AddedFile,
    Addition,
    EntryName,
    WrittenEntry,
    check_entry,
    in_force,
    name_of,
    outdated,
    read_addition,
)
from seeder.config.fields import SourceFile
from seeder.errors import ConfigError, StorageError
from seeder.torrent.objects import ObjectRef

SOURCE = SourceFile(Path("/"), frozenset({"default"}))


def addition(key: str, at: int = 1, more: WrittenEntry | None = None) -> Addition:
    entry = {"bucket": "b", "key": key, **(more or {})}
    settings = check_entry(entry, SOURCE)
    return Addition(name_of(settings), at, entry, settings)


def removal(key: str, at: int) -> Addition:
    return Addition(EntryName(ObjectRef("default", "b", key), False), at, None)


def opened(path: Path) -> AddedFile:
    file = AddedFile(path / ADDED)
    file.load(SOURCE)
    return file


def put(file: AddedFile, *added: Addition) -> None:
    found = file.read(SOURCE)
    file.append(added, found | {each.name: each for each in added})


def keys(path: Path) -> list[str]:
    found = AddedFile(path / ADDED).load(SOURCE)
    return [each.name.ref.key for each in found.values() if each.entry is not None]


def test_what_was_added_is_there_at_the_next_start(tmp_path: Path) -> None:
    entry: WrittenEntry = {
        "refresh": "1h",
        "publish_at": "2027-01-15T18:00:00Z",
        "piece_length": "1 MiB",
    }
    put(opened(tmp_path), addition("a", 1, entry), addition("b"))
    put(opened(tmp_path), removal("b", 2))
    (found,) = in_force((), AddedFile(tmp_path / ADDED).load(SOURCE))
    assert (found.key, found.refresh, found.piece_length) == ("a", 3600.0, 1 << 20)
    assert found.publish_at == datetime.fromisoformat("2027-01-15T18:00:00+00:00").timestamp()


def test_the_later_word_counts_whatever_its_line(tmp_path: Path) -> None:
    put(opened(tmp_path), removal("a", 5), addition("a", 4), addition("b", 4), removal("b", 4))
    assert keys(tmp_path) == []


def test_a_line_that_a_crash_left_is_over(tmp_path: Path) -> None:
    put(opened(tmp_path), addition("a"))
    path = tmp_path / ADDED
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-7])
    file = opened(tmp_path)
    assert file.damaged == []
    put(file, addition("b"))
    assert keys(tmp_path) == ["a", "b"]


def test_what_is_damaged_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(opened(tmp_path), addition("a"), addition("b"), addition("c"))
    path = tmp_path / ADDED
    damaged = path.read_bytes().replace(b'"b"}', b'"x"}')
    path.write_bytes(damaged)
    assert keys(tmp_path) == ["a", "c"]
    assert "line 2: its checksum is wrong" in caplog.text
    (aside,) = tmp_path.glob("added.jsonl.aside-*")
    assert aside.read_bytes() == damaged
    caplog.clear()
    assert keys(tmp_path) == ["a", "c"]
    assert caplog.text == ""


def test_something_else_of_its_name_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / ADDED).mkdir()
    put(opened(tmp_path), addition("a"))
    assert keys(tmp_path) == ["a"]
    assert len([*tmp_path.glob("added.jsonl.aside-*")]) == 1


def test_an_unread_file_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(opened(tmp_path), addition("a"))
    file = AddedFile(tmp_path / ADDED)
    monkeypatch.setattr("seeder.config.added._LARGEST", 10)
    with pytest.raises(StorageError, match="can't be read"):
        file.load(SOURCE)
    with pytest.raises(StorageError, match="nothing can be added"):
        file.append([addition("b")], {})
    monkeypatch.undo()
    assert keys(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path)
    put(file, addition("a"))
    with monkeypatch.context() as patch:
        patch.setattr("seeder.config.added.os.fsync", _full)
        with pytest.raises(StorageError, match="No space"):
            file.append([addition("b")], {})
    file.append([addition("c")], {})
    assert keys(tmp_path) == ["a", "c"]


@pytest.mark.parametrize(
    "how", ["gone", "emptied", "cut", "longer", "renamed", "directory", "link"]
)
def test_a_file_that_somebody_changes_meanwhile_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    path = tmp_path / ADDED
    file = opened(tmp_path)
    found = {each.name: each for each in (addition("a"), addition("b"))}
    file.append(found.values(), found)
    text = path.read_bytes()
    if how in ("gone", "directory", "renamed"):
        path.rename(tmp_path / "other")
    if how == "emptied":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(text.partition(b"\n")[2])
    elif how == "longer":
        path.write_bytes(text + addition("hand").line() + b"\n")
    elif how == "renamed":
        path.write_bytes(text)
    elif how == "directory":
        path.mkdir()
    elif how == "link":
        path.rename(tmp_path / "other")
        path.symlink_to(tmp_path / "other")
    for key in ("c", "d"):
        found[addition(key).name] = addition(key)
        file.append([addition(key)], found)
    assert keys(tmp_path) == ["a", "b", "c", "d"]
    assert len([*tmp_path.glob("added.jsonl.aside-*")]) == (how != "gone")
    assert caplog.text.count("while the seeder ran") == 1


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_of_old_news_is_written_anew(tmp_path: Path) -> None:
    file = opened(tmp_path)
    put(file, addition("old", 1), removal("old", 2), addition("a", 100 * 86_400 * 10**6))
    size = (tmp_path / ADDED).stat().st_size
    for at in range(1100):
        said = addition("a", 100 * 86_400 * 10**6 + at)
        file.append([said], {said.name: said})
    assert (tmp_path / ADDED).stat().st_size < 200 * size
    assert keys(tmp_path) == ["a"]
    assert b"old" not in (tmp_path / ADDED).read_bytes()


def test_removals_are_remembered_so_long_and_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    day = 86_400 * 10**6
    said = [removal("old", 1), removal("a", 100 * day), removal("b", 101 * day), addition("c", 2)]
    found = {each.name: each for each in said}
    assert [each.ref.key for each in outdated(found)] == ["old"]
    monkeypatch.setattr("seeder.config.added.MOST_REMOVALS", 1)
    assert {each.ref.key for each in outdated(found)} == {"old", "a"}


def test_an_entry_that_is_wrong_by_now_is_kept() -> None:
    document = {"at": 1, "entry": {"bucket": "b", "key": "k", "origin": "gone"}}
    found = read_addition(document, SOURCE)
    assert found.settings is None
    assert found.fault is not None
    assert found.fault.startswith("objects[0].origin")
    assert found.entry == document["entry"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"bucket": "b"}, "objects[0].key: missing; name an object's key"),
        ({"bucket": "b", "key": "k", "refesh": "1h"}, 'did you mean "refresh"?'),
        (
            {"bucket": "b", "key": "k", "refresh": "soon"},
            'objects[0].refresh = "soon": want a time',
        ),
        (
            {"bucket": "b", "key": "k", "publish_at": "2027"},
            "want a date and a time with its offset",
        ),
        (
            {"bucket": "b", "key": "k", "publish_at": "9999-12-31T23:59:59-23:59"},
            "want a date between the years 1 and 9999",
        ),
        ({"bucket": "b", "key": "k", "publish_at": 7}, "objects[0].publish_at = 7: want a date"),
        ({"bucket": "b", "key": "k", "torrent_file": "x"}, "want an absolute path"),
        ({"bucket": "b", "prefix": "k", "bundle": True, "format": "hybrid"}, 'format = "v1" only'),
    ],
)
def test_each_mistake_is_told_as_the_file_s_are(entry: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_entry(entry, SOURCE)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"at": 1},
        {"at": -1, "entry": {}},
        {"at": "1", "entry": {}},
        {"at": 1, "entry": {"bucket": "b"}},
        {"at": 1, "removed": {"bucket": 1, "key": "k"}},
    ],
)
def test_what_is_no_line_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"says nothing|names no"):
        read_addition(document, SOURCE)


def test_the_file_s_entry_is_before_an_added_one() -> None:
    added = addition("a", 1, {"refresh": "1h"})
    mine = check_entry({"bucket": "b", "key": "a"}, SOURCE)
    assert [*in_force([mine], {added.name: added})] == [mine]
    assert [*in_force([], {added.name: added})] == [added.settings]
