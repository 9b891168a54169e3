"""Several nodes of one machine run by one file, behind one tracker port of HTTP and UDP."""

import http.client
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, Network
from tests.support.ports import free_port
from tests.support.redis import RedisServer

ASKERS = 40
"""Sockets that ask the shared port: each reaches one node or the other, by its port."""
_CONNECT, _ANNOUNCE, _ERROR = 0, 1, 3
_MAGIC = 0x41727101980


class Machine:
    """Two nodes, 1 and 2, that run by one file; %i is the last number of an address in it."""

    def __init__(self, network: Network, directory: Path, redis: RedisServer) -> None:
        self.address = network.address(DAEMON_ADDRESS)
        own = self.address.rpartition(".")[0] + ".%i"
        self.port = free_port(self.address)
        self.nodes = {
            name: SeederDaemon(
                {
                    "state_directory": str(directory / "state" / "%i"),
                    "origin": {"endpoint": "http://127.0.0.1:9", "anonymous": True},
                    "objects": [{"bucket": "quotes", "key": "Nelson"}],
                    "tracker": {
                        "listen": [f"{self.address}:{self.port}"],
                        "udp_listen": [f"{self.address}:{self.port}"],
                    },
                    "peer": {"listen": [f"{own}:6881"], "public_address": f"{own}:6881"},
                    "cache": {"directory": str(directory / "cache" / "%i")},
                    "admin": {"listen": [f"{own}:9180"]},
                    "cluster": {"store": redis.url, "name": "node-%i"},
                },
                directory=directory,
                address=self.address,
                arguments=("--instance", name),
            )
            for name in ("3", "4")
        }
        for name, node in self.nodes.items():
            node.address, node.admin_port = network.address(int(name)), 9180


@pytest.fixture
def machine(network: Network, tmp_path: Path, redis: RedisServer) -> Iterator[Machine]:
    made = Machine(network, tmp_path, redis)
    with ExitStack() as stack:
        for node in made.nodes.values():
            stack.callback(node.kill)
            node.start(wait=False)
        for node in made.nodes.values():
            node.wait_until_ready()
        yield made
    print(next(iter(made.nodes.values())).log)


def test_announces_to_one_port_reach_both_nodes_over_http(machine: Machine) -> None:
    for _ in range(ASKERS):
        connection = http.client.HTTPConnection(machine.address, machine.port, timeout=30)
        connection.request("GET", f"/announce?info_hash={'h' * 20}&peer_id={'p' * 20}&port=6881")
        assert connection.getresponse().status == 200
        connection.close()
    assert sorted(_asked(node) > 0 for node in machine.nodes.values()) == [True, True]
    assert sum(map(_asked, machine.nodes.values())) == ASKERS


def test_a_connection_id_of_one_node_is_good_at_the_other(machine: Machine) -> None:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(ASKERS)
        ]
        for sock in sockets:
            sock.settimeout(30)
            sock.bind((machine.address, 0))
            sock.connect((machine.address, machine.port))
        sockets[0].send(struct.pack(">QII", _MAGIC, _CONNECT, 7))
        connection = struct.unpack(">IIQ", sockets[0].recv(100))[2]
        for sock in sockets:
            sock.send(
                struct.pack(">QII", connection, _ANNOUNCE, 7)
                + b"h" * 20
                + b"p" * 20
                + struct.pack(">QQQIIIiH", 0, 1, 0, 2, 0, 0, -1, 6881)
            )
            action, _ = struct.unpack_from(">II", reply := sock.recv(1000))
            # The torrent isn't known; who asks is.
            assert action == _ERROR
            assert b"connection id" not in reply
    assert sorted(_asked(node) > 0 for node in machine.nodes.values()) == [True, True]


def _asked(node: SeederDaemon) -> int:
    """Return how many announces a node has had."""
    counts = node.status()["tracker"]["announces"]
    return sum(count for by_outcome in counts.values() for count in by_outcome.values())
