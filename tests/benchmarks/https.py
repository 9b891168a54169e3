"""What TLS costs: downloads, announces and idle connections, with it and without, in turns.

    python -m tests.benchmarks.https [--size 256MiB] [--rounds 5]

One daemon has a plain port and one with TLS; the load comes from another process. Downloads are of
a warm object; announces come one by one over kept connections, or over a new connection each, by a
client that begins anew or that resumes its session (TLS 1.3).
"""

import argparse
import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import rsa

from seeder.units import parse_size
from tests.benchmarks.load import cpu_seconds
from tests.benchmarks.setup import ADDRESS, http_origin, machine, show
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import wait_for_state
from tests.support.certificates import Authority, Key, new_key, write_key
from tests.support.objects import MIB, write_content
from tests.support.ports import free_port
from tests.support.processes import python_environment

BUCKET, KEY = "bucket", "object"
KEPT, NEW, IDLE = 4000, 600, 800
"""Announces over kept connections, over a new connection each; connections that are idle."""
_BUFFER = 256 * 1024


class Client:
    """The load of one way, in the child process."""

    def __init__(self, port: int, trust: str) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=trust) if trust else None
        self._session: ssl.SSLSession | None = None

    def connect(self, *, resume: bool = False) -> socket.socket:
        sock = socket.create_connection((ADDRESS, self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return sock
        return self._context.wrap_socket(
            sock, server_hostname=ADDRESS, session=self._session if resume else None
        )

    def ask(self, sock: socket.socket, number: int, *, close: bool) -> None:
        """Announce an unknown torrent, from a client of its own."""
        client = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        ending = "Connection: close\r\n" if close else ""
        sock.sendall(
            b"GET /announce?info_hash=%s&peer_id=%s&port=7&left=1&compact=1 HTTP/1.1\r\n"
            b"Host: x\r\nX-Forwarded-For: %s\r\n%s\r\n"
            % (b"h" * 20, b"p" * 20, client.encode(), ending.encode())
        )
        data = sock.recv(4096)
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        if close and isinstance(sock, ssl.SSLSocket):
            self._session = sock.session

    def announces(self, kind: str) -> None:
        resume = kind == "resumed"
        if kind == "kept":
            with contextlib.ExitStack() as stack:
                some = [stack.enter_context(self.connect()) for _ in range(32)]
                for number in range(KEPT):
                    self.ask(some[number % len(some)], number, close=False)
            return
        for number in range(NEW):
            with self.connect(resume=resume) as sock:
                self.ask(sock, number, close=True)

    def downloads(self, connections: int) -> None:
        threads = [threading.Thread(target=self._download) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _download(self) -> None:
        buffer = bytearray(_BUFFER)
        with self.connect() as sock:
            sock.sendall(
                b"GET /%s/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                % (BUCKET.encode(), KEY.encode())
            )
            while sock.recv_into(buffer):
                pass

    def idle(self) -> None:
        """Hold connections until the parent has looked."""
        with contextlib.ExitStack() as stack:
            for number in range(IDLE):
                self.ask(stack.enter_context(self.connect()), number, close=False)
            print("open", flush=True)
            sys.stdin.readline()


def _as_child(words: Sequence[str]) -> None:
    kind, port, trust = words[0], int(words[1]), words[2]
    client = Client(port, trust)
    if kind == "idle":
        client.idle()
        return
    begun = time.perf_counter()
    if kind.isdecimal():
        client.downloads(int(kind))
    else:
        client.announces(kind)
    print(json.dumps(time.perf_counter() - begun))


class Site:
    """A running daemon, and where it is asked."""

    def __init__(self, daemon: SeederDaemon, tls_port: int, trust: Path) -> None:
        self.daemon = daemon
        self._ways = {False: (daemon.tracker_port, ""), True: (tls_port, str(trust))}

    def _words(self, kind: str, *, tls: bool) -> list[str]:
        port, trust = self._ways[tls]
        return [sys.executable, "-m", "tests.benchmarks.https", "child", kind, str(port), trust]

    def measure(self, kind: str, *, tls: bool) -> tuple[float, float]:
        """Return the seconds that a load took, and the daemon's CPU seconds."""
        before = cpu_seconds(self.daemon.pid)
        done = subprocess.run(
            self._words(kind, tls=tls), env=python_environment(), stdout=subprocess.PIPE, check=True
        )
        return float(done.stdout), cpu_seconds(self.daemon.pid) - before

    def idle_memory(self, *, tls: bool) -> float:
        """Return the bytes that an idle connection takes."""
        before = self._resident()
        with subprocess.Popen(
            self._words("idle", tls=tls),
            env=python_environment(),
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            child.stdout.readline()
            grown = self._resident() - before
            child.stdin.write(b"\n")
            child.stdin.flush()
        return grown / IDLE

    def _resident(self) -> int:
        text = Path(f"/proc/{self.daemon.pid}/smaps_rollup").read_text(encoding="ascii")
        [line] = [each for each in text.splitlines() if each.startswith("Rss:")]
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def running(directory: Path, size: int, key: Key) -> Iterator[Site]:
    """Run a daemon with a warm object and a certificate."""
    directory.mkdir()
    (directory / "files").mkdir()
    write_content(directory / "files" / KEY, size)
    authority = Authority()
    certificate = directory / "certificate.pem"
    certificate.write_bytes(authority.issue([ADDRESS], key))
    key_file = write_key(directory / "key.pem", key)
    port = free_port(ADDRESS)
    with http_origin(directory / "files", directory / "origin.log") as endpoint:
        daemon = SeederDaemon(
            {
                "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
                "objects": [{"bucket": BUCKET, "key": KEY, "metainfo": ["build"]}],
                "cache": {"memory": f"{2 * size} B", "disk": "0 B"},
                "gateway": {"web_seed": True},
                "peer": {"copies_per_address": "unlimited"},
                "tracker": {
                    "tls_certificate": str(certificate),
                    "tls_key": str(key_file),
                    "tls_listen": [f"{ADDRESS}:{port}"],
                    "trusted_proxies": [ADDRESS],
                },
            },
            directory=directory / "daemon",
            address=ADDRESS,
        )
        with daemon:
            wait_for_state(daemon, BUCKET, KEY)
            connection = http.client.HTTPConnection(ADDRESS, daemon.tracker_port)
            connection.request("GET", f"/{BUCKET}/{KEY}")
            connection.getresponse().read()
            yield Site(daemon, port, authority.write(directory / "ca.pem"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["child"]:
        _as_child(words[1:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=256 * MIB)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(words)
    print(machine())
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    memory: dict[str, float] = {}
    keys: dict[str, Key] = {
        "EC P-256": new_key(),
        "RSA 2048": rsa.generate_private_key(65537, 2048),
    }
    with tempfile.TemporaryDirectory() as name:
        for label, key in keys.items():
            with running(Path(name) / label.split()[0], options.size, key) as site:
                ways = {"plain": False, f"TLS, {label}": True} if label != "RSA 2048" else {}
                for _ in range(options.rounds):
                    for way, tls in ways.items():
                        for kind in ("1", "8", "kept"):
                            found[kind, way].append(site.measure(kind, tls=tls))
                        found["new", way].append(site.measure("new", tls=tls))
                    kinds = ("new", "resumed")
                    for kind in kinds:
                        way = f"TLS, {label}" + (", resumed" if kind == "resumed" else "")
                        if kind == "resumed" or not ways:
                            found["new", way].append(site.measure(kind, tls=True))
                for way, tls in ways.items():
                    memory[way] = site.idle_memory(tls=tls)

    def downloads(way: str, kind: str) -> str:
        size = int(kind) * options.size
        rate = median(size / seconds for seconds, _ in found[kind, way]) / 1e6
        cost = median(cpu / size for _, cpu in found[kind, way]) * 1e9
        return f"{rate:.0f} / {cost:.2f}"

    def announces(way: str, kind: str, count: int) -> str:
        if (kind, way) not in found:
            return ""
        return f"{median(cpu for _, cpu in found[kind, way]) / count * 1e6:.0f}"

    title = f"downloads of {options.size // MIB} MiB: MB/s / CPU-s a GB of the daemon"
    both = ("plain", "TLS, EC P-256")
    rows = [(way, downloads(way, "1"), downloads(way, "8")) for way in both]
    show(title, ["", "1 connection", "8 connections"], rows)
    rows = [
        (way, announces(way, "kept", KEPT), announces(way, "new", NEW))
        for way in dict.fromkeys(way for _, way in found)
    ]
    show("CPU-us an announce", ["", "kept connection", "a new one each"], rows)
    show(
        f"memory of {IDLE} idle connections",
        ["", "KiB each"],
        [(way, f"{size / 1024:.1f}") for way, size in memory.items()],
    )


if __name__ == "__main__":
    main()
