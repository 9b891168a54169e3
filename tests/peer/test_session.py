import contextlib
import gc
import hashlib
import logging
import random
import socket
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from seeder.errors import BudgetSpent, MetainfoError, OriginUnreachable, SeederError
from seeder.ledger.counters import Tally
from seeder.peer import messages
from seeder.peer import output as output_module
from seeder.peer.connection import NUDGE_AFTER, PeerConnection
from seeder.peer.extensions import UT_METADATA
from seeder.peer.lifetime import (
    HANDSHAKE_DEADLINE,
    IDLE_DEADLINE,
    KEEP_ALIVE_EVERY,
    PIN_DEADLINE,
    WRITE_DEADLINE,
)
from seeder.peer.messages import BLOCK_SIZE, Block, Message, MessageId
from seeder.peer.session import NEWS_AFTER
from seeder.torrent import bencode
from seeder.torrent.info import Info, parse_info
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB
from seeder.upload.feed import PIECE_PATIENCE
from tests.cache.fakes import get_piece
from tests.peer.node import (
    HAVE_ALL,
    PIECE_LENGTH,
    UNCHOKE,
    Node,
    Peer,
    blocks_of,
    make_data,
    serving,
    wait_until,
)
from tests.peer.wire import OUR_ID, cancel_message, greeting, piece_header, read

DATA = make_data(10 * PIECE_LENGTH + 5000)
LATE = PIECE_PATIENCE + 1
KEEP_ALIVE = bytes(4)


async def download_at(node: Node, address: str) -> None:
    """Have a peer at an address download the first torrent, and leave."""
    async with node.peer(host=address, peer_id=b"-XX0000-another-peer") as peer:
        await peer.download(node.torrent, blocks_of(node.torrent), ahead=20)
    await node.wait_connected(0)


