"""UNIX sockets at paths: who may connect, what is replaced, and what isn't."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from seeder.errors import StateUnusable, StorageError
from seeder.net.local import LONGEST, listening_at, local_address


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, local_address(path) as address:
        return probe.connect_ex(address) == 0


def leave(path: Path) -> None:
    """Leave a socket as a process does that is killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_nobody_else_can_connect_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with listening_at(tmp_path / "s", "key"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
            assert connects(tmp_path / "s")
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    leave(tmp_path / "s")
    with listening_at(tmp_path / "s", "key"):
        assert connects(tmp_path / "s")


def test_one_that_somebody_listens_at_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening_at(path, "admin.socket"):
        with (
            pytest.raises(StateUnusable, match=f"admin.socket: another process listens at {path}"),
            listening_at(path, "admin.socket"),
        ):
            pass
        assert connects(path)


def test_one_whose_queue_is_full_is_in_use_too(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with (
            pytest.raises(StateUnusable, match="another process listens"),
            listening_at(path, "key"),
        ):
            pass
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "pipe"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    match kind:
        case "file":
            path.touch()
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
    before = path.lstat()
    with (
        pytest.raises(StorageError, match="something else than a socket is there"),
        listening_at(path, "key"),
    ):
        pass
    assert path.lstat().st_ino == before.st_ino


def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "control.sock"
    path.parent.mkdir(parents=True)
    assert len(str(path)) > LONGEST
    with listening_at(path, "key"):
        assert path.is_socket()
        assert connects(path)
    assert not path.exists()


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "s", tmp_path / ("d" * 150) / "s", tmp_path / ("n" * 200)):
        with pytest.raises(StorageError, match="key: can't listen at"), listening_at(path, "key"):
            pass


def test_a_socket_that_took_our_path_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening_at(path, "key"):
        path.unlink()
        leave(path)
    assert path.is_socket()


def test_files_that_threads_make_meanwhile_have_their_own_mode(tmp_path: Path) -> None:
    """The umask is the whole process's."""
    modes, stop = set(), threading.Event()

    def make() -> None:
        while not stop.is_set():
            path = tmp_path / "file"
            path.touch(0o644)
            modes.add(stat.S_IMODE(path.stat().st_mode))
            path.unlink()

    maker = threading.Thread(target=make)
    maker.start()
    try:
        for number in range(200):
            with listening_at(tmp_path / f"s{number}", "key"):
                pass
    finally:
        stop.set()
        maker.join()
    assert modes == {0o644}
