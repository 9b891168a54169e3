"""The command line of `tests.soak`: see there."""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.setup import machine, show
from tests.e2e.ceph import CephRGW
from tests.e2e.daemon import SeederDaemon
from tests.e2e.network import DAEMON_ADDRESS, S3_ADDRESS, Namespace, Network, why_no_namespace
from tests.soak import changes, clients, floods
from tests.soak.clients import Visit
from tests.soak.samples import INTERVAL, Samples
from tests.soak.verdict import Run, read_exchanges, rows, unexpected_errors
from tests.soak.world import KEYS, World
from tests.support.ports import free_port
from tests.support.processes import Child, poll_until, python_environment

HONEST, ATTACKERS = range(3, 13), range(13, 17)
"""Numbers of their addresses."""
WARM_UP = 0.25
"""Share of the time after which the slopes are measured, but at most LONGEST_WARM_UP."""
LONGEST_WARM_UP = 300.0
QUIET_SECONDS = 40.0
"""How long we wait for the daemon to let go of clients that are gone without a word."""


@dataclass(frozen=True)
class Stage:
    """Where it happens."""

    daemon: SeederDaemon
    world: World
    network: Network
    mode: Path
    """The wire's mode file."""
    endpoint: str
    """The wire's, which the daemon takes for S3."""


class Crew:
    """The soak's own threads: each does one thing again and again until told to stop."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def hire(self, act: Callable[[], None], pause: float) -> None:
        """Do something again and again, with so many seconds in between."""
        thread = threading.Thread(target=self._work, args=(act, pause))
        self._threads.append(thread)
        thread.start()

    def _work(self, act: Callable[[], None], pause: float) -> None:
        while not self._stopped.wait(pause):
            try:
                act()
            except Exception:
                self.broken.append(traceback.format_exc())

    def stop(self) -> None:
        """Let each finish what it does, and wait for all."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def soak(seconds: float, directory: Path, *, pace: float = 1.0) -> Run:
    """Run everything for so long; pauses and patience are multiplied by `pace`."""
    with ExitStack() as stack:
        network = Network() if why_no_namespace() else Namespace()
        stack.callback(network.close)
        stack.enter_context(network.entered())
        ceph = stack.enter_context(CephRGW(network.address(S3_ADDRESS)))
        world = World(ceph.publisher())
        world.fill()
        mode, log = directory / "mode", directory / "wire.log"
        changes.set_mode(mode, "fine")
        port = free_port(network.address(S3_ADDRESS))
        own = f"{network.address(S3_ADDRESS)}:{port}"
        words: list[str | Path] = ["tests.soak.wire", own, f"{ceph.address}:{ceph.port}", mode, log]
        wire = stack.enter_context(
            Child(
                [sys.executable, "-m", *words],
                log=directory / "wire.out",
                env=python_environment(),
            )
        )
        wire.wait_until(lambda: "listening" in wire.output(), timeout=30, what="the wire")
        endpoint = f"http://{own}"
        daemon = SeederDaemon(
            changes.settings(endpoint),
            directory=directory / "seeder",
            address=network.address(DAEMON_ADDRESS),
            environment=CephRGW.environment(),
        )
        with daemon:
            poll_until(lambda: _all_served(daemon), timeout=120, what="object served")
            stage = Stage(daemon, world, network, mode, endpoint)
            return _live(stage, seconds, pace, log)


def _all_served(daemon: SeederDaemon) -> bool:
    torrents = daemon.status()["torrents"]
    served = {row["key"] for row in torrents if row["state"] == "serving"}
    return KEYS.keys() <= served and len(served) > len(KEYS)


def _live(stage: Stage, seconds: float, pace: float, log: Path) -> Run:
    """Let everybody at the daemon, measure, let them go, and stop it."""
    daemon = stage.daemon
    samples, crew, began = Samples(), Crew(), time.monotonic()
    samples.take(daemon, began)
    _hire(crew, stage, pace)
    while time.monotonic() < began + seconds:
        samples.take(daemon, began)
        time.sleep(INTERVAL)
    crew.stop()
    ended = time.monotonic() - began
    changes.set_mode(stage.mode, "fine")
    before, after = int(samples.descriptors[0]), _descriptors(daemon)
    deadline = time.monotonic() + QUIET_SECONDS * pace
    while after > before and time.monotonic() < deadline:
        time.sleep(INTERVAL)
        after = _descriptors(daemon)
    exit_code, totals = _stop(daemon)
    return Run(
        seconds=ended,
        warm_up=min(WARM_UP * seconds, LONGEST_WARM_UP),
        samples=samples,
        truth=stage.world.truth,
        log=daemon.log,
        exchanges=read_exchanges(log),
        totals=totals,
        descriptors=(before, after),
        exit_code=exit_code,
        broken=crew.broken,
    )


def _descriptors(daemon: SeederDaemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def _hire(crew: Crew, stage: Stage, pace: float) -> None:
    """Begin all that happens."""
    honest, attackers = (
        [stage.network.address(number) for number in numbers] for numbers in (HONEST, ATTACKERS)
    )
    world, daemon = stage.world, stage.daemon
    visits: list[tuple[Callable[[Visit], None], int, float]] = [
        (clients.raw_peer, 6, 0.3),
        (clients.libtorrent_client, 2, 1.0),
        (clients.web_download, 2, 0.5),
        (clients.announces, 2, 0.3),
    ]
    for act, count, pause in visits:
        for number in range(count):
            rng = random.Random(f"{act.__name__} {number}")
            visit = Visit(world, daemon, honest, rng, patience=60.0 * pace)
            crew.hire(partial(act, visit), pause * pace)
    attack = Visit(world, daemon, attackers, random.Random("attack"))
    crew.hire(lambda: attack.rng.choice(floods.FLOODS)(attack), 10.0 * pace)
    chance = random.Random("chance")
    crew.hire(lambda: changes.replace_objects(world, chance), 5.0 * pace)
    crew.hire(lambda: changes.reload(world, daemon, stage.endpoint, chance), 15.0 * pace)
    crew.hire(lambda: changes.break_s3(world, stage.mode, chance, 6.0 * pace), 20.0 * pace)


def _stop(daemon: SeederDaemon) -> tuple[int, dict[str, object]]:
    """Stop the daemon; return its exit code, and the totals that it left in the ledger."""
    code = daemon.stop(timeout=60)
    told = subprocess.run(
        [sys.executable, "-m", "seeder.cli", "report", "--json", "-c", daemon.path],
        env=python_environment(HOME=str(daemon.directory)),
        capture_output=True,
        check=True,
    )
    totals: dict[str, object] = json.loads(told.stdout)["totals"]
    return code, totals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak and print its figures; 0 if all of them keep their bounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--directory", type=Path, help="for logs and state; default: a new one")
    options = parser.parse_args(arguments)
    if reason := CephRGW.why_missing():
        print(reason)
        return 2
    directory = options.directory or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    run = soak(60 * options.minutes, directory)
    table = list(rows(run))
    columns = ["", "figure", "bound", ""]
    marks = {True: "", False: "BROKEN"}
    cells = [[row.name, row.figure, row.bound, marks[row.within]] for row in table]
    show(f"{options.minutes:g} minutes, {machine()}", columns, cells)
    for reason, count in run.truth.reasons.most_common(12):
        print(f"given up {count} times: {reason}")
    for text in (*run.truth.wrong[:20], *run.broken[:5], *unexpected_errors(run.log)[:20]):
        print(text)
    print(f"logs: {directory}")
    return int(not all(row.within for row in table))


if __name__ == "__main__":
    sys.exit(main())
