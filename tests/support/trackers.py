"""Runs `tests.support.tracker_node`, and speaks the UDP protocol as a client."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.closing import Closing
from tests.support.processes import HarnessError, clean_environment

MAGIC = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
PATIENCE = 60.0


class TrackerProgram(Closing):
    """One tracker in a process of its own, by HTTP and UDP at one port of each host."""

    def __init__(self, hosts: Sequence[str], torrents: Mapping[bytes, str | None], **more: Any):
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *(sys.executable, "-m", "tests.support.tracker_node"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**clean_environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        named = {info_hash.hex(): reason for info_hash, reason in torrents.items()}
        opened = self._order({"open": 1, "hosts": list(hosts), "torrents": named, **more})
        self.port = int(opened["port"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def peers(self, info_hash: bytes) -> list[dict[str, Any]]:
        """Return who is listed in a swarm."""
        found: list[dict[str, Any]] = self._order({"list": 1, "info_hash": info_hash.hex()})[
            "peers"
        ]
        return found

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise HarnessError("the tracker doesn't answer")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class UdpClient(Closing):
    """A client's socket that asks one tracker, and asks again what was lost on the way."""

    def __init__(self, address: str, tracker: tuple[str, int], *, wait: float = 0.3) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.connect(tracker)
        self._socket.settimeout(wait)
        self._transaction = 0
        self._connection = 0

    def ask(self, action: int, body: bytes) -> bytes:
        """Return the reply without its transaction: an action and what follows it."""
        if not self._connection:
            found = self._exchange(MAGIC, CONNECT, b"")
            [self._connection] = struct.unpack(">Q", found[4:])
        return self._exchange(self._connection, action, body)

    def _exchange(self, connection: int, action: int, body: bytes) -> bytes:
        self._transaction += 1
        request = struct.pack(">QII", connection, action, self._transaction) + body
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self._socket.send(request)
                while True:
                    answer = self._socket.recv(4096)
                    if answer[4:8] == struct.pack(">I", self._transaction):
                        return answer[:4] + answer[8:]
            except (TimeoutError, ConnectionRefusedError):
                continue
        raise HarnessError("the tracker doesn't answer by UDP")

    def close(self) -> None:
        self._socket.close()


def announce_body(
    info_hash: bytes,
    peer_id: bytes,
    port: int,
    *,
    left: int = 1,
    downloaded: int = 0,
    event: int = 0,
    numwant: int = -1,
    key: bytes = bytes(4),
) -> bytes:
    """Return an announce of BEP 15 as it stands behind the transaction."""
    counts = struct.pack(">QQQII", downloaded, left, 0, event, 0)
    return info_hash + peer_id + counts + key + struct.pack(">iH", numwant, port)
