"""The harness itself: what it counts is exact, what it starts works and ends."""

import http.server
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from bencode2 import bencode
from botocore.exceptions import ClientError

from tests.e2e.ceph import OTHER_ACCESS_KEY, OTHER_SECRET_KEY, CephRGW
from tests.e2e.clients import Aria2, ClientFactory, QBittorrent, Rtorrent, Transmission, WebTorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Network
from tests.e2e.s3 import Publisher, error_code
from tests.e2e.swift import Swift
from tests.support.leecher import Leecher, wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, Torrent, content, digest, make_torrent, write_content
from tests.support.ports import free_port
from tests.support.processes import Child, HarnessError, poll_until, python_environment, run
from tests.support.sharing import shared
from tests.support.toml import toml

# -- What is made once a run ----------------------------------------------------------------------


def test_what_is_shared_is_made_once_and_gone_with_the_last_who_uses_it(tmp_path: Path) -> None:
    made = []
    second = threading.Barrier(2)

    def make(directory: Path) -> None:
        with suppress(threading.BrokenBarrierError):
            second.wait(0.5)  # as long as another one may come to make it
        (directory / "all").touch()
        made.append(directory)

    together = threading.Barrier(5)
    leave = [threading.Event() for _ in range(4)]
    left: queue.Queue[bool] = queue.Queue()

    def use(leave: threading.Event) -> None:
        together.wait(60)
        with shared(tmp_path / "it", make) as directory:
            seen = sorted(each.name for each in directory.iterdir())
            together.wait(60)
            leave.wait(60)
        left.put(seen == ["all", "whole"])

    with ThreadPoolExecutor(4) as threads:
        for each in leave:
            threads.submit(use, each)
        together.wait(60)
        together.wait(60)  # all four have it at a time
        for each in leave:
            assert (tmp_path / "it" / "all").exists()
            each.set()
            assert left.get(timeout=60)
    assert made == [tmp_path / "it"]
    assert not (tmp_path / "it").exists()
    with shared(tmp_path / "it", make):
        assert len(made) == 2


