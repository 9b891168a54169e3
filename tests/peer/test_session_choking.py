"""Choking, and what waits for others, on real sockets."""

from pathlib import Path

import pytest

from seeder.peer import messages
from seeder.peer.messages import Message, MessageId
from seeder.upload import uploads
from tests.peer.node import PIECE_LENGTH, Limits, blocks_of, make_data, serving, wait_until
from tests.peer.wire import cancel_message, greeting, read, request_message

DATA = make_data(10 * PIECE_LENGTH)
CHOKE = Message(MessageId.CHOKE, b"")
UNCHOKE = Message(MessageId.UNCHOKE, b"")
INTERESTED = messages.message(MessageId.INTERESTED)
HELLO = greeting(extended=False)


def rejects(*blocks: messages.Block) -> list[Message]:
    return read(messages.reject(blocks))


async def test_who_has_no_slot_is_served_when_one_is_free(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH), limits=Limits(upload_slots=1)) as node:
        hello = greeting(extended=False, info_hash=node.torrent.info_hash, peer=b"x" * 20)
        block = blocks_of(node.torrent)[0]
        async with node.peer() as first:
            await first.request(block)
            assert (await first.read_block())[0] == block
            async with node.connection() as second:
                await second.send(hello, INTERESTED, request_message(block))
                await second.read_exactly(68)
                assert (await second.read()).id == MessageId.HAVE_ALL
                assert [await second.read()] == rejects(block)
                await first.stream.aclose()
                assert await second.read() == UNCHOKE
                await second.request(block)
                assert (await second.read_block())[0] == block


async def test_what_is_queued_when_a_turn_ends_is_rejected(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE_LENGTH), limits=Limits(upload_slots=1)) as node:
        node.source.hold_up(3)
        async with node.peer() as peer:
            queued = blocks_of(node.torrent, 3)
            await peer.request(*queued)
            await wait_until(lambda: node.source.reads[3] == 1)
            [session] = node.sessions()
            session.guest.hold()
            assert await peer.read() == CHOKE
            assert [await peer.read() for _ in queued] == rejects(*queued)
            session.guest.serve()
            assert await peer.read() == UNCHOKE


async def test_a_choke_for_the_sake_of_a_piece_does_not_end_another_one(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, PIECE_LENGTH)) as node,
        node.peer(fast=False) as peer,
    ):
        [session] = node.sessions()
        session.guest.hold()
        assert await peer.read() == CHOKE
        node.tick(60)
        session.guest.serve()
        assert await peer.read() == UNCHOKE


async def test_a_piece_that_others_have_waits_for_those_that_they_lack(tmp_path: Path) -> None:
    limits = Limits(thrifty=True)
    async with serving(tmp_path, (DATA, PIECE_LENGTH), limits=limits) as node:
        await node.warm()
        common, rare = blocks_of(node.torrent, 0)[0], blocks_of(node.torrent, 1)[0]
        async with (
            node.peer(peer_id=b"h" * 20) as holder,
            node.peer(peer_id=b"a" * 20) as asker,
        ):
            await holder.send(messages.have(0), request_message(blocks_of(node.torrent, 5)[0]))
            await holder.read_block()
            await asker.request(common, rare)
            assert (await asker.read_block())[0] == rare
            await asker.send(cancel_message(common))
            assert [await asker.read()] == rejects(common)
            await holder.stream.aclose()
            await node.wait_connected(1)
            await asker.request(common)
            assert (await asker.read_block())[0] == common


async def test_what_waits_for_others_is_not_read_from_s3(tmp_path: Path) -> None:
    limits = Limits(thrifty=True)
    async with (
        serving(tmp_path, (DATA, PIECE_LENGTH), limits=limits) as node,
        node.peer(peer_id=b"h" * 20) as holder,
        node.peer(peer_id=b"a" * 20) as asker,
    ):
        await holder.send(messages.have(0), request_message(blocks_of(node.torrent, 5)[0]))
        await holder.read_block()
        await asker.request(blocks_of(node.torrent, 0)[0], blocks_of(node.torrent, 1)[0])
        assert (await asker.read_block())[0][0] == 1
        assert node.source.reads[0] == 0


async def test_an_address_that_had_enough_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between three quarters of a copy and a whole one it would be slowed down.
    monkeypatch.setattr(uploads, "TICK", 3600.0)
    limits = Limits(copies_per_address=1.0)
    # No torrent counts as smaller than 64 MiB.
    size, length = 2**20, 2**20
    async with serving(tmp_path, (make_data(size), length), limits=limits) as node:
        await node.warm()
        block = (0, 0, 128 * 1024)
        async with node.peer() as peer:
            for _ in range(64 * 8 + 1):
                await peer.request(block)
                await peer.read_block()
        await node.wait_closed("left")
        async with node.connection() as again:
            await again.send(
                greeting(extended=False, info_hash=node.torrent.info_hash, peer=b"y" * 20)
            )
            await again.read_to_the_end()
        await node.wait_closed("had-enough")


async def test_an_address_costs_s3_so_much_and_no_more(tmp_path: Path) -> None:
    # Nothing is cached, so that everything has to be read again and again.
    limits = Limits(origin_copies_per_address=1.0)
    length = 8 * 2**20
    data = make_data(2 * length)
    async with serving(tmp_path, (data, length), limits=limits, memory=0) as node:
        async with node.peer() as peer:
            answers: list[int] = []
            while MessageId.REJECT not in answers:
                block = (len(answers) % 2, 0, 16 * 1024)
                await peer.request(block)
                answers.append((await peer.read()).id)
        # One more than 64 MiB, of which a little is forgotten already.
        assert node.source.reads.total() == len(answers) - 1 == 9
        async with node.peer(host="127.0.0.2") as other:
            await other.request(block)
            assert (await other.read_block())[0] == block
        assert node.source.reads.total() == 10
