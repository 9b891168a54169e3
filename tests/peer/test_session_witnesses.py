"""Peers as witnesses: what they were sent whole and don't take may be wrong in the cache."""

import logging
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.cache import files
from seeder.cache.memory import Piece
from seeder.peer import messages
from seeder.units import MIB
from tests.peer.node import Node, Peer, blocks_of, make_data, serving, wait_until
from tests.support.disks import rot

PIECE = 64 * 1024
DATA = make_data(4 * PIECE)


async def on_disk(node: Node) -> None:
    """Bring the first torrent to the disk."""
    await node.warm()
    await wait_until(lambda: node.cache.statistics().disk_pieces == 4)


def file_of(directory: Path, node: Node, index: int) -> Path:
    return directory / node.torrent.cache_id / "0" / str(index)


async def fetch(node: Node, peer: Peer, index: int) -> bytes:
    """Download a piece, eight blocks at a time, and return it."""
    data = await peer.download(node.torrent, blocks_of(node.torrent, index), ahead=8)
    return data[index * PIECE : (index + 1) * PIECE]


def piece(index: int) -> bytes:
    return DATA[index * PIECE : (index + 1) * PIECE]


async def test_who_asks_again_for_a_piece_gets_it_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        rot(file_of(tmp_path, node, 1))
        async with node.peer() as peer:
            assert await fetch(node, peer, 1) != piece(1)
            assert await fetch(node, peer, 1) == piece(1)
            assert await fetch(node, peer, 2) == piece(2)
        assert node.source.reads == {0: 1, 1: 2, 2: 1, 3: 1}
        assert node.cache.statistics().corrupt == 1
    [line] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "1 is corrupt: read again from S3" in line.getMessage()


async def test_one_block_of_a_piece_that_is_asked_for_again_is_enough(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        rot(file_of(tmp_path, node, 1))
        async with node.peer() as peer:
            await fetch(node, peer, 1)
            await peer.request((1, 0, 16))
            assert (await peer.read_block())[1] == piece(1)[:16]
        assert node.cache.statistics().corrupt == 1


@pytest.mark.parametrize("has", [False, True])
async def test_whoever_comes_after_a_peer_that_left_with_a_wrong_piece_gets_it_right(
    tmp_path: Path, has: bool
) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        rot(file_of(tmp_path, node, 1))
        async with node.peer() as peer:
            assert await fetch(node, peer, 1) != piece(1)
            if has:
                await peer.send(messages.have(1))
        await node.wait_connected(0)
        if not has:
            await wait_until(lambda: node.cache.statistics().corrupt == 1)
        async with node.peer() as peer:
            # A client says HAVE of what was right: such pieces aren't looked at again.
            assert (await fetch(node, peer, 1) == piece(1)) != has
        assert node.cache.statistics().corrupt == (0 if has else 1)


async def test_who_asks_for_what_it_has_and_who_got_a_part_is_no_witness(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        async with node.peer() as peer:
            await fetch(node, peer, 1)
            await peer.send(messages.have(1))
            await fetch(node, peer, 1)
            for _ in range(2):
                await peer.request((2, 0, 16))
                await peer.read_block()
            assert all(node.cache.is_on_disk(node.torrent, index) for index in range(4))
        await node.wait_connected(0)
        assert all(node.cache.is_on_disk(node.torrent, index) for index in range(4))


async def test_who_asks_again_and_again_has_one_piece_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        hashed: list[str] = []
        read = files.read_piece

        def spy(path: str, size: int, digest: bytes) -> tuple[Piece, int] | None:
            hashed.append(path)
            return read(path, size, digest)

        monkeypatch.setattr(files, "read_piece", spy)
        for _ in range(3):
            async with node.peer() as peer:
                for _ in range(10):
                    assert await fetch(node, peer, 1) == piece(1)
            await node.wait_connected(0)
        assert hashed == [str(file_of(tmp_path, node, 1))]
        assert node.source.reads == dict.fromkeys(range(4), 1)


async def test_a_doubt_about_a_piece_in_memory_costs_the_peer_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE)) as node:
        await node.warm()
        held = node.cache.peek(node.torrent, 1)
        async with node.peer() as peer:
            for _ in range(2):
                assert await fetch(node, peer, 1) == piece(1)
        await trio.testing.wait_all_tasks_blocked()
        assert node.cache.peek(node.torrent, 1) is held
        assert node.cache.statistics().corrupt == 0
