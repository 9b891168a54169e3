"""A file that is watched: when it is taken up by itself, and when not."""

import os
import signal
from pathlib import Path

from seeder.daemon.watching import FileWatch
from tests.commands.support import PROGRAM, environment, write_settings
from tests.support.processes import Child


def changes(watch: FileWatch, looks: int = 3) -> int:
    """Return how many of some looks find the file changed."""
    return sum(watch.has_changed() for _ in range(looks))


def replace(path: Path, text: str) -> None:
    """Put another file in its place, as careful editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_change_is_told_once_and_not_before_the_file_rests(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text("a")
    watch = FileWatch(path)
    assert changes(watch) == 0
    path.write_text("ab")
    assert not watch.has_changed()
    path.write_text("abc")
    assert not watch.has_changed()
    assert watch.has_changed()
    assert changes(watch) == 0


def test_another_file_of_the_same_size_and_time_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text("a")
    os.utime(path, ns=(1, 1))
    watch = FileWatch(path)
    (tmp_path / "seeder.new").write_text("b")
    os.utime(tmp_path / "seeder.new", ns=(1, 1))
    (tmp_path / "seeder.new").replace(path)
    assert changes(watch) == 1


def test_what_was_read_meanwhile_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text("a")
    watch = FileWatch(path)
    replace(path, "b")
    assert not watch.has_changed()
    watch.reading()
    assert changes(watch) == 0


def test_a_file_that_goes_and_comes_again_is_told(tmp_path: Path) -> None:
    path = tmp_path / "seeder.toml"
    path.write_text("a")
    watch = FileWatch(path)
    path.unlink()
    assert changes(watch) == 1
    path.write_text("a")
    assert changes(watch) == 1
    assert changes(FileWatch(None)) == 0


def test_a_volume_of_kubernetes_is_followed_through_its_links(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "seeder.toml").write_text(version)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "seeder.toml").symlink_to("..data/seeder.toml")
    watch = FileWatch(tmp_path / "seeder.toml")
    assert changes(watch) == 0
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert changes(watch) == 1


def test_a_running_daemon_takes_up_what_changes_and_keeps_to_the_old_one_if_that_is_wrong(
    tmp_path: Path,
) -> None:
    path = write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1")
    right = "watch = true\n" + path.read_text()
    path.write_text(right)
    with Child(
        [*PROGRAM, "run", "-c", path], log=tmp_path / "run.log", env=environment()
    ) as daemon:

        def lines(text: str) -> int:
            return daemon.output().count(text)

        daemon.wait_until(lambda: lines("ready: ") == 1, timeout=60, what="ready")
        replace(path, right + '[[objects]]\nbucket = "quotes"\nkey = "Cochrane"\n')
        daemon.wait_until(lambda: lines("reloaded: ") == 1, timeout=60, what="a reload")
        assert "0 of 3 objects" in daemon.output().splitlines()[-1]
        replace(path, right + "[peer\n")
        daemon.wait_until(lambda: lines("not reloaded, ") == 1, timeout=60, what="a refusal")
        assert "stays in force: " in daemon.output().splitlines()[-1]
        assert "not TOML" in daemon.output().splitlines()[-1]
        replace(path, right.replace("watch = true", "watch = false"))
        daemon.wait_until(lambda: lines("reloaded: ") == 2, timeout=60, what="another reload")
        assert (lines("has changed"), lines("not reloaded, ")) == (3, 1)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
