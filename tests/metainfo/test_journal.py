"""What a journal of hashes gives back, after whatever befell it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import StorageError
from seeder.metainfo.journal import HashJournal
from tests.support.disks import failing_disk


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


HASHES = {index: bytes([index]) * 20 for index in range(50)}


def damaged(path: Path, spoil: Callable[[bytes], bytes]) -> dict[int, bytes]:
    """Return what is read of a journal of HASHES after its bytes were spoilt."""
    journal = HashJournal(path, "of this")
    journal.start({})
    journal.append(0, list(HASHES.values()))
    path.write_bytes(spoil(path.read_bytes()))
    found = journal.load()
    journal.start(found)
    return found


@given(data=st.data())
def test_whatever_becomes_of_it_no_wrong_hash_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    def spoil(raw: bytes) -> bytes:
        at = data.draw(st.integers(0, len(raw) - 1))
        length = data.draw(st.integers(1, 200))
        kind = data.draw(st.sampled_from(["flip", "zero", "cut", "double", "zero the tail"]))
        spoilt = bytearray(raw)
        match kind:
            case "flip":
                spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
            case "zero":
                spoilt[at : at + length] = bytes(len(spoilt[at : at + length]))
            case "cut":
                del spoilt[at : at + length]
            case "double":
                spoilt[at:at] = spoilt[at : at + length]
            case _:
                spoilt[at:] = bytes(len(spoilt) - at + length)
        return bytes(spoilt)

    found = damaged(tmp_path_factory.mktemp("journal") / "one", spoil)
    assert found.items() <= HASHES.items()


def test_one_flipped_bit_costs_one_piece(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def spoil(raw: bytes) -> bytes:
        at = raw.index(HASHES[7])
        return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]

    found = damaged(tmp_path / "one", spoil)
    assert found == {index: digest for index, digest in HASHES.items() if index != 7}
    assert "1 of its records are damaged" in caplog.text


def test_a_journal_that_can_not_be_read_is_told_of_once_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "one"
    path.mkdir()
    for _ in range(3):
        journal = HashJournal(path, "of this")
        assert journal.load() == {}
        with failing_disk(errno.ENOSPC, tmp_path), pytest.raises(StorageError):
            journal.start({})
    assert caplog.text == ""
    journal.start({})
    assert caplog.text.count("can't be read: it is a directory, not a file; hashing") == 1


def test_the_journal_of_an_earlier_release_is_read_but_for_its_zeros(tmp_path: Path) -> None:
    records = b"".join(number.to_bytes(4) + digest for number, digest in HASHES.items())
    header = b'{"journal": 1, "of": "of this"}\n'
    (tmp_path / "one").write_bytes(header + records + bytes(100))
    journal = HashJournal(tmp_path / "one", "of this")
    known = {index: digest for index, digest in HASHES.items() if index}
    assert journal.load() == known
    journal.start(known)
    assert journal.load() == known


def test_the_records_of_another_journal_are_not_believed(tmp_path: Path) -> None:
    other = HashJournal(tmp_path / "other", "of that")
    other.start(HASHES)
    records = (tmp_path / "other").read_bytes().partition(b"\n")[2]
    assert damaged(tmp_path / "one", lambda raw: raw + records) == HASHES
    journal = HashJournal(tmp_path / "one", "of this")
    journal.start({})
    with (tmp_path / "one").open("ab") as file:
        file.write(records)
    assert journal.load() == {}


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
