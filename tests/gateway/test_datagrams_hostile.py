"""Hostile datagrams: what is forged, cut, stale or sent in circles gains nothing.

Who forges an address makes us send to somebody else, so that until an address is proven no reply is
longer than what it answers.
"""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.net.sockets import V4_MAPPED, bind_datagrams, packed_address
from seeder.torrent.info import InfoHash
from seeder.tracker.datagrams import EPOCH, MOST_IN_DATAGRAM, ConnectionIds
from tests.gateway.asking import (
    ANNOUNCE,
    CLIENT,
    CONNECT,
    ERROR,
    MAGIC,
    NONE,
    SCRAPE,
    STARTED,
    STOPPED,
    TRANSACTION,
    V6_CLIENT,
    Server,
)
from tests.tracker.announcing import HASH, packed, peer_id

DEADLINE = 30.0
OTHER = packed("198.51.100.7")
WORDS = st.sampled_from([0, 1, 2, 3, 4, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
HEADS = st.builds(
    lambda connection, action, transaction: struct.pack(">QII", connection, action, transaction),
    st.sampled_from([MAGIC, 0, 1, 2**64 - 1]) | st.integers(0, 2**64 - 1),
    WORDS,
    WORDS,
)
DATAGRAMS = st.binary(max_size=200) | st.builds(
    lambda head, body: head + body, HEADS, st.binary(max_size=1600) | st.just(HASH * 74)
)
"""Anything, and what looks like a request."""


def announce_of(
    connection: int, *, port: int = 6881, numwant: int = -1, event: int = NONE
) -> bytes:
    fields = struct.pack(">QQQIIIiH", 0, 5, 0, event, 0, 0, numwant, port)
    return struct.pack(">QII", connection, ANNOUNCE, TRANSACTION) + HASH + peer_id("a") + fields


def scrape_of(connection: int, hashes: int) -> bytes:
    return struct.pack(">QII", connection, SCRAPE, TRANSACTION) + HASH * hashes


def is_refused(answer: bytes | None) -> bool:
    return answer is not None and answer[:4] == struct.pack(">I", ERROR)


@given(DATAGRAMS, st.sampled_from([CLIENT, V6_CLIENT]))
@settings(deadline=None)
def test_no_reply_is_longer_than_what_has_no_connection_id(data: bytes, client: bytes) -> None:
    server = Server()
    answer = server.send(data, client)
    assert len(answer or b"") <= len(data)
    assert not server.tracker.swarms.statistics(HASH).peers
    assert not server.tracker.swarms.changes


@given(st.integers(0, 2**32 - 1), st.integers(0, 120))
@settings(deadline=None)
def test_a_request_that_is_cut_anywhere_is_whole_or_none(transaction: int, length: int) -> None:
    """Also of one who has an id: no length of an announce or a scrape is answered by half."""
    server = Server()
    connection = server.connect()
    for whole, least in ((announce_of(connection), 98), (scrape_of(connection, 5), 36)):
        answer = server.send(whole[:length])
        assert (answer is None) == (length < least)
        assert not is_refused(answer)


NOW = Server().tracker.now
IDS = ConnectionIds(b"s" * 32)
"""As the server makes them."""
MINE = IDS.issue(CLIENT, NOW)
BAD_IDS = {
    "forged": 0x1234567890ABCDEF,
    "the magic number": MAGIC,
    "with another bit": MINE ^ 1 << 40,
    "of the next number": MINE + 1,
    "of another address": IDS.issue(OTHER, NOW),
    "of the other family": IDS.issue(V6_CLIENT, NOW),
    "of the mapped address": IDS.issue(V4_MAPPED + CLIENT, NOW),
    "old": IDS.issue(CLIENT, NOW - 3 * EPOCH),
    "from the future": IDS.issue(CLIENT, NOW + EPOCH),
    "of another server": ConnectionIds(b"t" * 32).issue(CLIENT, NOW),
}


@pytest.mark.parametrize("name", BAD_IDS)
def test_a_connection_id_that_is_not_ones_own_is_refused_and_leaves_nothing(name: str) -> None:
    server = Server()
    connection = BAD_IDS[name]
    assert not is_refused(server.send(announce_of(MINE, event=STOPPED)))
    before = server.tracker.swarms.changes
    for request in (announce_of(connection), announce_of(connection, event=STARTED)):
        answer = server.send(request)
        assert is_refused(answer)
        assert len(answer or b"") <= len(request)
    for hashes in (1, 2, 74, 80):
        request = scrape_of(connection, hashes)
        answer = server.send(request)
        assert is_refused(answer)
        assert len(answer or b"") <= len(request)
    assert server.tracker.swarms.changes == before
    assert sum(server.tracker.swarms.tallies.announces.values()) == 1


def test_a_clock_that_steps_costs_a_new_connection_id_and_nothing_else() -> None:
    now = NOW
    for step in (0.0, -3600.0, 7200.0, -1e6, 1e9):
        before = IDS.issue(CLIENT, now)
        now += step
        assert IDS.is_good(IDS.issue(CLIENT, now), CLIENT, now + EPOCH)
        assert IDS.is_good(before, CLIENT, now) == (not step)


def test_a_connection_id_may_be_used_again_and_again_and_counts_one_peer() -> None:
    """An announce that comes twice, by a resent or a recorded datagram, is one announce."""
    server = Server()
    request = announce_of(server.connect(), event=STARTED)
    for _ in range(5):
        assert not is_refused(server.send(request))
    assert server.tracker.swarms.statistics(HASH).peers == 1


@pytest.mark.parametrize("numwant", [-(2**31), -1, 0, 1, 200, 2**31 - 1])
@pytest.mark.parametrize("client", [CLIENT, V6_CLIENT], ids=["IPv4", "IPv6"])
def test_no_numwant_makes_a_reply_longer_than_the_smallest_mtu(numwant: int, client: bytes) -> None:
    server = Server()
    server.tracker.crowd(300)
    for number in range(100):
        server.tracker.announce(f"v6-{number}", f"2001:db8:{number:x}::1")
    answer = server.send(announce_of(server.connect(client), numwant=numwant), client)
    assert answer is not None
    count, rest = divmod(len(answer) - 20, len(client) + 2)
    assert rest == 0
    most = 200 if client == CLIENT else 66
    expected = {0: 0, 1: 1}.get(numwant, 50 if numwant < 0 else most)
    assert count <= min(expected, most)
    assert (count > 0) == (expected > 0)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 90), st.booleans())
