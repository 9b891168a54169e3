"""The register on disk: changed by several processes in turns, and never lost to damage."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seeder.errors import StorageError
from seeder.gateway.register_file import REGISTER, RegisterFile
from seeder.tracker.register import Register

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> RegisterFile:
    return RegisterFile(tmp_path / "state")


def issue(store: RegisterFile, name: str) -> None:
    store.change(lambda register: register.issue(name, "b/k", NOW, DAY, by_operator=True), NOW)


def test_before_the_first_key_there_is_an_empty_one(store: RegisterFile) -> None:
    assert store.stamp() is None
    assert store.load() == Register()


def test_a_change_is_there_for_all_and_shows(store: RegisterFile, tmp_path: Path) -> None:
    issue(store, "alice")
    before = store.stamp()
    other = RegisterFile(tmp_path / "state")
    other.change(lambda register: register.revoke("alice", NOW), NOW)
    assert store.stamp() != before
    assert store.load().is_shut_out("alice")


def test_nobody_else_can_read_it(store: RegisterFile, tmp_path: Path) -> None:
    issue(store, "alice")
    for path in (tmp_path / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_changes_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    def work(number: int) -> None:
        issue(RegisterFile(tmp_path), f"n{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert set(RegisterFile(tmp_path).load().made) == {f"n{number}" for number in range(24)}


@pytest.mark.parametrize("spoil", ["torn", "garbage", "empty", "directory"])
def test_a_damaged_one_is_left_as_it_is(store: RegisterFile, tmp_path: Path, spoil: str) -> None:
    issue(store, "alice")
    path = tmp_path / "state" / REGISTER
    whole = path.read_bytes()
    if spoil == "directory":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"torn": whole[:-9], "garbage": b"\xff{", "empty": b""}[spoil])
    for use in (store.load, lambda: issue(store, "bob")):
        with pytest.raises(StorageError, match=REGISTER):
            use()
    if spoil != "directory":
        assert path.read_bytes() != whole
        path.write_bytes(whole)
        issue(store, "bob")
        assert set(store.load().made) == {"alice", "bob"}


def test_a_change_that_fails_changes_nothing(store: RegisterFile) -> None:
    issue(store, "alice")

    def fail(register: Register) -> None:
        register.revoke("alice", NOW)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.change(fail, NOW)
    assert not store.load().revoked
    issue(store, "bob")


def test_what_could_not_be_read_again_is_not_written(
    store: RegisterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(store, "alice")
    monkeypatch.setattr("seeder.gateway.register_file._LARGEST", 200)
    with pytest.raises(StorageError, match="no room for another revocation"):
        store.change(lambda register: register.revoke("b" * 64, NOW), NOW)
    assert set(store.load().made) == {"alice"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_belongs_to_the_service(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4712)
    issue(RegisterFile(state), "alice")
    for path in state.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)
