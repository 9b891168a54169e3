"""Hybrids on the wire: both hashes, hash requests answered within bounds (BEP 52)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from seeder.errors import MetainfoError, StorageError, WireError
from seeder.peer import hashes as lookups
from seeder.peer import messages
from seeder.peer.hashes import MOST_WAITING, HashLookups
from seeder.peer.messages import MessageId
from seeder.peer.mse import Responder, SkeyIndex
from seeder.torrent.merkle import HashRequest
from seeder.units import KIB
from tests.peer.node import Node, Peer, make_data, serving, wait_until
from tests.peer.wire import (
    OUR_ID,
    PEER_ID,
    FakeTorrent,
    answers,
    connect,
    greeting,
    hash_request_message,
    opened,
    receive,
)
from tests.torrent.trees import WholeTree, proves

PIECE = 64 * KIB
DATA = make_data(37 * PIECE + 5)
TREE = WholeTree(DATA, PIECE)
PIECES = HashRequest(TREE.root, 2, 32, 8, 5)
LEAVES = HashRequest(TREE.root, 0, 64, 4, 7)
WRONG = HashRequest(bytes(32), 2, 0, 2, 0)
V2_BIT = 0x10
V2_HASH = bytes(range(20, 40))
HYBRID = FakeTorrent(hashes=TREE, short_v2_hash=V2_HASH)


async def ask(peer: Peer, *requests: HashRequest) -> None:
    await peer.send(*map(hash_request_message, requests))


async def is_answered(peer: Peer, request: HashRequest) -> bool:
    """Read the answer to a request; False if it was turned down."""
    message = await peer.read()
    head = hash_request_message(request)[5:]
    assert message.payload[:48] == head
    if message.id == MessageId.HASH_REJECT:
        return False
    assert message.id == MessageId.HASHES
    assert proves(request, message.payload[48:], TREE)
    return True


# -- which hash is answered by which


def shaken(reserved: int, named: bytes, torrent: FakeTorrent) -> tuple[bytes, bool]:
    """Dial with a hash and the last reserved byte; return the hash and whether v2 is offered."""
    wire = connect(torrent)
    hello = messages.PROTOCOL + bytes(7) + bytes((reserved,)) + named + PEER_ID
    receive(wire, hello)
    answer = messages.parse_handshake(wire.data_to_send())
    return answer.info_hash, answer.v2


def test_each_hash_is_answered_by_itself_and_v2_where_both_speak_it() -> None:
    v1 = HYBRID.info_hash
    assert shaken(0, v1, HYBRID) == (v1, True)
    assert shaken(0, V2_HASH, HYBRID) == (V2_HASH, False)
    # The bit asks for the upgrade; libtorrent doesn't take no for an answer.
    assert shaken(V2_BIT, v1, HYBRID) == (V2_HASH, False)
    assert shaken(V2_BIT, V2_HASH, HYBRID) == (V2_HASH, False)
    plain = FakeTorrent()
    assert shaken(V2_BIT, v1, plain) == (v1, False)


async def test_a_peer_gets_in_by_either_hash(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), hybrid=True) as node:
        short = node.torrent.short_v2_hash
        assert short is not None
        for name in (node.torrent.info_hash, short):
            async with node.connection() as peer:
                await peer.send(greeting(info_hash=name, extended=False))
                told = await peer.read_exactly(68)
                assert told[28:48] == name
                await wait_until(lambda: node.connected(node.torrent.info_hash) == 1)


async def test_encrypted_connections_may_name_either_hash(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), hybrid=True) as node:
        index: SkeyIndex = node.hub._skeys
        names = (node.torrent.info_hash, node.torrent.short_v2_hash)
        keys = {index._found[key] for key in index._found}
        assert keys == set(names)
        assert isinstance(node.hub._respond((b"", b"")), Responder)
        node.hub.remove_torrent(node.torrent, "retired")
        assert not index._found


# -- answers


@asynccontextmanager
async def hybrid_peer(tmp_path: Path) -> AsyncIterator[tuple[Node, Peer]]:
    """Serve a hybrid and connect a peer."""
    async with serving(tmp_path, (DATA, PIECE), hybrid=True) as node, node.peer() as peer:
        yield node, peer


async def test_hashes_come_with_their_proofs(tmp_path: Path) -> None:
    async with hybrid_peer(tmp_path) as (_, peer):
        await ask(peer, PIECES, LEAVES)
        assert await is_answered(peer, PIECES)
        assert await is_answered(peer, LEAVES)


async def test_a_choked_peer_is_answered_too(tmp_path: Path) -> None:
    async with hybrid_peer(tmp_path) as (node, peer):
        [session] = node.sessions()
        session.guest.hold()
        assert (await peer.read()).id == MessageId.CHOKE
        await ask(peer, PIECES)
        assert await is_answered(peer, PIECES)


async def test_what_makes_no_sense_is_turned_down_and_nothing_else(tmp_path: Path) -> None:
    async with hybrid_peer(tmp_path) as (_, peer):
        await ask(peer, WRONG)
        assert not await is_answered(peer, WRONG)
        await ask(peer, PIECES)
        assert await is_answered(peer, PIECES)


async def test_hashes_that_the_disk_has_lost_are_turned_down(tmp_path: Path) -> None:
    async with hybrid_peer(tmp_path) as (_, peer):
        (tmp_path / "0.tree").unlink()
        await ask(peer, PIECES)
        assert not await is_answered(peer, PIECES)


async def test_a_peer_gets_a_few_copies_of_all_hashes_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LEAST_HASHES", 0)
    monkeypatch.setattr(lookups, "COPIES", 1)
    everything = TREE.shape.leaf_count + TREE.shape.layout.piece_count
    most = everything // (LEAVES.length + LEAVES.proofs)
    async with hybrid_peer(tmp_path) as (_, peer):
        for _ in range(most):
            await ask(peer, LEAVES)
            assert await is_answered(peer, LEAVES)
        await ask(peer, LEAVES)
        assert not await is_answered(peer, LEAVES)


async def test_a_peer_that_leaves_while_its_hashes_are_read_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE), hybrid=True) as node:
        async with node.peer() as peer:
            await ask(peer, *[LEAVES] * 30)
        await node.wait_connected(0)
        async with node.peer() as peer:
            await ask(peer, LEAVES)
            assert await is_answered(peer, LEAVES)
        assert set(node.closes) <= {"left", "connection-lost"}


# -- the desk itself


class Desk:
    """HashLookups whose task is run by hand."""

    def __init__(self) -> None:
        self.started = 0
        self.rejected: list[HashRequest] = []
        self.told = 0
        self.lost: list[MetainfoError] = []
        self.allowed = 10**9
        """Bytes that the peer may have."""
        self.lookups = HashLookups(
            TREE,
            admit=self._admit,
            start=self._start,
            reject=self.rejected.append,
            tell=self._tell,
            lost=self.lost.append,
        )

    def _admit(self, size: int) -> bool:
        admitted = size <= self.allowed
        self.allowed -= size if admitted else 0
        return admitted

    def _start(self) -> None:
        self.started += 1

    def _tell(self) -> None:
        self.told += 1


async def test_the_next_hashes_are_read_when_the_last_are_on_their_way() -> None:
    desk = Desk()
    for _ in range(3):
        desk.lookups.ask(PIECES)
    assert desk.started == 1
    for turn in (1, 2, 3, 4):
        await desk.lookups.run()
        assert desk.told == turn
        if turn == 1:
            desk.lookups.ask(WRONG)
            desk.lookups.ask(PIECES)
            assert desk.started == 1
        assert desk.lookups.take()
        assert not desk.lookups.take()
        assert desk.started == min(4, turn + 1)


async def test_hashes_beyond_what_the_address_may_have_are_turned_down() -> None:
    desk = Desk()
    desk.allowed = 2 * 32 * (PIECES.length + PIECES.proofs) + 1
    for _ in range(3):
        desk.lookups.ask(PIECES)
    assert desk.rejected == [PIECES]
    assert desk.allowed == 1


async def test_only_so_many_requests_wait() -> None:
    desk = Desk()
    for _ in range(MOST_WAITING + 3):
        desk.lookups.ask(PIECES)
    assert desk.rejected == [PIECES] * 3


async def test_nothing_is_read_for_a_peer_that_is_gone() -> None:
    desk = Desk()
    desk.lookups.ask(PIECES)
    desk.lookups.close()
    await desk.lookups.run()
    assert not desk.lookups.take()
    assert desk.told == 0


async def test_a_cancelled_reading_leaves_the_desk_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.lookups.ask(PIECES)
    with trio.CancelScope() as scope:
        scope.cancel()
        await desk.lookups.run()
    desk.lookups.ask(PIECES)
    assert desk.started == 2

    def fail(*_: object) -> bytes:
        raise StorageError("gone")

    monkeypatch.setattr(TREE, "read", fail)
    await desk.lookups.run()
    assert desk.rejected == [PIECES]


# -- the messages


@pytest.mark.parametrize("length", [0, 47, 49, 1000])
def test_a_hash_request_of_another_length_closes(length: int) -> None:
    wire = opened(HYBRID)
    with pytest.raises(WireError, match="wrong-length"):
        receive(wire, messages.message(MessageId.HASH_REQUEST, bytes(length)))


def test_hashes_that_nobody_asked_for_close() -> None:
    with pytest.raises(WireError, match="hashes-to-a-seed"):
        receive(opened(HYBRID), messages.hashes(PIECES, bytes(32)))
    assert answers(opened(HYBRID)) == []


def test_a_flood_of_hash_requests_closes() -> None:
    wire = opened(HYBRID)
    with pytest.raises(WireError, match="message-flood"):
        receive(wire, *[hash_request_message(PIECES)] * 3000)


def test_a_handshake_by_v1_offers_what_it_offered_before() -> None:
    assert messages.handshake(V2_HASH, OUR_ID)[27] == 0x04
    assert messages.handshake(V2_HASH, OUR_ID, v2=True)[27] == 0x14


@pytest.mark.parametrize("request_", [PIECES, LEAVES])
async def test_damaged_hashes_are_turned_down_and_reported(
    monkeypatch: pytest.MonkeyPatch, request_: HashRequest
) -> None:
    desk = Desk()

    def flipped(layer: int, first: int, count: int) -> bytes:
        found = bytearray(WholeTree.read(TREE, layer, first, count))
        found[-1] ^= 1
        return bytes(found)

    monkeypatch.setattr(TREE, "read", flipped)
    desk.lookups.ask(request_)
    await desk.lookups.run()
    assert desk.rejected == [request_]
    assert len(desk.lost) == 1
    assert not desk.lookups.ready
