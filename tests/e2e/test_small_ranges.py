"""Transmission and a web seed alone: it asks for each piece by itself, and gives up when refused.

Between them is a wire that counts. It is a NAT, a reverse proxy, or lets the daemon see one client.
"""

import contextlib
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory, Transmission
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import only, origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.tap import Tap
from tests.support.leecher import wait_for_all
from tests.support.objects import KIB, MIB, content, digest

KEY = "object"
BODY = content(6 * MIB)
PIECE = 64 * KIB
WIRE = 16
"""The number of the wire's address."""
FEW = 6
"""Places of an address: one Transmission has as many requests open."""


def exhaust(daemon: SeederDaemon, address: str) -> None:
    """Announce from an address until that is refused."""
    connection = http.client.HTTPConnection(
        daemon.address, daemon.tracker_port, timeout=30, source_address=(address, 0)
    )
    with contextlib.closing(connection):
        while True:
            connection.request("GET", "/announce")
            if b"too many requests" in connection.getresponse().read():
                return


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["nat", "proxy"])
def test_transmission_gets_small_pieces_from_a_web_seed_and_is_refused_none(
    *,
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    namespace: Network,
    tmp_path: Path,
    way: str,
) -> None:
    publisher.put(bucket, KEY, BODY)
    wish = {"bucket": bucket, "key": KEY, "metainfo": ["build"], "piece_length": f"{PIECE} B"}
    daemon, wire = seeder({}), namespace.address(WIRE)
    target = daemon.address, daemon.tracker_port
    with Tap(namespace, wire, target, forwards=way == "proxy") as tap:
        daemon.configure(
            {
                "origin": origin(ceph),
                "objects": [wish],
                "gateway": {"web_seed": True, "url": f"http://{wire}:{tap.port}"},
                "tracker": {"trusted_proxies": [wire] if way == "proxy" else []},
                "peer": {"connections_per_address": FEW},
            }
        )
        daemon.start()
        wait_for_state(daemon, bucket, KEY)
        file = tmp_path / "object.torrent"
        file.write_bytes(only(served_torrent(daemon, bucket, KEY), b"url-list"))
        leechers = [client(Transmission) for _ in range(3)]
        # Somebody else of the same address has worn the tracker out.
        exhaust(daemon, wire if way == "nat" else leechers[0].address)
        for leecher in leechers:
            leecher.add(file)
        for path in wait_for_all(leechers, timeout=150):
            assert digest(path) == digest(BODY)
        span = tap.asked_at[-1] - tap.asked_at[0]
        print(f"{len(tap.asked_at)} requests in {span:.1f} s, {tap.most_open} at a time at most")
        assert set(tap.statuses) == {206}
        assert len(tap.asked_at) >= len(leechers) * len(BODY) // PIECE
    assert "peer.connections_per_address" not in daemon.log
    assert "X-Forwarded-For" not in daemon.log  # it would warn of a proxy that it doesn't believe
