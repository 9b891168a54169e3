"""The tracker over UDP: what each datagram is answered, at which length, and what is counted."""

import struct
from collections.abc import Callable
from ipaddress import ip_network

import pytest
import trio

from seeder.gateway.datagrams import CONNECTS_AT_ONCE
from seeder.net.addresses import compact_endpoint
from seeder.net.doors import Door, NetworkRules
from seeder.net.sockets import bind_datagrams
from seeder.torrent.info import InfoHash
from seeder.tracker.announce import parse_announce
from seeder.tracker.datagrams import LONGEST_REPLY
from tests.gateway.asking import (
    ANNOUNCE,
    CLIENT,
    COMPLETED,
    CONNECT,
    ERROR,
    MAGIC,
    NONE,
    SCRAPE,
    STOPPED,
    TRANSACTION,
    V6_CLIENT,
    V6_LOCAL,
    Server,
)
from tests.tracker.announcing import HASH, LOCAL, OWN, packed, peer_id

DEADLINE = 10.0


def refusal(answer: bytes) -> str:
    assert struct.unpack(">II", answer[:8]) == (ERROR, TRANSACTION)
    return answer[8:].decode()


def test_who_announces_hears_of_our_seeder_and_of_who_came_before() -> None:
    server = Server()
    head = struct.pack(">II", ANNOUNCE, TRANSACTION)
    first = server.announce()
    assert first[:8] == head
    assert first[20:] == OWN
    other = server.announce(packed("198.51.100.2"), port=7000)
    assert first[20:] in (other[20:26], other[26:32])
    assert compact_endpoint(CLIENT, 6881) in (other[20:26], other[26:32])
    assert struct.unpack(">II", other[12:20]) == (2, 1)  # leechers; our seeder
    assert server.tracker.swarms.tallies.announces["started", "answered"] == 2


def test_over_ipv6_endpoints_have_18_bytes() -> None:
    answer = Server().announce(V6_CLIENT)
    assert answer[20:] == compact_endpoint(V6_LOCAL, 6881)


def test_the_same_swarm_is_met_over_http_and_udp() -> None:
    server = Server()
    server.announce()
    assert compact_endpoint(CLIENT, 6881) in server.tracker.announce("http", "198.51.100.2").peers


def test_a_client_that_asks_by_http_and_by_udp_is_one_client() -> None:
    """libtorrent and Transmission write one key in both, as a number and in hexadecimal."""
    server = Server()
    connection, swarms = server.connect(), server.tracker.swarms
    text = "info_hash=hhhhhhhhhhhhhhhhhhhh&port=6881&left=0&event=completed&downloaded=1000"
    by_http = parse_announce(f"{text}&key=1a2B3c4D&peer_id={peer_id('a').decode()}".encode())
    by_udp = struct.pack(">QII", connection, ANNOUNCE, TRANSACTION) + HASH + by_http.peer_id
    by_udp += struct.pack(">QQQIIIiH", 1000, 0, 0, COMPLETED, 0, 0x1A2B3C4D, -1, 6881)
    server.send(by_udp)
    swarms.announce(by_http, CLIENT, LOCAL, server.tracker.now)
    server.send(by_udp)
    assert swarms.statistics(HASH).completed == 1


def test_who_has_no_key_is_stopped_by_nobody_from_elsewhere() -> None:
    server = Server()
    server.announce(packed("198.51.100.2"))
    server.announce(event=STOPPED)
    assert server.tracker.swarms.statistics(HASH).peers == 1


def test_a_scrape_tells_a_swarms_counts_in_order() -> None:
    server = Server()
    server.announce(left=0)
    unknown = InfoHash(b"x" * 20)
    expected = struct.pack(">IIIIIIII", SCRAPE, TRANSACTION, 0, 0, 0, 2, 0, 0)
    assert server.scrape(unknown, HASH) == expected
    assert server.tracker.swarms.tallies.scrapes["answered"] == 1


@pytest.mark.parametrize("connection", [0, MAGIC, 2**64 - 1])
def test_who_has_no_connection_id_is_told_in_fewer_bytes_than_it_sent(connection: int) -> None:
    server = Server()
    assert refusal(server.announce(connection=connection)).startswith("connection id expired")
    short = struct.pack(">QII", connection, SCRAPE, TRANSACTION) + HASH
    answer = server.send(short)
    assert answer is not None
    assert len(answer) <= len(short)
    assert not server.tracker.swarms.statistics(HASH).peers


def test_another_address_has_no_use_for_a_connection_id() -> None:
    server = Server()
    connection = server.connect()
    refusal(server.announce(packed("203.0.113.10"), connection=connection))


def test_a_connection_id_goes_on_for_two_minutes_and_then_ends() -> None:
    server = Server()
    connection = server.connect()
    server.tracker.now += 120
    assert server.announce(connection=connection)[:4] == struct.pack(">I", ANNOUNCE)
    server.tracker.now += 120
    refusal(server.announce(connection=connection))


