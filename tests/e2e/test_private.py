"""Private torrents with real clients: whose passkey is good gets all, and a leaked file nothing."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bencode2 import bdecode, bencode

from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.leecher import Leecher, wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.ports import free_port
from tests.support.processes import poll_until, python_environment

KEY = "folder/ob ject.bin"
BODY = content(4 * MIB + 5)

pytestmark = pytest.mark.timeout(240)


class Desk:
    """A daemon with one private object, and the operator's commands beside it."""

    def __init__(self, daemon: SeederDaemon, ceph: CephRGW, bucket: str, path: Path) -> None:
        self.daemon = daemon
        self.bucket = bucket
        self._ceph = ceph
        self._path = path
        self._udp_port = free_port(daemon.address)

    def configure(self, **peer: str) -> None:
        self.daemon.configure(
            {
                "origin": origin(self._ceph),
                "objects": [
                    {
                        "bucket": self.bucket,
                        "key": KEY,
                        "piece_length": f"{64 * KIB} B",
                        "private": True,
                        "metainfo": ["build"],
                    }
                ],
                "tracker": {
                    "interval": "10s",
                    "udp_listen": [f"{self.daemon.address}:{self._udp_port}"],
                },
                "gateway": {"web_seed": True},
                "peer": {"super_seeding": "off", **peer},
            }
        )

    @property
    def udp_url(self) -> str:
        return f"udp://{self.daemon.address}:{self._udp_port}"

    def run(self, *words: str | Path) -> str:
        """Run one of the commands beside the daemon, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "seeder.cli", *words],
            env=python_environment(HOME=str(self._path), **CephRGW.environment()),
            capture_output=True,
            check=True,
            timeout=60,
        )
        return done.stdout.decode()

    def make_torrent(self, name: str) -> Path:
        """Have a torrent made for somebody, and return its file."""
        path = self._path / f"{name}.torrent"
        self.run(
            "torrent", "-c", self.daemon.path, "--for", name, f"{self.bucket}/{KEY}", "-o", path
        )
        return path

    def revoke(self, name: str) -> None:
        self.run("keys", "revoke", "-c", self.daemon.path, name)

    def names(self) -> dict[str, dict[str, Any]]:
        """Return what the report has by name."""
        text = self.run("report", "-c", self.daemon.path, "--by", "name", "--json")
        return {each["name"]: each for each in json.loads(text)["names"]}

    def holders(self) -> list[str] | None:
        """Return whose peers are connected; None while too many pages were asked for of late."""
        connection = http.client.HTTPConnection(
            self.daemon.address, self.daemon.admin_port, timeout=30
        )
        with contextlib.closing(connection):
            connection.request("GET", "/events", headers={"Accept-Encoding": "identity"})
            answer = connection.getresponse()
            if answer.status == 503:
                return None
            while not (line := answer.readline()).startswith(b"data: "):
                assert line
        rows = json.loads(line.removeprefix(b"data: "))["whole"]["peers"]["rows"]
        return [row["name"] for row in rows if row["name"]]

    def refused(self) -> int:
        """Return how many announces and requests came with a revoked passkey."""
        _, page = self.daemon.get("/metrics", admin=True)
        found = re.search(rb'seeder_private_refusals_total{reason="revoked"} ([0-9.]+)', page)
        assert found is not None
        return int(float(found[1]))


@pytest.fixture
def desk(
    ceph: CephRGW,
    publisher: Publisher,
    bucket: str,
    seeder: Callable[..., SeederDaemon],
    tmp_path: Path,
) -> Desk:
    publisher.put(bucket, KEY, BODY)
    made = Desk(seeder({}), ceph, bucket, tmp_path)
    made.configure(upload_rate_per_peer="64 KiB/s")
    made.daemon.start()
    wait_for_state(made.daemon, bucket, KEY)
    return made


def test_a_leaked_torrent_is_worth_nothing_once_its_passkey_is_revoked(
    desk: Desk, kinds: list[type[Leecher]], client: ClientFactory
) -> None:
    """While every client that has a good one goes on: by HTTP, by UDP, and from the web seed."""
    leaked, good = desk.make_torrent("leaked"), desk.make_torrent("good")
    thief, going_on = client(Libtorrent), client(Libtorrent)
    thief.add(leaked)
    going_on.add(by_udp(good, desk.udp_url))
    poll_until(
        lambda: sorted(desk.holders() or ()) == ["good", "leaked"],
        timeout=60,
        what="both clients",
    )
    desk.revoke("leaked")
    poll_until(lambda: desk.holders() == ["good"], timeout=20, what="the end of the revoked one")
    thief.close()

    desk.configure()
    desk.daemon.reload()
    thieves = [client(kind) for kind in kinds]
    honest = [client(kind) for kind in kinds if kind is not Libtorrent]
    for one in thieves:
        one.add(leaked)
    for one in honest:
        one.add(good)
    for got in wait_for_all([going_on, *honest], timeout=150):
        assert digest(got) == digest(BODY)
    poll_until(
        lambda: desk.refused() >= len(thieves),
        timeout=60,
        what="announces of those that have the leaked torrent",
    )
    # Clients announce the end when they come to it, and the ledger is written every few seconds.
    poll_until(
        lambda: desk.names()["good"]["completed"] == len(kinds),
        timeout=60,
        what="the end of all honest downloads in the report",
    )
    assert desk.names()["good"]["sent_bytes"] > 0
    assert desk.names()["leaked"]["sent_bytes"] < len(BODY)
    for one in thieves:
        files = [path for path in one.downloads.rglob("*") if path.is_file()]
        assert not any(path.stat().st_size and digest(path) == digest(BODY) for path in files)
    assert set(desk.holders() or ()) <= {"good"}
    key = key_of(leaked)
    code, body = desk.daemon.get(f"/-/{key}/{desk.bucket}/{quote(KEY)}")
    assert (code, body) == (403, b"this link was revoked\n")
    assert key not in desk.daemon.log


def key_of(torrent: Path) -> str:
    announce: bytes = bdecode(torrent.read_bytes())[b"announce"]
    return announce.decode().rpartition("/announce/")[2]


def by_udp(torrent: Path, url: str) -> Path:
    """Return the torrent with a tracker by UDP alone, whose URL has the same passkey."""
    outside: Any = bdecode(torrent.read_bytes())
    outside[b"announce"] = f"{url}/announce/{key_of(torrent)}".encode()
    del outside[b"url-list"]
    path = torrent.with_name("udp.torrent")
    path.write_bytes(bencode(outside))
    return path
