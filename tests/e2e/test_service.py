"""The daemon as a service: ready, watched, reloaded, stopped, activated, asked and logging."""

import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from seeder.ledger.reading import read_ledger
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.publishing import announce, origin, read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import MIB, content, digest
from tests.support.ports import free_port
from tests.support.processes import poll_until
from tests.support.raw_peer import (
    FAST,
    INTERESTED,
    UNCHOKE,
    RawPeer,
    handshake,
    message,
    request,
)

MakeDaemon = Callable[..., SeederDaemon]
CREDENTIALS = CephRGW.environment()
SIZE = 8 * MIB
RAW_PEER = 16
"""The last address of the network, for peers of bare bytes."""


PEERS_SHOWN = {"levels": {"peer": "debug"}}
"""[log] that has a line of each peer that comes, too."""


class Shelf:
    """A bucket of one's own, and the settings that publish some of its keys."""

    def __init__(self, ceph: CephRGW, publisher: Publisher, bucket: str) -> None:
        self.bucket = bucket
        self._ceph = ceph
        self._publisher = publisher

    def put(self, key: str, size: int) -> bytes:
        body = content(size, seed=len(key))
        self._publisher.put(self.bucket, key, body)
        return body

    def settings(self, *keys: str, **further: object) -> dict[str, object]:
        objects = [{"bucket": self.bucket, "key": key, "metainfo": ["build"]} for key in keys]
        return {"origin": origin(self._ceph), "objects": objects, **further}


@pytest.fixture
def shelf(ceph: CephRGW, publisher: Publisher, bucket: str) -> Shelf:
    return Shelf(ceph, publisher, bucket)


@pytest.fixture
def daemon(shelf: Shelf, seeder: MakeDaemon) -> SeederDaemon:
    """A running daemon that serves one object of 8 MiB under the key "stays"."""
    shelf.put("stays", SIZE)
    made = seeder(shelf.settings("stays"))
    made.start()
    wait_for_state(made, shelf.bucket, "stays")
    return made


def torrent_of(daemon: SeederDaemon, shelf: Shelf, key: str, directory: Path) -> Path:
    """Write the torrent of an object to a file."""
    path = directory / f"{key}.torrent"
    path.write_bytes(served_torrent(daemon, shelf.bucket, key))
    return path


# -- starting -----------------------------------------------------------------------------------


def test_what_is_known_is_served_when_it_says_ready(daemon: SeederDaemon, shelf: Shelf) -> None:
    known = served_torrent(daemon, shelf.bucket, "stays")
    daemon.stop()
    daemon.start()
    assert served_torrent(daemon, shelf.bucket, "stays") == known
    assert daemon.get("/readyz", admin=True) == (200, b"ready\n")
    with socket.create_connection(daemon.peer_address, timeout=10) as peer:
        peer.sendall(handshake(read_torrent(known).info_hash))
        assert peer.recv(68).startswith(b"\x13BitTorrent protocol")
    assert not daemon.complaints()


def test_the_service_manager_is_told_how_it_stands(daemon: SeederDaemon, shelf: Shelf) -> None:
    notifications = daemon.notifications
    assert notifications is not None
    told: list[str] = []

    def served() -> bool:
        told[:] = [line for line in notifications.lines() if line.startswith("STATUS=")]
        return any(line.startswith("STATUS=1 of 1 object served; 0 peers; ") for line in told)

    poll_until(served, timeout=10, what="status line")
    assert all(len(line) < 200 for line in told)
    assert "WATCHDOG=1" not in notifications.lines()


