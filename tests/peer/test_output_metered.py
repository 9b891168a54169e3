"""Every byte that leaves is booked, and what is worth it waits for the upload limits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from seeder.ledger.counters import Tally
from seeder.ledger.limits import Level
from seeder.peer import messages
from seeder.peer.connection import MOST_UNSENT
from seeder.peer.messages import MessageId
from seeder.torrent import bencode
from seeder.torrent.merkle import HashRequest
from seeder.units import KIB, MIB
from seeder.upload import descriptions, overhead
from tests.peer.encrypted import dialled
from tests.peer.mse_client import RC4
from tests.peer.node import (
    HAVE_ALL,
    UNCHOKE,
    Limits,
    Node,
    Peer,
    blocks_of,
    make_data,
    serving,
    wait_until,
)
from tests.peer.wire import (
    greeting,
    hash_request_message,
)

PIECE = 16 * KIB
SMALL = make_data(5 * PIECE + 7)
LARGE = make_data(8000 * PIECE)
"""Its info has ten parts of 16 KiB."""
PARTS = 10
RATE = 256.0 * KIB
BURST = 0.125
METADATA = 7
HELLO = messages.extended(0, bencode.encode({b"m": {b"ut_metadata": METADATA}}))


def ask(*parts: int) -> bytes:
    """Return requests for parts of the metadata (BEP 9)."""
    return b"".join(
        messages.extended(2, bencode.encode({b"msg_type": 0, b"piece": part})) for part in parts
    )


async def read_part(peer: Peer) -> int | None:
    """Read the answer to a request for metadata; return the bytes of the part, None if refused."""
    while True:
        message = await peer.read()
        if message.id == MessageId.EXTENDED and message.payload[0] == METADATA:
            told, end = bencode.decode_prefix(message.payload[1:])
            assert isinstance(told, dict)
            return len(message.payload) - 1 - end if told[b"msg_type"] == 1 else None


@contextmanager
def no_faster_than(rate: float, size: int) -> Iterator[None]:
    """Fail where the block is over before `size` bytes could have left; its own bytes apart."""
    started = time.monotonic()
    yield
    # Too slow could be the machine's fault; too fast can only be ours.
    least = (size - 16 * KIB) / rate - BURST
    assert time.monotonic() - started >= 0.95 * least


def booked(tally: Tally) -> int:
    return tally.counters.uploaded_bytes + tally.counters.protocol_bytes


# -- counted


@pytest.mark.parametrize("fast", [True, False])
async def test_what_a_peer_received_is_what_was_booked(tmp_path: Path, fast: bool) -> None:
    async with serving(tmp_path, (SMALL, PIECE)) as node, node.connection() as peer:
        await peer.send(
            greeting(fast=fast, info_hash=node.torrent.info_hash),
            HELLO,
            ask(0),
            messages.message(MessageId.INTERESTED),
        )
        await peer.request((0, 0, 100))
        await wait_until(lambda: any(not each.wire.choking for each in node.sessions()))
        await peer.request(*blocks_of(node.torrent), (99, 0, 1))
        await peer.send(messages.have(0), ask(77))
        await wait_until(lambda: node.tally.counters.uploaded_bytes == len(SMALL))
        await peer.stream.send_eof()
        received = await peer.read_to_the_end()
        await node.wait_connected(0)
        counters = node.tally.counters
        assert counters.uploaded_bytes == len(SMALL)
        assert booked(node.tally) == len(received)
        assert counters.protocol_bytes > 68 + len(node.torrent.raw_info)
        assert not node.elsewhere.counters


async def test_what_an_encrypted_peer_received_is_what_was_booked(tmp_path: Path) -> None:
    async with serving(tmp_path, (SMALL, PIECE)) as node:
        async with dialled(node, RC4) as peer:
            await peer.read_exactly(68)
            assert await peer.read() == HAVE_ALL
            assert await peer.read() == UNCHOKE
            await peer.request((0, 0, 100))
            assert await peer.read_block() == ((0, 0, 100), SMALL[:100])
            assert not peer.arrived
        await node.wait_connected(0)
        assert booked(node.tally) + booked(node.elsewhere) == peer.received
        # Before it said what it is about, the negotiation was nobody's.
        assert node.elsewhere.counters.protocol_bytes >= 96


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1\r\n" * 9, greeting(info_hash=b"\x01" * 20)])
async def test_a_refused_connection_costs_nothing(tmp_path: Path, opening: bytes) -> None:
    limits = Limits(encryption="off")
    async with (
        serving(tmp_path, (SMALL, PIECE), limits=limits) as node,
        node.connection() as peer,
    ):
        await peer.send(opening)
        assert await peer.read_to_the_end() == b""
        assert booked(node.tally) + booked(node.elsewhere) == 0


async def test_a_peer_that_leaves_in_the_middle_is_booked_what_its_socket_took(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (make_data(MIB), MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer:
            await peer.request(*blocks_of(node.torrent))
            await wait_until(lambda: any(each._output.draining for each in node.sessions()))
            received = 0
            for _ in range(5):
                received += len(await peer.read_exactly(20_000))
        await node.wait_connected(0)
        assert received <= booked(node.tally) < MIB


# -- limited


async def test_metadata_leaves_no_faster_than_the_limit(tmp_path: Path) -> None:
    limits = Limits(upload_rate=RATE)
    async with serving(tmp_path, (LARGE, PIECE), limits=limits) as node:
        size = 2 * len(node.torrent.raw_info)
        with no_faster_than(RATE, size):
            async with trio.open_nursery() as nursery:
                for name in (b"one", b"two"):
                    nursery.start_soon(_read_metadata, node, name)
        assert node.tally.counters.protocol_bytes > size
        assert node.tally.counters.uploaded_bytes == 0


async def _read_metadata(node: Node, name: bytes) -> None:
    async with node.peer(peer_id=name.ljust(20)) as peer:
        await peer.send(HELLO, ask(*range(PARTS)))
        parts = [await read_part(peer) for _ in range(PARTS)]
        assert sum(filter(None, parts)) == len(node.torrent.raw_info)


async def test_hashes_leave_no_faster_than_the_limit(tmp_path: Path) -> None:
    limits = Limits(upload_rate=RATE)
    async with serving(tmp_path, (LARGE, PIECE), limits=limits, hybrid=True) as node:
        assert node.torrent.hashes is not None
        requests = [
            HashRequest(node.torrent.hashes.root, 0, first, 512, 0) for first in range(0, 7680, 512)
        ]
        with no_faster_than(RATE, 32 * 512 * len(requests)):
            async with node.peer() as peer:
                await peer.send(*map(hash_request_message, requests))
                for _ in requests:
                    assert (await peer.read()).id == MessageId.HASHES
        assert node.tally.counters.protocol_bytes > 32 * 512 * len(requests)


async def test_small_messages_overtake_the_line_and_are_paid_for(tmp_path: Path) -> None:
    """A peer that only waits for its turn is told at once what it must know."""
    limits = Limits(upload_rate=1.0 * KIB)  # the second block's turn is 16 seconds away
    async with serving(tmp_path, (SMALL, PIECE), limits=limits) as node, node.peer() as peer:
        await node.warm()
        await peer.request(*blocks_of(node.torrent))
        assert len((await peer.read_block())[1]) == PIECE
        [session] = node.sessions()
        chain = session.guest.allotment.chain
        assert chain is not None
        await wait_until(lambda: chain.ticket > 0)
        session.guest.hold()
        with trio.fail_after(10):
            assert (await peer.read()).id == MessageId.CHOKE


async def test_a_flood_of_rejects_waits_for_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered byte for byte would otherwise leave as fast as it comes."""
    monkeypatch.setattr(overhead, "SMALL_AT_ONCE", KIB)
    monkeypatch.setattr(overhead, "SMALL_PER_SECOND", KIB)
    limits = Limits(upload_rate=RATE)
    count = 40_000
    async with serving(tmp_path, (SMALL, PIECE), limits=limits) as node, node.peer() as peer:
        [session] = node.sessions()
        session.guest.hold()
        assert (await peer.read()).id == MessageId.CHOKE
        # All that has gathered leaves at once, and is paid for afterwards.
        with no_faster_than(RATE, 17 * count - MOST_UNSENT):
            async with trio.open_nursery() as nursery:

                async def ask_for_blocks() -> None:
                    asked = 0

                    def answered() -> bool:
                        return 17 * asked - len(peer.arrived) < 20 * KIB

                    while asked < count:
                        await wait_until(answered)
                        await peer.request(*[(0, 0, 100)] * 1000)
                        asked += 1000

                nursery.start_soon(ask_for_blocks)
                await peer.read_exactly(17 * count)
        assert not node.closes


