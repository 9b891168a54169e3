"""Hostile bytes at a running daemon: each costs its sender the connection, and nobody else a thing.

The names are those of the list that every BitTorrent seeder and tracker meets. After each test the
daemon must be alive and small, its log without an error, and a decent peer must get its block.
"""

import os
import re
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, Torrent, content, digest
from tests.support.processes import poll_until
from tests.support.raw_peer import (
    BITFIELD,
    BLOCK,
    CANCEL,
    EXTENDED,
    EXTENDED_MESSAGE,
    FAST,
    HAVE,
    HAVE_ALL,
    INTERESTED,
    PIECE,
    REJECT,
    UNCHOKE,
    RawPeer,
    handshake,
    message,
    request,
)

BUCKET, KEY = "hostile", "object"
PIECE_LENGTH = 64 * KIB
BODY = content(12 * MIB + 5)
PIECES = -(-len(BODY) // PIECE_LENGTH)
MEMORY = 4 * MIB
ROOM = 64 * MIB
"""What the daemon may grow by in a test; the peers that never read ask for 480 MiB."""
DECENT, HOSTILE, OTHER = 14, 15, 16
"""Addresses: of the decent peer, of the hostile ones, and of their accomplices."""


class Target:
    """The daemon under attack and the torrent that it serves."""

    def __init__(self, daemon: SeederDaemon, network: Network) -> None:
        self.daemon = daemon
        self.network = network
        self.file = served_torrent(daemon, BUCKET, KEY)
        self.torrent: Torrent = read_torrent(self.file)
        self.info_hash = self.torrent.info_hash

    def peer(self, address: int = HOSTILE, **options: int) -> RawPeer:
        """Connect to the peer listener."""
        return RawPeer(self.network.address(address), self.daemon.peer_address, **options)

    def tracker(self, address: int = HOSTILE, *, port: int | None = None) -> RawPeer:
        """Connect to the public HTTP listener, or to another port."""
        peer = (self.daemon.address, port or self.daemon.tracker_port)
        return RawPeer(self.network.address(address), peer)

    def ask(self, request: bytes, address: int = HOSTILE) -> bytes:
        """Send bytes to the public HTTP listener; return all that comes until it closes."""
        with self.tracker(address) as connection:
            connection.try_to_send(request)
            answer = b""
            while data := connection.socket.recv(65536):
                answer += data
            return answer

    def announce(self, address: int = HOSTILE, /, **changes: object) -> dict[bytes, Any]:
        """Announce from an address, with some fields different or (None) left out."""
        fields: dict[str, object] = {
            "info_hash": quote_from_bytes(self.info_hash, safe=""),
            "peer_id": "-XX0000-announcing00",
            "port": 6881,
            "uploaded": 0,
            "downloaded": 0,
            "left": len(BODY),
            "compact": 1,
        }
        fields |= changes
        query = "&".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        answer = self.ask(f"GET /announce?{query} HTTP/1.0\r\n\r\n".encode(), address)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), answer
        document: dict[bytes, Any] = bdecode(body)
        return document

    def closes(self) -> dict[str, int]:
        """Return how many connections of peers were closed, by reason."""
        return dict(self.daemon.status()["peers"]["closes"])

    def memory(self) -> int:
        """Return the daemon's resident bytes."""
        text = Path(f"/proc/{self.daemon.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) * KIB

    def wait_until_alone(self) -> None:
        """Wait until every connection of a peer is closed and booked."""
        poll_until(
            lambda: self.daemon.status()["peers"]["connected"] == 0, timeout=60, what="quiet"
        )


_LIMIT = re.compile(
    r".* (seeder\.(?:gateway\.(?:hidden|clients)|tracker\.rooms|upload\.(?:connections|slots)): .*)"
)
"""A log line that names a limit: what comes may be a crowd of honest clients."""


def limits_named(complaints: list[str]) -> list[str]:
    """Return what lines of the log say of limits; AssertionError if one says another thing."""
    found = [(line, _LIMIT.fullmatch(line)) for line in complaints]
    assert [line for line, named in found if named is None] == []
    return [named[1] for _, named in found if named is not None]


@pytest.fixture(scope="module")
def running(
    ceph: CephRGW, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    with network.entered():
        publisher = ceph.publisher()
        publisher.create_bucket(BUCKET)
        publisher.put(BUCKET, KEY, BODY)
        wish = {
            "bucket": BUCKET,
            "key": KEY,
            "metainfo": ["build"],
            "piece_length": f"{PIECE_LENGTH} B",
        }
        daemon = SeederDaemon(
            {
                "origin": origin(ceph),
                "objects": [wish],
                "cache": {"memory": f"{MEMORY} B"},
                # Whoever asks is to get all that it asks for.
                "peer": {"super_seeding": "off"},
            },
            directory=tmp_path_factory.mktemp("hostile"),
            address=network.address(DAEMON_ADDRESS),
            environment=CephRGW.environment(),
        )
        with daemon:
            wait_for_state(daemon, BUCKET, KEY)
            yield Target(daemon, network)
            print(daemon.log)


@pytest.fixture
def target(running: Target) -> Iterator[Target]:
    before = running.memory()
    yield running
    running.wait_until_alone()
    with running.peer(DECENT) as peer:
        peer.greet(running.info_hash, reserved=FAST, peer_id=b"-XX0000-decent-peer0")
        peer.send(message(INTERESTED), request(PIECES - 2))
        start = (PIECES - 2) * PIECE_LENGTH
        assert peer.wait_for(PIECE)[8:] == BODY[start : start + BLOCK]
    assert running.memory() < before + ROOM
    # Once an hour for a limit and an address, however much comes from there.
    named = limits_named(running.daemon.complaints())
    assert len(named) == len(set(named))
    assert "Traceback" not in running.daemon.log


def addresses(handout: bytes) -> list[bytes]:
    """Return the addresses, without ports, of compact peers."""
    return [handout[at : at + 4] for at in range(0, len(handout), 6)]


def extended(number: int, payload: object, behind: bytes = b"") -> bytes:
    """Return an extended message of bencoded `payload`, or of raw bytes."""
    data = payload if isinstance(payload, bytes) else bencode(payload)
    return message(EXTENDED_MESSAGE, bytes([number]) + data + behind)


def closed(
    target: Target, reason: str, attack: Callable[[RawPeer], object], **options: int
) -> None:
    """Check that an attack ends with a close for `reason`."""
    before = target.closes().get(reason, 0)
    with target.peer(**options) as peer:
        attack(peer)
        assert peer.is_closed()
    poll_until(
        lambda: target.closes().get(reason, 0) == before + 1, timeout=60, what=f"close: {reason}"
    )


# -- the wire -------------------------------------------------------------------------------------

BEFORE_THE_HANDSHAKE = {
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + secrets.token_bytes(1000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.org\r\nCookie: " + b"a" * 1000 + b"\r\n\r\n",
    "garbage": bytes(range(1, 256)) * 8,
    "zeros": bytes(2000),
    "ones": b"\xff" * 2000,
    "key 1 of an encrypted handshake": bytes(95) + b"\x01" + secrets.token_bytes(1000),
    "encrypted handshake without an end": b"\x01" + secrets.token_bytes(1500),
}


@pytest.mark.parametrize("name", BEFORE_THE_HANDSHAKE)
def test_what_is_no_handshake_is_closed_without_an_answer(target: Target, name: str) -> None:
    with target.peer() as peer:
        peer.try_to_send(BEFORE_THE_HANDSHAKE[name])
        assert peer.is_closed()


def test_an_unknown_torrent_is_closed_without_an_answer(target: Target) -> None:
    for info_hash in (bytes(20), secrets.token_bytes(20), target.info_hash[:19] + b"?"):
        with target.peer() as peer:
            peer.try_to_send(handshake(info_hash))
            with pytest.raises((EOFError, ConnectionError)):
                peer.read(1)


BITS = -(-PIECES // 8)
AFTER_THE_HANDSHAKE: dict[str, tuple[str, bytes]] = {
    "length prefix of 4 GiB": ("message-too-long", b"\xff\xff\xff\xff\x06"),
    "length prefix of 1 MiB": ("message-too-long", b"\x00\x10\x00\x00\x14"),
    "HAVE of four bytes": ("wrong-length", b"\x00\x00\x00\x04\x04abc"),
    "request of twelve bytes": ("wrong-length", b"\x00\x00\x00\x0c\x06" + bytes(11)),
    "cancel of fourteen bytes": ("wrong-length", b"\x00\x00\x00\x0e\x08" + bytes(13)),
    "CHOKE with a payload": ("wrong-length", message(0, b"x")),
    "short bitfield": ("bad-bitfield", message(BITFIELD, bytes(BITS - 1))),
    "long bitfield": ("bad-bitfield", message(BITFIELD, bytes(BITS + 1))),
    "spare bits": ("bad-bitfield", message(BITFIELD, b"\xff" * BITS)),
    "alternating bitfields": (
        "bitfield-flood",
        (message(HAVE_ALL) + message(BITFIELD, bytes(BITS))) * 10,
    ),
    "HAVE of no piece": ("have-out-of-range", message(HAVE, struct.pack(">I", PIECES))),
    "HAVE of piece -1": ("have-out-of-range", message(HAVE, b"\xff" * 4)),
    "block for a seed": ("piece-to-a-seed", message(PIECE, bytes(8) + b"block")),
    "flood of interest": ("message-flood", message(INTERESTED) * 10_000),
    "flood of keep-alives": ("message-flood", bytes(4 * 10_000)),
    "flood of unknown messages": ("message-flood", message(99, b"?") * 10_000),
    "flood of repeated HAVEs": ("message-flood", message(HAVE, bytes(4)) * 10_000),
    "flood of extended handshakes": ("extended-handshake-flood", extended(0, {b"m": {}}) * 20),
    "extended handshake that is no dictionary": ("bad-extended-handshake", extended(0, [])),
    "extended handshake 1,000 deep": (
        "bad-extended-handshake",
        extended(0, b"d1:m" + b"l" * 1000 + b"e" * 1000 + b"e"),
    ),
    "extended handshake with a huge number": (
        "bad-extended-handshake",
        extended(0, b"d4:reqqi" + b"9" * 5000 + b"ee"),
    ),
    "extended handshake with a string past its end": (
        "bad-extended-handshake",
        extended(0, b"d1:v99999999999:xe"),
    ),
}


@pytest.mark.parametrize("name", AFTER_THE_HANDSHAKE)
def test_a_broken_rule_ends_the_connection_by_its_name(target: Target, name: str) -> None:
    reason, data = AFTER_THE_HANDSHAKE[name]

    def attack(peer: RawPeer) -> None:
        peer.greet(target.info_hash, reserved=FAST | EXTENDED)
        peer.try_to_send(data)

    closed(target, reason, attack)


def test_fast_messages_without_the_fast_extension_end_the_connection(target: Target) -> None:
    for number in (HAVE_ALL, 13, 15, REJECT, 17):
        payload = {HAVE_ALL: b"", 15: b"", REJECT: bytes(12)}.get(number, bytes(4))

        def attack(peer: RawPeer, data: bytes = message(number, payload)) -> None:
            peer.greet(target.info_hash)
            peer.try_to_send(data)

        closed(target, "fast-not-negotiated", attack)


HARMLESS = {
    "unknown message": message(77, b"whatever"),
    "unknown extended message": extended(200, b"\x00\xff"),
    "empty extended message": message(EXTENDED_MESSAGE),
    "cancel of what was never asked": request(0, number=CANCEL),
    "odd m": extended(0, {b"m": {b"ut_metadata": -1, b"x": 2**62}, b"reqq": -1, b"p": 99999}),
    "m that is no dictionary": extended(0, {b"m": [1, 2], b"v": 7, b"reqq": b"many"}),
    "thousands of extensions": extended(0, {b"m": {b"%04d" % n: 1 for n in range(3000)}}),
    "metadata size of a liar": extended(0, {b"metadata_size": 2**62}),
    "peer exchange": extended(1, {b"added": bytes(7), b"dropped": bytes(6000)}),
    "keep-alives": bytes(4 * 1000),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_odd_is_ignored(target: Target, name: str) -> None:
    with target.peer() as peer:
        peer.greet(target.info_hash, reserved=FAST | EXTENDED)
        peer.send(HARMLESS[name], request(3))
        block = peer.wait_for(PIECE)
        assert block == struct.pack(">II", 3, 0) + BODY[3 * PIECE_LENGTH :][:BLOCK]


def test_the_name_of_a_client_cannot_forge_a_line_of_the_log(target: Target) -> None:
    name = b"x\r\n2026-01-01 00:00:00.000 ERROR    seeder.forged: \x1b[31m" + b"y" * 50_000
    with target.peer() as peer:
        peer.greet(target.info_hash, reserved=FAST | EXTENDED)
        peer.send(extended(0, {b"v": name}), request(0))
        peer.wait_for(PIECE)
    target.wait_until_alone()
    # At once, or with those that the log holds back where there are many of a kind.
    poll_until(lambda: "seeder.forged" in target.daemon.log, timeout=30, what="line of the log")
    [line] = [line for line in target.daemon.log.splitlines() if "seeder.forged" in line]
    assert " peer " in line
    assert "\x1b" not in target.daemon.log
    assert len(line) < 400


def test_requests_for_what_is_not_there_are_rejected_and_the_tenth_ends_it(target: Target) -> None:
    bad = [
        (PIECES, 0, BLOCK),
        (2**32 - 1, 0, BLOCK),
        (0, PIECE_LENGTH, BLOCK),
        (0, 2**32 - 1, BLOCK),
        (0, 0, 0),
        (0, 0, 128 * KIB + 1),
        (0, 1, PIECE_LENGTH),
        (PIECES - 1, 5, 1),
        (0, 0, 2**32 - 1),
    ]

    def attack(peer: RawPeer) -> None:
        peer.greet(target.info_hash, reserved=FAST)
        peer.wait_for(UNCHOKE)
        for block in bad:
            peer.send(request(*block))
            assert struct.unpack(">III", peer.wait_for(REJECT)) == block
        peer.try_to_send(request(*bad[0]))

    closed(target, "bad-requests", attack)


def test_a_doubled_request_has_one_answer(target: Target) -> None:
    with target.peer() as peer:
        peer.greet(target.info_hash, reserved=FAST)
        peer.wait_for(UNCHOKE)
        peer.send(request(1) * 3, request(2))
        blocks = [struct.unpack(">II", peer.wait_for(PIECE)[:8]) for _ in range(2)]
        assert sorted(blocks) == [(1, 0), (2, 0)]
        peer.send(request(3))
        assert peer.wait_for(PIECE)[:8] == struct.pack(">II", 3, 0)


def test_our_own_peer_id_is_refused_and_a_stolen_one_harms_nobody(target: Target) -> None:
    with target.peer() as first:
        first.send(handshake(target.info_hash, peer_id=b"-XX0000-twice-twice0"))
        ours = first.read(68)[48:]
        closed(
            target,
            "self-connection",
            lambda peer: peer.send(handshake(target.info_hash, peer_id=ours)),
        )
        first.wait_for(UNCHOKE)
        with target.peer(OTHER) as thief:
            thief.greet(target.info_hash, peer_id=b"-XX0000-twice-twice0")
            thief.wait_for(UNCHOKE)
            first.send(request(0))
            first.wait_for(PIECE)
    # Nor does it keep its owner out when it is there first.
    with target.peer(OTHER) as thief:
        thief.greet(target.info_hash, peer_id=b"-XX0000-twice-twice0")
        thief.wait_for(UNCHOKE)
        with target.peer() as owner:
            owner.greet(target.info_hash, peer_id=b"-XX0000-twice-twice0")
            owner.send(request(0))
            owner.wait_for(PIECE)


def test_metadata_is_given_a_few_times_and_not_for_ever(target: Target) -> None:
    with target.peer() as peer:
        peer.greet(target.info_hash, reserved=FAST | EXTENDED)
        peer.send(extended(0, {b"m": {b"ut_metadata": 9}}))
        for piece in (-1, 2**31, 2**62, 7):
            peer.send(extended(2, {b"msg_type": 0, b"piece": piece}))
        peer.send(extended(2, {b"msg_type": 0, b"piece": 0}) * 1000)
        given = rejected = 0
        while given + rejected < 1004:
            answer = peer.wait_for(EXTENDED_MESSAGE)
            if answer[0] == 9:
                given += b"8:msg_typei1e" in answer
                rejected += b"8:msg_typei2e" in answer
        assert 1 <= given <= 8


def test_a_flood_of_requests_that_reads_nothing_is_closed(target: Target) -> None:
    flood = b"".join(
        request(index, begin, 4 * KIB)
        for index in range(PIECES - 1)
        for begin in range(0, PIECE_LENGTH, 4 * KIB)
    )

    def attack(peer: RawPeer) -> None:
        peer.greet(target.info_hash, reserved=FAST)
        # So much that some is unread at the close: a reset doesn't wait behind the blocks that are
        # never read.
        for _ in range(40):
            peer.try_to_send(flood)

    closed(target, "request-flood", attack, receive_buffer=4096)


def test_peers_that_never_read_hold_little_memory(target: Target) -> None:
    before = target.memory()
    with ExitStack() as stack:
        for number in range(40):
            address = (HOSTILE, OTHER)[number % 2]
            peer = stack.enter_context(target.peer(address, receive_buffer=4096))
            peer.greet(target.info_hash, reserved=FAST, peer_id=b"-XX0000-deaf-%07d" % number)
            peer.wait_for(UNCHOKE)
            peer.send(*(request(index, 0, PIECE_LENGTH) for index in range(PIECES - 1)))
        poll_until(
            lambda: target.daemon.status()["totals"]["uploaded_bytes"] > 40 * PIECE_LENGTH,
            timeout=20,
            what="upload into full sockets",
        )
        with target.peer(DECENT) as decent:
            decent.greet(target.info_hash, peer_id=b"-XX0000-meanwhile-00")
            decent.wait_for(UNCHOKE)
            decent.send(request(5))
            decent.wait_for(PIECE)
        assert target.memory() < before + ROOM


def test_connections_of_one_address_are_limited(target: Target) -> None:
    before = target.closes().get("too-many-from-address", 0)
    with ExitStack() as stack:
        peers = [stack.enter_context(target.peer()) for _ in range(30)]
        poll_until(
            lambda: target.closes().get("too-many-from-address", 0) == before + 10,
            timeout=60,
            what="refusals",
        )
        with target.peer(OTHER) as other:
            other.greet(target.info_hash)
        assert sum(peer.is_closed() for peer in peers[20:]) == 10


def test_who_trickles_meets_a_deadline_that_does_not_move(target: Target) -> None:
    """One byte every half second, or none: a handshake has 15 s, the head of a request 5 s."""
    greeting = iter(handshake(target.info_hash))
    head = iter(b"GET /announce?info_hash=" + b"x" * 1000)
    late_id = target.peer()
    late_id.send(handshake(target.info_hash)[:48])
    late_id.read(68)
    connections: dict[RawPeer, tuple[Iterator[int], float]] = {
        target.peer(): (greeting, 15),
        target.peer(): (iter(b""), 15),
        target.peer(): (iter(b"\x01" + secrets.token_bytes(95)), 15),
        late_id: (iter(b""), 15),
        target.tracker(): (head, 5),
        target.tracker(): (iter(b""), 5),
        target.tracker(port=target.daemon.admin_port): (
            iter(b"GET / HTTP/1.1\r\nA: " + b"a" * 99),
            5,
        ),
    }
    begun = time.monotonic()
    ended: dict[RawPeer, float] = {}
    while len(ended) < len(connections) and time.monotonic() < begun + 30:
        waiting = [connection for connection in connections if connection not in ended]
        readable, _, _ = select.select([each.socket for each in waiting], [], [], 0.5)
        for connection in waiting:
            if connection.socket in readable and not _more(connection):
                ended[connection] = time.monotonic() - begun
            elif (byte := next(connections[connection][0], None)) is not None:
                connection.try_to_send(bytes([byte]))
    for connection, (_, limit) in connections.items():
        connection.socket.close()
        assert limit - 1 < ended[connection] < limit + 3
    assert target.closes()["handshake-timeout"] >= 3


def _more(connection: RawPeer) -> bool:
    try:
        return bool(connection.socket.recv(4096))
    except OSError:
        return False


# -- the tracker ----------------------------------------------------------------------------------

BAD_HTTP: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "endless line": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", (414, 431, 400)),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000, (431, 400)),
    "POST": (b"POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", (405,)),
    "body with a GET": (
        b"GET /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        (405,),
    ),
    "two lengths": (
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        (400,),
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
        (400, 405),
    ),
    "folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", (200, 400)),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", (400,)),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", (400,)),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", (400,)),
    "NUL in the target": (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    "version 3": (b"GET / HTTP/3.0\r\nConnection: close\r\n\r\n", (200, 400, 505)),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x81" * 500, (400,)),
    "BitTorrent": (handshake(bytes(20)), (400,)),
    "unknown path": (b"GET /etc/passwd HTTP/1.0\r\n\r\n", (404,)),
    "path out of the house": (b"GET /../../etc/passwd?torrent HTTP/1.0\r\n\r\n", (400, 404)),
}


@pytest.mark.parametrize("name", BAD_HTTP)
def test_bad_http_has_one_answer_and_the_connection_ends(target: Target, name: str) -> None:
    data, statuses = BAD_HTTP[name]
    if b"HTTP/1.1\r\nHost: x\r\nX: a" in data:
        data = data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = target.ask(data)
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert int(answer[9:12]) in statuses
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"root:" not in answer


def test_requests_in_a_row_are_answered_in_their_order(target: Target) -> None:
    one = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    data = b"".join(one % number for number in range(199))
    answer = target.ask(
        data + b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 404") == 199
    assert answer.count(b"HTTP/1.1 200") == 1


H = "%AA" * 20
BAD_ANNOUNCES: dict[str, dict[str, object]] = {
    "no info hash": {"info_hash": None},
    "short info hash": {"info_hash": "abc"},
    "long info hash": {"info_hash": H + "%AA"},
    "doubled info hash": {"info_hash": f"{H}&info_hash={H}"},
    "broken escape": {"info_hash": "%zz" * 20},
    "cut escape": {"info_hash": "%AA" * 19 + "%4"},
    "unknown torrent": {"info_hash": H},
    "no peer id": {"peer_id": None},
    "short peer id": {"peer_id": "x"},
    "NUL peer id": {"peer_id": "%00"},
    "no port": {"port": None},
    "port 0": {"port": 0},
    "port 65536": {"port": 65536},
    "port with letters": {"port": "80abc"},
    "port negative": {"port": -1},
}


@pytest.mark.parametrize("name", BAD_ANNOUNCES)
def test_a_bad_announce_is_refused_with_a_reason_and_status_200(target: Target, name: str) -> None:
    answer = target.announce(**BAD_ANNOUNCES[name])
    reason = answer[b"failure reason"].decode()
    assert reason.isprintable()
    assert 5 < len(reason) < 200


ODD_ANNOUNCES: dict[str, dict[str, object]] = {
    "left negative": {"left": -1},
    "left huge": {"left": 10**30},
    "left a word": {"left": "many"},
    "left missing": {"left": None},
    "counts beyond reason": {"uploaded": -(10**30), "downloaded": 10**40},
    "numwant negative": {"numwant": -5},
    "numwant huge": {"numwant": 10**9},
    "event of bytes": {"event": "%00%ff"},
    "long key": {"key": "%00" * 300},
    "long tracker id": {"trackerid": "x" * 5000},
    "peers in a list": {"compact": 0, "no_peer_id": 1},
    "unknown fields": {"corrupt": 1, "supportcrypto": "yes", "unknown": "&&==%00"},
}


@pytest.mark.parametrize("name", ODD_ANNOUNCES)
def test_odd_values_of_an_announce_are_clamped_or_ignored(target: Target, name: str) -> None:
    answer = target.announce(**ODD_ANNOUNCES[name])
    assert b"failure reason" not in answer
    assert 300 <= answer[b"interval"] <= 3600
    target.announce(event="stopped")


def test_only_the_address_that_we_see_goes_into_the_swarm(target: Target) -> None:
    victim = bytes((203, 0, 113, 9))
    fields = "&".join(f"{name}=203.0.113.9" for name in ("ip", "ipv4", "ipv6"))
    target.announce(**{"peer_id": "-XX0000-spoofing0000", "key": f"k&{fields}"})
    query = f"info_hash={quote_from_bytes(target.info_hash, safe='')}"
    query += "&peer_id=-XX0000-forwarding00&port=6882&uploaded=0&downloaded=0&left=9&compact=1"
    target.ask(f"GET /announce?{query} HTTP/1.0\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n".encode())
    seen = addresses(target.announce(OTHER)[b"peers"])
    assert victim not in seen
    hostile = bytes(map(int, target.network.address(HOSTILE).split(".")))
    assert seen.count(hostile) == 2
    # Somebody else's farewell is not believed.
    target.announce(OTHER, peer_id="-XX0000-spoofing0000", event="stopped")
    assert addresses(target.announce(DECENT)[b"peers"]).count(hostile) == 2
    for port in (6881, 6882):
        target.announce(port=port, event="stopped")
        target.announce(port=port, peer_id="-XX0000-spoofing0000", key="k", event="stopped")
        target.announce(port=port, peer_id="-XX0000-forwarding00", event="stopped")


def test_one_address_cannot_fill_a_swarm_or_complete_twice(target: Target) -> None:
    before = target.daemon.torrent_status(BUCKET, KEY)
    for number in range(60):
        target.announce(port=7000 + number, peer_id=f"-XX0000-cycling-{number:04}")
    assert target.daemon.torrent_status(BUCKET, KEY)["peers"] <= before["peers"] + 32
    for _ in range(3):
        target.announce(left=0, downloaded=10**15, event="completed")
    after = target.daemon.torrent_status(BUCKET, KEY)
    assert after["completed"] <= before["completed"] + 1
    assert after["delivered_claimed_bytes"] <= before["delivered_claimed_bytes"] + len(BODY)


def test_a_scrape_of_thousands_is_capped(target: Target) -> None:
    for count in (64, 200, 10_000):
        query = "&".join("info_hash=" + "%ab" * 20 for _ in range(count))
        answer = target.ask(f"GET /scrape?{query} HTTP/1.0\r\n\r\n".encode())
        assert len(answer) < 16 * KIB
        assert re.match(rb"HTTP/1.1 (200|414|431) ", answer)
    assert b"failure reason" in target.ask(b"GET /scrape HTTP/1.0\r\n\r\n")


def test_a_flood_of_announces_is_told_to_wait_and_others_are_not(target: Target) -> None:
    total = 3000
    line = b"GET /announce?info_hash=%s&peer_id=-XX0000-flooding000&port=1&left=1 HTTP/1.1\r\n"
    line += b"Host: x\r\n\r\n"
    data = b"".join(
        line % quote_from_bytes(secrets.token_bytes(20), safe="").encode() for _ in range(total)
    )
    with target.tracker() as flood:
        flood.socket.setblocking(False)
        answer, sent = b"", 0
        deadline = time.monotonic() + 30
        while answer.count(b"HTTP/1.1 200") < total and time.monotonic() < deadline:
            ready, room, _ = select.select(
                [flood.socket], [flood.socket] if sent < len(data) else [], [], 1
            )
            if room:
                sent += flood.socket.send(data[sent : sent + 65536])
            if ready:
                answer += flood.socket.recv(1 << 20)
    assert answer.count(b"HTTP/1.1 200") == total
    waits = answer.count(b"too many requests")
    assert waits > total / 2
    assert b"failure reason" not in target.announce(OTHER, event="stopped")


def test_a_thousand_idle_connections_keep_nobody_out(target: Target) -> None:
    with ExitStack() as stack:
        for number in range(1200):
            idle = stack.enter_context(target.tracker((HOSTILE, OTHER)[number % 2]))
            idle.send(b"GET /")
        assert b"interval" in target.announce(DECENT, event="stopped")
        assert target.daemon.get("/healthz", admin=True)[0] == 200


# -- and then -------------------------------------------------------------------------------------


def test_a_real_client_completes_while_all_of_it_goes_on(
    target: Target, client: ClientFactory, tmp_path: Path
) -> None:
    torrent = tmp_path / "torrent"
    torrent.write_bytes(target.file)
    with ExitStack() as stack:
        for number in range(10):
            deaf = stack.enter_context(target.peer(receive_buffer=4096))
            deaf.greet(target.info_hash, reserved=FAST, peer_id=b"-XX0000-deaf-%07d" % number)
            deaf.send(*(request(index) for index in range(200)))
            stack.enter_context(target.peer(OTHER)).try_to_send(b"\x13Bit")
            stack.enter_context(target.tracker(OTHER)).try_to_send(b"GET /ann")
        assert digest(client(Libtorrent).download(torrent, timeout=30)) == digest(BODY)


def test_running_out_of_descriptors_is_survived(
    ceph: CephRGW,
    network: Network,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    tmp_path: Path,
) -> None:
    publisher = ceph.publisher()
    bucket = f"descriptors-{secrets.token_hex(4)}"
    publisher.create_bucket(bucket)
    publisher.put(bucket, KEY, BODY)
    daemon = seeder(
        {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": KEY, "metainfo": ["build"]}],
            "peer": {"connections_per_address": 1000},
        },
        prefix=("prlimit", "--nofile=100:100"),
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    torrent = tmp_path / "torrent"
    torrent.write_bytes(served_torrent(daemon, bucket, KEY))
    with ExitStack() as stack:
        for number in range(150):
            peer = (daemon.address, daemon.tracker_port) if number % 2 else daemon.peer_address
            raw = stack.enter_context(socket.create_connection(peer, timeout=10))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        poll_until(
            lambda: "open files" in daemon.log or "LimitNOFILE" in daemon.log,
            timeout=20,
            what="warning",
        )
    assert digest(client(Libtorrent).download(torrent, timeout=60)) == digest(BODY)
    assert len([line for line in daemon.log.splitlines() if " WARNING " in line]) <= 4
    assert "Traceback" not in daemon.log
    assert os.path.exists(f"/proc/{daemon.pid}")
    assert daemon.stop() == 0
