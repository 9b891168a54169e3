"""What a journal of hashes gives back, after whatever befell it."""

import os
from pathlib import Path

import pytest

from seeder.metainfo.journal import HashJournal


def test_the_journal_of_another_object_is_not_believed(tmp_path: Path) -> None:
    journal = HashJournal(tmp_path / "one", "of this")
    journal.start({})
    journal.append(3, [b"a" * 20, b"b" * 20])
    assert journal.load() == {3: b"a" * 20, 4: b"b" * 20}
    assert HashJournal(tmp_path / "one", "of that").load() == {}


def test_a_torn_journal_loses_only_its_tail(tmp_path: Path) -> None:
    journal = HashJournal(tmp_path / "one", "of this")
    journal.start({0: b"a" * 20})
    with (tmp_path / "one").open("ab") as file:
        file.write(b"\0\0\0\1torn")
    assert journal.load() == {0: b"a" * 20}
    journal.start(journal.load())
    journal.append(1, [b"b" * 20])
    assert journal.load() == {0: b"a" * 20, 1: b"b" * 20}


def test_a_journal_with_hashes_outlives_a_power_cut_and_an_empty_one_costs_no_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    journal = HashJournal(tmp_path / "one.journal", "of this")
    journal.start({})
    assert synced == []
    journal.start({0: b"a" * 20})
    assert synced == ["one.partial", tmp_path.name]
