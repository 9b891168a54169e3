"""What we can't give any more is taken back (BEP 54): a piece for a while, or a whole torrent."""

from pathlib import Path

import pytest
import trio

from seeder.cache.reading import REFUSED_FOR
from seeder.errors import BudgetSpent, PieceMismatch
from seeder.ledger.limits import Level
from seeder.peer import messages
from seeder.peer.connection import MOST_TAKEN_BACK, PeerConnection
from seeder.peer.extensions import LT_DONTHAVE
from seeder.peer.lifetime import LEAVE_DEADLINE
from seeder.peer.messages import Message, MessageId
from seeder.torrent import bencode
from seeder.torrent.layout import Layout
from seeder.units import MIB
from tests.peer.node import Peer, blocks_of, make_data, serving, wait_until
from tests.peer.wire import FakeTorrent, answers, opened, read, receive, requests

DATA = make_data(4 * MIB)
THEIR_ID = 7
HELLO = messages.extended(0, bencode.encode({b"m": {b"lt_donthave": THEIR_ID}}))
CHOKE = Message(MessageId.CHOKE, b"")
OTHER_ID = b"-XX0001-another12345"
BITFIELD = messages.message(MessageId.BITFIELD, b"\x80")


def donthave(index: int) -> Message:
    return Message(MessageId.EXTENDED, bytes((THEIR_ID,)) + index.to_bytes(4))


def have(index: int) -> Message:
    return read(messages.have(index))[0]


def reject(*block: int) -> Message:
    index, begin, length = block
    return read(messages.reject([(index, begin, length)]))[0]


def understanding(*, fast: bool = True, pieces: int = 11) -> PeerConnection:
    """Return a connection whose peer takes "don't have"."""
    wire = opened(FakeTorrent(layout=Layout(pieces * 1000, 1000)), fast=fast)
    receive(wire, HELLO)
    return wire


# -- one connection


def test_what_a_lost_piece_was_wanted_for_is_rejected_before_it_is_taken_back() -> None:
    wire = understanding()
    receive(wire, requests([(3, 0, 10), (4, 0, 10), (3, 10, 10)]))
    assert wire.lose(3)
    assert answers(wire) == [reject(3, 0, 10), reject(3, 10, 10), donthave(3)]
    assert (wire.wanted, wire.wanted_count) == ({4: {0: 10}}, 1)


def test_the_message_is_ten_bytes_as_the_bep_has_it() -> None:
    wire = understanding()
    wire.lose(258)
    assert wire.data_to_send() == b"\0\0\0\x06\x14\x07\0\0\x01\x02"


def test_a_piece_is_taken_back_once_and_given_back_once() -> None:
    wire = understanding()
    assert wire.lose(3)
    assert not wire.lose(3)
    assert answers(wire) == [donthave(3)]
    wire.regain(3)
    wire.regain(3)
    wire.regain(4)
    assert answers(wire) == [have(3)]
    assert wire.lose(3)


def test_without_fast_the_message_stands_for_the_rejects() -> None:
    wire = understanding(fast=False)
    receive(wire, requests([(3, 0, 10)]))
    assert wire.lose(3)
    assert answers(wire) == [donthave(3)]
    assert wire.wanted_count == 0


def test_what_is_asked_of_a_lost_piece_is_turned_down() -> None:
    # It may have been on its way, and the peer has given up on it.
    wire = understanding()
    wire.lose(3)
    answers(wire)
    receive(wire, requests([(3, 0, 10), (4, 0, 10)]))
    assert answers(wire) == [reject(3, 0, 10)]
    assert wire.wanted == {4: {0: 10}}


def test_blocks_of_a_lost_piece_that_were_not_sent_are_not_queued_again() -> None:
    wire = understanding()
    receive(wire, requests([(3, 0, 10), (3, 10, 10)]))
    blocks = wire.take(3, 2)
    wire.lose(3)
    wire.give_back(3, blocks)
    assert answers(wire) == [donthave(3), reject(3, 0, 10), reject(3, 10, 10)]
    assert (wire.wanted, wire.wanted_count) == ({}, 0)


