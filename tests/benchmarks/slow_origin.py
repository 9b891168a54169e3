"""The table `slow-origin` of tests.benchmarks.origin: what is in memory doesn't wait for S3."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.load import Target, run_load
from tests.benchmarks.setup import Setup, http_origin, show
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.support.objects import MIB, make_torrent, write_content
from tests.support.processes import Child, poll_until, python_environment

BUCKET = "bucket"
_WARM, _COLD = "warm", "cold"
_DELAY = 2.0
_WARM_SIZE = 256 * MIB
_COLD_SIZE = 1024 * MIB
_COLD_PEERS = 8
_SECONDS = 2.0
"""How long the warm peer is measured each time, after all of it went out once."""


def run(setup: Setup) -> None:
    """Measure the warm peer alone and beside the cold ones, in turns; print the medians."""
    alone: list[float] = []
    beside: list[float] = []
    with contextlib.ExitStack() as stack:
        daemon, torrents = stack.enter_context(_daemon(setup.directory))
        target = Target.of_file(torrents[_WARM])

        def rate(seconds: float | None = _SECONDS) -> float:
            load = run_load(
                daemon.peer_address,
                target,
                connections=1,
                depth=256,
                passes=1.0 if seconds is None else 1000.0,
                seconds=seconds,
            )
            return load.rate

        rate(None)
        before = _requests(daemon)
        for _ in range(setup.rounds):
            alone.append(rate())
            with _cold_peers(daemon, torrents[_COLD], setup.directory / "load.log"):
                beside.append(rate())
        asked = _requests(daemon) - before
    rows = [
        ("alone", f"{median(alone):.0f}", "1.00"),
        (
            f"beside {_COLD_PEERS} that wait for S3",
            f"{median(beside):.0f}",
            f"{median(beside) / median(alone):.2f}",
        ),
    ]
    title = f"slow-origin: one peer of an object in memory, {asked} GETs of {_DELAY:g} s meanwhile"
    show(title, ["", "MB/s", "/ alone"], rows)


@contextlib.contextmanager
def _daemon(directory: Path) -> Iterator[tuple[SeederDaemon, dict[str, Path]]]:
    """Serve two objects of one origin, whose answers about one of them take `_DELAY` seconds."""
    content = directory / "content"
    content.mkdir()
    write_content(content / _WARM, _WARM_SIZE)
    with (content / _COLD).open("wb") as file:
        file.truncate(_COLD_SIZE)  # zeros are as good as anything, and made at once
    objects = []
    for name in (_WARM, _COLD):
        own = directory / f"{name}.own"
        make_torrent(content / name, name=name, piece_length=MIB).write(own)
        objects.append({"bucket": BUCKET, "key": name, "torrent_file": str(own)})
    with http_origin(content, directory / "origin.log", delays={_COLD: _DELAY}) as endpoint:
        settings = {
            "origin": {"endpoint": endpoint, "path_style": True, "anonymous": True},
            "objects": objects,
            "cache": {"memory": f"{2 * _WARM_SIZE} B", "disk": "0 B"},
            # The same peers come again and again, from one address.
            "peer": {
                "super_seeding": "off",
                "connections_per_address": 100,
                "copies_per_address": "unlimited",
                "thrifty": False,
            },
        }
        with SeederDaemon(settings, directory=directory / "daemon") as daemon:
            torrents = {}
            for name in (_WARM, _COLD):
                wait_for_state(daemon, BUCKET, name, timeout=60)
                torrents[name] = directory / f"{name}.torrent"
                torrents[name].write_bytes(served_torrent(daemon, BUCKET, name))
            yield daemon, torrents


@contextlib.contextmanager
def _cold_peers(daemon: SeederDaemon, torrent: Path, log: Path) -> Iterator[None]:
    """Let peers ask for a few blocks each of the slow object, all the time."""
    host, port = daemon.peer_address
    before = _requests(daemon)
    argv = [sys.executable, "-m", "tests.benchmarks.load", f"{host}:{port}", str(torrent)]
    argv += ["--connections", str(_COLD_PEERS), "--depth", "4"]
    with Child(argv, log=log, env=python_environment()) as child:
        poll_until(
            lambda: _requests(daemon) >= before + _COLD_PEERS, timeout=30, what="cold requests"
        )
        yield
        if not child.running:
            raise child.failure("the cold peers ended")


def _requests(daemon: SeederDaemon) -> int:
    return int(daemon.torrent_status(BUCKET, _COLD)["origin_requests"])
