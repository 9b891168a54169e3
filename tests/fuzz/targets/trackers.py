"""Announces and scrapes: queries to the swarms, and the replies as a client reads them."""

import contextlib
from ipaddress import IPv4Address, IPv6Address

from seeder.errors import AnnounceError
from seeder.http.messages import Request, Response
from seeder.torrent import bencode
from seeder.tracker.announce import (
    LARGEST_COUNT,
    MOST_KEY_BYTES,
    MOST_SCRAPED,
    parse_announce,
    parse_scrape,
)
from tests.fuzz.inputs import target
from tests.gateway.asking import Server
from tests.gateway.support import Public
from tests.tracker.announcing import HASH

_ANNOUNCE = (
    b"info_hash=%b&peer_id=-TT0001-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=1000"
    b"&event=started&compact=1&numwant=50&key=ab%%20c" % bytes(HASH)
)


@target(
    _ANNOUNCE, b"info_hash=%68" + b"h" * 19 + b"&peer_id=" + b"%00" * 20 + b"&port=1", b"", b"&&=&"
)
def announce_query(data: bytes) -> None:
    """The query of an announce: a value within its bounds, or a text for the client."""
    try:
        found = parse_announce(data)
    except AnnounceError as error:
        assert error.reason
        return
    assert len(found.info_hash) == 20
    assert len(found.peer_id) == 20
    assert 0 <= found.port <= 65535
    assert 0 <= found.downloaded <= LARGEST_COUNT
    assert found.left is None or 0 <= found.left <= LARGEST_COUNT
    assert found.numwant is None or 0 <= found.numwant <= LARGEST_COUNT
    assert len(found.key) <= MOST_KEY_BYTES


@target(b"info_hash=" + bytes(HASH), b"info_hash=%68" + b"h" * 19 + b"&info_hash=" + b"x" * 20)
def scrape_query(data: bytes) -> None:
    """The query of a scrape."""
    with contextlib.suppress(AnnounceError):
        found = parse_scrape(data)
        assert 1 <= len(found) <= MOST_SCRAPED
        assert len(set(found)) == len(found)


@target(
    _ANNOUNCE + b"\n" + _ANNOUNCE.replace(b"started", b"completed").replace(b"1000", b"0"),
    b"\n".join(_ANNOUNCE.replace(b"6881", b"%d" % port) for port in range(1, 9)),
    _ANNOUNCE + b"&no_peer_id=1\n" + _ANNOUNCE.replace(b"compact=1", b"compact=0"),
    _ANNOUNCE.replace(b"started", b"stopped") + b"\nscrape?info_hash=" + bytes(HASH),
    # One client that downloads, completes, stops and comes back, from several addresses.
    b"\n".join(
        _ANNOUNCE.replace(b"downloaded=0", b"downloaded=%d" % (count * 100))
        .replace(b"left=1000", b"left=%d" % max(0, 1000 - count * 100))
        .replace(b"event=started", event)
        for count, event in enumerate(
            (b"event=started", *[b""] * 10, b"event=completed", *[b"event=stopped"] * 5, b"")
        )
    ),
    b"\n".join([_ANNOUNCE.replace(b"&key=ab%20c", b"")] * 3 + [_ANNOUNCE] * 8),
    blown_up=32 * 1024,
)
def tracker(data: bytes) -> None:
    """Announces and scrapes, a line each, from several addresses, as time goes by."""
    public = Public(now=1000.0)
    for number, line in enumerate(data.split(b"\n")):
        public.now += (number % 7) * 100.0
        page, query = b"/announce", line
        if line.startswith(b"scrape?"):
            page, query = b"/scrape", line.removeprefix(b"scrape?")
        address = str(IPv4Address(0x0A000000 + number % 5))
        if number % 3 == 2:
            address = str(IPv6Address((0xFD << 120) + number % 5))
        response = public.ask(
            Request(b"GET", page, query, [], (address, 4711), ("203.0.113.7", 6969))
        )
        _read_reply(response)
        if number % 11 == 10:
            sum(public.swarms.expire(public.now))
    statistics = public.swarms.statistics(HASH)
    assert 0 <= statistics.seeds <= statistics.peers <= 5 * public.swarms.policy.peers_per_address
    assert public.ledger.completions >= 0


_CONNECT = bytes.fromhex("00000417271019800000000012345678")
_DATAGRAM = bytes.fromhex("000000010000abcd") + bytes(HASH) + b"-TT0001-abcdefghijkl" + bytes(16)


@target(
    _CONNECT,
    b"\0" * 8 + _DATAGRAM + bytes(26),
    b"\0" * 8 + _DATAGRAM + b"\0" * 7 + b"\2" + bytes(8) + b"\xff" * 4 + b"\x1a\xe1\2\x09/announce",
    bytes(8) + bytes.fromhex("000000020000abcd") + bytes(HASH) * 75,
)
def datagram(data: bytes) -> None:
    """A datagram for the tracker: nothing longer than itself before its address is proven."""
    server = Server()
    for client in (b"\xcb\0\x71\x09", b"\x20" * 16):
        connection = server.connect(client)
        for sent, proven in ((data, False), (connection.to_bytes(8, "big") + data[8:], True)):
            answer = server.send(sent, client)
            if answer is None:
                continue
            assert len(answer) >= 8
            assert proven or len(answer) <= len(sent)
            if answer[:4] == b"\0\0\0\1":
                assert (len(answer) - 20) % (len(client) + 2) == 0


def _read_reply(response: Response) -> None:
    assert response.status == 200
    assert isinstance(response.body, bytes)
    reply = bencode.decode(response.body)
    assert isinstance(reply, dict)
    if b"failure reason" in reply or b"files" in reply:
        return
    peers = reply[b"peers"]
    if isinstance(peers, bytes):
        assert len(peers) % 6 == 0
    else:
        assert isinstance(peers, list)
    peers6 = reply.get(b"peers6", b"")
    assert isinstance(peers6, bytes)
    assert len(peers6) % 18 == 0
