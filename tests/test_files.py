"""Files replaced in one step: whatever dies, fails or loses its power on the way."""

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from seeder.errors import StorageError
from seeder.files import (
    NotAFile,
    lock_directory,
    make_way,
    open_regular,
    read_file,
    replace_file,
    set_aside,
    storage_errors,
)
from tests.support.disks import NOT_FILES, failing_disk

STEPS = ("mkdir", "open", "write", "fsync", "close", "replace", "unlink")
OLD, NEW = b"old content", b"new content, and longer"


class Death(BaseException):
    """The end of the process: nothing is caught, nothing is cleaned up."""


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, before: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `before` with each step and its first argument before the system is asked for it."""

    def wrap(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def step(first: Any, *args: Any, **named: Any) -> Any:
            before(name, first)
            return real(first, *args, **named)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, wrap(name))
        yield


def files_below(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: int, death: BaseException) -> Iterator[None]:
    """Raise `death` at the beginning of a step, counted from 0; a close is done all the same."""
    left, close = step, os.close

    def die(name: str, first: Any) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            if name == "close":
                close(first)
            raise death

    with watched(monkeypatch, die):
        yield


def replace_dying(
    monkeypatch: pytest.MonkeyPatch, path: Path, step: int, death: BaseException, *, durable: bool
) -> bool:
    """Replace a file by NEW, disturbed at a step; False if there is no such step."""
    try:
        with dying(monkeypatch, step, death):
            replace_file(path, NEW, durable=durable)
    except type(death) as caught:
        return caught is death
    return False


@pytest.mark.parametrize("durable", [False, True])
def test_a_death_at_any_step_leaves_no_file_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    found = []
    for step in count():
        path = tmp_path / f"directory {step}" / "a.info"
        if not replace_dying(monkeypatch, path, step, Death(), durable=durable):
            break
        found.append(path.read_bytes() if path.exists() else None)
        # What was left hinders nobody, and goes with the next writing.
        replace_file(path, OLD, durable=durable)
        assert files_below(path.parent) == [path]
        assert path.read_bytes() == OLD
    # The file is there once it was renamed: what follows is the syncing of its directory.
    assert found == [None] * (9 if durable else 5) + [NEW] * (3 if durable else 0)


@pytest.mark.parametrize("durable", [False, True])
def test_a_death_at_any_step_leaves_the_old_content_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    path = tmp_path / "a.info"
    found = []
    for step in count():
        replace_file(path, OLD, durable=durable)
        assert files_below(tmp_path) == [path]
        if not replace_dying(monkeypatch, path, step, Death(), durable=durable):
            break
        found.append(path.read_bytes())
    assert found == [OLD] * (5 if durable else 4) + [NEW] * (3 if durable else 0)


@pytest.mark.parametrize("durable", [False, True])
def test_a_failure_at_any_step_leaves_no_temporary_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "a.info"
    found = []
    for step in count():
        replace_file(path, OLD, durable=durable)
        full = OSError(errno.ENOSPC, "No space left on device")
        if not replace_dying(monkeypatch, path, step, full, durable=durable):
            break
        found.append(path.read_bytes())
        assert files_below(tmp_path) == [path]
        assert len(os.listdir("/proc/self/fd")) == descriptors
    assert found == [OLD] * (5 if durable else 4) + [NEW] * (3 if durable else 0)


def steps_of(monkeypatch: pytest.MonkeyPatch, path: Path, *, durable: bool) -> list[str]:
    """Return the steps, with the names of what was synced."""
    steps: list[str] = []

    def note(name: str, first: Any) -> None:
        if name == "fsync":
            name += f" {Path(os.readlink(f'/proc/self/fd/{first}')).name}"
        if name.partition(" ")[0] in ("mkdir", "write", "fsync", "replace"):
            steps.append(name)

    with watched(monkeypatch, note):
        replace_file(path, NEW, durable=durable)
    return steps


def test_a_durable_file_is_synced_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "above" / "below" / "a.info"
    written = ["write", "fsync a.partial", "replace", "fsync below"]
    made = ["mkdir", f"fsync {tmp_path.name}", "mkdir", "fsync above"]
    assert steps_of(monkeypatch, path, durable=True) == made + written
    assert steps_of(monkeypatch, path, durable=True) == written


def test_what_need_not_be_durable_costs_no_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "below" / "a.info"
    assert steps_of(monkeypatch, path, durable=False) == ["mkdir", "write", "replace"]


def test_a_file_system_that_syncs_no_directories_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = errno.EINVAL
    fsync = os.fsync

    def refuse_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    replace_file(tmp_path / "a", NEW, durable=True)
    assert (tmp_path / "a").read_bytes() == NEW
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        replace_file(tmp_path / "a", OLD, durable=True)


def test_a_file_too_large_for_the_system_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, OLD, durable=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_file(path, bytes(2000), durable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_below(tmp_path) == [path]
    assert path.read_bytes() == OLD


def test_writing_goes_on_after_a_short_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: write(descriptor, view[:3]))
    replace_file(tmp_path / "a", bytearray(NEW), durable=False)
    assert (tmp_path / "a").read_bytes() == NEW


def test_modes_are_those_asked_for_as_far_as_the_umask_lets(tmp_path: Path) -> None:
    def modes(path: Path) -> tuple[int, int]:
        return stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)

    umask = os.umask(0o027)
    try:
        replace_file(tmp_path / "open" / "a", NEW, durable=False)
        path = tmp_path / "above" / "own" / "a"
        replace_file(path, NEW, durable=False, mode=0o600, directory_mode=0o700)
    finally:
        os.umask(umask)
    assert modes(tmp_path / "open" / "a") == (0o640, 0o750)
    assert modes(path) == (0o600, 0o700)
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o750


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file("a.json", NEW, durable=True)
    replace_file("b/a.json", NEW, durable=True)
    assert files_below(tmp_path) == [tmp_path / "a.json", tmp_path / "b" / "a.json"]


def test_a_temporary_file_may_lie_elsewhere(tmp_path: Path) -> None:
    temporary = tmp_path / "writing.tmp"
    temporary.write_bytes(b"what a process left that died, longer than what comes")
    replace_file(tmp_path / "below" / "a", NEW, durable=False, temporary=str(temporary))
    assert files_below(tmp_path) == [tmp_path / "below" / "a"]
    assert (tmp_path / "below" / "a").read_bytes() == NEW


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    path = tmp_path / "file" / "a"
    named = pytest.raises(StorageError, match="a: can't be written: Not a directory")
    with named, storage_errors(path, "written"):
        replace_file(path, NEW, durable=True)


def test_the_lock_keeps_a_second_one_out_until_it_is_closed(tmp_path: Path) -> None:
    lock = lock_directory(str(tmp_path))
    open_files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        lock_directory(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == open_files
    lock.close()
    lock_directory(str(tmp_path)).close()


# -- what strangers leave


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_no_file_is_neither_read_nor_waited_for_and_set_aside_by_the_next_writing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    path = below / "a.info"
    path.write_bytes(OLD)
    NOT_FILES[kind](path)
    found = os.lstat(path)
    with pytest.raises(NotAFile, match="not a file"):
        read_file(path, 100)
    with pytest.raises(NotAFile, match="not a file"):
        os.close(open_regular(path, os.O_WRONLY | os.O_CREAT))
    replace_file(path, NEW, durable=True)
    assert read_file(path, 100) == NEW
    [aside] = [other for other in below.iterdir() if other != path]
    assert os.lstat(aside).st_ino == found.st_ino
    assert str(path) in caplog.text
    assert aside.name in caplog.text
    if kind == "a link outside":
        assert (tmp_path / "of somebody else").read_bytes() == OLD


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_has_the_name_of_a_temporary_file_is_set_aside(tmp_path: Path, kind: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    NOT_FILES[kind](below / "a.partial")
    replace_file(below / "a.info", NEW, durable=False)
    assert (below / "a.info").read_bytes() == NEW
    [aside] = [other for other in below.iterdir() if other.name != "a.info"]
    assert aside.name.startswith("a.partial.aside-")
    if kind == "a link outside":
        assert (tmp_path / "of somebody else").read_bytes() == b"of somebody else"


def test_a_leftover_that_has_another_name_too_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "of somebody else").write_bytes(OLD)
    os.link(tmp_path / "of somebody else", tmp_path / "a.partial")
    replace_file(tmp_path / "a.info", NEW, durable=False)
    assert (tmp_path / "of somebody else").read_bytes() == OLD


def test_a_file_is_read_no_further_than_it_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert read_file(path, 100) is None
    assert read_file(path / "below", 100) is None
    path.write_bytes(OLD)
    assert read_file(path, len(OLD)) == OLD
    assert read_file(path / "below", 100) is None
    os.truncate(path, 10 * 2**30)
    with pytest.raises(OSError, match="it has 10737418240 bytes, more than 100"):
        read_file(path, 100)


def test_what_is_no_directory_makes_way_for_one(tmp_path: Path) -> None:
    make_way(tmp_path / "metainfo")
    (tmp_path / "metainfo").write_bytes(OLD)
    make_way(tmp_path / "metainfo")
    replace_file(tmp_path / "metainfo" / "a", NEW, durable=True)
    make_way(tmp_path / "metainfo")
    assert (tmp_path / "metainfo" / "a").read_bytes() == NEW
    [aside] = [path for path in tmp_path.iterdir() if path.name != "metainfo"]
    assert aside.read_bytes() == OLD
    (tmp_path / "link").symlink_to(tmp_path / "metainfo")
    make_way(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_two_that_are_set_aside_at_once_get_two_names(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        (tmp_path / "a").mkdir()
        names.add(set_aside(tmp_path / "a", "it is in the way"))
    assert len(names) == len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_has_the_name_of_the_lock_is_set_aside(tmp_path: Path, kind: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    NOT_FILES[kind](below / "lock")
    lock = lock_directory(str(below))
    with pytest.raises(BlockingIOError):
        lock_directory(str(below))
    lock.close()


def test_where_no_lock_file_can_be_made_the_directory_is_locked(tmp_path: Path) -> None:
    with failing_disk(errno.ENOSPC, tmp_path / "lock"):
        lock = lock_directory(str(tmp_path))
        with pytest.raises(BlockingIOError):
            lock_directory(str(tmp_path))
    # There is room again; who holds the lock is still known.
    with pytest.raises(BlockingIOError):
        lock_directory(str(tmp_path))
    lock.close()
    lock_directory(str(tmp_path)).close()


def test_a_directory_stays_locked_when_somebody_removes_the_lock_file(tmp_path: Path) -> None:
    lock = lock_directory(str(tmp_path))
    (tmp_path / "lock").unlink()
    with pytest.raises(BlockingIOError):
        lock_directory(str(tmp_path))
    lock.close()
    lock_directory(str(tmp_path)).close()


def test_the_lock_file_of_another_user_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with failing_disk(errno.EACCES, tmp_path / "lock"):
        lock = lock_directory(str(tmp_path))
        with pytest.raises(BlockingIOError):
            lock_directory(str(tmp_path))
    with pytest.raises(BlockingIOError):
        lock_directory(str(tmp_path))
    lock.close()


def test_no_descriptor_is_left_of_a_lock_that_is_refused(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with failing_disk(errno.EIO, tmp_path / "lock"), pytest.raises(OSError, match="error"):
        lock_directory(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
