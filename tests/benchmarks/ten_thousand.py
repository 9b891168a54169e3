"""What ten thousand known objects cost: the start, memory, the status, a torrent nobody asked for.

    python -m tests.benchmarks.ten_thousand [--objects 10000] [--pieces 1000] [--rounds 3]

The metainfo of every object is on disk, as an earlier run left it; the objects are found below one
prefix, or each has an entry of its own. S3 is a server here that answers HEADs and listings and has
no bytes. "Ready" is from the start of the process to READY=1. Memory is the process's resident set
once everything was asked for. A cold torrent is one whose metainfo is read from disk because a peer
dials it: from its handshake to our "have all". "Beside" is how long such a handshake of a warm
torrent took at most while /metrics and /status.json were fetched. A reload finds the same file as
before. CPU is that of the process. MB are 10^6 bytes.
"""

import argparse
import hashlib
import http.server
import os
import random
import re
import signal
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from seeder.config.objects import ObjectSettings
from seeder.daemon.foundation import LISTINGS, METAINFO
from seeder.metainfo.ladder import describe_wanted
from seeder.metainfo.records import Record
from seeder.metainfo.store import MetainfoStore
from seeder.peer import messages
from seeder.peer.messages import MessageId
from seeder.publish.listings import ListingStore
from seeder.s3.listing import Listed
from seeder.torrent.info import InfoHash, build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import Description, ObjectRef, PinnedObject
from seeder.units import MIB
from tests.benchmarks.setup import ADDRESS, machine, show
from tests.e2e.daemon import SeederDaemon

BUCKET, PREFIX = "archive", "sets/"
PAGE = 1000
COLD = 100
"""Torrents that a peer dials."""
LONGEST = 600.0
"""Seconds that a start, a reload or a stop may take."""
SETTLING = 10.0
"""Seconds after the start in which S3's requests are counted."""
MODIFIED = Description(1_795_478_400)
LAST_MODIFIED = "Tue, 24 Nov 2026 00:00:00 GMT"
TARGETS = {"ready, s": 3.0, "memory, MB": 300.0}


@dataclass
class Objects:
    """Ten thousand objects, their ETags and info hashes by key."""

    size: int
    etags: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, InfoHash] = field(default_factory=dict)

    def page(self, begin: int) -> bytes:
        """Return a page of the listing as S3 writes it."""
        keys = list(self.etags)[begin : begin + PAGE]
        more = begin + PAGE < len(self.etags)
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-24T00:00:00.000Z</LastModified><ETag>"
            f"&quot;{self.etags[key]}&quot;</ETag><Size>{self.size}</Size><StorageClass>STANDARD"
            "</StorageClass></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{begin + PAGE}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}"
            f"</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()