def test_what_was_shared_by_halves_is_made_anew(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise HarnessError("no room")

    with pytest.raises(HarnessError, match="no room"), shared(tmp_path / "it", fail):
        pass
    with shared(tmp_path / "it", lambda directory: (directory / "one").touch()) as directory:
        assert sorted(each.name for each in directory.iterdir()) == ["one", "whole"]


# -- Ceph ---------------------------------------------------------------------------------------


def test_ceph_counts_the_body_bytes_of_ranged_gets_exactly(
    ceph: CephRGW, publisher: Publisher, bucket: str
) -> None:
    body = content(5 * MIB + 3)
    publisher.put(bucket, "a/b c+ü&%", body)
    publisher.put(bucket, "other", body)
    assert ceph.body_bytes_sent(bucket, "a/b c+ü&%") == 0
    ranges = [(0, 0), (1, 16 * KIB), (MIB, 5 * MIB), (5 * MIB, 5 * MIB + 2)]
    for first, last in ranges:
        part = publisher.get(bucket, "a/b c+ü&%", Range=f"bytes={first}-{last}")
        assert part == body[first : last + 1]
    publisher.head(bucket, "a/b c+ü&%")
    publisher.get_torrent(bucket, "a/b c+ü&%")
    with pytest.raises(ClientError) as refused:
        publisher.get(bucket, "a/b c+ü&%", Range="bytes=0-9", IfMatch='"other"')
    assert error_code(refused.value) == "PreconditionFailed"

    assert ceph.body_bytes_sent(bucket, "a/b c+ü&%") == sum(b - a + 1 for a, b in ranges)
    gets = ceph.exchanges(bucket, "a/b c+ü&%", method="GET")
    assert [get.range for get in gets[:4]] == [f"bytes={a}-{b}" for a, b in ranges]
    assert [(get.status, get.query) for get in gets] == [
        (206, ""),
        (206, ""),
        (206, ""),
        (206, ""),
        (200, "torrent"),
        (412, ""),
    ]
    assert ceph.body_bytes_sent(bucket, "other") == 0
    assert publisher.get(bucket, "other") == body
    assert ceph.body_bytes_sent(bucket, "other") == len(body)


def test_ceph_counts_requests_that_many_clients_send_at_once(
    ceph: CephRGW, publisher: Publisher, bucket: str, network: Network
) -> None:
    publisher.put(bucket, "key", content(2 * MIB))

    def read() -> None:
        with network.entered():
            mine = ceph.publisher()
            for start in range(0, 2 * MIB, 64 * KIB):
                mine.get(bucket, "key", Range=f"bytes={start}-{start + 64 * KIB - 1}")

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ceph.body_bytes_sent(bucket, "key") == 6 * 2 * MIB
    assert len(ceph.exchanges(bucket, "key", method="GET")) == 6 * 32


def test_ceph_waits_for_a_request_under_way_before_it_counts(
    ceph: CephRGW, publisher: Publisher, bucket: str, network: Network
) -> None:
    publisher.put(bucket, "key", content(32 * MIB))
    body = publisher.raw.get_object(Bucket=bucket, Key="key")["Body"]
    counted: list[int] = []

    def count() -> None:
        with network.entered():
            counted.append(ceph.body_bytes_sent(bucket, "key"))

    counting = threading.Thread(target=count)
    counting.start()
    counting.join(0.3)
    assert counting.is_alive(), "it counted a body that nobody has read yet"
    assert len(body.read()) == 32 * MIB
    counting.join()
    assert counted == [32 * MIB]


def test_ceph_keeps_users_versions_and_parts_apart(
    ceph: CephRGW, publisher: Publisher, bucket: str
) -> None:
    publisher.raw.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    first = publisher.put(bucket, "key", b"one")
    version = publisher.head(bucket, "key")["VersionId"]
    assert publisher.put(bucket, "key", b"two") != first
    assert publisher.get(bucket, "key", VersionId=version) == b"one"

    body = content(11 * MIB)
    assert publisher.put_multipart(bucket, "parts", body, part_size=5 * MIB).endswith('-3"')
    assert publisher.get(bucket, "parts") == body

    other = ceph.publisher(OTHER_ACCESS_KEY, OTHER_SECRET_KEY)
    for stranger in (other, ceph.publisher(None)):
        with pytest.raises(ClientError) as refused:
            stranger.get(bucket, "key")
        assert error_code(refused.value) == "AccessDenied"
    publisher.allow_everybody(bucket, "s3:GetObject")
    assert ceph.publisher(None).get(bucket, "key") == b"two"
    publisher.set_requester_pays(bucket)
    with pytest.raises(ClientError):
        other.get(bucket, "key")
    assert other.get(bucket, "key", RequestPayer="requester") == b"two"


def test_ceph_gives_a_torrent_whose_later_piece_hashes_lie(
    publisher: Publisher, bucket: str
) -> None:
    body = content(MIB)
    publisher.put(bucket, "object", body)
    answer = publisher.get_torrent(bucket, "object")
    honest = make_torrent(body, name="object", piece_length=512 * KIB)
    start = answer.index(b"6:pieces40:") + len(b"6:pieces40:")
    pieces = honest.info[-41:-1]
    assert answer[start : start + 20] == pieces[:20]
    assert answer[start + 20 : start + 40] != pieces[20:]


def test_several_cephs_run_side_by_side(network: Network) -> None:
    if reason := CephRGW.why_missing():
        pytest.skip(reason)
    with CephRGW(network.address(1)) as one, CephRGW(network.address(1)) as other:
        one.publisher().create_bucket("same-name")
        other.publisher().create_bucket("same-name")
        one.publisher().put("same-name", "key", b"of one")
        with pytest.raises(ClientError) as missing:
            other.publisher().get("same-name", "key")
    assert error_code(missing.value) == "NoSuchKey"
    for pid in one.pids + other.pids:
        assert not _lives(pid)


def test_ceph_starts_again_when_a_port_is_taken(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := CephRGW.why_missing():
        pytest.skip(reason)
    address = network.address(1)
    with socket.create_server((address, 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(
            "tests.e2e.ceph.free_port", lambda address: next(ports, None) or free_port(address)
        )
        with CephRGW(address) as server:
            server.publisher().create_bucket("bucket")


def test_a_killed_test_run_leaves_no_program_behind(tmp_path: Path) -> None:
    script = f"""
        from pathlib import Path
        from tests.support.processes import Child
        words = ["sh", "-c", "echo begun; exec sleep 300"]
        child = Child(words, log=Path({str(tmp_path / "log")!r}))
        child.wait_until(lambda: "begun" in child.output(), timeout=10, what="begin")
        print(child.pid, flush=True)
        child.wait(300)
    """
    started = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        env=python_environment(),
    )
    assert started.stdout is not None
    with started.stdout as stdout:
        pid = int(stdout.readline())
        assert _lives(pid)
        started.kill()
        started.wait()
    poll_until(lambda: not _lives(pid), timeout=5, what="end of the orphan")


# -- Swift --------------------------------------------------------------------------------------


def test_swift_serves_ranges_and_answers_501_to_torrent(swift: Swift) -> None:
    publisher = swift.publisher()
    name = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(name)
    etag = publisher.put(name, "key ü", content(MIB))
    assert publisher.get(name, "key ü", Range="bytes=5-9", IfMatch=etag) == content(MIB)[5:10]
    with pytest.raises(ClientError) as refused:
        publisher.get_torrent(name, "key ü")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


# -- clients ------------------------------------------------------------------------------------


class FixedTracker:
    """An HTTP tracker that answers every announce with one peer."""

    def __init__(self, address: str, peer: tuple[str, int]) -> None:
        compact = socket.inet_aton(peer[0]) + peer[1].to_bytes(2, "big")
        body = bencode({b"interval": 1800, b"min interval": 900, b"peers": compact})
        announces = self.announces = list[tuple[str, str]]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                announces.append((self.client_address[0], self.path))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *arguments: Any) -> None:
                """A client that hung up is no error of ours."""

        self.server = Server((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_port}/announce"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Swarm:
    """A libtorrent seeder, the tracker that names it, and the torrent that it seeds."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.content = directory / "object.bin"
        write_content(self.content, 8 * MIB)
        self.seeder = Libtorrent(network.address(2), directory / "swarm", encryption="any")
        self.tracker = FixedTracker(network.address(1), (network.address(2), self.seeder.port))
        self.torrent: Torrent = make_torrent(
            self.content, name="object.bin", piece_length=256 * KIB, trackers=[self.tracker.url]
        )
        self.file = self.torrent.write(directory / "object.torrent")
        self.seeder.seed(self.file, self.content)

    def close(self) -> None:
        self.seeder.close()
        self.tracker.close()


@pytest.fixture
def swarm(network: Network, tmp_path: Path) -> Iterator[Swarm]:
    made = Swarm(network, tmp_path)
    yield made
    made.close()


def test_libtorrent_downloads_by_file_by_magnet_and_from_a_named_peer(
    swarm: Swarm, client: ClientFactory, tmp_path: Path
) -> None:
    by_file, by_magnet, by_peer = client(Libtorrent), client(Libtorrent), client(Libtorrent)
    by_file.add(swarm.file)
    by_magnet.add(swarm.torrent.magnet)
    trackerless = make_torrent(swarm.content, name="object.bin", piece_length=256 * KIB)
    by_peer.add(trackerless.write(tmp_path / "trackerless.torrent"))
    by_peer.connect((swarm.seeder.address, swarm.seeder.port))
    for path in wait_for_all([by_file, by_magnet, by_peer], timeout=30):
        assert path.name == "object.bin"
        assert digest(path) == digest(swarm.content)
    assert {by_file.address, by_magnet.address} <= {who for who, _ in swarm.tracker.announces}


@pytest.mark.parametrize("kind", [Aria2, Rtorrent, QBittorrent, WebTorrent])
def test_a_stock_client_downloads_by_file_and_by_magnet(
    kind: type[Leecher], swarm: Swarm, client: ClientFactory
) -> None:
    by_file, by_magnet = client(kind), client(kind)
    by_file.add(swarm.file)
    by_magnet.add(swarm.torrent.magnet)
    for path in wait_for_all([by_file, by_magnet], timeout=90):
        assert digest(path) == digest(swarm.content)
    assert {by_file.address, by_magnet.address} <= {who for who, _ in swarm.tracker.announces}


def test_transmission_downloads_inside_the_namespace(
    namespace: Network, swarm: Swarm, client: ClientFactory
) -> None:
    leecher = client(Transmission)
    assert digest(leecher.download(swarm.file, timeout=60)) == digest(swarm.content)
    assert leecher.state()["corruptEver"] == 0


@pytest.mark.parametrize(("encryption", "expected"), [("plain", False), ("rc4", True)])
def test_libtorrent_tells_whether_a_connection_is_encrypted(
    encryption: str, expected: bool, swarm: Swarm, client: ClientFactory
) -> None:
    leecher = client(Libtorrent, encryption=encryption, download_rate=MIB)
    leecher.add(swarm.file)
    poll_until(lambda: leecher.status().total_payload_download > 0, timeout=30, what="payload")
    flags = [bool(peer.flags & lt.peer_info.rc4_encrypted) for peer in leecher.peers()]
    assert flags == [expected]
    assert leecher.status().progress < 1, "the rate limit did not hold"


def test_a_failed_download_says_how_far_it_came(swarm: Swarm, client: ClientFactory) -> None:
    leecher = client(Libtorrent, download_rate=64 * KIB)
    with pytest.raises(HarnessError, match=r"libtorrent: \d+\.\d% with \d peers"):
        leecher.download(swarm.file, timeout=0.5)


# -- network, processes -------------------------------------------------------------------------


def test_a_namespace_holds_programs_and_sockets_of_this_process(namespace: Network) -> None:
    inside = os.readlink("/proc/thread-self/ns/net")
    assert namespace.run(["readlink", "/proc/self/ns/net"]).strip() == inside
    assert inside != os.readlink(f"/proc/{os.getppid()}/ns/net")
    address = namespace.address(16)
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert f"{address}:{port}" in run(["ss", "-Hltn"])
        for _ in range(50):
            assert free_port(address) != port


def test_a_program_that_fails_shows_its_log(tmp_path: Path) -> None:
    with (
        Child(["sh", "-c", "echo why >&2; exit 3"], log=tmp_path / "log") as child,
        pytest.raises(HarnessError, match=r"(?s)ended before dawn \(exit code 3\).*why"),
    ):
        child.wait_until(lambda: False, timeout=10, what="dawn")


# -- the daemon's stand-in ----------------------------------------------------------------------

STAND_IN = """\
import http.server, json, os, signal, socket, sys, tomllib
assert sys.argv[1:3] == ["run", "-c"]
def load():
    with open(sys.argv[3], "rb") as file:
        return tomllib.load(file)
config = load()
if config.get("broken"):
    sys.exit("broken: as configured")
host, port = config["admin"]["listen"][0].split(":")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"torrents": load()["objects"]}).encode())
server = http.server.HTTPServer((host, int(port)), Handler)
def reload(*_):
    notify.send(b"RELOADING=1\\nMONOTONIC_USEC=1")
    notify.send(b"READY=1")
