import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.net.addresses import networks_of
from seeder.net.passes import Passes
from seeder.net.sockets import packed_address
from seeder.peer import hub as hub_module
from seeder.peer import messages
from seeder.peer.hub import CONNECTION_STATES
from seeder.peer.lifetime import IDLE_PATIENCE, STRANGER_PATIENCE, WRITE_DEADLINE
from seeder.peer.messages import BLOCK_SIZE, Block, MessageId
from seeder.torrent import bencode
from seeder.units import MIB
from tests.peer.node import (
    Limits,
    Node,
    Peer,
    blocks_of,
    make_data,
    serving,
    wait_until,
)
from tests.peer.wire import OUR_ID, greeting, piece_header

DATA = make_data(4 * MIB)
OTHER_DATA = make_data(2 * MIB, seed=2)
THIRD_ID = b"-XX0001-another12345"


def wire_of(blocks: list[Block]) -> bytes:
    """Return blocks of the first piece as they are on the wire."""
    return b"".join(piece_header(*block) + DATA[block[1] : block[1] + block[2]] for block in blocks)


async def is_served(peer: Peer) -> bool:
    """Ask for a few bytes; False when the connection has ended."""
    try:
        await peer.request((0, 0, 10))
        message = await peer.read()
    except (EOFError, trio.BrokenResourceError):
        return False
    return message.id == MessageId.PIECE


# -- limits


async def test_connections_are_limited_in_all(tmp_path: Path) -> None:
    limits = Limits(connections=2)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node:
        async with node.peer() as one, node.peer(peer_id=THIRD_ID) as two:
            async with Peer.connect(node.address) as three:
                assert await three.read_to_the_end() == b""
            assert node.closes == {"too-many-connections": 1}
            assert await is_served(one)
            assert await is_served(two)
        await node.wait_connected(0)
        async with node.peer() as later:
            assert await is_served(later)


async def test_connections_are_limited_by_address(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=1)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node:
        async with node.peer(), node.peer(peer_id=THIRD_ID, host="127.0.0.2") as elsewhere:
            async with Peer.connect(node.address) as second:
                assert await second.read_to_the_end() == b""
            assert node.closes == {"too-many-from-address": 1}
            assert await is_served(elsewhere)
        await node.wait_connected(0)
        async with node.peer() as later:
            assert await is_served(later)


async def test_connections_are_limited_by_torrent(tmp_path: Path) -> None:
    limits = Limits(connections_per_torrent=1)
    async with serving(tmp_path, (DATA, MIB), (OTHER_DATA, MIB), limits=limits) as node:
        one, two = node.torrents.values()
        async with node.peer(torrent=one) as first, node.peer(torrent=two) as elsewhere:
            async with Peer.connect(node.address) as second:
                await second.send(greeting(info_hash=one.info_hash, peer=THIRD_ID))
                await second.read_to_the_end()
            await node.wait_closed("too-many-for-torrent")
            assert node.connected(one.info_hash) == 1
            assert await is_served(first)
            assert await is_served(elsewhere)
            # Its own place is not taken by itself.
            async with node.peer(torrent=one) as again:
                assert await is_served(again)
        await node.wait_connected(0)
        async with node.peer(torrent=one, peer_id=THIRD_ID) as later:
            assert await is_served(later)


def another(number: int) -> bytes:
    return b"-XX0001-another%05d" % number


@pytest.mark.parametrize(
    "limits",
    [
        Limits(connections=4, connections_per_address=2),
        Limits(connections_per_torrent=4, connections_per_address=2),
    ],
)
async def test_a_newcomer_gets_in_by_ending_one_of_the_largest_network(
    tmp_path: Path, limits: Limits
) -> None:
    hosts = ["127.0.1.1", "127.0.1.2", "127.0.1.2", "127.0.2.1"]
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node, AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(node.peer(peer_id=another(number), host=host))
            for number, host in enumerate(hosts)
        ]
        # All but one of the address with most take something.
        for peer in (peers[0], peers[1], peers[3]):
            assert await is_served(peer)
        async with node.peer(peer_id=another(4), host="127.0.3.1") as newcomer:
            assert await peers[2].read_to_the_end() == b""
            await node.wait_closed("made-room")
            assert await is_served(newcomer)
            assert all([await is_served(peer) for peer in (peers[0], peers[1], peers[3])])
            # Whoever is of the largest network finds no place.
            async with Peer.connect(node.address, "127.0.1.3") as again:
                info_hash = node.torrent.info_hash
                await again.send(greeting(info_hash=info_hash, peer=another(5)))
                await again.read_to_the_end()
            await wait_until(lambda: sum(node.closes.values()) == 2)
            assert sum(node.closes[each] for each in node.closes if "too-many" in each) == 1


