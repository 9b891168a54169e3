"""Connections that come and are let go leave nothing behind, for whatever reason they go."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.ledger.limits import Level
from seeder.peer import messages
from tests.peer.node import Limits, Node, Peer, make_data, serving
from tests.peer.wire import greeting
from tests.support.memory import ROUNDS, blocks, usual

PIECE = 16 * 1024
DATA = make_data(4 * PIECE)
TIMES = 1000

Visit = Callable[[Node, Peer], Awaitable[object]]


async def says_nothing(_: Node, peer: Peer) -> None:
    await peer.stream.send_eof()


async def is_a_scanner(_: Node, peer: Peer) -> None:
    await peer.send(b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: scanner\r\n\r\n")


async def wants_another_torrent(_: Node, peer: Peer) -> None:
    await peer.send(greeting(info_hash=b"\x01" * 20))


async def greets_and_leaves(node: Node, peer: Peer) -> None:
    await peer.send(greeting(info_hash=node.torrent.info_hash))
    await peer.read_exactly(68)
    await peer.stream.send_eof()


async def breaks_the_protocol(node: Node, peer: Peer) -> None:
    await peer.send(greeting(info_hash=node.torrent.info_hash), messages.have(999))


async def asks_and_leaves(node: Node, peer: Peer) -> None:
    await peer.send(greeting(info_hash=node.torrent.info_hash))
    await peer.request(*[(0, 0, PIECE)] * 20)
    await peer.read_exactly(68)
    await peer.stream.send_eof()


VISITS: dict[str, Visit] = {
    each.__name__: each
    for each in (
        says_nothing,
        is_a_scanner,
        wants_another_torrent,
        greets_and_leaves,
        breaks_the_protocol,
        asks_and_leaves,
    )
}


@pytest.mark.parametrize("visit", VISITS.values(), ids=VISITS)
async def test_visitors(tmp_path: Path, visit: Visit) -> None:
    async with serving(tmp_path, (DATA, PIECE), limits=Limits(encryption="off")) as node:
        await _visited(node, visit)


async def test_those_for_whom_there_is_no_place(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=0)
    async with serving(tmp_path, (DATA, PIECE), limits=limits) as node:
        await _visited(node, says_nothing)
        assert node.closes == {"too-many-from-address": TIMES}


async def test_those_who_come_when_the_budget_is_spent(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, PIECE)) as node:
        node.hold_back(Level.TRACKER_ONLY)
        await _visited(node, says_nothing)
        assert node.closes == {"budget-spent": TIMES}


async def test_those_who_are_greeted_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seeder.upload.overhead.GREETINGS_AT_ONCE", 1)
    async with serving(tmp_path, (DATA, PIECE)) as node:

        async def greets(node: Node, peer: Peer) -> None:
            await peer.send(greeting(info_hash=node.torrent.info_hash))

        await _visited(node, greets)
        assert node.closes == {"greeting-flood": TIMES}


async def _visited(node: Node, visit: Visit) -> None:
    part = TIMES // ROUNDS
    grown = []
    for _ in range(ROUNDS):
        before = await _settled(node)
        for _ in range(part):
            # Without a deadline: trio keeps what is left of those for a while.
            sock = trio.socket.socket()
            await sock.connect(node.address)
            async with trio.SocketStream(sock) as stream:
                peer = Peer(stream)
                with suppress(trio.BrokenResourceError, EOFError):
                    await visit(node, peer)
                await peer.read_to_the_end()
        grown.append(await _settled(node) - before)
    # A session has hundreds of blocks, an exception with its traceback three. The other end of
    # these connections is in this process, and trio reuses what it had for them only now and then.
    assert usual(grown) < part, f"{grown} blocks"


async def _settled(node: Node) -> int:
    """Wait until the last visitors are gone, and return the blocks in use."""
    while any(session.reason is not None for session in node.sessions()):  # noqa: ASYNC110
        await trio.sleep(0.002)
    await trio.testing.wait_all_tasks_blocked(0.01)
    # The node of the tests keeps whom the tracker was told of.
    node.visits.clear()
    return blocks()
