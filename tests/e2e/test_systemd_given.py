"""What systemd gives the service: sockets that outlive it, credentials, a name for each node."""

import http.client
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.network import Network
from tests.e2e.publishing import read_torrent, served_torrent, wait_for_state
from tests.e2e.s3 import Publisher
from tests.e2e.unit import SERVICE, Unit
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.processes import poll_until
from tests.support.raw_peer import handshake
from tests.support.redis import RedisServer, why_no_redis
from tests.support.trackers import CONNECT, MAGIC

SOCKETS = ("tracker", "tracker-tls", "peer", "admin")
READER = ("READER", "the-secret-of-the-reader")
TOKEN = "a-token-of-sixteen-or-more"
GATE = "/run/gate"
CLIENT = 3
"""The number of the address that clients have."""


class Doors:
    """The sockets of the service, each with a question that it answers."""

    def __init__(self, unit: Unit, directory: Path) -> None:
        self.unit = unit
        self.authority = Authority()
        certificate, key = self.authority.write_pair(directory, [unit.address])
        self.tls_port = free_port(unit.address)
        unit.credentials(tls_certificate=certificate.read_text(), tls_key=key.read_text())
        named = {"tls_certificate_credential": "tls-certificate", "tls_key_credential": "tls-key"}
        unit.add(tracker=named)
        streams = {
            "tracker": f"{unit.tracker_port}\nListenDatagram={unit.address}:{unit.tracker_port}",
            "tracker-tls": self.tls_port,
            "peer": unit.peer_port,
            "admin": unit.admin_port,
        }
        for name, port in streams.items():
            unit.drop_in(
                f"seeder-{name}.socket",
                f"[Socket]\nListenStream=\nListenStream={unit.address}:{port}\n",
            )
        unit.systemctl("enable", "--now", *(f"seeder-{name}.socket" for name in SOCKETS))

    def open(self, stack: ExitStack, address: str, info_hash: bytes) -> list[Callable[[], bool]]:
        """Connect to each of them, ask, and return what waits for the answers."""
        unit = self.unit
        question = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

        def connect(port: int) -> socket.socket:
            return stack.enter_context(
                socket.create_connection(
                    (unit.address, port), timeout=60, source_address=(address, 0)
                )
            )

        tracker, admin, secure, peer = map(
            connect, (unit.tracker_port, unit.admin_port, self.tls_port, unit.peer_port)
        )
        tracker.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        admin.sendall(question)
        peer.sendall(handshake(info_hash))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.settimeout(60)
        udp.bind((address, 0))
        udp.sendto(struct.pack(">QI", MAGIC, CONNECT) + b"wait", (unit.address, unit.tracker_port))
        trust = ssl.create_default_context(cadata=self.authority.pem.decode())

        def served_by_tls() -> bool:
            with trust.wrap_socket(secure, server_hostname=unit.address) as inside:
                inside.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return inside.recv(100).startswith(b"HTTP/1.1 200")

        return [
            lambda: tracker.recv(100).startswith(b"HTTP/1.1 200"),
            lambda: admin.recv(100).startswith(b"HTTP/1.1 200"),
            served_by_tls,
            lambda: peer.recv(100).startswith(b"\x13BitTorrent protocol"),
            lambda: udp.recv(100)[4:8] == b"wait",
        ]


@pytest.fixture
def doors(unit: Unit, tmp_path: Path) -> Doors:
    return Doors(unit, tmp_path)


def test_who_comes_while_the_service_restarts_is_served_after_it(
    doors: Doors, network: Network
) -> None:
    unit, address = doors.unit, network.address(CLIENT)
    unit.serve()
    info_hash = read_torrent(served_torrent(unit, unit.bucket, "stays")).info_hash
    # From here on a start waits until there is a file.
    gate = f"[Service]\nExecStartPre=/bin/sh -c 'until [ -e {GATE} ]; do sleep 0.05; done'\n"
    unit.drop_in(SERVICE, gate, name="gate")
    unit.systemctl("restart", "--no-block", SERVICE)
    unit.wait_for({"SubState": "start-pre"})
    with ExitStack() as stack:
        answers = doors.open(stack, address, info_hash)
        assert unit.show("SubState") == "start-pre"
        unit.machine.write(GATE, "")
        stack.callback(unit.machine.path(GATE).unlink)
        assert [answered() for answered in answers] == [True] * 5
    assert unit.show("NRestarts") == "0"