async def test_many_newcomers_at_once_end_one_each(tmp_path: Path) -> None:
    limits = Limits(connections=30, connections_per_address=30)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node, AsyncExitStack() as stack:
        for number in range(30):
            await stack.enter_async_context(
                node.peer(peer_id=another(number), host=f"127.0.1.{number + 1}")
            )
        newcomers = [
            await stack.enter_async_context(Peer.connect(node.address, f"127.0.{number}.1"))
            for number in range(2, 22)
        ]
        for number, peer in enumerate(newcomers):
            name = another(50 + number)
            await peer.send(greeting(extended=False, info_hash=node.torrent.info_hash, peer=name))
            await peer.read_exactly(68)
            assert [(await peer.read()).id for _ in range(2)] == [
                MessageId.HAVE_ALL,
                MessageId.UNCHOKE,
            ]
            assert await is_served(peer)
        assert node.closes == {"made-room": 20}
        await node.wait_connected(30)


async def test_strangers_make_room_first(tmp_path: Path) -> None:
    limits = Limits(connections=3)
    async with (
        serving(tmp_path, (DATA, MIB), limits=limits) as node,
        Peer.connect(node.address, "127.0.1.1") as stranger,
        node.peer(host="127.0.1.1") as peer,
        node.peer(peer_id=THIRD_ID, host="127.0.2.1"),
        node.peer(peer_id=another(1), host="127.0.3.1") as newcomer,
    ):
        assert await stranger.read_to_the_end() == b""
        assert node.closes == {"made-room": 1}
        assert await is_served(peer)
        assert await is_served(newcomer)


