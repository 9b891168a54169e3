"""Real clients that have the UDP tracker alone, in one swarm with those that have HTTP."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import KINDS, ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, served_magnet, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher
from tests.support.objects import KIB, MIB, content, digest
from tests.support.ports import free_port

KEY = "object"
BODY = content(2 * MIB + 5)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def daemon(
    ceph: CephRGW, publisher: Publisher, bucket: str, seeder: Callable[..., SeederDaemon]
) -> SeederDaemon:
    publisher.put(bucket, KEY, BODY)
    daemon = seeder({})
    port = free_port(daemon.address)
    daemon.configure(
        {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": KEY, "piece_length": f"{64 * KIB} B"}],
            "tracker": {"udp_listen": [f"{daemon.address}:{port}"]},
            "peer": {"super_seeding": "off"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    return daemon


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_client_downloads_with_the_udp_tracker_alone(
    kind: type[Leecher], *, daemon: SeederDaemon, bucket: str, client: ClientFactory, tmp_path: Path
) -> None:
    torrent = bdecode(served_torrent(daemon, bucket, KEY))
    http, udp = torrent[b"announce-list"][0]
    assert http == torrent[b"announce"]
    assert udp.startswith(b"udp://")
    torrent[b"announce"], torrent[b"announce-list"] = udp, [[udp]]
    file = tmp_path / "udp.torrent"
    file.write_bytes(bencode(torrent))
    got = client(kind).download(file, timeout=150)
    assert digest(got) == digest(BODY)


def test_a_magnet_link_names_both(daemon: SeederDaemon, bucket: str) -> None:
    link = served_magnet(daemon, bucket, KEY)
    assert link.count("&tr=http") == link.count("&tr=udp") == 1
