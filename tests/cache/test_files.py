import errno
import os
from pathlib import Path

import pytest

from seeder.cache import files
from seeder.torrent.layout import sha1
from tests.support.disks import failing_disk

ID = "0123456789abcdef0123456789abcdef-100"
OTHER = "fedcba9876543210fedcba9876543210-100"


def put(root: Path, name: str, content: bytes, mtime: int = 0) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def test_a_scan_orders_by_the_time_of_the_last_use(tmp_path: Path) -> None:
    put(tmp_path, f"{ID}/0/1", b"new", 300)
    put(tmp_path, f"{OTHER}/0/0", b"old!", 100)
    put(tmp_path, f"{ID}/1/256", b"between", 200)
    found = files.Found([((OTHER, 0), 4), ((ID, 256), 7), ((ID, 1), 3)])
    assert files.scan(str(tmp_path)) == found


def test_a_scan_deletes_pieces_of_a_size_that_none_has(tmp_path: Path) -> None:
    empty = put(tmp_path, f"{ID}/0/0", b"")
    long = put(tmp_path, f"{ID}/0/1", bytes(101))
    whole = put(tmp_path, f"{ID}/0/2", bytes(100))
    assert files.scan(str(tmp_path)) == files.Found([((ID, 2), 100)], bad=2)
    assert not empty.exists()
    assert not long.exists()
    assert whole.exists()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "photos-2024/0/1",
        f"{ID}/0/x",
        f"{ID}/0/01",
        f"{ID}/0/-1",
        f"{ID}/0/256",
        f"{ID}/00/1",
        f"{ID}/1",
        f"{ID}/0/0/0",
        f"{ID[:-3]}0/0/0",
        f"{ID.upper()}/0/0",
        f"{ID}.old/0/0",
        f"{ID}/0/\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_a_scan_leaves_alone_what_is_not_a_piece(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, b"")
    assert files.scan(str(tmp_path)) == files.Found()
    assert path.exists()


def test_a_scan_follows_no_links(tmp_path: Path) -> None:
    target = put(tmp_path, "elsewhere/0/0", b"")
    (tmp_path / ID).symlink_to(tmp_path / "elsewhere")
    (tmp_path / OTHER / "0").mkdir(parents=True)
    (tmp_path / OTHER / "0" / "0").symlink_to(target)
    assert files.scan(str(tmp_path)) == files.Found()
    assert target.exists()


def test_reading_renews_the_time_of_the_last_use(tmp_path: Path) -> None:
    path = put(tmp_path, "piece", b"abc", 100)
    found = files.read_piece(str(path), 3, sha1(b"abc"))
    assert found == (b"abc", path.stat().st_mtime_ns)
    assert path.stat().st_mtime > 100


def test_a_look_at_a_file_is_no_use_of_it(tmp_path: Path) -> None:
    path = put(tmp_path, "piece", b"abc", 100)
    assert files.check_piece(str(path), 3, sha1(b"abc")) == 100 * 10**9
    assert path.stat().st_mtime == 100
    assert files.check_piece(str(path), 3, sha1(b"abd")) is None
    assert files.check_piece(str(path), 4, sha1(b"abc")) is None
    (tmp_path / "link").symlink_to("piece")
    assert files.check_piece(str(tmp_path / "link"), 3, sha1(b"abc")) is None
    with pytest.raises(FileNotFoundError):
        files.check_piece(str(tmp_path / "missing"), 3, sha1(b"abc"))


def test_reading_follows_no_link(tmp_path: Path) -> None:
    put(tmp_path, "real", b"abc")
    (tmp_path / "link").symlink_to("real")
    assert files.read_piece(str(tmp_path / "link"), 3, sha1(b"abc")) is None
    with pytest.raises(OSError, match="symbolic links"):
        files.read_cached(str(tmp_path / "link"), [(0, [memoryview(bytearray(3))])], 0)


def test_reading_goes_on_after_a_short_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "piece", b"abcdefg")
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 3)))
    found = files.read_piece(str(path), 7, sha1(b"abcdefg"))
    assert found is not None
    assert found[0] == b"abcdefg"


def test_reading_a_file_that_shrinks_meanwhile_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "piece", b"abcdefg")
    read = os.read

    def shrink_first(descriptor: int, size: int) -> bytes:
        os.truncate(path, 4)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", shrink_first)
    assert files.read_piece(str(path), 7, sha1(b"abcdefg")) is None


@pytest.mark.parametrize("failing", ["write", "close", "replace", "mkdir"])
def test_a_failed_write_leaves_nothing_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real_close = os.close

    def fail(*args: object, **_: object) -> None:
        if failing == "close":
            assert isinstance(args[0], int)
            real_close(args[0])
        raise OSError(errno.EIO, "Input/output error")

    descriptors = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="Input/output"):
            files.write_piece(str(tmp_path), (ID, 5), b"abc")
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_unlinking_the_last_piece_takes_the_directories_along(tmp_path: Path) -> None:
    root = str(tmp_path)
    files.write_piece(root, (ID, 0), b"a")
    files.write_piece(root, (ID, 1), b"b")
    files.unlink_piece(root, (ID, 0))
    assert (tmp_path / ID / "0" / "1").exists()
    files.unlink_piece(root, (ID, 1))
    files.unlink_piece(root, (ID, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_change_leaves_out_what_fails_alone_and_ends_where_the_disk_fails(
    tmp_path: Path,
) -> None:
    root = str(tmp_path)
    files.write_piece(root, (ID, 0), b"a")
    # A directory in a piece's place can't be unlinked, but makes way for another piece.
    (tmp_path / ID / "0" / "1").mkdir()
    changed = files.change(root, [(ID, 0), (ID, 1), (ID, 2)], [((ID, 1), b"new")])
    assert changed.unlinked == [(ID, 0), (ID, 2)]
    assert [key for key, _ in changed.refused] == [(ID, 1)]
    assert changed.written == {(ID, 1): (tmp_path / ID / "0" / "1").stat().st_mtime_ns}
    assert changed.error is None
    assert (tmp_path / ID / "0" / "1").read_bytes() == b"new"
    for number, alone in ((errno.EACCES, True), (errno.ENOSPC, False), (errno.EIO, False)):
        new = [((ID, index), b"newer") for index in (3, 4)]
        with failing_disk(number, tmp_path / OTHER, calls=("mkdir",)):
            changed = files.change(root, [], [new[0], ((OTHER, 1), b"new"), new[1]])
        assert list(changed.written) == ([(ID, 3), (ID, 4)] if alone else [(ID, 3)])
        assert [key for key, _ in changed.refused] == ([(OTHER, 1)] if alone else [])
        assert (changed.error is None) == alone


@pytest.mark.parametrize("bad", ["", "a", ID + "\n", "../" + ID, ID[:-4], ID.replace("-", "/")])
def test_a_cache_id_that_could_be_another_path_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cache id"):
        files.check_cache_id(bad)
    files.check_cache_id(ID)