def test_a_peer_that_does_not_understand_is_told_nothing() -> None:
    wire = opened()
    receive(wire, requests([(3, 0, 10)]))
    assert not wire.lose(3)
    assert answers(wire) == []
    assert wire.wanted == {3: {0: 10}}
    wire.retire(range(11))
    assert answers(wire) == [CHOKE, reject(3, 0, 10)]


def test_only_what_a_peer_was_shown_is_taken_back() -> None:
    wire = understanding()
    wire.shown = set()
    wire.show([3])
    assert answers(wire) == [have(3)]
    assert not wire.lose(4)
    assert wire.lose(3)
    assert answers(wire) == [donthave(3)]
    wire.regain(3)
    wire.retire(range(11))
    assert answers(wire) == [have(3), CHOKE, donthave(3)]


def test_a_retired_torrent_rejects_then_takes_back_what_was_wanted_first() -> None:
    wire = understanding()
    receive(wire, requests([(9, 0, 10)]))
    wire.lose(2)
    answers(wire)
    wire.retire([1, 2, 3, 9])
    told = answers(wire)
    assert told == [CHOKE, reject(9, 0, 10), donthave(9), donthave(1), donthave(3)]


def test_after_a_torrent_is_retired_nothing_is_served_or_shown() -> None:
    wire = understanding()
    wire.shown = set()
    wire.lost.add(5)
    wire.retire(())
    answers(wire)
    wire.unchoke()
    wire.show([1])
    wire.regain(5)
    assert answers(wire) == []
    receive(wire, requests([(1, 0, 10)]))
    assert answers(wire) == [reject(1, 0, 10)]
    assert wire.wanted == {}


def test_a_torrent_of_many_pieces_is_taken_back_within_a_bound() -> None:
    wire = understanding(pieces=5000)
    receive(wire, requests([(4999, 0, 10)]))
    wire.retire(range(5000))
    _, _, *told = answers(wire)
    assert told == [donthave(4999), *map(donthave, range(MOST_TAKEN_BACK - 1))]


def test_what_a_peer_takes_back_is_taken_note_of_by_nobody() -> None:
    wire = opened()
    lost = messages.extended(LT_DONTHAVE, (3).to_bytes(4))
    odd = messages.extended(LT_DONTHAVE, b"")
    assert receive(wire, lost, odd) == []
    assert answers(wire) == []


# -- a node


async def introduce(peer: Peer) -> None:
    """Say that the peer takes "don't have", and wait until that was read."""
    await peer.send(HELLO)
    await peer.request((0, 0, 10))
    await peer.read_block()


async def test_a_retired_torrent_is_taken_back_and_its_peers_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer() as peer:
        await introduce(peer)
        await peer.send(BITFIELD)  # it has the first piece
        node.source.hold_up(2)
        await peer.request((2, 0, 10))
        await wait_until(lambda: node.source.reads[2] == 1)
        node.hub.remove_torrent(node.torrent, "retired")
        told = [await peer.read() for _ in range(5)]
        assert told == [CHOKE, reject(2, 0, 10), donthave(2), donthave(1), donthave(3)]
        # What it asks for before it has read that is turned down.
        await peer.request((1, 0, 10))
        assert await peer.read() == reject(1, 0, 10)
        node.tick(0)
        assert await peer.read_to_the_end() == b""
        await node.wait_closed("retired")


