"""Real clients where the tracker and the seeder have IPv6 alone, by HTTP and by UDP."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import libtorrent as lt
import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import KINDS, QBittorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until

KEY = "object"
BODY = content(2 * MIB + 5)
V6_PORT = 6969
"""In a network of the tests' own."""
OURS, CLIENT = "fd00:9::2", "fd00:9::5"

UDP: Sequence[type[Leecher]] = (Libtorrent, QBittorrent)
"""Those that ask by UDP over IPv6. aria2, rTorrent and WebTorrent do it over IPv4 alone, and
Transmission 3.00 didn't get through to [ADDRESS] where it had a public address and a way either."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def daemon(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    namespace: Network,
    seeder: Callable[..., SeederDaemon],
) -> Iterator[SeederDaemon]:
    namespace.claim("fd00:9::/48")
    # aria2 looks for an address of its own before it believes in IPv6.
    namespace.run(["ip", "addr", "replace", f"{CLIENT}/128", "dev", "lo", "nodad"])
    publisher.put(bucket, KEY, BODY)
    daemon = seeder({})
    daemon.configure(
        {
            "origin": origin(ceph),
            "objects": [{"bucket": bucket, "key": KEY, "piece_length": f"{64 * KIB} B"}],
            "tracker": {
                "listen": [f"[{OURS}]:{V6_PORT}", f"{daemon.address}:{daemon.tracker_port}"],
                "udp_listen": [f"[{OURS}]:{V6_PORT}"],
            },
            "peer": {"listen": [f"[{OURS}]:{daemon.peer_port}"], "super_seeding": "off"},
        }
    )
    daemon.start()
    wait_for_state(daemon, bucket, KEY)
    yield daemon
    namespace.run(["ip", "addr", "del", f"{CLIENT}/128", "dev", "lo"])


@pytest.fixture
def trackers(daemon: SeederDaemon, bucket: str, tmp_path: Path) -> dict[str, Path]:
    """The torrent with the tracker by HTTP, and with it by UDP, each over IPv6."""
    torrent = bdecode(served_torrent(daemon, bucket, KEY))
    files = {}
    for scheme, path in (("http", "/announce"), ("udp", "")):
        url = f"{scheme}://[{OURS}]:{V6_PORT}{path}".encode()
        torrent[b"announce"], torrent[b"announce-list"] = url, [[url]]
        files[scheme] = tmp_path / f"{scheme}.torrent"
        files[scheme].write_bytes(bencode(torrent))
    return files


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [*(("http", kind) for kind in KINDS), *(("udp", kind) for kind in UDP)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_client_with_ipv6_downloads_from_where_there_is_no_ipv4(
    scheme: str, kind: type[Leecher], *, trackers: dict[str, Path], tmp_path: Path
) -> None:
    if reason := kind.why_missing():
        pytest.skip(reason)
    with kind(CLIENT, tmp_path / "client") as leecher:
        got = leecher.download(trackers[scheme], timeout=100)
        assert digest(got) == digest(BODY)


def test_a_client_of_both_families_by_http_and_udp_is_one_client(
    *, trackers: dict[str, Path], daemon: SeederDaemon, network: Network, tmp_path: Path
) -> None:
    """It announces by each family and to each tracker (BEP 7), with one key."""
    torrent = bdecode(trackers["http"].read_bytes())
    udp = bdecode(trackers["udp"].read_bytes())[b"announce"]
    v4 = f"http://{daemon.address}:{daemon.tracker_port}/announce".encode()
    torrent[b"announce-list"] = [[torrent[b"announce"]], [udp], [v4]]
    file = tmp_path / "both.torrent"
    file.write_bytes(bencode(torrent))
    everywhere: lt.settings_pack = {
        "listen_interfaces": f"{network.address(5)}:6885,[{CLIENT}]:6885",
        "outgoing_interfaces": "",
        "announce_to_all_trackers": True,
        "announce_to_all_tiers": True,
    }

    def seen() -> tuple[int, int]:
        [status] = daemon.status()["torrents"]
        return status["seeds"], status["completed"]

    with Libtorrent(CLIENT, tmp_path / "client", settings=everywhere) as leecher:
        got = leecher.download(file, timeout=60)
        assert digest(got) == digest(BODY)
        poll_until(lambda: seen()[0] == 2, timeout=60, what="announces by both families")
        leecher.reannounce()
        assert seen() == (2, 1)