@settings(deadline=None)
def test_two_trackers_that_are_sent_each_others_replies_soon_fall_silent(
    connection: int, transaction: int, hashes: int, proven: bool
) -> None:
    """A datagram to one in the name of the other must not go to and fro between them."""
    here, there = Server(), Server()
    connection = here.connect(OTHER) if proven else connection
    for data in (
        struct.pack(">QII", MAGIC, CONNECT, transaction),
        struct.pack(">QII", connection, ANNOUNCE, transaction) + announce_of(0)[16:],
        struct.pack(">QII", connection, SCRAPE, transaction) + HASH * hashes,
    ):
        answers, answer = 0, here.send(data, OTHER)
        for server, source in ((there, CLIENT), (here, OTHER), (there, CLIENT)):
            if answer is not None:
                answers += 1
                answer = server.send(answer, source)
        assert answer is None
        assert answers <= 2


def test_the_list_of_who_asked_too_often_does_not_grow_with_the_addresses() -> None:
    server = Server()
    connect = struct.pack(">QII", MAGIC, CONNECT, TRANSACTION)
    for number in range(60_000):
        server.send(connect, number.to_bytes(4, "big"))
    buckets = server.datagrams._connects._full_at
    assert max(map(len, buckets)) <= 50_000


# -- over real sockets


@asynccontextmanager
async def serving(server: Server, host: str) -> AsyncIterator[trio.socket.SocketType]:
    """Serve datagrams at an address for the block, which gets a client's connected socket."""
    with bind_datagrams(host, 0, "tracker.udp_listen") as bound:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.datagrams.serve, bound)
            with trio.socket.socket(bound.family, trio.socket.SOCK_DGRAM) as client:
                await client.connect(bound.getsockname())
                with trio.fail_after(DEADLINE):
                    yield client
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_over_a_real_socket_nobody_is_sent_more_than_came(host: str) -> None:
    server = Server()
    async with serving(server, host) as client:
        proof = server.connect(packed_address(client.getsockname()[0]))
        lengths = {}
        bodies = [b"", HASH, HASH * 74, HASH * 75, bytes(82), bytes(1400)]
        forged = [(MAGIC, CONNECT), (0, ANNOUNCE), (proof ^ 1 << 50, SCRAPE), (proof, ERROR)]
        requests = [(*head, body) for head in forged for body in bodies]
        for number, (connection, action, body) in enumerate(requests):
            data = struct.pack(">QII", connection, action, number) + body
            lengths[number] = len(data)
            for cut in (data, data[:15], data[:-1]):
                await client.send(cut)
            # The replies come in order: what a scrape of no known hash is told ends the wait.
            end = InfoHash(bytes(20))
            await client.send(struct.pack(">QII", proof, SCRAPE, 2**31 + number) + end)
            while True:
                answer = await client.recv(2000)
                [transaction] = struct.unpack(">I", answer[4:8])
                if transaction == 2**31 + number:
                    break
                assert len(answer) <= lengths[transaction]
    assert not server.tracker.swarms.statistics(HASH).peers


@pytest.mark.parametrize("hashes", [0, 1, 74, 75, 200])
async def test_a_scrape_of_many_is_answered_for_as_many_as_a_datagram_takes(hashes: int) -> None:
    server = Server()
    async with serving(server, "127.0.0.1") as client:
        proof = server.connect(packed_address(client.getsockname()[0]))
        for request in (scrape_of(proof, hashes), scrape_of(proof, 1)[:-1] + HASH):
            await client.send(request)
        answers = [await client.recv(2000) for _ in range(1 + bool(hashes))]
        assert [len(answer) for answer in answers] == list(
            chain([8 + 12 * min(hashes, MOST_IN_DATAGRAM)] * bool(hashes), [20])
        )