def sha(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def block_data(block: Block, piece_length: int = PIECE_LENGTH, data: bytes = DATA) -> bytes:
    index, begin, length = block
    start = index * piece_length + begin
    return data[start : start + length]


def reject(block: Block) -> Message:
    return read(messages.reject([block]))[0]


# -- downloading


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("size", [BLOCK_SIZE, 1000, 128 * KIB])
async def test_a_download_is_the_object(tmp_path: Path, fast: bool, warm: bool, size: int) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer(fast=fast) as peer:
        if warm:
            await node.warm()
        blocks = blocks_of(node.torrent, size=size)
        random.Random(size).shuffle(blocks)
        found = await peer.download(node.torrent, blocks, ahead=250)
        assert sha(found) == sha(DATA)
        assert node.tally.counters.uploaded_bytes == len(DATA)
        assert node.tally.counters.delivered_verified_bytes == len(DATA)
        assert node.tally.counters.peers_seen == 1
        assert set(node.source.reads.values()) == {1}


@pytest.mark.parametrize("memory", [0, 2 * MIB])
async def test_a_download_needs_no_room_in_the_cache(tmp_path: Path, memory: int) -> None:
    data = make_data(9 * MIB)
    async with serving(tmp_path, (data, MIB), memory=memory) as node, node.peer() as peer:
        found = await peer.download(node.torrent, blocks_of(node.torrent), ahead=300)
        assert sha(found) == sha(data)


async def test_a_small_send_buffer_keeps_the_bytes_in_order(tmp_path: Path) -> None:
    data = make_data(3 * MIB)
    async with serving(tmp_path, (data, MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer:
            blocks = blocks_of(node.torrent, size=7777)
            random.Random(1).shuffle(blocks)
            found = await peer.download(node.torrent, blocks, ahead=len(blocks))
        assert sha(found) == sha(data)
        assert node.tally.counters.uploaded_bytes == len(data)


async def test_several_peers_share_one_read_of_each_piece(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        found: list[str] = []

        async def download(number: int) -> None:
            async with node.peer(peer_id=b"-XX0001-%012d" % number) as peer:
                blocks = blocks_of(node.torrent)
                found.append(sha(await peer.download(node.torrent, blocks, ahead=100)))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(download, number)
        assert found == [sha(DATA)] * 5
        assert set(node.source.reads.values()) == {1}
        assert node.tally.counters.uploaded_bytes == 5 * len(DATA)


async def test_metadata_is_sent_over_the_wire(tmp_path: Path) -> None:
    data = make_data(2000 * 20)
    async with serving(tmp_path, (data, 20)) as node:
        raw = node.torrent.raw_info
        assert len(raw) > 2 * BLOCK_SIZE
        async with Peer.connect(node.address) as peer:
            await peer.send(greeting(info_hash=node.torrent.info_hash))
            await peer.read_exactly(68)
            hello = await peer.read()
            told = bencode.decode(hello.payload[1:])
            assert isinstance(told, dict)
            assert told[b"metadata_size"] == len(raw)
            assert [await peer.read(), await peer.read()] == [HAVE_ALL, UNCHOKE]
            await peer.send(messages.extended(0, bencode.encode({b"m": {b"ut_metadata": 9}})))
            found = b""
            for index in range(3):
                ask = bencode.encode({b"msg_type": 0, b"piece": index})
                await peer.send(messages.extended(UT_METADATA, ask))
                part = (await peer.read()).payload
                found += part[1 + bencode.decode_prefix(part[1:])[1] :]
        assert found == raw


# -- opening


async def test_the_handshake_is_answered_before_the_peer_id_arrives(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        hello = greeting(extended=False, info_hash=node.torrent.info_hash)
        async with Peer.connect(node.address) as peer:
            await peer.send(hello[:48])
            answer = await peer.read_exactly(68)
            assert answer == messages.handshake(node.torrent.info_hash, OUR_ID)
            assert await peer.read() == HAVE_ALL
            await peer.send(hello[48:])
            assert await peer.read() == UNCHOKE


async def test_a_handshake_that_trickles_in_ends_at_an_absolute_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, Peer.connect(node.address) as peer:
        await peer.send(greeting(info_hash=node.torrent.info_hash)[:60])
        await peer.read_exactly(68)
        node.tick(HANDSHAKE_DEADLINE - 1)
        await peer.send(b"-")
        node.tick(HANDSHAKE_DEADLINE + 1)
        await node.wait_closed("handshake-timeout")


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        # What isn't plaintext may be a public key, which is how long it takes to be sure.
        (b"GET / HTTP/1.1\r\n\r\n".ljust(628 + 1), "mse-no-sync"),
        (greeting(info_hash=bytes(20)), "unknown-torrent"),
    ],
)
async def test_a_stranger_is_closed_without_an_answer(
    tmp_path: Path, start: bytes, reason: str
) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, Peer.connect(node.address) as peer:
        await peer.send(start)
        assert await peer.read_to_the_end() == b""
        await node.wait_closed(reason)
        assert node.tally.counters.peers_seen == 0


# -- who leaves, and what they gained


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (messages.have(11), "have-out-of-range"),
        (b"\xff\xff\xff\xff", "message-too-long"),
    ],
)
async def test_a_peer_is_closed_for_a_reason(tmp_path: Path, message: bytes, reason: str) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        await peer.send(message)
        await peer.read_to_the_end()
        await node.wait_closed(reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (messages.message(MessageId.HAVE_ALL), "seed"),
        (messages.message(MessageId.BITFIELD, b"\xff\xe0"), "seed"),
        (b"".join(map(messages.have, range(11))), "seed"),
        (messages.extended(0, b"d11:upload_onlyi1ee"), "upload-only"),
    ],
)
async def test_a_peer_that_wants_nothing_is_closed_at_the_next_tick(
    tmp_path: Path, message: bytes, reason: str
) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        await peer.send(message)
        [session] = node.sessions()
        await wait_until(lambda: session._deadlines.farewell is not None)
        node.tick(0)
        assert await peer.read_to_the_end() == b""
        await node.wait_closed(reason)