def test_no_request_is_refused_or_lost_over_a_restart(doors: Doors) -> None:
    unit = doors.unit
    unit.serve()
    outcomes: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                outcomes.append(unit.get("/")[0])
                outcomes.append(unit.get("/healthz", admin=True)[0])
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))

    # A thread is in the network of who starts it.
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        poll_until(lambda: len(outcomes) > 20, timeout=60, what="answers")
        before = unit.pid
        unit.systemctl("restart", SERVICE)
        count = len(outcomes)
        poll_until(lambda: len(outcomes) > count + 20, timeout=60, what="answers")
    finally:
        over.set()
        for thread in asking:
            thread.join()
    assert unit.pid != before
    assert set(outcomes) == {200}


def test_a_client_wakes_the_service(doors: Doors) -> None:
    assert doors.unit.show("ActiveState") == "inactive"
    assert doors.unit.get("/healthz", admin=True) == (200, b"alive\n")
    doors.unit.wait_for({"ActiveState": "active"})


# -- credentials ----------------------------------------------------------------------------------


def test_every_secret_may_come_by_load_credential(unit: Unit) -> None:
    unit.credentials(reader=f"{READER[1]}\n", hook=f"{TOKEN}\n", api=f"{TOKEN}-of-api\n")
    key = {"access_key_id": READER[0], "secret_credential": "reader", "objects": ["*/*"]}
    objects = [{"bucket": unit.bucket, "key": "stays", "metainfo": ["build"], "public": False}]
    unit.add(
        objects=objects,
        gateway={"keys": [key]},
        events=[{"name": "hook", "token_credential": "hook"}],
        admin={"token_credential": "api"},
    )
    unit.serve()  # that its object is served takes the keys of S3
    for name in ("aws", "reader", "hook", "api"):
        # Not even by who may read the service's own files.
        assert unit.machine.run(f"stat -c %a:%U /etc/seeder/{name}.secret").stdout == "600:root\n"
    public = f"http://{unit.address}:{unit.tracker_port}"
    assert unit.get(f"/{unit.bucket}/stays?torrent")[0] == 403
    assert Publisher(public, *READER).get_torrent(unit.bucket, "stays").startswith(b"d8:announce")
    assert ask(unit, "POST", "/events/hook", "wrong")[0] == 401
    assert ask(unit, "POST", "/events/hook", TOKEN)[0] < 300
    assert ask(unit, "GET", "/api/v1", "wrong")[0] == 401
    code, body = ask(unit, "GET", "/api/v1", f"{TOKEN}-of-api")
    assert (code, json.loads(body)["openapi"]) == (200, "/api/v1/openapi.json")


def ask(unit: Unit, method: str, target: str, token: str) -> tuple[int, bytes]:
    """Ask the admin listener as the bearer of a token."""
    connection = http.client.HTTPConnection(unit.address, unit.admin_port, timeout=30)
    try:
        body = '{"Records": []}' if method == "POST" else None
        connection.request(method, target, body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# -- several nodes --------------------------------------------------------------------------------


@pytest.fixture
def redis(unit: Unit) -> Iterator[tuple[str, int]]:
    """A Redis by TCP, for the machine has other files: its address."""
    if reason := why_no_redis():
        pytest.skip(reason)
    port = free_port(unit.address)
    options = ("--port", str(port), "--bind", unit.address, "--protected-mode", "no")
    with RedisServer(*options):
        yield unit.address, port


def test_two_nodes_by_one_file_share_the_tracker_s_port(
    unit: Unit, redis: tuple[str, int], network: Network
) -> None:
    own = unit.address.rpartition(".")[0] + ".%i"
    unit.add(
        tracker={"udp_listen": [f"{unit.address}:{unit.tracker_port}"]},
        peer={"listen": [f"{own}:6881"], "public_address": f"{own}:6881"},
        admin={"listen": [f"{own}:9180"]},
        cluster={"store": "redis://{}:{}".format(*redis), "name": "node-%i"},
    )
    names = ("3", "4")
    for name in names:
        unit.share_credentials(f"seeder@{name}.service")
    unit.systemctl("start", *(f"seeder@{name}" for name in names))
    unit.admin_port = 9180
    for name in names:
        unit.address = network.address(int(name))
        wait_for_state(unit, unit.bucket, "stays")
        poll_until(lambda: _members(unit) == 2, timeout=30, what="both nodes")
    # One user for both, which is what a port may be shared by.
    ledgers = " ".join(f"/var/lib/private/seeder/{name}/ledger.sqlite" for name in names)
    assert unit.machine.run(f"stat -c %U {ledgers}").stdout == "seeder\nseeder\n"


def _members(unit: Unit) -> float:
    """Return how many nodes the one at `unit.address` knows."""
    _, page = unit.get("/metrics", admin=True)
    families = text_string_to_metric_families(page.decode())
    [found] = [each for each in families if each.name == "seeder_cluster_members"]
    return found.samples[0].value