# -- allowed to an address, not to a connection


async def test_who_reconnects_gets_no_new_allowance_of_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "LEAST", 0)
    monkeypatch.setattr(descriptions, "DESCRIPTIONS", 1)
    limits = Limits(copies_per_address=3.0)
    async with serving(tmp_path, (SMALL, PIECE), limits=limits) as node:
        size = len(node.torrent.raw_info)
        answers = []
        for _ in range(5):
            async with node.peer() as peer:
                await peer.send(HELLO, ask(0))
                answers.append(await read_part(peer))
        assert answers == [size, size, size, None, None]
        async with node.peer(host="127.0.0.2") as peer:
            await peer.send(HELLO, ask(0))
            assert await read_part(peer) == size


async def test_who_reconnects_gets_no_new_allowance_of_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptions, "LEAST", 10 * KIB)
    monkeypatch.setattr(descriptions, "DESCRIPTIONS", 1)
    limits = Limits(copies_per_address=1.0)
    data = make_data(64 * PIECE)
    async with serving(tmp_path, (data, PIECE), limits=limits, hybrid=True) as node:
        assert node.torrent.hashes is not None
        request = HashRequest(node.torrent.hashes.root, 0, 0, 64, 0)
        kinds = []
        for _ in range(7):
            async with node.peer() as peer:
                await peer.send(hash_request_message(request))
                kinds.append((await peer.read()).id)
        assert kinds == [MessageId.HASHES] * 5 + [MessageId.HASH_REJECT] * 2