def test_the_watchdog_is_fed_twice_in_its_time(shelf: Shelf, seeder: MakeDaemon) -> None:
    shelf.put("small", 1)
    daemon = seeder(shelf.settings("small"), environment=CREDENTIALS | {"WATCHDOG_USEC": "400000"})
    daemon.start()
    notifications = daemon.notifications
    assert notifications is not None

    def five() -> float:
        """Return how long five feedings take."""
        begun, seen = time.monotonic(), notifications.count("WATCHDOG=1")
        poll_until(
            lambda: notifications.count("WATCHDOG=1") >= seen + 5, timeout=60, what="fifth feeding"
        )
        return time.monotonic() - begun

    # A busy machine delays one or the other, but not always.
    poll_until(lambda: 0.7 < five() < 1.8, timeout=60, what="feeding twice in 0.4 seconds")


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate: systemd"
)
def test_sockets_that_systemd_passes_are_used(
    shelf: Shelf, seeder: MakeDaemon, client: ClientFactory, network: Network, tmp_path: Path
) -> None:
    body = shelf.put("small", 100_000)
    address = network.address(2)
    tracker, peer, admin = (free_port(address) for _ in range(3))
    passed = [*CREDENTIALS, "NOTIFY_SOCKET", "PYTHONPATH", "PYTHONUNBUFFERED", "HOME"]
    words: list[str | Path] = ["systemd-socket-activate", "--fdname=tracker:peer:admin"]
    words += [f"--listen={address}:{port}" for port in (tracker, peer, admin)]
    words += [f"--setenv={name}" for name in passed]
    settings = shelf.settings("small", peer={"public_address": f"{address}:{peer}"})
    daemon = seeder(settings, program=[*words, sys.executable, "-m", "seeder.cli"])
    configured = daemon.tracker_port, daemon.peer_port, daemon.admin_port
    daemon.start(wait=False)
    daemon.tracker_port, daemon.peer_port, daemon.admin_port = tracker, peer, admin

    # The first client wakes it, and is answered though it came before the daemon.
    def woken() -> bool:
        try:
            with socket.create_connection((address, tracker), timeout=10) as early:
                early.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return early.recv(100).startswith(b"HTTP/1.1 200")
        except ConnectionRefusedError:
            return False

    poll_until(woken, timeout=20, what="answer to the client that came first")
    daemon.wait_until_ready()
    wait_for_state(daemon, shelf.bucket, "small")
    for port in configured:
        with socket.socket() as probe:
            assert probe.connect_ex((address, port)) != 0
    torrent = torrent_of(daemon, shelf, "small", tmp_path)
    assert read_torrent(torrent.read_bytes()).trackers == (f"http://{address}:{tracker}/announce",)
    assert digest(client(Libtorrent).download(torrent, timeout=30)) == digest(body)
    assert daemon.stop() == 0


@pytest.mark.parametrize("shared", ["state_directory", "cache.directory"])
def test_a_second_daemon_is_kept_out(
    daemon: SeederDaemon, shelf: Shelf, seeder: MakeDaemon, shared: str
) -> None:
    places: dict[str, dict[str, object]] = {
        "state_directory": {"state_directory": str(daemon.directory / "state")},
        "cache.directory": {"cache": {"directory": str(daemon.directory / "cache")}},
    }
    second = seeder(shelf.settings("stays", **places[shared]))
    second.start(wait=False)
    assert second.wait(timeout=20) == 1
    lines = second.log.splitlines()
    assert len(lines) == 1, second.log
    assert shared in lines[0]
    assert "another seeder" in lines[0]
    assert daemon.get("/healthz", admin=True) == (200, b"alive\n")


# -- reloading ----------------------------------------------------------------------------------


def test_a_reload_adds_and_removes_objects_and_leaves_the_others_peers_alone(
    daemon: SeederDaemon, shelf: Shelf, client: ClientFactory, network: Network, tmp_path: Path
) -> None:
    shelf.put("goes", 100_000)
    shelf.put("comes", 100_000)
    daemon.configure(shelf.settings("stays", "goes", log=PEERS_SHOWN))
    daemon.reload()
    wait_for_state(daemon, shelf.bucket, "goes")
    gone = read_torrent(served_torrent(daemon, shelf.bucket, "goes")).info_hash
    torrent = torrent_of(daemon, shelf, "stays", tmp_path)
    leecher = client(Libtorrent, download_rate=2 * MIB)
    leecher.add(torrent)
    poll_until(lambda: leecher.status().total_payload_download > MIB, timeout=20, what="download")
    with RawPeer(network.address(RAW_PEER), daemon.peer_address) as peer:
        peer.greet(gone)
        daemon.configure(shelf.settings("stays", "comes", log=PEERS_SHOWN))
        daemon.reload()
        assert peer.is_closed()
    assert daemon.get(f"/{shelf.bucket}/goes?torrent")[0] == 404
    assert b"no longer published" in announce(daemon, gone)[b"failure reason"]
    wait_for_state(daemon, shelf.bucket, "comes")
    assert [torrent["key"] for torrent in daemon.status()["torrents"]][:2] == ["stays", "comes"]
    assert leecher.status().progress < 1
    leecher.wait(30)
    assert daemon.log.count(f"opened: {shelf.bucket}/stays") == 1
    assert not daemon.complaints()


