"""Peers come, speak, make room for each other and leave, several in one pass of the loop: none ends
more than itself, and in the end nobody is counted.
"""

import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from seeder.units import KIB
from tests.peer.node import Limits, Node, make_data, serving, wait_until
from tests.peer.wire import greeting, request_message

DATA = make_data(256 * KIB)
TINY = Limits(connections=4, connections_per_torrent=3, connections_per_address=2, upload_slots=1)
HOSTS = ("127.0.0.1", "127.0.0.2", "127.9.9.9")
FULL = ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2")
"""The peers at the beginning: of one network, so that any other one's has the right to a place."""
places = st.integers(0, 7)
actions = st.one_of(
    st.tuples(st.just("connect"), st.sampled_from(HOSTS)),
    st.tuples(st.just("greet"), places),
    st.tuples(st.sampled_from(["ask", "leave", "reset", "end", "half"]), places),
    st.just(("tick", 0)),
)
passes = st.lists(st.lists(actions, min_size=1, max_size=6), min_size=2, max_size=12)

WOKEN = 8 * [
    [*(("greet", number) for number in range(4)), ("connect", HOSTS[2])],
    5 * [("leave", 0)],
    [("connect", host) for host in FULL],
]
"""Peers that have just spoken when one of them makes room; which of the tasks runs first is up to
chance."""


@dataclass
class Crowd:
    """Raw peers, whose sockets give the hub no turn."""

    node: Node
    came: int = 0
    peers: list[socket.socket] = field(default_factory=list)

    def act(self, what: str, where: str | int) -> None:
        if what == "connect":
            sock = socket.create_connection(
                self.node.address, source_address=(str(where), 0), timeout=5
            )
            sock.setblocking(False)
            self.came += 1
            self.peers.append(sock)
        elif what == "tick":
            self.node.hub._registry.tick(trio.current_time() + 60)
            self.node.uploads.slots.review(trio.current_time() + 60)
        elif self.peers:
            self._act_as(what, self.peers[int(where) % len(self.peers)], int(where))

    def _act_as(self, what: str, peer: socket.socket, number: int) -> None:
        hello = greeting(
            fast=True,
            extended=False,
            info_hash=self.node.torrent.info_hash,
            peer=b"-XX0001-%012d" % (number % 3),
        )
        with suppress(OSError):
            if what == "greet":
                peer.send(hello)
            elif what == "half":
                peer.send(hello[: number * 9 + 1])
            elif what == "ask":
                peer.send(request_message((0, 0, 100)))
        if what == "end":
            for session in self.node.sessions()[:1]:
                session.end("had-enough")
        elif what in ("leave", "reset"):
            self.peers.remove(peer)
            if what == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


def counted(node: Node) -> dict[str, int]:
    """Return how many of what there still are, anywhere."""
    uploads = node.uploads
    found = {
        "connected": node.hub.statistics().connected,
        "at their torrent": node.connected(node.torrent.info_hash),
        "peers": len(uploads.connections._peers.all),
        "served": uploads.slots.served,
        "of the slots": len(uploads.slots._places),
        "sharers": len(uploads.slots._sharers),
        "guests": len(uploads._guests),
        "held": uploads.held.used,
        "by torrent": len(node.hub._registry._by_torrent),
    }
    return {name: count for name, count in found.items() if count}


async def churn(directory: Path, turns: Sequence[Sequence[tuple[str, str | int]]]) -> None:
    async with serving(directory, (DATA, 64 * KIB), limits=TINY) as node:
        crowd = Crowd(node)
        for host in FULL:
            crowd.act("connect", host)
        await wait_all_tasks_blocked()
        for turn in turns:
            for what, where in turn:
                crowd.act(what, where)
            await wait_all_tasks_blocked()
            assert node.hub.statistics().connected <= TINY.connections
        crowd.close()
        # The last may be accepted only now.
        await wait_until(lambda: sum(node.closes.values()) == crowd.came)
        await node.wait_connected(0)
        assert not counted(node)
        assert "internal-error" not in node.closes
        async with node.peer() as peer:
            await peer.request((0, 0, 10))
            await peer.read()
        node.watch.broken.clear()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(turns=passes)
@example(turns=WOKEN)
def test_no_peer_takes_another_one_along(
    turns: list[list[tuple[str, str | int]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    trio.run(churn, tmp_path, turns)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
