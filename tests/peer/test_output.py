"""What goes out of warm files and through ciphers, over sockets that take little at a time."""

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from seeder.peer import messages
from seeder.peer.batch import Batch
from seeder.peer.messages import BLOCK_SIZE, Block, MessageId
from seeder.peer.mse import Keystream
from seeder.units import MIB
from seeder.upload.rates import Chain
from tests.peer.encrypted import dialled
from tests.peer.mse_client import RC4
from tests.peer.node import Limits, Node, Peer, blocks_of, make_data, serving, wait_until

DATA = make_data(2 * MIB + 1000)
PIECE = 256 * 1024


async def on_disk(node: Node) -> None:
    """Bring the first torrent to the disk."""
    await node.warm()
    await wait_until(lambda: node.cache.statistics().disk_pieces == node.torrent.layout.piece_count)


async def download(peer: Peer, blocks: list[Block]) -> bytes:
    """Request all blocks at once, and return the bytes of the answers, which come in this order."""
    await peer.request(*blocks)
    found = []
    for block in blocks:
        answered, data = await peer.read_block()
        assert answered == block
        found.append(data)
    return b"".join(found)


@pytest.mark.parametrize("buffers", [None, 4096])
async def test_a_warm_file_is_sent_whole_and_in_order_however_little_the_socket_takes(
    tmp_path: Path, buffers: int | None
) -> None:
    async with serving(
        tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB, send_buffer=buffers
    ) as node:
        await on_disk(node)
        async with node.peer(receive_buffer=buffers) as peer:
            assert await download(peer, blocks_of(node.torrent)) == DATA
        await node.wait_connected(0)
        assert node.tally.counters.uploaded_bytes == len(DATA)
        assert node.tally.counters.delivered_verified_bytes == len(DATA)
        assert set(node.source.reads.values()) == {1}


async def test_peers_that_share_the_scratch_get_their_own_bytes(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB, send_buffer=4096) as node:
        await on_disk(node)
        found: dict[int, bytes] = {}

        async def run(number: int) -> None:
            blocks = blocks_of(node.torrent)
            pieces = PIECE // BLOCK_SIZE * number
            blocks = blocks[pieces:] + blocks[:pieces]
            peer_id = b"-XX0000-%012d" % number
            async with node.peer(peer_id=peer_id, receive_buffer=4096) as peer:
                data = await download(peer, blocks)
            at = len(data) - number * PIECE
            found[number] = data[at:] + data[:at]

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(run, number)
        assert found == dict.fromkeys(range(4), DATA)


@pytest.mark.parametrize("memory", [0, 64 * MIB])
async def test_encrypted_bytes_keep_their_order_however_little_the_socket_takes(
    tmp_path: Path, memory: int
) -> None:
    data = DATA[: 3 * PIECE // 2]
    async with serving(
        tmp_path, (data, PIECE), memory=memory, disk=64 * MIB, send_buffer=4096
    ) as node:
        await on_disk(node)
        async with dialled(node, RC4) as peer, dialled(node, RC4) as other:
            for each in (peer, other):
                assert (await each.read_exactly(68)).startswith(messages.PROTOCOL)
                assert (await each.read()).id == MessageId.HAVE_ALL
            # Of two with one peer id and address the newer one stays.
            assert (await other.read()).id == MessageId.UNCHOKE
            assert await download(other, blocks_of(node.torrent)) == data


def cold(*_: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "it would block")


@pytest.mark.parametrize("preadv", [cold, lambda *_: 1])
async def test_a_cold_file_is_read_in_a_thread_and_brings_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preadv: Callable[..., int]
) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        monkeypatch.setattr(os, "preadv", preadv)
        async with node.peer() as peer:
            blocks = blocks_of(node.torrent)
            await peer.request(*blocks)
            found = dict([await peer.read_block() for _ in blocks])
            assert b"".join(found[block] for block in blocks) == DATA
        assert node.cache.statistics().disk_hits > 0
        assert set(node.source.reads.values()) == {1}


async def test_blocks_of_every_size_come_from_a_warm_file(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB) as node:
        await on_disk(node)
        blocks = [
            *blocks_of(node.torrent, size=128 * 1024),
            *((1, begin, 1) for begin in range(1, 200)),
            *((0, begin, 5000) for begin in (100_000, 10, 5010, 50_000)),
        ]
        async with node.peer() as peer:
            await peer.request(*blocks)
            for _ in blocks:
                (index, begin, length), data = await peer.read_block()
                start = index * PIECE + begin
                assert data == DATA[start : start + length]


async def test_an_upload_limit_counts_what_a_full_socket_sent_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    grant, give_back = Chain.grant, Chain.give_back

    def granting(chain: Chain, most: int, now: float) -> int:
        used.append(grant(chain, most, now))
        return used[-1]

    def giving_back(chain: Chain, size: int) -> None:
        used.append(-size)
        give_back(chain, size)

    monkeypatch.setattr(Chain, "grant", granting)
    monkeypatch.setattr(Chain, "give_back", giving_back)
    limits = Limits(upload_rate=1024 * MIB)
    async with serving(
        tmp_path, (DATA, PIECE), memory=0, disk=64 * MIB, send_buffer=4096, limits=limits
    ) as node:
        await on_disk(node)
        async with node.peer(receive_buffer=4096) as peer:
            assert await download(peer, blocks_of(node.torrent)) == DATA
    assert sum(used) == len(DATA) + node.tally.counters.protocol_bytes


async def test_no_more_is_encrypted_than_twice_what_the_socket_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encrypt = Batch.encrypt

    def spy(batch: Batch, keystream: Keystream, room: memoryview) -> None:
        sizes.append(sum(map(len, batch.buffers)))
        encrypt(batch, keystream, room)

    monkeypatch.setattr(Batch, "encrypt", spy)
    data = DATA[:PIECE]
    async with serving(tmp_path, (data, PIECE), send_buffer=4096) as node:
        await node.warm()
        async with dialled(node, RC4) as peer:
            assert (await peer.read_exactly(68)).startswith(messages.PROTOCOL)
            assert (await peer.read()).id == MessageId.HAVE_ALL
            assert (await peer.read()).id == MessageId.UNCHOKE
            assert await download(peer, blocks_of(node.torrent)) == data
    whole = BLOCK_SIZE + 13
    assert max(sizes) >= 4 * whole
    assert all(size <= 2 * max(before, 4 * whole) for before, size in pairwise(sizes))
