"""What clients make of an S3 that is away for a while in mid-download: when they go on, and end.

Each client has a daemon and an S3 of its own, and no other source: the daemon's peer listener, or
its web seed. The S3 sends a quarter of the object, then it is away for some seconds, in one of the
ways that `tests.e2e.failing` has. From its return on it is measured how long it takes until it is
asked, until the client is sent its next byte, and until the client has all.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from bencode2 import bdecode, bencode

from tests.benchmarks.setup import machine, show
from tests.e2e.aws_cli import AwsCopy
from tests.e2e.clients import KINDS, Rtorrent
from tests.e2e.daemon import SeederDaemon
from tests.e2e.failing import Failing, Outage
from tests.e2e.network import DAEMON_ADDRESS, FIRST_CLIENT_ADDRESS, Namespace
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.support.leecher import Leecher
from tests.support.objects import KIB, MIB, content, digest, make_torrent
from tests.support.processes import HarnessError, poll_until

Way: TypeAlias = Literal["web-seed", "peer"]
Measure: TypeAlias = Literal["asked", "next byte", "end"]
OUTAGES: Final = ("refused", "silent", "slow-down", "mute", "dropped", "unreachable")
WAYS: Final = ("web-seed", "peer")
MEASURES: Final[tuple[Measure, ...]] = ("asked", "next byte", "end")
ALL: Final[Sequence[type[Leecher]]] = (*KINDS, AwsCopy)
"""The clients, and `aws s3 cp` through our gateway."""

SIZE = 64 * MIB
_LATEST = 150.0
"""Seconds after the outage until a client counts as one that never ends."""
_LOOK = 0.1
"""Seconds between two looks at what a client was sent."""


class Run:
    """One client with a daemon and an S3 of its own."""

    def __init__(self, kind: type[Leecher], way: Way, outage: Outage, number: int) -> None:
        self.kind = kind
        self.way = way
        self.outage = outage
        self.number = number
        self.told: dict[Measure, str] = {}

    def prepare(
        self,
        network: Namespace,
        directory: Path,
        body: bytes,
        seconds: float,
        stack: contextlib.ExitStack,
    ) -> None:
        self.s3 = stack.enter_context(Failing(body, network, self.outage, seconds))
        own = directory / "own.torrent"
        make_torrent(body, name="object", piece_length=256 * KIB).write(own)
        settings = {
            "origin": {"endpoint": self.s3.endpoint, "path_style": True, "anonymous": True},
            "objects": [{"bucket": "bucket", "key": "object", "torrent_file": str(own)}],
            "gateway": {"web_seed": self.way == "web-seed"},
        }
        self.daemon = SeederDaemon(
            settings, directory=directory / "seeder", address=network.address(DAEMON_ADDRESS)
        )
        stack.callback(self.daemon.kill)
        self.daemon.start(timeout=120)
        wait_for_state(self.daemon, "bucket", "object", timeout=120)
        outside: Any = bdecode(served_torrent(self.daemon, "bucket", "object"))
        if self.way == "web-seed":
            del outside[b"announce"]
        self.torrent = directory / "given.torrent"
        self.torrent.write_bytes(bencode(outside))
        self.client = self.kind(
            network.address(FIRST_CLIENT_ADDRESS + self.number), directory / "client"
        )
        stack.callback(self.client.close)

    def begin(self) -> None:
        self.s3.arm(SIZE // 4)
        self.client.add(self.torrent)

    def end(self, network: Namespace, body: bytes) -> None:
        with network.entered():
            self.told = self._wait(body)

    def _wait(self, body: bytes) -> dict[Measure, str]:
        poll_until(lambda: self.s3.ended_at is not None, timeout=240, what="outage")
        ended_at = self.s3.ended_at
        assert ended_at is not None
        before = self._sent()
        latest = ended_at + _LATEST
        if before >= SIZE:
            return dict.fromkeys(MEASURES, "before")
        while self._sent() <= before and time.monotonic() < latest:
            time.sleep(_LOOK)
        byte, asked = time.monotonic(), self.s3.asked_at
        told: dict[Measure, str] = {
            "asked": "never" if asked is None else f"{asked - ended_at:.1f}",
            "next byte": "never" if byte >= latest else f"{byte - ended_at:.1f}",
        }
        try:
            file = self.client.wait(latest - time.monotonic())
        except HarnessError as failure:
            print(f"{self.kind.__name__} {self.way} {self.outage}: {str(failure)[:300]!r}")
            return told | {"end": "never"}
        end = f"{time.monotonic() - ended_at:.1f}"
        return told | {"end": end if digest(file) == digest(body) else "wrong"}

    def _sent(self) -> int:
        """Return the bytes that the client was sent so far."""
        count: int = self.daemon.torrent_status("bucket", "object")["uploaded_bytes"]
        return count


def measure(
    network: Namespace, kinds: Sequence[type[Leecher]], way: Way, outage: Outage, seconds: float
) -> Iterator[Run]:
    """Run all clients side by side."""
    body = content(SIZE)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        runs = [Run(kind, way, outage, number) for number, kind in enumerate(kinds)]
        with network.entered():
            for run in runs:
                own = Path(directory) / str(run.number)
                own.mkdir()
                run.prepare(network, own, body, seconds, stack)
            for run in runs:
                run.begin()
        with ThreadPoolExecutor(len(runs)) as pool:
            for done in [pool.submit(run.end, network, body) for run in runs]:
                done.result()
        for run in runs:
            lines = [line for line in run.daemon.log.splitlines() if " S3 at " in line]
            print(f"{run.kind.__name__} {way} {outage}:", *lines, sep="\n  ", file=sys.stderr)
            yield run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--outages", default=",".join(OUTAGES))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--clients", default=",".join(kind.__name__ for kind in ALL))
    options = parser.parse_args()
    wanted = options.clients.split(",")
    kinds = [kind for kind in ALL if kind.__name__ in wanted and kind.why_missing() is None]
    network = Namespace()
    rows: list[tuple[str, ...]] = []
    for way in options.ways.split(","):
        # rtorrent 0.9.8 has no web seeds, and the AWS CLI has nothing else.
        other = Rtorrent if way == "web-seed" else AwsCopy
        some = [kind for kind in kinds if kind is not other]
        for outage in options.outages.split(","):
            found = {run.kind: run for run in measure(network, some, way, outage, options.seconds)}
            most = str(max(run.s3.requests for run in found.values()))
            for name in MEASURES:
                told = [found[kind].told[name] if kind in found else "" for kind in kinds]
                rows.append((way, outage, name, *told, most))
                print(*rows[-1], flush=True)
    title = f"outages: S3 away for {options.seconds:g} s; seconds from its return on; {machine()}"
    names = [kind.__name__ for kind in kinds]
    show(title, ["", "", "", *names, "most requests meanwhile"], rows)


if __name__ == "__main__":
    main()