def test_a_file_with_mistakes_changes_nothing_and_says_every_one(
    daemon: SeederDaemon, shelf: Shelf
) -> None:
    good = daemon.path.read_text()
    torrent = served_torrent(daemon, shelf.bucket, "stays")
    daemon.path.write_text(good.replace('"directory"', '"dirctory"') + "\n[savings]\nprice = 1\n")
    daemon.reload()
    [said] = daemon.complaints()
    assert "the old configuration stays in force: " in said
    assert 'cache.dirctory: unknown key; did you mean "directory"?' in said
    assert "savings.price: unknown key" in said
    assert served_torrent(daemon, shelf.bucket, "stays") == torrent

    daemon.path.unlink()
    daemon.reload()
    assert "No such file" in daemon.complaints()[-1]
    daemon.path.write_text("[[objects]\n")
    daemon.reload()
    assert "line 1" in daemon.complaints()[-1]
    shelf.put("later", 1000)
    daemon.configure(shelf.settings("stays", "later"))
    daemon.reload()
    wait_for_state(daemon, shelf.bucket, "later")
    assert daemon.stop() == 0


def test_what_needs_a_restart_is_named_by_a_reload(daemon: SeederDaemon, shelf: Shelf) -> None:
    daemon.configure(shelf.settings("stays", cache={"memory": "1 MiB"}))
    daemon.reload()
    [line] = daemon.complaints()
    assert "cache.memory changed" in line
    assert "next start" in line
    assert daemon.torrent_status(shelf.bucket, "stays")["state"] == "serving"


def test_a_reload_raises_the_upload_rate_of_a_download_under_way(
    daemon: SeederDaemon, shelf: Shelf, client: ClientFactory, tmp_path: Path
) -> None:
    slow = {"upload_rate": "16 KiB/s"}
    daemon.configure(shelf.settings("stays", peer=slow, log=PEERS_SHOWN))
    daemon.reload()
    leecher = client(Libtorrent)
    leecher.add(torrent_of(daemon, shelf, "stays", tmp_path))
    poll_until(lambda: leecher.status().total_payload_download > 0, timeout=30, what="first block")
    # The rest would take more than eight minutes.
    assert leecher.status().progress < 0.2
    fast = {"upload_rate": "unlimited"}
    daemon.configure(shelf.settings("stays", peer=fast, log=PEERS_SHOWN))
    daemon.reload()
    assert digest(leecher.wait(60)) == digest(content(SIZE, seed=len("stays")))
    assert daemon.log.count(f"opened: {shelf.bucket}/stays") == 1
    assert not daemon.complaints()


# -- stopping -----------------------------------------------------------------------------------