class JustBefore(trio.abc.Instrument):
    """Does something right before a session's task goes on, once."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.endswith("Hub._run"):
            trio.lowlevel.remove_instrument(self)
            self._action()


async def test_who_makes_room_while_its_handshake_waits_to_be_read_takes_no_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(connections=2)
    async with (
        serving(tmp_path, (DATA, MIB), limits=limits) as node,
        node.peer(peer_id=THIRD_ID, host="127.0.1.1") as other,
        Peer.connect(node.address, "127.0.1.1") as stranger,
    ):
        await node.wait_connected(2)
        await trio.testing.wait_all_tasks_blocked()
        visits = len(node.visits)
        elsewhere = networks_of(packed_address("127.0.2.1"))
        trio.lowlevel.add_instrument(
            JustBefore(lambda: node.uploads.connections.admit_peer(elsewhere))
        )
        await stranger.send(greeting(info_hash=node.torrent.info_hash, peer=another(1)))
        assert await stranger.read_to_the_end() == b""
        await node.wait_closed("made-room")
        assert len(node.visits) == visits
        assert node.connected(node.torrent.info_hash) == 1
        assert await is_served(other)
        assert "error" not in caplog.text


@pytest.mark.parametrize("where", ["leaving", "accepting", "ticking"])
async def test_a_fault_of_ours_outside_of_a_session_ends_no_other(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub_module, "TICK", 0.01)
    async with (
        serving(tmp_path, (DATA, MIB)) as node,
        node.peer(host="127.0.1.1") as other,
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(node.peer(peer_id=THIRD_ID, host="127.0.1.2"))
        places = node.uploads.connections
        broken = {
            "leaving": (places, "remove"),
            "accepting": (places, "admit_peer"),
            "ticking": (node.hub._registry, "make_room"),
        }
        with monkeypatch.context() as patch:
            patch.setattr(*broken[where], lambda _: 1 // 0)
            await stack.aclose()
            async with Peer.connect(node.address) as third:
                await wait_until(lambda: "internal error" in caplog.text)
                if where == "accepting":
                    assert await third.read_to_the_end() == b""
        assert await is_served(other)
        async with node.peer(peer_id=another(4), host="127.0.1.4") as newcomer:
            assert await is_served(newcomer)


async def test_who_is_of_no_use_makes_room_when_all_places_are_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), limits=Limits(connections=2)) as node:
        node.source.hold_up(3)
        async with node.peer() as waiting, node.peer(peer_id=THIRD_ID) as idle:
            await waiting.request((3, 0, 10))
            await wait_until(lambda: node.source.reads[3] == 1)
            now = trio.current_time()
            node.make_room(now + IDLE_PATIENCE - 1)
            assert await is_served(idle)
            now = trio.current_time()
            node.make_room(now + IDLE_PATIENCE + 1)
            assert await idle.read_to_the_end() == b""
            await node.wait_closed("made-room")
            # With a place free nobody has to go.
            node.make_room(now + 10 * IDLE_PATIENCE)
            node.source.release()
            assert (await waiting.read_block())[0] == (3, 0, 10)


async def test_a_silent_stranger_makes_room_before_anybody_else(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, MIB), limits=Limits(connections=2)) as node,
        node.peer() as idle,
        Peer.connect(node.address) as stranger,
    ):
        await node.wait_connected(2)
        now = trio.current_time()
        node.make_room(now + STRANGER_PATIENCE - 1)
        assert not node.closes
        node.make_room(now + IDLE_PATIENCE + 10)
        assert await stranger.read_to_the_end() == b""
        await node.wait_closed("made-room")
        assert await is_served(idle)


async def test_a_full_torrent_makes_room_too(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), limits=Limits(connections_per_torrent=1)) as node:
        async with node.peer() as idle:
            node.make_room(trio.current_time() + IDLE_PATIENCE + 1)
            assert await idle.read_to_the_end() == b""
        async with node.peer(peer_id=THIRD_ID) as other:
            assert await is_served(other)


@pytest.mark.parametrize("interested", [True, False])
async def test_a_choked_peer_that_waits_for_its_turn_is_not_idle(
    tmp_path: Path, interested: bool
) -> None:
    limits = Limits(connections=1)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node, node.peer() as peer:
        [session] = node.sessions()
        if interested:
            await peer.send(messages.message(MessageId.INTERESTED))
            await wait_until(lambda: session.wire.interested)
        session.wire.choke()
        node.make_room(trio.current_time() + IDLE_PATIENCE + 1)
        assert (session.reason is None) == interested


# -- who is who


async def test_of_two_with_one_peer_id_the_newer_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer() as older:
        async with node.peer() as newer:
            assert await older.read_to_the_end() == b""
            await node.wait_closed("replaced")
            assert await is_served(newer)
            assert node.connected(node.torrent.info_hash) == 1
        await node.wait_connected(0)
        assert node.connected(node.torrent.info_hash) == 0


async def test_a_peer_id_from_another_address_keeps_nobody_out_and_throws_nobody_out(
    tmp_path: Path,
) -> None:
    """Whether the thief is first or the owner: strangers may know the id."""
    async with serving(tmp_path, (DATA, MIB)) as node, node.peer() as first:
        async with node.peer(host="127.0.0.2") as other:
            assert await is_served(other)
            assert await is_served(first)
            assert node.connected(node.torrent.info_hash) == 2
            # And each comes back in its own place.
            async with node.peer(host="127.0.0.2") as again:
                assert await other.read_to_the_end() == b""
                assert await is_served(again)
        await node.wait_connected(1)
        assert await is_served(first)
        assert node.closes == {"replaced": 1, "left": 1}
        assert node.connected(node.torrent.info_hash) == 1


async def test_the_tracker_is_told_who_shook_hands(tmp_path: Path) -> None:
    limits = Limits(connections_per_torrent=2)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node:
        name, address = bytes(node.torrent.info_hash), bytes([127, 0, 0, 1])
        async with Peer.connect(node.address) as stranger, node.peer(), node.peer(peer_id=THIRD_ID):
            await stranger.send(b"\x13BitTorrent protocol" + bytes(8) + name)
            assert list(node.visits) == [(name, address, 1), (name, address, 2)]
            # One that finds no place is there all the same.
            async with Peer.connect(node.address) as third:
                await third.send(greeting(info_hash=name, peer=b"-XX0001-yetanother00"))
                await node.wait_closed("too-many-for-torrent")
            assert list(node.visits)[2:] == [(name, address, 2)]


async def test_one_peer_may_load_two_torrents(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), (OTHER_DATA, MIB)) as node:
        one, two = node.torrents.values()
        async with node.peer(torrent=one) as first, node.peer(torrent=two) as second:
            assert await is_served(first)
            assert await is_served(second)
            assert [node.connected(each.info_hash) for each in (one, two)] == [1, 1]


async def test_a_connection_to_ourselves_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node, Peer.connect(node.address) as peer:
        await peer.send(greeting(info_hash=node.torrent.info_hash, peer=OUR_ID))
        await peer.read_to_the_end()
        await node.wait_closed("self-connection")
        assert node.connected(node.torrent.info_hash) == 0


async def test_peers_come_by_ipv6_too(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this system has no IPv6")
    async with serving(tmp_path, (DATA, MIB), host="::1") as node, node.peer() as peer:
        assert await is_served(peer)


async def test_the_hub_tells_how_it_stands(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        async with node.peer(), node.peer(peer_id=THIRD_ID):
            statistics = node.hub.statistics()
            assert (statistics.connected, statistics.accepted) == (2, 2)
            assert statistics.closes == {}
            assert node.connected(node.torrent.info_hash) == 2
        await node.wait_closed("left", 2)
        assert node.connected(node.torrent.info_hash) == 0
        assert node.connected(bytes(20)) == 0


async def test_connections_are_told_by_what_they_are_about(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=3)
    async with serving(tmp_path, (DATA, MIB), limits=limits) as node:
        async with node.connection(), node.peer() as peer, node.peer(peer_id=THIRD_ID):
            told = node.hub.statistics
            await wait_until(lambda: told().states == {"handshake": 1, "idle": 2})
            async with node.connection() as refused:
                await refused.read_to_the_end()
            assert told().refusals == told().closes == {"too-many-from-address": 1}
            assert await is_served(peer)
            assert told().states == {"handshake": 1, "idle": 1, "served": 1}
            assert set(told().states) <= set(CONNECTION_STATES)
        await wait_until(lambda: told().states == {})


# -- ends


async def test_a_torrent_that_is_retired_lets_its_peers_go(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), (OTHER_DATA, MIB)) as node:
        one, two = node.torrents.values()
        async with (
            node.peer(torrent=one) as first,
            node.peer(torrent=one, peer_id=THIRD_ID) as second,
            node.peer(torrent=two) as other,
        ):
            node.hub.remove_torrent(one, "retired")
            node.tick(0)
            choke = messages.message(MessageId.CHOKE)
            assert await first.read_to_the_end() == choke
            assert await second.read_to_the_end() == choke
            await node.wait_closed("retired", 2)
            assert await is_served(other)


async def stop(node: Node) -> float:
    """Stop the hub and return the seconds that it took."""
    start = trio.current_time()
    node.stop.cancel()
    await node.stopped.wait()
    return trio.current_time() - start


async def test_a_stop_lets_the_batch_under_way_out_and_nothing_more(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096) as node:
        await node.warm(0, 1, 2)
        async with node.peer(receive_buffer=4096) as peer:
            await peer.request(*blocks_of(node.torrent)[: 3 * 64])
            [session] = node.sessions()
            await wait_until(lambda: session._output.draining)
            node.stop.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await peer.request((3, 0, 10))
            arrived = await peer.read_to_the_end()
            await peer.stream.aclose()
            await node.stopped.wait()
        assert arrived == wire_of(blocks_of(node.torrent)[:64])
        assert node.closes == {"shutdown": 1}
        assert node.tally.counters.uploaded_bytes == MIB
        assert node.source.reads[3] == 0


async def test_a_stop_loses_nothing_that_the_system_has_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        await node.warm(0)
        async with node.peer(receive_buffer=4096) as peer:
            blocks = blocks_of(node.torrent)[:20]
            await peer.request(*blocks)
            await wait_until(lambda: node.tally.counters.uploaded_bytes == 20 * BLOCK_SIZE)
            node.stop.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await peer.request((1, 0, 10))  # answered by a reset if the socket were closed
            await trio.testing.wait_all_tasks_blocked()
            assert await peer.read_to_the_end() == wire_of(blocks)


async def test_a_stop_does_not_wait_for_peers_that_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "GOODBYE", 0.1)
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as peer, Peer.connect(node.address):
            await peer.request(*blocks_of(node.torrent))
            [session] = [each for each in node.sessions() if each.guest.torrent]
            await wait_until(lambda: session._output.draining)
            assert await stop(node) < WRITE_DEADLINE / 2
            assert node.closes == {"shutdown": 2}


async def test_a_stop_says_goodbye_to_quiet_peers(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        async with node.peer() as one, node.peer(peer_id=THIRD_ID) as two:
            node.stop.cancel()
            for peer in (one, two):
                assert await peer.read_to_the_end() == b""
                await peer.stream.aclose()
            await node.stopped.wait()
        assert node.closes == {"shutdown": 2}


async def test_a_stopped_hub_takes_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:
        await stop(node)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(node.address)


async def test_no_file_descriptor_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)):
        pass  # what the loop itself opens once is open now
    before = len(os.listdir("/proc/self/fd"))
    async with serving(tmp_path, (DATA, MIB)) as node:
        async with node.peer() as peer, Peer.connect(node.address) as stranger:
            assert await is_served(peer)
            await stranger.send(b"GET /".ljust(629))
            await stranger.read_to_the_end()
            node.source.hold_up(3)
            await peer.request((3, 0, 10))
            await wait_until(lambda: node.source.reads[3] == 1)
        await node.wait_connected(0)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_fault_while_a_peer_is_admitted_harms_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving(tmp_path, (DATA, MIB), (OTHER_DATA, MIB)) as node,
        node.peer() as good,
        Peer.connect(node.address) as peer,
    ):
        _, broken = node.torrents.values()
        monkeypatch.delitem(node.tallies, bytes(broken.info_hash))
        await peer.send(greeting(extended=False, info_hash=broken.info_hash))
        await peer.read_to_the_end()
        await node.wait_closed("internal-error")
        assert "KeyError" in caplog.text
        assert await is_served(good)


async def test_many_peers_come_and_go(tmp_path: Path) -> None:
    async with serving(tmp_path, (DATA, MIB)) as node:

        async def visit(number: int) -> None:
            async with node.peer(peer_id=b"-XX0001-%012d" % number) as peer:
                if number % 3:
                    assert await is_served(peer)

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(visit, number)
        await node.wait_closed("left", 40)
        assert node.hub.statistics().accepted == 40


def waiting_for_turns() -> Passes:
    """Return passes in which nobody has a turn as soon as it comes."""
    return Passes(lambda: inf, longest=0.0)


async def test_all_is_served_while_somebody_asks_the_tracker(tmp_path: Path) -> None:
    passes = waiting_for_turns()
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096, passes=passes) as node:
        await node.warm()

        async def load(number: int) -> None:
            async with node.peer(peer_id=b"-XX0001-%012d" % number) as peer:
                blocks = blocks_of(node.torrent)
                assert await peer.download(node.torrent, blocks, ahead=16) == DATA

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(load, number)
        assert passes.in_haste
        await node.wait_closed("left", 8)


async def test_who_leaves_or_is_let_go_waits_for_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "GOODBYE", 0.1)
    passes = waiting_for_turns()
    async with serving(tmp_path, (DATA, MIB), send_buffer=4096, passes=passes) as node:
        await node.warm()
        async with node.peer(receive_buffer=4096) as staying:
            async with node.peer(peer_id=THIRD_ID, receive_buffer=4096) as peer:
                await peer.request(*blocks_of(node.torrent))
                await staying.request(*blocks_of(node.torrent))
            await wait_until(lambda: len(node.sessions()) == 1)
            assert await stop(node) < WRITE_DEADLINE / 2


def hello(port: int | None) -> bytes:
    """Return an extended handshake of a peer that takes peer exchange under id 9."""
    told: dict[bytes, bencode.Value] = {b"m": {b"ut_pex": 9}}
    if port is not None:
        told[b"p"] = port
    return messages.extended(0, bencode.encode(told))


async def test_peers_hear_of_each_other(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, (DATA, MIB)) as node,
        node.peer(peer_id=b"1" * 20) as one,
        node.peer(peer_id=b"2" * 20, host="127.0.0.2") as two,
    ):
        await one.send(hello(7001))
        await two.send(hello(None))
        await is_served(one)
        await is_served(two)
        node.tick(0)
        told = await two.read()
        assert told.id == MessageId.EXTENDED
        assert told.payload[0] == 9
        exchanged = bencode.decode(told.payload[1:])
        assert exchanged == {b"added": bytes((127, 0, 0, 1)) + b"\x1b\x59", b"added.f": b"\0"}
        # The other one has nobody to hear of, and nobody hears the same again.
        node.tick(61)
        assert await is_served(one)
        assert await is_served(two)
