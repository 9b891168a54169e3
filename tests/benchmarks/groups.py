"""How many bytes of a swarm cross a slow link between groups, with [tracker.groups] and without.

    python -m tests.benchmarks.groups [--size 64MiB] [--leechers 24] [--every 1] [--rate 40]
        [--rounds 1]

Two network namespaces with one link between them, of `--rate` Mbit/s each way (tc's token bucket).
In one are S3, the daemon and half of the leechers, in the other the other half: libtorrent sessions
with an address each, of which one more comes `--every` so many seconds. The link's own counters say
what crossed it, headers included, in copies of the object; what our seeder sent over it is its own
count, for it serves both sides. It needs root.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from seeder.units import MIB, parse_size
from tests.benchmarks.setup import http_origin, machine
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import Namespace
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.support.leecher import wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import content, digest

BUCKET, KEY = "bucket", "object"
HERE, THERE = "10.20.1", "10.20.2"
GROUPS = {"here": [f"{HERE}.0/24"], "there": [f"{THERE}.0/24"]}


@dataclass(frozen=True)
class Case:
    """Whether there are groups, and whether clients tell each other of peers (PEX)."""

    name: str
    groups: bool
    private: bool


CASES = (
    Case("no groups", False, False),
    Case("groups", True, False),
    Case("no groups, private torrent (no PEX)", False, True),
    Case("groups, private torrent (no PEX)", True, True),
)


@dataclass(frozen=True)
class Outcome:
    """What one swarm cost: copies of the object over the link, and time until all have it."""

    copies: float
    ours: float
    """Of these, what our seeder sent; where there are no groups, that isn't counted."""
    seconds: float


class Link:
    """Two networks, and what joins them."""

    def __init__(self, rate: float) -> None:
        self.here, self.there = Namespace(), Namespace()
        self._ip(self.here, "link add near type veth peer name far")
        self._ip(self.here, f"link set far netns {self.there.prefix[1].removeprefix('--net=')}")
        for network, name, address, other in (
            (self.here, "near", "10.21.0.1/30", THERE),
            (self.there, "far", "10.21.0.2/30", HERE),
        ):
            self._ip(network, f"addr add {address} dev {name}", f"link set {name} up")
            own = HERE if network is self.here else THERE
            network.claim(f"{own}.0/24")
            self._ip(network, f"route add {other}.0/24 dev {name} src {own}.1")
            bucket = ["tc", "qdisc", "add", "dev", name, "root", "tbf", "rate", f"{rate}mbit"]
            network.run([*bucket, "burst", "64kb", "latency", "200ms"])
        # Neighbours on the link answer for all of their network.
        for network, name in ((self.here, "near"), (self.there, "far")):
            with network.entered():
                Path(f"/proc/sys/net/ipv4/conf/{name}/proxy_arp").write_text("1", encoding="ascii")

    @staticmethod
    def _ip(network: Namespace, *lines: str) -> None:
        with network.entered():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)

    @property
    def crossed(self) -> int:
        """Bytes that have crossed it, both ways."""
        text = self.here.run(["cat", "/proc/net/dev"])
        [line] = [line for line in text.splitlines() if line.strip().startswith("near:")]
        fields = line.partition(":")[2].split()
        return int(fields[0]) + int(fields[8])

    def close(self) -> None:
        """Give both networks up."""
        self.here.close()
        self.there.close()


def run(
    case: Case, link: Link, body: bytes, *, leechers: int, every: float, directory: Path
) -> Outcome:
    """Let a swarm download the object, and count what crossed the link."""
    with ExitStack() as stack:
        stack.enter_context(link.here.entered())
        daemon = stack.enter_context(_daemon(case, body, directory))
        torrent = directory / "object.torrent"
        torrent.write_bytes(served_torrent(daemon, BUCKET, KEY))
        clients = []
        for number in range(leechers):
            here = number % 2 == 0
            address = f"{HERE if here else THERE}.{10 + number}"
            with (link.here if here else link.there).entered():
                client = Libtorrent(address, directory / f"client-{number}")
            stack.callback(client.close)
            clients.append(client)
        before, started = link.crossed, time.monotonic()
        for client in clients:
            client.add(torrent)
            time.sleep(every)
        files = wait_for_all(clients, timeout=900)
        seconds = time.monotonic() - started
        crossed = link.crossed - before
        sha256 = digest(body)
        assert all(digest(path) == sha256 for path in files)
        groups = daemon.status()["groups"]
        ours = sum(each["sent_bytes"] for each in groups if each["name"] == "there")
        return Outcome(crossed / len(body), ours / len(body), seconds)


@contextmanager
def _daemon(case: Case, body: bytes, directory: Path) -> Iterator[SeederDaemon]:
    objects = directory / "s3"
    objects.mkdir()
    (objects / KEY).write_bytes(body)
    with http_origin(objects, directory / "s3.log") as endpoint:
        address = f"{HERE}.2"
        daemon = SeederDaemon(
            {
                "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
                "objects": [
                    {
                        "bucket": BUCKET,
                        "key": KEY,
                        "metainfo": ["build"],
                        "piece_length": "256 KiB",
                        "private": case.private,
                        "public": True,
                    }
                ],
                "cache": {"memory": f"{2 * len(body)} B", "disk": "0 B"},
            },
            directory=directory / "daemon",
            address=address,
        )
        if case.groups:
            lines = "".join(f'{name} = ["{each[0]}"]\n' for name, each in GROUPS.items())
            file = daemon.path
            file.write_text(f"{file.read_text()}\n[tracker.groups]\n{lines}")
        with daemon:
            wait_for_state(daemon, BUCKET, KEY)
            yield daemon


def main() -> None:
    """Run the cases by turns and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("64 MiB"))
    parser.add_argument("--leechers", type=int, default=24)
    parser.add_argument("--every", type=float, default=1)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    outcomes: dict[Case, list[Outcome]] = defaultdict(list)
    body = content(chosen.size)
    link = Link(chosen.rate)
    try:
        with tempfile.TemporaryDirectory() as name:
            for turn in range(chosen.rounds):
                for number, case in enumerate(CASES):
                    directory = Path(name) / f"{turn}-{number}"
                    directory.mkdir()
                    found = run(
                        case,
                        link,
                        body,
                        leechers=chosen.leechers,
                        every=chosen.every,
                        directory=directory,
                    )
                    print(f"{case.name}: {found}", flush=True)
                    outcomes[case].append(found)
                    shutil.rmtree(directory)
    finally:
        link.close()
    print(
        f"{chosen.leechers} leechers, one more every {chosen.every:g} s, half on either side of"
        f" {chosen.rate:g} Mbit/s,"
        f" {chosen.size // MIB} MiB, medians of {chosen.rounds} rounds\n{machine()}\n"
    )
    print("| | copies over the link | of these our seeder's | seconds |\n|---|---|---|---|")
    for case in CASES:
        copies = median(each.copies for each in outcomes[case])
        seconds = median(each.seconds for each in outcomes[case])
        ours = f"{median(each.ours for each in outcomes[case]):.2f}" if case.groups else "-"
        print(f"| {case.name} | {copies:.2f} | {ours} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