async def test_what_a_peer_announces_last_is_delivered(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        await download_at(node, "127.0.0.2")
        async with node.peer() as peer:
            await peer.request((0, 0, 100))
            await peer.read_block()
            await peer.send(messages.message(MessageId.HAVE_ALL))
            await wait_until(lambda: node.tally.counters.delivered_verified_bytes == 2 * len(DATA))


async def test_what_a_peer_brings_along_is_not_delivered(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        await download_at(node, "127.0.0.2")
        counters, before = node.tally.counters, len(DATA)
        async with node.peer() as peer:
            await peer.send(messages.message(MessageId.BITFIELD, b"\x80\0"), messages.have(1))
            await peer.send(messages.have(10), messages.have(0), messages.have(1))
            await peer.request((0, 0, 100))
            await peer.read_block()
            assert counters.uploaded_bytes - before == 100
            assert counters.delivered_verified_bytes - before == PIECE_LENGTH + 5000


async def test_words_of_one_address_deliver_nothing_and_those_of_another_one_copy(
    tmp_path: Path,
) -> None:
    async def lie(address: str) -> None:
        for _ in range(20):
            async with node.peer(host=address) as peer:
                await peer.send(*map(messages.have, range(11)))
                # Its answer says that the words before were heard.
                await peer.request((0, 0, 100))
                await peer.read_block()

    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        counters = node.tally.counters
        await lie("127.0.0.2")
        assert counters.delivered_verified_bytes == 0
        await download_at(node, "127.0.0.3")
        await lie("127.0.0.3")
        await lie("127.0.0.2")
        assert counters.delivered_verified_bytes == len(DATA)
        await lie("127.0.0.4")
        await lie("127.0.0.4")
        assert counters.uploaded_bytes == len(DATA) + 100 * 100
        assert counters.delivered_verified_bytes == 2 * len(DATA)


async def test_a_peer_that_leaves_lets_its_fetch_go_on(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        node.source.hold_up(3)
        async with node.peer() as peer:
            await peer.request((3, 0, 100))
            await wait_until(lambda: node.source.reads[3] == 1)
        await node.wait_closed("left")
        node.source.release()
        await node.warm(3)
        assert node.source.reads[3] == 1
        assert node.tally.counters.uploaded_bytes == 0


async def test_a_reset_connection_ends_its_session_only(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as other:
        async with node.peer(peer_id=b"-XX0001-012345678901") as peer:
            linger = b"\x01\0\0\0\0\0\0\0"
            peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await node.wait_closed("connection-lost")
        await other.request((0, 0, 100))
        assert await other.read_block() == ((0, 0, 100), DATA[:100])


# -- cold pieces


async def test_a_resident_piece_does_not_wait_behind_a_cold_one(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        await node.warm(4, 5)
        node.source.hold_up(0)
        await peer.request((0, 0, 10), (4, 0, 20), (0, 10, 10), (5, 0, 30))
        assert (await peer.read_block())[0] == (4, 0, 20)
        assert (await peer.read_block())[0] == (5, 0, 30)
        node.source.release()
        assert await peer.read_block() == ((0, 0, 10), DATA[:10])
        assert await peer.read_block() == ((0, 10, 10), DATA[10:20])


async def test_a_warm_peer_is_served_while_all_others_wait_for_the_origin(tmp_path: Path) -> None:
    cold = 20
    data = make_data((cold + 10) * 1000)
    async with serving(tmp_path, (data, 1000)) as node, node.peer() as warm:
        await node.warm(*range(cold, cold + 10))
        node.source.hold_up(*range(cold))
        async with contextlib.AsyncExitStack() as stack:
            others = []
            for number in range(8):
                peer_id = b"-XX0000-%012d" % number
                others.append(await stack.enter_async_context(node.peer(peer_id=peer_id)))
            for other in others:
                await other.request(*((index, 0, 10) for index in range(cold)))
            await wait_until(lambda: len(node.source.reads) >= 16)
            for index in range(cold, cold + 10):
                await warm.request((index, 0, 1000))
                block = data[index * 1000 : (index + 1) * 1000]
                assert await warm.read_block() == ((index, 0, 1000), block)
            node.source.release()
            for other in others:
                assert {(await other.read_block())[0][0] for _ in range(cold)} == set(range(cold))


async def test_a_slow_piece_is_rejected_and_served_to_who_asks_again(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        await node.warm(1)
        node.source.hold_up(0)
        await peer.request((0, 0, 10), (0, 10, 10))
        await wait_until(lambda: node.source.reads[0] == 1)
        node.tick(PIECE_PATIENCE - 1)
        await peer.request((1, 0, 10))
        assert (await peer.read_block())[0] == (1, 0, 10)
        node.tick(LATE)
        assert await peer.read() == reject((0, 0, 10))
        assert await peer.read() == reject((0, 10, 10))
        await peer.request((0, 0, 10), (1, 0, 10))
        assert (await peer.read_block())[0] == (1, 0, 10)
        node.source.release()
        assert await peer.read_block() == ((0, 0, 10), DATA[:10])
        assert node.source.reads[0] == 1


async def test_pieces_in_line_behind_slow_ones_are_rejected_too(tmp_path: Path) -> None:
    data = make_data(40 * 1000)
    async with serving(tmp_path, (data, 1000)) as node, node.peer() as peer:
        node.source.hold_up(*range(40))
        await peer.request(*((index, 0, 10) for index in range(40)))
        await wait_until(lambda: len(node.source.reads) == 16)
        node.tick(2 * PIECE_PATIENCE + 1)
        found = [await peer.read() for _ in range(40)]
        assert found == [reject((index, 0, 10)) for index in range(40)]


async def test_without_fast_a_slow_piece_chokes_for_a_while(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer(fast=False) as peer:
        node.source.hold_up(0)
        await peer.request((0, 0, 10))
        await wait_until(lambda: node.source.reads[0] == 1)
        node.tick(LATE)
        assert await peer.read() == Message(MessageId.CHOKE, b"")
        node.source.release()
        await node.warm(0)
        [session] = node.sessions()
        node.tick(LATE + PIECE_PATIENCE - 1)
        assert session.wire.choking
        node.tick(2 * LATE)
        assert await peer.read() == UNCHOKE
        await peer.request((0, 0, 10))
        assert await peer.read_block() == ((0, 0, 10), DATA[:10])


async def test_what_s3_did_not_send_does_not_count_for_the_peers_address(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:

        def fetched() -> set[int]:
            [session] = node.sessions()
            history, now = node.uploads.slots.history, trio.current_time()
            had = history.had(node.torrent.info_hash, session.guest.networks, now)
            return {round(each.fetched) for each in had}

        node.source.errors[2] = OriginUnreachable("no answer")
        await peer.request((2, 0, 10))
        assert await peer.read() == reject((2, 0, 10))
        assert fetched() == {0}
        await peer.request((0, 0, 10))
        assert (await peer.read_block())[0] == (0, 0, 10)
        assert fetched() == {PIECE_LENGTH}


async def test_a_piece_that_fails_is_rejected_and_not_read_again_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        node.source.errors[2] = OriginUnreachable("no answer")
        await peer.request((2, 0, 10), (2, 10, 10))
        assert await peer.read() == reject((2, 0, 10))
        assert await peer.read() == reject((2, 10, 10))
        del node.source.errors[2]
        await peer.request((2, 0, 10), (3, 0, 10))
        assert (await peer.read_block())[0] == (3, 0, 10)
        assert node.source.reads[2] == 1
        node.tick(LATE)
        assert await peer.read() == reject((2, 0, 10))
        await peer.request((2, 0, 10))
        assert await peer.read_block() == ((2, 0, 10), block_data((2, 0, 10)))


async def test_without_budget_cold_pieces_are_rejected_and_cached_ones_go_out(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        await node.warm(0, 1)
        node.source.errors |= dict.fromkeys(range(2, 5), BudgetSpent("spent"))
        await peer.request((2, 0, 10), (0, 0, 10))
        assert await peer.read_block() == ((0, 0, 10), DATA[:10])
        assert await peer.read() == reject((2, 0, 10))
        await peer.request((1, 0, 10))
        assert await peer.read_block() == ((1, 0, 10), block_data((1, 0, 10)))
        assert not node.closes
        # Asked again, it is told at the next tick, and S3 isn't asked.
        await peer.request((2, 0, 10), (1, 10, 10))
        assert (await peer.read_block())[0] == (1, 10, 10)
        node.tick(0.1)
        assert await peer.read() == reject((2, 0, 10))
        assert node.source.reads[2] == 1
        node.source.errors.clear()
        node.tick(LATE)
        await peer.request((2, 0, 10))
        assert await peer.read_block() == ((2, 0, 10), block_data((2, 0, 10)))


async def test_without_fast_a_piece_that_fails_chokes(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer(fast=False) as peer:
        node.source.errors[2] = OriginUnreachable("no answer")
        await peer.request((2, 0, 10))
        assert await peer.read() == Message(MessageId.CHOKE, b"")


async def test_asking_and_cancelling_cold_pieces_reads_each_once(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        node.source.hold_up(*range(10))
        for _ in range(20):
            blocks = [(index, 0, 100) for index in range(10)]
            await peer.request(*blocks)
            await peer.send(*map(cancel_message, blocks))
            for block in blocks:
                assert await peer.read() == reject(block)
        node.source.release()
        await peer.request((10, 0, 100))
        assert (await peer.read_block())[0] == (10, 0, 100)
        assert set(node.source.reads.values()) == {1}
        assert node.tally.counters.uploaded_bytes == 100


async def test_cold_pieces_are_asked_for_while_the_socket_is_full(tmp_path: Path) -> None:
    data = make_data(12 * MIB)
    async with serving(tmp_path, (data, MIB), send_buffer=4096) as node:
        await node.warm(*range(8))
        async with node.peer(receive_buffer=4096) as peer:
            warm = [block for index in range(8) for block in blocks_of(node.torrent, index)]
            await peer.request(*warm)
            await peer.request((9, 0, 10), (10, 0, 10))
            await wait_until(lambda: node.source.reads[9] == node.source.reads[10] == 1)
            assert node.tally.counters.uploaded_bytes < MIB


# -- slow peers and quiet ones


async def test_a_peer_that_never_reads_ends_by_write_timeout(tmp_path: Path) -> None:
    data = make_data(8 * MIB)
    async with serving(tmp_path, (data, MIB)) as node:
        await node.warm()
        async with node.peer() as peer:
            blocks = blocks_of(node.torrent)
            await peer.request(*blocks)
            [session] = node.sessions()
            await wait_until(lambda: session._output.draining)
            await trio.testing.wait_all_tasks_blocked()
            node.tick(WRITE_DEADLINE - 1)
            assert session.reason is None
            node.tick(WRITE_DEADLINE + 1)
            await node.wait_closed("write-timeout")
            # What the system took is what arrives, and what is booked.
            arrived = await peer.read_to_the_end()
        whole = b"".join(piece_header(*block) + block_data(block, MIB, data) for block in blocks)
        assert 0 < len(arrived) < len(whole)
        assert whole.startswith(arrived)
        headers = -(-len(arrived) // (BLOCK_SIZE + 13))
        payload = len(arrived) - 13 * headers
        assert node.tally.counters.uploaded_bytes == payload
        assert node.tally.counters.delivered_verified_bytes == payload


async def test_a_slow_peer_holds_the_rest_of_one_block_and_not_whole_pieces(tmp_path: Path) -> None:
    data = make_data(8 * MIB)
    async with serving(tmp_path, (data, MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer:
            blocks = blocks_of(node.torrent, size=BLOCK_SIZE)[::16]
            await peer.request(*blocks)
            [session] = node.sessions()
            await wait_until(lambda: session._output.draining)
            node.tick(PIN_DEADLINE + 1)
            rest = session._output._batch.buffers
            assert [type(buffer) for buffer in rest] == [bytes]
            assert len(rest[0]) < 13 + BLOCK_SIZE
            for block in blocks:
                assert await peer.read_block() == (block, block_data(block, MIB, data))
        assert node.tally.counters.uploaded_bytes == len(blocks) * BLOCK_SIZE


async def test_a_quiet_peer_is_kept_alive_and_closed_at_last(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        node.tick(KEEP_ALIVE_EVERY - 1)
        node.tick(KEEP_ALIVE_EVERY + 1)
        assert await peer.read_exactly(4) == KEEP_ALIVE
        node.tick(IDLE_DEADLINE + 1)
        assert await peer.read_to_the_end() == b""
        await node.wait_closed("idle")


async def test_a_peer_that_waits_in_silence_without_fast_is_unchoked_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer(fast=False) as peer:
        await peer.send(messages.message(MessageId.INTERESTED))
        assert (await peer.read()).id == MessageId.UNCHOKE
        node.tick(NUDGE_AFTER + 1)
        assert [(await peer.read()).id for _ in range(2)] == [MessageId.CHOKE, MessageId.UNCHOKE]


async def test_the_log_tells_of_peers_that_want_something_and_not_of_seeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        async with node.peer(peer_id=b"-WW0300-a-seed------") as seed:
            await seed.send(messages.message(MessageId.HAVE_ALL))
            await wait_until(lambda: node.sessions()[0]._deadlines.farewell is not None)
            node.tick(0)
            await node.wait_closed("seed")
        assert not caplog.records
        assert node.tally.counters.peers_seen == 0
        async with node.peer(peer_id=b"-WW0300-a-leecher---") as leecher:
            await leecher.request((0, 0, 100))
            await leecher.read_block()
        await node.wait_closed("left")
        async with node.peer():
            node.tick(NEWS_AFTER + 1)
        await node.wait_closed("left", 2)
    closed, of_the_silent = (record.getMessage() for record in caplog.records)
    assert 'closed: left, client "WW0300", uploaded 100 bytes' in closed
    assert closed.endswith(" of b/object-0")
    assert of_the_silent.endswith(" of b/object-0")


async def test_a_full_socket_times_out_between_two_batches_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "BATCH_BLOCKS", 1)
    monkeypatch.setattr(output_module, "BATCHES_A_TURN", 1)
    async with serving(tmp_path, (DATA, PIECE_LENGTH), send_buffer=4096) as node:
        await node.warm(0)
        async with node.peer(receive_buffer=4096) as peer:
            await peer.request(*((0, begin, 100) for begin in range(0, 60_000, 100)))
            await wait_until(lambda: node.tally.counters.uploaded_bytes > 1000)
            await trio.testing.wait_all_tasks_blocked()
            [session] = node.sessions()
            assert session._output.draining
            assert not session._output._batch
            node.tick(WRITE_DEADLINE + 1)
            await node.wait_closed("write-timeout")


async def test_a_drain_that_starts_after_the_end_does_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        async with node.peer():
            [session] = node.sessions()
        await node.wait_closed("left")
        await session._drain()
        assert "error" not in caplog.text


# -- faults of our own


class Broken(Tally):
    """An account that can't take what was uploaded."""

    def uploaded(self, count: int) -> None:
        raise RuntimeError("no more room in the ledger")


@pytest.mark.parametrize("where", ["reading", "draining", "arriving"])
async def test_a_fault_of_ours_ends_one_session_and_is_logged(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data(4 * MIB)
    buffer = 4096 if where == "draining" else None
    async with serving(tmp_path, (DATA, PIECE_LENGTH), (data, MIB), send_buffer=buffer) as node:
        good, broken = node.torrents.values()
        node.tallies[broken.info_hash] = Broken()
        async with (
            node.peer(torrent=good, peer_id=b"-XX0001-good00000000") as other,
            node.peer(torrent=broken, receive_buffer=buffer) as peer,
        ):
            if where != "arriving":
                for index in range(4):
                    await get_piece(node.cache, broken, index)
            await peer.request(*blocks_of(broken))
            await peer.read_to_the_end()
            await node.wait_closed("internal-error")
            await other.request((0, 0, 100))
            assert await other.read_block() == ((0, 0, 100), DATA[:100])
            assert node.connected(broken.info_hash) == 0
        assert caplog.text.count("internal error") == 1
        assert "no more room in the ledger" in caplog.text


async def test_a_fault_while_keeping_the_deadlines_ends_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node, node.peer() as peer:
        monkeypatch.setattr(PeerConnection, "keep_alive", lambda _: 1 // 0)
        node.tick(KEEP_ALIVE_EVERY + 1)
        node.tick(KEEP_ALIVE_EVERY + 1)
        await node.wait_closed("internal-error")
        assert await peer.read_to_the_end() == b""
        assert caplog.text.count("internal error") == 1


# -- metainfo that isn't at hand


class Archive:
    """A shelf whose infos come when its gate is opened, unless it has lost them."""

    def __init__(self, info: Info) -> None:
        self.gate = trio.Event()
        self.lost = False
        self.fetches = 0
        self.info = info
        self.lent: Callable[[], Info | None] = lambda: self.info
        self._there = False

    def has(self, torrent: Torrent) -> bool:
        return self._there

    def take(self, torrent: Torrent) -> Info:
        assert self._there, "nobody may wait for a disk in the loop"
        info = self.lent()
        assert info is not None, "it was let go"
        return info

    async def fetch(self, torrent: Torrent) -> Info:
        self.fetches += 1
        await self.gate.wait()
        if self.lost:
            raise MetainfoError("it is gone")
        self._there = True
        return self.info

    def lose(self, torrent: Torrent, error: SeederError) -> None:
        raise AssertionError("its hashes are in order")


def archive(node: Node) -> Archive:
    """Take the metainfo of the first torrent out of memory."""
    before = node.torrent
    shelf = Archive(parse_info(before.raw_info))
    node.torrents[before.info_hash] = Torrent(
        before.info.outline, before.pinned, before.rung, before.hashes, infos=shelf
    )
    return shelf


async def test_a_peer_waits_for_metainfo_and_nobody_else_does(tmp_path: Path) -> None:
    other = make_data(1000, seed=2)
    async with serving(tmp_path, (DATA, PIECE_LENGTH), (other, PIECE_LENGTH)) as node:
        shelf = archive(node)
        _, second = node.torrents.values()
        async with node.connection() as cold, node.peer(torrent=second) as warm:
            await cold.send(greeting(extended=False, info_hash=node.torrent.info_hash))
            await wait_until(lambda: shelf.fetches == 1)
            found = await warm.download(second, blocks_of(second), ahead=10)
            assert sha(found) == sha(other)
            assert not cold.arrived
            shelf.gate.set()
            expected = messages.handshake(node.torrent.info_hash, OUR_ID)
            assert await cold.read_exactly(68) == expected
            assert [await cold.read(), await cold.read()] == [HAVE_ALL, UNCHOKE]
            blocks = blocks_of(node.torrent)
            assert sha(await cold.download(node.torrent, blocks, ahead=50)) == sha(DATA)


async def test_metainfo_stays_in_memory_as_long_as_a_peer_is_connected(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        shelf = archive(node)
        shelf.gate.set()
        alive = weakref.ref(shelf.info)
        async with node.peer() as peer:
            shelf.lent = alive
            del shelf.info
            gc.collect()
            blocks = blocks_of(node.torrent)
            assert sha(await peer.download(node.torrent, blocks, ahead=50)) == sha(DATA)
        await node.wait_connected(0)
        gc.collect()
        assert alive() is None


async def test_a_peer_whose_torrent_has_lost_its_metainfo_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        shelf = archive(node)
        shelf.lost = True
        async with node.connection() as peer:
            await peer.send(greeting(info_hash=node.torrent.info_hash))
            shelf.gate.set()
            assert await peer.read_to_the_end() == b""
        await node.wait_closed("metainfo-lost")


async def test_a_peer_may_leave_while_its_metainfo_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH)) as node:
        shelf = archive(node)
        async with node.connection() as peer:
            await peer.send(greeting(info_hash=node.torrent.info_hash))
            await wait_until(lambda: shelf.fetches == 1)
            node.tick(HANDSHAKE_DEADLINE + 1)
        await node.wait_closed("handshake-timeout")
