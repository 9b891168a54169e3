"""Upload limits on real sockets: nobody gets more than allowed, and everybody gets everything."""

import random
import time
from pathlib import Path

import pytest
import trio

from seeder.peer import hub as hub_module
from tests.peer.node import Limits, Node, Peer, serving, wait_until

KIB = 1024
PIECE = 64 * KIB
DATA = random.Random(2).randbytes(8 * PIECE)
RATE = 1024.0 * KIB
BURST = 0.125
"""Seconds' worth that a limit may be ahead at the start, besides a block."""


async def download(node: Node, name: bytes) -> bytes:
    async with node.peer(peer_id=name.ljust(20)) as peer:
        blocks = [
            (index, begin, 16 * KIB) for index in range(8) for begin in range(0, PIECE, 16 * KIB)
        ]
        await peer.request(*blocks)
        found = dict([await peer.read_block() for _ in blocks])
        return b"".join(found[block] for block in blocks)


@pytest.mark.parametrize(
    ("limits", "together"),
    [
        (Limits(upload_rate=RATE), 2),
        (Limits(upload_rate_per_torrent=RATE), 2),
        (Limits(upload_rate_per_peer=RATE), 1),
        (Limits(upload_rate=RATE, upload_rate_per_torrent=2 * RATE), 2),
    ],
)
async def test_peers_get_everything_and_no_faster_than_the_limit(
    tmp_path: Path, limits: Limits, together: int
) -> None:
    async with serving(tmp_path, (DATA, PIECE), limits=limits) as node:
        await node.warm()
        started = time.monotonic()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def check(name: bytes) -> None:
                    assert await download(node, name) == DATA

                nursery.start_soon(check, b"one")
                nursery.start_soon(check, b"two")
        # Too slow could be the machine's fault; too fast can only be ours.
        least = (together * len(DATA) - 16 * KIB) / RATE - BURST
        assert time.monotonic() - started >= 0.95 * least
        assert node.tally.counters.uploaded_bytes == 2 * len(DATA)


async def test_who_leaves_while_waiting_takes_nothing_from_the_others(tmp_path: Path) -> None:
    limits = Limits(upload_rate=64.0 * KIB)
    async with serving(tmp_path, (DATA, PIECE), limits=limits) as node:
        await node.warm()
        for number in range(5):
            async with node.peer(peer_id=b"%d" % number + bytes(19)) as leaving:
                await leaving.request(*((index, 0, 16 * KIB) for index in range(8)))
        await node.wait_connected(0)
        async with node.peer() as staying:
            await staying.request((0, 0, 16 * KIB), (1, 0, 16 * KIB))
            with trio.fail_after(30):
                for _ in range(2):
                    await staying.read_block()


async def test_a_change_of_limits_wakes_who_was_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "TICK", 3600.0)  # which would wake them, too
    # At the first rate it would take over two hours.
    limits = Limits(upload_rate=64.0, upload_rate_per_torrent=128.0, upload_rate_per_peer=96.0)
    async with serving(tmp_path, (DATA, PIECE), limits=limits) as node:
        await node.warm()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:

                async def check(name: bytes) -> None:
                    assert await download(node, name) == DATA

                nursery.start_soon(check, b"one")
                nursery.start_soon(check, b"two")
                await wait_until(lambda: len(node.uploads.rates.waiting._guests) == 2)
                node.uploads.change(Limits(upload_rate=64.0 * RATE))
        assert len(node.uploads.rates.waiting._guests) == 0


async def test_a_new_limit_holds_for_those_who_are_here(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE)) as node, node.peer() as peer:
        await node.warm()
        node.uploads.change(Limits(upload_rate_per_peer=16.0 * KIB))
        await peer.request(*((index, 0, 16 * KIB) for index in range(8)))
        await peer.read_block()
        await wait_until(lambda: len(node.uploads.rates.waiting._guests) == 1)
        assert node.tally.counters.uploaded_bytes == 16 * KIB
        # No limit again: nobody stays in line.
        node.uploads.change(Limits())
        for _ in range(7):
            await peer.read_block()


async def test_a_lower_number_of_connections_holds_for_those_who_come(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE)) as node,
        node.peer(peer_id=bytes(20)) as one,
        node.peer() as two,
    ):
        await node.warm(0)
        node.uploads.change(Limits(connections=2))
        async with Peer.connect(node.address) as three:
            assert await three.read_to_the_end() == b""
        assert node.closes == {"too-many-connections": 1}
        for peer in (one, two):
            await peer.request((0, 0, 10))
            await peer.read_block()