@pytest.mark.parametrize("data", [b"", b"\0" * 15, b"GET /announce HTTP/1.1\r\n\r\n", b"\xff" * 98])
def test_what_is_no_request_gets_no_answer(data: bytes) -> None:
    assert Server().send(data) is None


def test_a_flood_of_connects_from_one_address_is_answered_up_to_a_bound() -> None:
    server = Server()
    data = struct.pack(">QII", MAGIC, CONNECT, TRANSACTION)
    answers = [server.send(data) for _ in range(int(CONNECTS_AT_ONCE) + 50)]
    assert answers.count(None) == 50
    # It took nothing from the announces of that address, and others are served.
    assert server.connect(packed("198.51.100.1"))
    assert server.clients.admit(CLIENT)


def test_who_asks_too_often_is_told_so_but_may_stop_and_complete() -> None:
    server = Server(burst=1)
    connection = server.connect()
    server.announce(connection=connection)
    too_often: Callable[[int], bytes] = lambda event: server.announce(  # noqa: E731
        connection=connection, event=event, left=0
    )
    assert "too many requests" in refusal(too_often(NONE))
    assert too_often(COMPLETED)[:4] == struct.pack(">I", ANNOUNCE)
    assert too_often(COMPLETED)[20:] == b""
    assert server.tracker.swarms.statistics(HASH).seeds == 1
    assert too_often(STOPPED)[:4] == struct.pack(">I", ANNOUNCE)
    assert server.tracker.swarms.statistics(HASH).peers == 0
    assert server.tracker.swarms.tallies.announces["none", "too-often"] == 1


def test_a_torrent_that_is_not_ours_is_refused_in_the_trackers_words() -> None:
    server = Server()
    answer = server.announce(info_hash=InfoHash(b"x" * 20))
    assert refusal(answer) == "torrent not registered with this tracker"
    assert server.tracker.swarms.tallies.announces["started", "unknown-torrent"] == 1


def test_port_0_is_refused_but_to_stop() -> None:
    server = Server()
    assert "port" in refusal(server.announce(port=0))
    assert server.announce(port=0, event=STOPPED)[:4] == struct.pack(">I", ANNOUNCE)


async def test_an_answer_that_is_too_long_by_a_fault_of_ours_keeps_nobody_from_his(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    answers = [b"x" * (LONGEST_REPLY + 1), b"fits"]
    monkeypatch.setattr(server.datagrams, "answer", lambda *_: answers.pop(0))
    with bind_datagrams("127.0.0.1", 0, "tracker.udp_listen") as bound:
        async with trio.open_nursery() as nursery:
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
                await client.connect(bound.getsockname())
                for _ in range(2):
                    await client.send(b"?")
                nursery.start_soon(server.datagrams.serve, bound)
                with trio.fail_after(DEADLINE):
                    assert await client.recv(100) == b"fits"
            nursery.cancel_scope.cancel()
    assert "a reply has" in caplog.text


async def test_what_is_sent_is_booked_and_a_fault_costs_one_answer_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, asked = Server(), trio.Event()

    def fail(_: object) -> None:
        asked.set()
        raise KeyError(HASH)

    with bind_datagrams("127.0.0.1", 0, "tracker.udp_listen") as bound:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.datagrams.serve, bound)
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
                await client.connect(bound.getsockname())
                ours = client.getsockname()[0]
                with monkeypatch.context() as broken, trio.fail_after(DEADLINE):
                    broken.setattr(server.tracker.swarms, "scrape", fail)
                    await client.send(server.scrape_request(HASH, client=packed(ours)))
                    await asked.wait()
                assert caplog.records[0].getMessage() == f"a datagram of {ours}: internal error"
                assert server.booked == 0
                with trio.fail_after(DEADLINE):
                    await client.send(server.scrape_request(HASH, client=packed(ours)))
                    answer = await client.recv(100)
                assert answer[:4] == struct.pack(">I", SCRAPE)
                assert server.booked == len(answer)
            nursery.cancel_scope.cancel()


def test_who_is_not_let_in_is_told_so_once_the_address_is_proven() -> None:
    server = Server()
    door = server.clients.doors.tracker
    door.follow(Door(NetworkRules(deny=(ip_network("203.0.113.0/24"),))))
    stranger = packed("203.0.113.9")
    # Any address may connect: that is 16 bytes for 16.
    refused = refusal(server.announce(stranger))
    assert refused == "your address is not allowed at this tracker"
    scraped = server.send(server.scrape_request(HASH, client=stranger), stranger)
    assert scraped is not None
    assert refusal(scraped) == refused
    assert server.tracker.swarms.statistics(HASH).peers == 0
    assert server.tracker.swarms.tallies.announces["started", "denied"] == 1
    assert server.tracker.swarms.tallies.scrapes["denied"] == 1
    assert door.turned_away == 2
    assert server.announce(packed("203.0.114.9"))[:4] == struct.pack(">I", ANNOUNCE)