@pytest.fixture
def company(
    daemon: SeederDaemon, shelf: Shelf, client: ClientFactory, network: Network, tmp_path: Path
) -> Iterator[Libtorrent]:
    """A slow leecher, and connections of every kind that would rather stay."""
    torrent = torrent_of(daemon, shelf, "stays", tmp_path)
    info_hash = read_torrent(torrent.read_bytes()).info_hash
    leecher = client(Libtorrent, download_rate=MIB)
    leecher.add(torrent)
    public = (daemon.address, daemon.tracker_port)
    with ExitStack() as stack:

        def connect(peer: tuple[str, int], *data: bytes, receive_buffer: int = 0) -> RawPeer:
            raw = RawPeer(network.address(RAW_PEER), peer, receive_buffer=receive_buffer)
            raw.send(*data)
            return stack.enter_context(raw)

        deaf = connect(daemon.peer_address, receive_buffer=4096)
        deaf.greet(info_hash, reserved=FAST)
        deaf.wait_for(UNCHOKE)
        deaf.send(*(request(index) for index in range(20)))
        connect(daemon.peer_address, handshake(info_hash)[:30])
        connect(daemon.peer_address).greet(info_hash, peer_id=b"-XX0000-idle-peer-00")
        connect(public, b"GET /announce?info_hash=")
        connect(public, b"GET / HTTP/1.1\r\nHost: tracker\r\n\r\n").read(15)
        poll_until(
            lambda: daemon.status()["totals"]["uploaded_bytes"] > MIB, timeout=20, what="upload"
        )
        yield leecher


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_ten_seconds_whoever_is_connected(
    daemon: SeederDaemon, company: Libtorrent, number: signal.Signals
) -> None:
    begun = time.monotonic()
    os.kill(daemon.pid, number)
    assert daemon.wait(timeout=20) == 0
    assert time.monotonic() - begun < 10
    assert daemon.notifications is not None
    told = [line for line in daemon.notifications.lines() if not line.startswith("EXTEND_")]
    assert told[-1] == "STOPPING=1"
    recorded = read_ledger(daemon.directory / "state/ledger.sqlite", now=time.time())
    assert recorded.ledger.totals().uploaded_bytes >= company.status().total_payload_download
    [account] = recorded.ledger.accounts
    assert account.peers == 1
    assert (daemon.directory / "state/swarms.json").stat().st_size > 100
    assert not daemon.complaints()
    assert "Traceback" not in daemon.log


def test_it_ends_at_once_while_it_builds_or_waits_for_s3(
    shelf: Shelf, seeder: MakeDaemon, network: Network
) -> None:
    with socket.socket() as silent:
        # Accepts, in the kernel, and never answers.
        silent.bind((network.address(1), 0))
        silent.listen()
        settings = shelf.settings("small")
        endpoint = "http://{}:{}".format(*silent.getsockname())
        settings["origin"] = {"endpoint": endpoint, "path_style": True}
        daemon = seeder(settings)
        daemon.start()
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 10  # S3 is waited for for half a minute


# -- file descriptors ---------------------------------------------------------------------------


def test_peers_leave_descriptors_to_everything_else(
    shelf: Shelf, seeder: MakeDaemon, network: Network, client: ClientFactory, tmp_path: Path
) -> None:
    body = shelf.put("stays", SIZE)
    limits = {"connections_per_address": 5000}
    daemon = seeder(
        shelf.settings("stays", peer=limits, cache={"memory": "0 B"}),
        prefix=("prlimit", "--nofile=256:640", "--"),
    )
    daemon.start()
    wait_for_state(daemon, shelf.bucket, "stays")
    torrent = torrent_of(daemon, shelf, "stays", tmp_path)
    info_hash = read_torrent(torrent.read_bytes()).info_hash
    [told] = daemon.complaints()
    found = re.search(r"peer.connections = 2000 doesn't fit the limit of 640 .* (\d+) are", told)
    assert found is not None
    with ExitStack() as stack:
        for _ in range(900):
            peer = stack.enter_context(RawPeer(network.address(RAW_PEER), daemon.peer_address))
            peer.try_to_send(handshake(info_hash))
        poll_until(
            lambda: daemon.status()["peers"]["accepted"] >= 900, timeout=60, what="all peers"
        )
        assert daemon.status()["peers"]["connected"] <= int(found[1])
        assert announce(daemon, info_hash)[b"interval"]
        assert served_torrent(daemon, shelf.bucket, "stays") == torrent.read_bytes()
        assert daemon.get("/metrics", admin=True)[0] == 200
        # A new object: S3, the disk and the ledger have their descriptors, too.
        shelf.put("comes", SIZE)
        daemon.configure(shelf.settings("stays", "comes", peer=limits, cache={"memory": "0 B"}))
        daemon.reload()
        wait_for_state(daemon, shelf.bucket, "comes")
    assert len(body) == SIZE
    assert "can't accept" not in daemon.log
    leecher = client(Libtorrent)
    assert digest(leecher.download(torrent, timeout=60)) == digest(body)