class Server(http.server.ThreadingHTTPServer):
    """S3 without a body, and a count of what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, objects: Objects) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.objects = objects
        self.asked: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve while the block lasts."""
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self.server.asked["HEAD"] += 1
        objects = self.server.objects
        key = unquote(urlsplit(self.path).path).split("/", 2)[2]
        self.send_response(200 if key in objects.etags else 404)
        self.send_header("ETag", f'"{objects.etags.get(key)}"')
        self.send_header("Content-Length", str(objects.size))
        self.send_header("Last-Modified", LAST_MODIFIED)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked["listing"] += 1
        query = parse_qs(urlsplit(self.path).query)
        body = self.server.objects.page(int(query.get("continuation-token", ["0"])[0]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def make_state(state: Path, count: int, pieces: int) -> Objects:
    """Write what a run leaves behind that has published `count` objects of so many pieces."""
    rng = random.Random(count)
    layout = Layout(pieces * MIB, MIB)
    objects = Objects(layout.size)
    store = MetainfoStore(state / METAINFO)
    wanted = describe_wanted(ObjectSettings(bucket=BUCKET, prefix=PREFIX))
    for number in range(count):
        key = f"{PREFIX}part-{number:06}.tar"
        info = parse_info(build_info(name=key, layout=layout, pieces=rng.randbytes(20 * pieces)))
        etag = hashlib.md5(key.encode()).hexdigest()
        ref = ObjectRef("default", BUCKET, key)
        pinned = PinnedObject(ref, f'"{etag}"', layout.size, description=MODIFIED)
        store.save(Record(pinned, info, info.outline, "build", wanted))
        objects.etags[key], objects.hashes[key] = etag, info.info_hash
    listing = {key: Listed(f'"{etag}"', layout.size) for key, etag in objects.etags.items()}
    ListingStore(state / LISTINGS).save(ObjectRef("default", BUCKET, PREFIX), listing)
    return objects


def dial(address: tuple[str, int], info_hash: bytes) -> float:
    """Return the seconds from our handshake to the peer's "have all"."""
    with socket.create_connection(address, timeout=30) as stream:
        peer_id = b"-XX0001-" + random.randbytes(6).hex().encode()
        reserved = bytes((0, 0, 0, 0, 0, 0, 0, 0x04))
        begun = time.perf_counter()
        stream.sendall(messages.PROTOCOL + reserved + info_hash + peer_id)
        found = b""
        while len(found) < 68 + 5:
            more = stream.recv(4096)
            assert more, "the peer was let go"
            found += more
        assert found[72] == MessageId.HAVE_ALL
        return time.perf_counter() - begun


def resident(pid: int) -> float:
    """Return the resident set of a process in MB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fetch(daemon: SeederDaemon, target: str) -> tuple[float, int]:
    """Return the seconds that a page takes, and its bytes."""
    begun = time.perf_counter()
    code, body = daemon.get(target, admin=True)
    assert code == 200, body[:200]
    return time.perf_counter() - begun, len(body)


@contextmanager
def dialling(address: tuple[str, int], info_hash: bytes) -> Iterator[list[float]]:
    """Dial a torrent again and again while the block lasts; give the seconds each time."""
    took: list[float] = []
    over = threading.Event()

    def dial_on() -> None:
        while not over.is_set():
            took.append(dial(address, info_hash))

    thread = threading.Thread(target=dial_on)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def measure(entries: str, objects: Objects, state: Path, directory: Path) -> dict[str, float]:
    """Start a daemon on a state, ask it for everything, and return the figures."""
    server = Server(objects)
    keys = [{"key": key} for key in objects.etags] if entries == "keys" else [{"prefix": PREFIX}]
    settings = {
        "state_directory": str(state),
        "origin": {"endpoint": server.endpoint, "path_style": True, "anonymous": True},
        "objects": [{"bucket": BUCKET, **entry} for entry in keys],
        "cache": {"disk": "0 B"},
        "peer": {"connections_per_address": 1000, "super_seeding": "off"},
    }
    daemon = SeederDaemon(settings, directory=directory, address=ADDRESS)
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        stack.enter_context(server.running())
        stack.callback(daemon.close)
        begun = time.perf_counter()
        daemon.start(timeout=LONGEST)
        figures["ready, s"] = time.perf_counter() - begun
        figures["CPU until then, s"] = cpu_seconds(daemon.pid)
        time.sleep(SETTLING)
        figures[f"S3 requests in {SETTLING:.0f} s"] = sum(server.asked.values())
        hashes = random.sample(list(objects.hashes.values()), COLD)
        cold = [dial(daemon.peer_address, info_hash) for info_hash in hashes]
        figures["cold torrent, ms: median"] = statistics.median(cold) * 1e3
        figures["slowest of 100"] = max(cold) * 1e3
        with dialling(daemon.peer_address, hashes[0]) as beside:
            for name, target in (
                ("/metrics, s", "/metrics"),
                ("/status.json, s", "/status.json"),
                ("its first 100, s", "/status.json?limit=100"),
            ):
                figures[name] = statistics.median(fetch(daemon, target)[0] for _ in range(3))
        figures["beside, ms: most"] = max(beside) * 1e3
        figures["memory, MB"] = resident(daemon.pid)
        begun, used = time.perf_counter(), cpu_seconds(daemon.pid)
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_until_ready(times=2, timeout=LONGEST)
        figures["reload, s"] = time.perf_counter() - begun
        figures["CPU of it, s"] = cpu_seconds(daemon.pid) - used
        figures["memory after it, MB"] = resident(daemon.pid)
        begun = time.perf_counter()
        daemon.stop(timeout=LONGEST)
        figures["stop, s"] = time.perf_counter() - begun
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="ten_thousand", description=description)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--pieces", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    rounds: dict[str, list[dict[str, float]]] = {"prefix": [], "keys": []}
    with tempfile.TemporaryDirectory(prefix="ten-thousand-") as name:
        state = Path(name) / "state"
        objects = make_state(state, chosen.objects, chosen.pieces)
        for number in range(chosen.rounds):
            for entries, found in rounds.items():
                directory = Path(name) / f"{entries}-{number}"
                directory.mkdir()
                found.append(measure(entries, objects, state, directory))
    rows = []
    for figure in rounds["prefix"][0]:
        medians = (
            statistics.median(each[figure] for each in rounds[entries]) for entries in rounds
        )
        target = TARGETS.get(figure)
        rows.append((figure, *(f"{value:.3g}" for value in medians), f"{target or ''}"))
    print(machine())
    title = f"{chosen.objects:,} known objects of {chosen.pieces:,} pieces"
    show(title, ("", "below a prefix", "an entry each", "at most"), rows)


if __name__ == "__main__":
    main()
