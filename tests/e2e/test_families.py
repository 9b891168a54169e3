"""Clients that have one family alone, and a name of ours that has both and changes."""

from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import origin, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import poll_until

KEY = "object"
BODY = content(3 * MIB + 5)
NAME = "seed.test"
OURS = "fd00:9::2"
V6_ALONE: "lt.settings_pack" = {
    "listen_interfaces": "[fd00:9::5]:6885",
    "outgoing_interfaces": "fd00:9::5",
}
"""libtorrent without any IPv4; as it comes here, it has IPv4 alone."""
# The hosts file of this one process, which the test writes.
OWN_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


class World:
    """The daemon, listening on both families, and its torrent."""

    def __init__(
        self,
        ceph: CephRGW,
        bucket: str,
        seeder: Callable[..., SeederDaemon],
        public: Callable[[SeederDaemon], list[str]],
        hosts: Path,
    ) -> None:
        self._bucket = bucket
        self._ceph = ceph
        self.daemon = seeder({}, prefix=(*OWN_HOSTS, str(hosts)))
        self.configure(public(self.daemon))
        self.daemon.start()
        wait_for_state(self.daemon, bucket, KEY)

    def configure(self, public: list[str]) -> None:
        daemon = self.daemon
        wish = {"bucket": self._bucket, "key": KEY, "metainfo": ["build"]}
        both = {
            name: [f"{daemon.address}:{port}", f"[{OURS}]:{port}"]
            for name, port in (("peer", daemon.peer_port), ("tracker", daemon.tracker_port))
        }
        daemon.configure(
            {
                "origin": origin(self._ceph),
                "objects": [wish | {"piece_length": f"{256 * KIB} B"}],
                "tracker": {"listen": both["tracker"]},
                "peer": {"listen": both["peer"], "public_address": public},
            }
        )

    def torrent(self, directory: Path, *, v6: bool) -> Path:
        """Return the torrent, its tracker as a client of one family has it from its resolver."""
        made = bdecode(served_torrent(self.daemon, self._bucket, KEY))
        host = f"[{OURS}]" if v6 else self.daemon.address
        made[b"announce"] = f"http://{host}:{self.daemon.tracker_port}/announce".encode()
        file = directory / f"torrent-{v6}"
        file.write_bytes(bencode(made))
        return file


@pytest.fixture
def hosts(namespace: Network, publisher: Publisher, bucket: str, tmp_path: Path) -> Path:
    namespace.claim("fd00:9::/48")
    publisher.put(bucket, KEY, BODY)
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n")
    return file


@pytest.mark.parametrize("told_v6", [False, True])
@pytest.mark.parametrize("v6", [False, True])
def test_a_client_of_one_family_hears_of_us_whichever_public_address_names(
    *,
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    hosts: Path,
    tmp_path: Path,
    v6: bool,
    told_v6: bool,
) -> None:
    def public(daemon: SeederDaemon) -> list[str]:
        return [f"{f'[{OURS}]' if told_v6 else daemon.address}:{daemon.peer_port}"]

    world = World(ceph, bucket, seeder, public, hosts)
    leecher = client(Libtorrent, settings=V6_ALONE if v6 else None)
    got = leecher.download(world.torrent(tmp_path, v6=v6), timeout=60)
    assert digest(got) == digest(BODY)


def test_a_name_of_both_families_is_followed_while_we_run(
    *,
    ceph: CephRGW,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    hosts: Path,
    tmp_path: Path,
) -> None:
    hosts.write_text(f"10.9.0.16 {NAME}\nfd00:9::16 {NAME}\n")
    world = World(ceph, bucket, seeder, lambda each: [f"{NAME}:{each.peer_port}"], hosts)
    daemon = world.daemon

    def peers() -> set[str]:
        magnet = daemon.get(f"/{bucket}/{KEY}?magnet")[1].decode().strip()
        return {address for address, _ in lt.parse_magnet_uri(magnet).peers}

    assert peers() == {"10.9.0.16", "fd00:9::16"}
    hosts.write_text(f"{daemon.address} {NAME}\n{OURS} {NAME}\n")
    # It would be looked up again by itself, after minutes.
    daemon.reload()
    poll_until(lambda: peers() == {daemon.address, OURS}, timeout=30, what="the new address")
    assert f"{NAME} has another address now" in daemon.log
    for v6 in (False, True):
        leecher = client(Libtorrent, settings=V6_ALONE if v6 else None)
        got = leecher.download(world.torrent(tmp_path, v6=v6), timeout=60)
        assert digest(got) == digest(BODY)