async def test_blocks_on_their_way_arrive_before_a_retired_torrent_is_taken_back(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer:
            await introduce(peer)
            blocks = blocks_of(node.torrent)
            await peer.request(*blocks)
            [session] = node.sessions()
            await wait_until(lambda: session._output.draining)
            node.hub.remove_torrent(node.torrent, "retired")
            node.tick(0)
            for block in blocks[:64]:
                assert (await peer.read_block())[0] == block
            assert await peer.read() == CHOKE
            assert [await peer.read() for _ in blocks[64:]] == [
                reject(*block) for block in blocks[64:]
            ]
            assert [await peer.read() for _ in range(4)] == list(map(donthave, (1, 2, 3, 0)))
            node.tick(0)
            assert await peer.read_to_the_end() == b""
            await node.wait_closed("retired")


async def test_a_peer_that_never_reads_does_not_hold_a_retired_torrent(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer:
            await peer.request(*blocks_of(node.torrent))
            [session] = node.sessions()
            await wait_until(lambda: session._output.draining)
            node.hub.remove_torrent(node.torrent, "retired")
            node.tick(LEAVE_DEADLINE - 1)
            assert session.reason is None
            node.tick(LEAVE_DEADLINE + 1)
            await node.wait_closed("retired")


async def test_a_retired_torrent_lets_those_go_who_have_not_said_who_they_are(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, Peer.connect(node.address) as peer:
        hello = messages.PROTOCOL + bytes(8) + node.torrent.info_hash
        await peer.send(hello)
        await peer.read_exactly(68)
        node.hub.remove_torrent(node.torrent, "retired")
        await peer.read_to_the_end()
        await node.wait_closed("retired")


async def test_a_piece_that_proves_bad_is_taken_back_from_everybody_for_a_while(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path, (DATA, MIB)) as node,
        node.peer() as asking,
        node.peer(peer_id=OTHER_ID) as other,
    ):
        for peer in (asking, other):
            await introduce(peer)
        await node.warm(1)
        node.source.errors[2] = PieceMismatch(
            "piece 2 came wrong from S3 twice", index=2, digest=b"", steady=True
        )
        await asking.request((2, 0, 10), (1, 0, 10))
        assert (await asking.read_block())[0] == (1, 0, 10)
        assert await asking.read() == reject(2, 0, 10)
        assert await asking.read() == donthave(2)
        assert await other.read() == donthave(2)
        del node.source.errors[2]
        node.tick(REFUSED_FOR - 1)
        await other.request((0, 0, 10))
        assert (await other.read_block())[0] == (0, 0, 10)
        node.tick(REFUSED_FOR + 1)
        for peer in (asking, other):
            assert await peer.read() == have(2)
        await other.request((2, 0, 10))
        assert (await other.read_block())[0] == (2, 0, 10)


async def test_a_piece_that_the_budget_forbids_is_taken_back_from_who_asks_until_it_is_here(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer() as peer:
        await introduce(peer)
        node.source.errors |= dict.fromkeys((2, 3), BudgetSpent("spent"))
        await peer.request((2, 0, 10))
        assert [await peer.read() for _ in range(2)] == [reject(2, 0, 10), donthave(2)]
        node.tick(1)
        node.source.errors.clear()
        await node.warm(2)
        node.tick(1)
        assert await peer.read() == have(2)
        await peer.request((2, 0, 10))
        assert (await peer.read_block())[0] == (2, 0, 10)


async def test_what_the_budget_forbade_is_to_be_had_when_there_is_budget_again(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer() as peer:
        await introduce(peer)
        node.source.errors[2] = BudgetSpent("spent")
        await peer.request((2, 0, 10))
        assert [await peer.read() for _ in range(2)] == [reject(2, 0, 10), donthave(2)]
        node.hold_back(Level.CACHE_ONLY)
        node.hold_back(Level.LAST_IN_HANDOUT)
        assert await peer.read() == have(2)


@pytest.mark.parametrize("fast", [True, False])
async def test_without_donthave_a_bad_piece_is_turned_down(tmp_path: Path, fast: bool) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer(fast=fast) as peer:
        node.source.errors[2] = PieceMismatch(
            "piece 2 came wrong from S3 twice", index=2, digest=b"", steady=True
        )
        await peer.request((2, 0, 10))
        assert await peer.read() == (reject(2, 0, 10) if fast else CHOKE)


async def test_a_stop_that_meets_a_retired_torrent_ends_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        async with node.peer() as peer:
            node.stop.cancel()
            await trio.testing.wait_all_tasks_blocked()
            node.hub.remove_torrent(node.torrent, "retired")
            assert await peer.read_to_the_end() == b""
        await node.stopped.wait()
        assert node.closes == {"shutdown": 1}
