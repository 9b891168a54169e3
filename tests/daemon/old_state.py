"""A state directory as an older version left it, for the test that the newest one goes on from it.

`python -m tests.daemon.old_state CHECKOUT` makes tests/daemon/old_state_files again, with the
program of another checkout (the commit before the packages of seeder/ were arranged anew, d38c0e6,
made what is there): a daemon serves an object, two below a prefix, a bundle and a hybrid; a peer
has some blocks of each, two clients announce; a build is stopped after its first ranged GET; and
the daemon is told to stop. `report.json` is what `seeder report --json` said of it then.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import trio
from bencode2 import bdecode, bencode

from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.s3.fault_server import FaultServer, Reply, Seen, in_thread
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import KIB, MIB, content
from tests.support.processes import poll_until, python_environment
from tests.support.raw_peer import PIECE, UNCHOKE, RawPeer, request

DIRECTORY = Path(__file__).parent / "old_state_files"
STATE, REPORT = DIRECTORY / "state", DIRECTORY / "report.json"
LOOPBACK = "127.0.0.1"
BUCKET = "quotes"
BODIES = {
    "small": content(300_000, seed=1),
    "prefix/a": content(70_000, seed=2),
    "prefix/b": content(50_000, seed=3),
    "bundle/x": content(100_000, seed=4),
    "bundle/y": content(33_333, seed=5),
    "hybrid": content(600_000, seed=6),
    "late": content(20 * MIB, seed=7),
}
SERVED = ("small", "prefix/a", "prefix/b", "bundle/", "hybrid")
"""What is served, by its name; the build of "late" isn't done."""
FIRST_RUN = 8 * MIB
"""What hashing reads with one GET."""


def settings(endpoint: str, **further: object) -> Mapping[str, object]:
    """Return the configuration with which the state was made, for objects at `endpoint`."""
    sections: list[Mapping[str, object]] = [
        {"key": "small", "piece_length": "64 KiB"},
        {"prefix": "prefix/", "refresh": "10m"},
        {"prefix": "bundle/", "bundle": True, "piece_length": "64 KiB", "refresh": "10m"},
        {"key": "hybrid", "format": "hybrid", "piece_length": "64 KiB"},
        {"key": "late", "piece_length": "256 KiB"},
    ]
    return {
        "origin": {"endpoint": endpoint, "path_style": True},
        "objects": [{"bucket": BUCKET, "metainfo": ["build"], **each} for each in sections],
        "peer": {"super_seeding": "off"},
        **further,
    }


def served_by(store: ObjectsServer, *, late: bool) -> Reply:
    """Return what serves the store's objects; of "late" the first range alone, unless `late`."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        asked = seen.headers.get("range", "bytes=0-")
        if seen.path.endswith("/late") and not late and not asked.startswith("bytes=0-"):
            await trio.sleep_forever()
        await store.serve(seen, stream)

    return reply


def make(checkout: Path) -> None:
    """Make the directory and the report with the program of a checkout."""
    server = FaultServer(default=served_by(ObjectsServer(objects=dict(BODIES)), late=False))
    environment = {
        "PYTHONPATH": str(checkout),
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secrettest",
    }
    with tempfile.TemporaryDirectory() as temporary, in_thread(server):
        directory = Path(temporary)
        daemon = SeederDaemon(
            settings(server.url),
            directory=directory,
            address=LOOPBACK,
            environment=environment,
        )
        with daemon:
            for name in SERVED:
                wait_for_state(daemon, BUCKET, name)
                _use(daemon, name)
            journals = directory / "state/builds"
            poll_until(
                lambda: any(path.stat().st_size for path in journals.glob("*.journal")),
                timeout=20,
                what="journal of the build",
            )
            assert daemon.stop() == 0, daemon.log
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        shutil.copytree(directory / "state", STATE, ignore=shutil.ignore_patterns("lock"))
        words = [sys.executable, "-m", "seeder.cli", "report", "--json", "-c", str(daemon.path)]
        told = subprocess.run(
            words,
            env=python_environment(**environment),
            cwd=directory,
            stdout=subprocess.PIPE,
            check=True,
        )
    report = json.loads(told.stdout)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")


def _use(daemon: SeederDaemon, name: str) -> None:
    """Download two blocks as a peer; announce as a leecher, and as another that is done."""
    torrent: Any = bdecode(served_torrent(daemon, BUCKET, name))
    info_hash = hashlib.sha1(bencode(torrent[b"info"]), usedforsecurity=False).digest()
    with RawPeer(LOOPBACK, daemon.peer_address) as peer:
        peer.greet(info_hash)
        peer.wait_for(UNCHOKE)
        peer.send(request(0), request(0, 16 * KIB))
        for _ in range(2):
            peer.wait_for(PIECE)
    announces = ((1, 9000, 0, "started"), (1, 1000, 8000, ""), (2, 0, 9000, "completed"))
    for number, left, downloaded, event in announces:
        query = f"info_hash={quote_from_bytes(info_hash, safe='')}&compact=1"
        query += f"&peer_id=-XX0000-00000000000{number}&port={6881 + number}"
        query += f"&uploaded=0&downloaded={downloaded}&left={left}&event={event}"
        assert daemon.get(f"/announce?{query}")[0] == 200


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other version's directory")
    make(parser.parse_args().checkout.resolve())