# -- pages and logs -----------------------------------------------------------------------------


def test_health_and_metrics_are_what_their_readers_expect(
    daemon: SeederDaemon, shelf: Shelf, client: ClientFactory, tmp_path: Path
) -> None:
    torrent = torrent_of(daemon, shelf, "stays", tmp_path)
    client(Libtorrent).download(torrent, timeout=30)
    assert daemon.get("/healthz", admin=True) == (200, b"alive\n")
    assert daemon.get("/readyz", admin=True) == (200, b"ready\n")
    code, body = daemon.get("/metrics", admin=True)
    assert code == 200
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        assert family.documentation
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0) + sample.value
    totals = daemon.status()["totals"]
    assert samples["seeder_uploaded_bytes_total"] == totals["uploaded_bytes"] >= SIZE
    assert samples["seeder_origin_bytes_total"] == totals["origin_bytes"] == SIZE


def test_a_peer_is_one_line(
    daemon: SeederDaemon, shelf: Shelf, client: ClientFactory, tmp_path: Path
) -> None:
    leecher = client(Libtorrent)
    leecher.download(torrent_of(daemon, shelf, "stays", tmp_path), timeout=30)
    leecher.close()
    poll_until(lambda: " closed: " in daemon.log, timeout=20, what="line of a close")
    lines = [line for line in daemon.log.splitlines() if f"peer {leecher.address}:" in line]
    [line] = lines
    assert line.endswith(f" of {shelf.bucket}/stays")
    assert 'client "libtorrent/' in line
    assert f"uploaded {SIZE} bytes" in line


def test_a_stranger_does_not_fill_the_log(
    daemon: SeederDaemon, shelf: Shelf, network: Network, tmp_path: Path
) -> None:
    torrent = read_torrent(torrent_of(daemon, shelf, "stays", tmp_path).read_bytes())
    begun = time.monotonic()
    for number in range(600):
        peer_id = b"-XX0000-%012d" % number
        with RawPeer(network.address(RAW_PEER), daemon.peer_address) as peer:
            peer.try_to_send(handshake(torrent.info_hash, peer_id=peer_id), message(INTERESTED))
    lasted = time.monotonic() - begun
    poll_until(
        lambda: sum(daemon.status()["peers"]["closes"].values()) >= 600, timeout=60, what="closes"
    )
    daemon.stop()
    lines = daemon.log.splitlines()
    # At most 21 lines in each ten seconds.
    closed = [line for line in lines if re.search(r"peer \S+ (opened|closed): ", line)]
    assert 0 < len(closed) <= 21 * (2 + lasted / 10)
    assert any("more lines like this one" in line for line in lines)


def test_for_the_journal_lines_have_priorities_and_no_time(
    shelf: Shelf, seeder: MakeDaemon, tmp_path: Path
) -> None:
    shelf.put("small", 1000)
    # systemd says which file is the journal; here it is the one that the first daemon logs to.
    log = tmp_path / "seeder-0" / "seeder.log"
    log.parent.mkdir()
    log.touch()
    stream = f"{log.stat().st_dev}:{log.stat().st_ino}"
    daemon = seeder(
        shelf.settings("small", "missing"), environment=CREDENTIALS | {"JOURNAL_STREAM": stream}
    )
    daemon.start()
    wait_for_state(daemon, shelf.bucket, "small")
    wait_for_state(daemon, shelf.bucket, "missing", "failed")
    daemon.stop()
    lines = daemon.log.splitlines()
    assert all(re.match(r"<[346]>seeder[.\w]*: \S", line) for line in lines), daemon.log
    [error] = [line for line in lines if line.startswith("<3>")]
    assert f"{shelf.bucket}/missing" in error
