"""Attacks on what is scarce, from whole networks: honest newcomers are served all the same.

The attackers hold an IPv6 /48, or a hundred IPv4 addresses, each in a network of its own. The
honest come from networks of their own, too; one of them is always a real client.
"""

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.crowd import Crowd
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, read_torrent, served_torrent, wait_for_state
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until
from tests.support.raw_peer import INTERESTED, PIECE, RawPeer, handshake, message, request

KEY = "object"
BODY = content(6 * MIB + 5)
PIECE_LENGTH = 256 * KIB
SLASH_48 = [f"fd00:1:0:{number:x}::1" for number in range(0, 65536, 37)]
"""Addresses in 1,772 different /64s of one /48."""
HUNDRED = [f"10.64.{number}.1" for number in range(100)]
HONEST = [f"10.65.{number}.1" for number in range(20)]
OURS = "fd00:9::2"
"""The daemon's address of IPv6."""
PLACES = 300
"""Peers that the daemon takes in."""
RATE = 18_000
"""Bytes a second that each connection of an attacker takes."""
WEB_SEED: dict[str, object] = {"web_seed": True}
SOON = 10.0
"""Seconds in which an honest newcomer is to be served."""


class Target:
    """A daemon, its object's torrent, and how long the honest waited for what they wanted."""

    def __init__(self, daemon: SeederDaemon, bucket: str, directory: Path) -> None:
        self.daemon = daemon
        self.bucket = bucket
        self.torrent = directory / "torrent"
        self.torrent.write_bytes(served_torrent(daemon, bucket, KEY))
        self.info_hash = read_torrent(self.torrent.read_bytes()).info_hash

    def peer_port(self, source: str) -> tuple[str, int]:
        """Return where peers of an address connect."""
        return OURS if ":" in source else self.daemon.address, self.daemon.peer_port

    def web(self, source: str) -> tuple[str, int]:
        """Return where HTTP clients of an address connect."""
        return OURS if ":" in source else self.daemon.address, self.daemon.tracker_port

    def block(self, source: str) -> float:
        """Get a block as a newcomer; return the seconds that it took."""
        begun = time.monotonic()
        with RawPeer(source, self.peer_port(source)) as peer:
            peer_id = b"-XX0000-" + source.encode().ljust(12, b".")[:12]
            peer.greet(self.info_hash, peer_id=peer_id)
            peer.send(message(INTERESTED))
            peer.wait_for(1)  # unchoke
            peer.send(request(3))
            assert peer.wait_for(PIECE)[8:] == BODY[3 * PIECE_LENGTH :][: 16 * KIB]
        return time.monotonic() - begun

    def load(self, source: str, stop: int | None = None) -> bytes | int:
        """Return the object or its beginning, by HTTP; the status if refused, 0 if cut off."""
        connection = http.client.HTTPConnection(
            *self.web(source), timeout=60, source_address=(source, 0)
        )
        headers = {} if stop is None else {"Range": f"bytes=0-{stop - 1}"}
        try:
            connection.request("GET", f"/{self.bucket}/{KEY}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status in (200, 206) else answer.status
        except http.client.IncompleteRead:
            return 0
        finally:
            connection.close()

    def announce(self, source: str, *, pause: float) -> float:
        """Announce twice over one connection, slowly; return the seconds of the slower one."""
        took = []
        connection = http.client.HTTPConnection(
            *self.web(source), timeout=SOON, source_address=(source, 0)
        )
        name = quote_from_bytes(self.info_hash, safe="")
        try:
            connection.connect()
            for _ in range(2):
                time.sleep(pause)  # As a client far away, or one that has nothing to ask yet.
                begun = time.monotonic()
                connection.request(
                    "GET",
                    f"/announce?info_hash={name}&peer_id=-XX0000-000000000000&port=6881"
                    "&uploaded=0&downloaded=0&left=1&compact=1",
                )
                answer = connection.getresponse()
                assert b"interval" in answer.read()
                took.append(time.monotonic() - begun)
        finally:
            connection.close()
        return max(took)

    def wait_connected(self, least: int) -> None:
        poll_until(
            lambda: self.daemon.status()["peers"]["connected"] >= least, timeout=30, what="crowd"
        )


MakeTarget = Callable[..., Target]


@pytest.fixture
def target(
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    namespace: Network,
    tmp_path: Path,
) -> Iterator[MakeTarget]:
    """Makes the daemon, with further settings; afterwards its log has no traceback."""
    made: list[SeederDaemon] = []
    publisher = ceph.publisher()
    namespace.claim("fd00:1::/48", "fd00:9::/48", "10.64.0.0/15")

    def make(body: bytes = BODY, **settings: dict[str, object]) -> Target:
        publisher.put(bucket, KEY, body)
        sections: dict[str, dict[str, object]] = {
            "peer": {"super_seeding": "off", "connections": PLACES},
            "cache": {},
            "gateway": {},
        }
        for name, section in settings.items():
            sections[name] = sections[name] | section
        wish = {
            "bucket": bucket,
            "key": KEY,
            "metainfo": ["build"],
            "piece_length": f"{PIECE_LENGTH} B",
        }
        daemon = seeder({})
        made.append(daemon)
        for name, port in (("peer", daemon.peer_port), ("tracker", daemon.tracker_port)):
            listen = [f"{daemon.address}:{port}", f"[{OURS}]:{port}"]
            sections[name] = sections.get(name, {}) | {"listen": listen}
        daemon.configure({"origin": origin(ceph), "objects": [wish], **sections})
        daemon.start()
        wait_for_state(daemon, bucket, KEY)
        return Target(daemon, bucket, tmp_path)

    yield make
    for daemon in made:
        assert "Traceback" not in daemon.log


def report(name: str, took: list[float]) -> None:
    """Print how long the honest waited, for those who read the output of a run."""
    print(f"{name}: {len(took)} served, the slowest in {max(took):.2f} s")


@pytest.mark.parametrize("sources", [SLASH_48, HUNDRED], ids=["a-48", "hundred-v4"])
def test_peers_that_hold_every_place_keep_nobody_out(
    target: MakeTarget, client: ClientFactory, sources: list[str]
) -> None:
    made = target()

    def opening(number: int) -> bytes:
        return handshake(made.info_hash, peer_id=b"-XX0000-crowd%07d" % number)

    def further(number: int) -> bytes:
        blocks = (request(index, 0) for index in range(20))
        return message(INTERESTED) + b"".join(blocks)

    with Crowd(
        made.peer_port(sources[0]),
        sources,
        PLACES + 50,
        opening=opening,
        further=further,
        rate=RATE,
    ):
        made.wait_connected(PLACES)
        took = [made.block(source) for source in HONEST]
        after = time.monotonic()
        got = client(Libtorrent).download(made.torrent, timeout=60)
        assert digest(got) == digest(BODY)
        report("peers", took)
        print(f"libtorrent had the object after {time.monotonic() - after:.2f} s")
        assert max(took) < SOON
        assert made.daemon.status()["peers"]["closes"]["made-room"] >= 1


@pytest.mark.parametrize("kind", ["one-byte", "keys-of-a-48", "keys-of-hundred-v4"])
def test_a_flood_of_key_exchanges_shuts_no_encrypted_peer_out(
    target: MakeTarget, client: ClientFactory, kind: str
) -> None:
    made = target(peer={"encryption": "require"})
    enough = 5 * PLACES if kind == "one-byte" else PLACES - 10
    sources = {"one-byte": ["10.64.0.1"], "keys-of-a-48": SLASH_48}.get(kind, HUNDRED)
    with Crowd(
        made.peer_port(sources[0]),
        sources,
        PLACES,
        opening=lambda _: b"\x01" if kind == "one-byte" else bytes(95) + b"\x02",
        a_round=60 if kind == "one-byte" else 20,
        stays=kind != "one-byte",
    ) as crowd:
        poll_until(lambda: crowd.opened > enough, timeout=30, what="flood")
        took = []
        for _ in range(2):
            begun = time.monotonic()
            leecher = client(Libtorrent, encryption="rc4")
            got = leecher.download(made.torrent, timeout=60)
            took.append(time.monotonic() - begun)
            assert digest(got) == digest(BODY)
        report("encrypted", took)


def test_slow_downloads_of_a_network_keep_nobody_out(
    target: MakeTarget, network: Network, tmp_path: Path
) -> None:
    made = target(gateway=WEB_SEED)
    ask = f"GET /{made.bucket}/{KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with Crowd(made.web(SLASH_48[0]), SLASH_48, PLACES + 100, opening=lambda _: ask, rate=RATE):
        poll_until(
            lambda: made.daemon.status()["peers"]["downloads"] >= PLACES - 10,
            timeout=30,
            what="crowd",
        )
        took = []
        for source in HONEST:
            begun = time.monotonic()
            assert made.load(source) == BODY
            took.append(time.monotonic() - begun)
        url = f"http://{made.daemon.address}:{made.daemon.tracker_port}/{made.bucket}/{KEY}"
        network.run(["curl", "-sSf", "-o", tmp_path / "got", url], timeout=SOON)
        assert (tmp_path / "got").read_bytes() == BODY
        report("downloads", took)


def test_slow_http_connections_of_a_network_keep_nobody_out(
    target: MakeTarget, client: ClientFactory
) -> None:
    made = target(gateway=WEB_SEED)
    idle = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    unread = f"GET /{made.bucket}/{KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def opening(number: int) -> bytes:
        return (b"", b"GET / HT", idle, unread)[number % 4]

    with Crowd(made.web(SLASH_48[0]), SLASH_48, 1300, opening=opening, a_round=100) as crowd:
        poll_until(lambda: crowd.opened > 1500, timeout=40, what="crowd")
        took = [made.announce(source, pause=0.2) for source in HONEST[:8]]
        got = client(Libtorrent).download(made.torrent, timeout=60)
        assert digest(got) == digest(BODY)
        report("announces", took)
        assert max(took) < SOON


def test_a_network_costs_us_no_more_of_s3_than_it_may(
    target: MakeTarget, ceph: CephRGW, network: Network, tmp_path: Path
) -> None:
    """An address may cost a copy here, and its /48 four: the fifth is refused."""
    body = content(64 * MIB)
    made = target(
        body,
        gateway=WEB_SEED,
        cache={"memory": "4 MiB", "disk": "0 B"},
        peer={"origin_copies_per_address": 1},
    )
    before = ceph.body_bytes_sent(made.bucket, KEY)
    answers = [made.load(f"fd00:1:0:{number}00::1", len(body)) for number in range(1, 7)]
    cost = ceph.body_bytes_sent(made.bucket, KEY) - before
    print(f"S3: {cost / MIB:.1f} MiB for {len(answers)} addresses of a /48")
    # One who reads in order gets ahead of what it takes by an extent.
    assert 3.9 * len(body) < cost <= 4 * len(body) + 8 * MIB
    assert answers[0] == body
    assert answers[-1] in (503, 0)
    # Nobody else pays for it.
    url = f"http://{made.daemon.address}:{made.daemon.tracker_port}/{made.bucket}/{KEY}"
    network.run(["curl", "-sSf", "-r", "0-8388607", "-o", tmp_path / "got", url], timeout=60)
    assert (tmp_path / "got").read_bytes() == body[: 8 * MIB]
