"""What is left after kill -9 of a process that writes."""

from pathlib import Path

import pytest

from tests.cache.fakes import bytes_in, piece_file, running
from tests.cache.victim import DISK, PIECES, kill_after, torrent


async def check(directory: Path) -> int:
    """Serve every piece that is left, truly and without the origin; return how many there were."""
    async with running(directory, memory=0, disk=DISK) as stand:
        assert not (directory / "writing.tmp").exists()
        left = stand.on_disk(torrent().cache_id)
        assert bytes_in(directory) == stand.cache.statistics().disk_bytes <= DISK
        for index in left:
            assert await stand.get(torrent(), index) == torrent().piece(index)
        assert stand.source.reads == []
        assert stand.cache.statistics().corrupt == 0
    return len(left)


@pytest.mark.parametrize("lines", [1, 3, 20, PIECES, 3 * PIECES])
async def test_whatever_a_killed_process_leaves_is_whole(tmp_path: Path, lines: int) -> None:
    kill_after(tmp_path, lines)
    await check(tmp_path)


@pytest.mark.parametrize("when", ["half-written", "whole"])
async def test_a_process_killed_amid_a_write_leaves_only_a_temporary_file(
    tmp_path: Path, when: str
) -> None:
    kill_after(tmp_path, 1, when)
    assert (tmp_path / "writing.tmp").stat().st_size in (1000, 50_000)
    assert not piece_file(tmp_path, torrent(), 3).exists()
    assert await check(tmp_path) == 3


async def test_pieces_outlive_one_kill_after_the_other(tmp_path: Path) -> None:
    for lines in (2, PIECES, 7):
        kill_after(tmp_path, lines)
    assert await check(tmp_path) > 0