signal.signal(signal.SIGHUP, reload)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening", file=sys.stderr)
for number in range(1000):
    notify.send(b"STATUS=%d" % number)
notify.send(b"READY=1")
server.serve_forever()
"""


@pytest.fixture
def stand_in(network: Network, tmp_path: Path) -> Iterator[SeederDaemon]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    daemon = SeederDaemon(
        {"objects": [{"bucket": "b", "key": "kü"}]},
        directory=tmp_path / "daemon",
        address=network.address(2),
        program=[sys.executable, script],
    )
    yield daemon
    daemon.kill()


def test_a_daemon_is_started_reloaded_asked_stopped_and_killed(stand_in: SeederDaemon) -> None:
    stand_in.start()
    assert stand_in.notifications is not None
    assert stand_in.notifications.count("STATUS=999") == 1
    assert stand_in.torrent_status("b", "kü") == {"bucket": "b", "key": "kü"}
    stand_in.configure({"objects": [{"bucket": "b", "key": "new"}]})
    stand_in.reload()
    assert stand_in.torrent_status("b", "new")["key"] == "new"
    assert stand_in.stop() == 0
    assert "listening" in stand_in.log
    stand_in.start()
    pid = stand_in.pid
    stand_in.kill()
    assert not _lives(pid)


def test_a_daemon_that_ends_early_shows_its_log(stand_in: SeederDaemon) -> None:
    stand_in.configure({"broken": True})
    with pytest.raises(HarnessError, match=r"(?s)was not ready \(exit code 1\).*as configured"):
        stand_in.start()


def test_settings_become_the_toml_that_they_mean() -> None:
    import tomllib

    settings = {
        "state_directory": "/a b",
        "origin": {"endpoint": "http://h:1", "path_style": True},
        "origins": {"other.one": {"connections": 3}},
        "objects": [
            {"bucket": "b", "key": 'quote " ü 🙂 \n'},
            {"bucket": "c", "metainfo": ["build"]},
        ],
        "savings": {"price_per_gb": 0.09},
        "empty": [],
    }
    assert tomllib.loads(toml(settings)) == settings


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that is dead but not reaped does not."""
    try:
        os.kill(pid, signal.SIG_DFL)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
