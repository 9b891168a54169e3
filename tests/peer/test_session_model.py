"""A peer on a real socket that asks, cancels and waits as it likes, and an origin with whims."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.errors import OriginUnreachable, PieceMismatch
from seeder.peer import messages
from seeder.peer.messages import Block, MessageId
from seeder.torrent import bencode
from seeder.units import KIB, MIB
from seeder.upload.feed import PIECE_PATIENCE
from tests.peer.node import Limits, Node, Peer, make_data, serving, wait_until
from tests.peer.view import DONTHAVE_ID, View
from tests.peer.wire import cancel_message

PIECE = 64 * KIB
PIECES = 6
DATA = make_data(PIECES * PIECE - 5000)
HELLO = messages.extended(0, bencode.encode({b"m": {b"lt_donthave": DONTHAVE_ID}}))

ids = st.integers(0, PIECES - 1)
blocks = st.tuples(ids, st.sampled_from([0, 16 * KIB, 32 * KIB]), st.sampled_from([16 * KIB, 100]))
rates = st.sampled_from([None, 64 * KIB, 4 * MIB])


class Leecher:
    """A peer that asks for nothing twice, and notes what comes of it."""

    def __init__(self, node: Node, peer: Peer) -> None:
        self.node = node
        self.view = View(PIECES, fast=True)
        self.view.has = set(range(PIECES))
        self.view.opened, self.view.choked = True, False
        self.arrived = 0
        self._peer = peer

    async def read(self) -> None:
        """Take in what comes, until cancelled."""
        while True:
            message = await self._peer.read()
            if message.id != MessageId.PIECE:
                self.view.take_in(message)
                continue
            index, begin = (int.from_bytes(message.payload[at : at + 4]) for at in (0, 4))
            data = message.payload[8:]
            self.view.block((index, begin, len(data)))
            start = index * PIECE + begin
            assert data == DATA[start : start + len(data)]
            self.arrived += len(data)

    async def request(self, wanted: list[Block]) -> None:
        # Where it waits for a block already, another one would or would not be a doubled one.
        pending = {block[:2] for block in self.view.outstanding}
        fresh = {block[:2]: block for block in wanted if block[:2] not in pending}
        for block in fresh.values():
            self.view.ask(block)
        await self._peer.request(*fresh.values())

    async def cancel(self, block: Block) -> None:
        await self._peer.send(cancel_message(block))

    async def tick(self, seconds: float) -> None:
        self.node.tick(seconds)

    async def choke(self, choke: bool) -> None:
        for session in self.node.sessions():
            (session.wire.choke if choke else session.wire.unchoke)()
            session.resume()

    async def limit(self, rate: float | None) -> None:
        self.node.uploads.change(Limits(upload_rate=rate))

    async def hold_up(self, index: int) -> None:
        if index not in self.node.source.held_up:
            self.node.source.hold_up(index)

    async def fail(self, index: int, mismatch: bool) -> None:
        error = (
            PieceMismatch("wrong twice", index=0, digest=b"", steady=True)
            if mismatch
            else OriginUnreachable("no answer")
        )
        self.node.source.errors[index] = error

    async def recover(self) -> None:
        self.node.source.errors.clear()
        self.node.source.release()


Step: TypeAlias = tuple[Callable[..., Awaitable[None]], tuple[object, ...]]
steps = st.one_of(
    st.tuples(st.just(Leecher.request), st.tuples(st.lists(blocks, min_size=1, max_size=12))),
    st.tuples(st.just(Leecher.cancel), st.tuples(blocks)),
    st.tuples(st.just(Leecher.tick), st.tuples(st.sampled_from([0.0, PIECE_PATIENCE + 1]))),
    st.tuples(st.just(Leecher.choke), st.tuples(st.booleans())),
    st.tuples(st.just(Leecher.limit), st.tuples(rates)),
    st.tuples(st.just(Leecher.hold_up), st.tuples(ids)),
    st.tuples(st.just(Leecher.fail), st.tuples(ids, st.booleans())),
    st.tuples(st.just(Leecher.recover), st.tuples()),
)


async def converse(plan: list[Step], *, memory: int, send_buffer: int | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with (
            serving(Path(directory), (DATA, PIECE), memory=memory, send_buffer=send_buffer) as node,
            node.peer() as peer,
            trio.open_nursery() as nursery,
        ):
            leecher = Leecher(node, peer)
            counters = node.tally.counters
            await peer.send(HELLO)
            nursery.start_soon(leecher.read)
            for act, arguments in plan:
                await act(leecher, *arguments)
                await trio.lowlevel.checkpoint()
            await leecher.recover()
            await leecher.limit(None)

            def settled() -> bool:
                node.tick(2 * PIECE_PATIENCE + 1)
                return not leecher.view.outstanding

            await wait_until(settled)
            await wait_until(lambda: counters.uploaded_bytes == leecher.arrived)
            [session] = node.sessions()
            assert (session.wire.wanted, session.wire.wanted_count) == ({}, 0)
            left = set(range(PIECES)) - session.wire.lost
            await wait_until(lambda: leecher.view.has == left)
            await wait_until(lambda: leecher.view.choked == session.wire.choking)
            assert not node.closes
            nursery.cancel_scope.cancel()


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(steps, max_size=25),
    memory=st.sampled_from([0, 64 * MIB]),
    send_buffer=st.sampled_from([None, 4096]),
)
def test_each_request_gets_one_answer_and_each_byte_is_counted_once(
    plan: list[Step], memory: int, send_buffer: int | None
) -> None:
    trio.run(lambda: converse(plan, memory=memory, send_buffer=send_buffer))