async def test_an_address_is_greeted_only_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead, "GREETINGS_AT_ONCE", 1000)
    monkeypatch.setattr(overhead, "GREETINGS_PER_SECOND", 1)
    async with serving(tmp_path, (SMALL, PIECE)) as node:
        for _ in range(20):
            async with node.connection() as peer:
                await peer.send(greeting(fast=False, info_hash=node.torrent.info_hash))
                await peer.stream.send_eof()
                await peer.read_to_the_end()
            await node.wait_connected(0)
        assert node.closes["greeting-flood"] > 10
        assert booked(node.tally) <= 1000
        async with node.peer(host="127.0.1.1"):
            pass


# -- budgeted


async def test_a_spent_budget_turns_metadata_and_hashes_down(tmp_path: Path) -> None:
    async with serving(tmp_path, (LARGE, PIECE), hybrid=True) as node, node.peer() as peer:
        assert node.torrent.hashes is not None
        node.uploads.spent = "uploaded_bytes_per_day"
        await peer.send(HELLO, ask(0))
        assert await read_part(peer) is None
        request = HashRequest(node.torrent.hashes.root, 0, 0, 512, 0)
        await peer.send(hash_request_message(request))
        assert (await peer.read()).id == MessageId.HASH_REJECT


async def test_a_spent_budget_lets_nobody_in_and_those_who_are_in_stay(tmp_path: Path) -> None:
    async with serving(tmp_path, (SMALL, PIECE)) as node, node.peer() as peer:
        node.hold_back(Level.TRACKER_ONLY)
        sent = booked(node.tally)
        async with node.connection() as late:
            await late.send(greeting(info_hash=node.torrent.info_hash))
            assert await late.read_to_the_end() == b""
        assert node.closes == {"budget-spent": 1}
        assert booked(node.tally) == sent
        node.hold_back(Level.NORMAL)
        await peer.request((0, 0, 100))
        while (await peer.read()).id != MessageId.PIECE:
            pass
