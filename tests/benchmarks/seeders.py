"""Seeders to measure side by side: ours, libtorrent and rtorrent, each tuned, each one process.

All serve one file on loopback. libtorrent runs in a process of its own:

    python -m tests.benchmarks.seeders ADDRESS:PORT FILE.torrent DIRECTORY
"""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt

from tests.benchmarks.load import Target
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import rtorrent_commands
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import origin, wait_for_state
from tests.support.objects import KIB, MIB, make_torrent, write_content
from tests.support.ports import free_port
from tests.support.processes import Child, missing_programs, python_environment

ADDRESS = "127.0.0.1"
# rtorrent takes no torrent without a tracker; nothing listens on port 1.
_NO_TRACKER = "http://127.0.0.1:1/announce"


@dataclass(frozen=True, slots=True)
class Job:
    """The file that all seed, its torrent, and a directory for what they write."""

    content: Path
    torrent: Path
    piece_length: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Running:
    """A seeder that is ready: what to call it, where it listens, its process, its torrent."""

    name: str
    version: str
    address: tuple[str, int]
    pid: int
    target: Target


def prepare(directory: Path, size: int, piece_length: int) -> Job:
    """Write a file of `size` bytes and its torrent."""
    content = directory / "content" / "object.bin"
    content.parent.mkdir()
    write_content(content, size)
    torrent = make_torrent(
        content, name=content.name, piece_length=piece_length, trackers=[_NO_TRACKER]
    )
    return Job(content, torrent.write(directory / "object.torrent"), piece_length, directory)


@contextlib.contextmanager
def libtorrent(job: Job) -> Iterator[Running]:
    """libtorrent from PyPI with its preset for seeding, plain TCP only."""
    port = free_port(ADDRESS)
    argv = [sys.executable, "-m", "tests.benchmarks.seeders", f"{ADDRESS}:{port}"]
    argv += [str(job.torrent), str(job.content.parent)]
    with Child(argv, log=job.directory / "libtorrent.log", env=python_environment()) as child:
        child.wait_until(lambda: "seeding" in child.output(), timeout=60, what="libtorrent")
        yield Running(
            "libtorrent", lt.__version__, (ADDRESS, port), child.pid, Target.of_file(job.torrent)
        )


@contextlib.contextmanager
def rtorrent(job: Job) -> Iterator[Running]:
    """Debian's rtorrent without limits on slots and connections."""
    port = free_port(ADDRESS)
    session = job.directory / "rtorrent-session"
    session.mkdir()
    started = job.directory / "rtorrent-started"
    commands = job.directory / "rtorrent.rc"
    base = rtorrent_commands(
        ADDRESS, port, session=session, downloads=job.content.parent, encryption="none"
    )
    tuning = {
        "throttle.max_uploads.set": 1000,
        "throttle.max_uploads.global.set": 0,
        "throttle.max_peers.seed.set": 1000,
        "network.max_open_sockets.set": 1000,
        "network.max_open_files.set": 600,
        "network.send_buffer.size.set": "4M",
        "pieces.memory.max.set": "4096M",
        "method.set_key": f'event.download.resumed, mark, "execute2 = touch, {started}"',
        "load.start": f'"{job.torrent}"',
    }
    commands.write_text(base + "".join(f"{name} = {value}\n" for name, value in tuning.items()))
    with Child(
        ["rtorrent", "-n", "-o", f"import={commands}"], log=job.directory / "rtorrent.log"
    ) as child:
        child.wait_until(started.exists, timeout=120, what="end of rtorrent's hash check")
        yield Running(
            "rtorrent", _rtorrent_version(), (ADDRESS, port), child.pid, Target.of_file(job.torrent)
        )


def ours(job: Job) -> contextlib.AbstractContextManager[Running]:
    """Our daemon; its memory holds the whole file."""
    return _ours(job, "ours", memory=job.content.stat().st_size + 64 * MIB)


def ours_from_disk(job: Job) -> contextlib.AbstractContextManager[Running]:
    """The same with memory for an eighth of the file; the rest is on disk, in the page cache."""
    return _ours(job, "ours-disk", memory=job.content.stat().st_size // 8)


@contextlib.contextmanager
def _ours(job: Job, name: str, *, memory: int) -> Iterator[Running]:
    """Our daemon over a Ceph RGW with the file as its object."""
    size = job.content.stat().st_size
    with CephRGW(ADDRESS, settings={"rgw torrent flag": "false"}) as server:
        publisher = server.publisher()
        publisher.create_bucket("benchmark")
        publisher.put("benchmark", job.content.name, job.content)
        settings = {
            "origin": origin(server),
            "objects": [
                {
                    "bucket": "benchmark",
                    "key": job.content.name,
                    "metainfo": ["build"],
                    "piece_length": f"{job.piece_length // KIB} KiB",
                }
            ],
            "cache": {
                "memory": f"{memory // MIB} MiB",
                "disk": f"{2 * size // MIB + 64} MiB",
            },
            # The load generator asks for what it likes, as from any seed.
            "peer": {
                "connections": 4000,
                "connections_per_torrent": 4000,
                "connections_per_address": 1000,
                "copies_per_address": "unlimited",
                "super_seeding": "off",
                "thrifty": False,
            },
        }
        credentials = CephRGW.environment()
        with SeederDaemon(
            settings, directory=job.directory / name, environment=credentials
        ) as daemon:
            status = wait_for_state(daemon, "benchmark", job.content.name, timeout=120)
            target = Target(bytes.fromhex(status["info_hash"]), size, job.piece_length)
            yield Running(name, _our_version(), daemon.peer_address, daemon.pid, target)


Start = Callable[[Job], contextlib.AbstractContextManager[Running]]
SEEDERS: dict[str, Start] = {
    "ours": ours,
    "ours-disk": ours_from_disk,
    "libtorrent": libtorrent,
    "rtorrent": rtorrent,
}


def why_not(name: str) -> str | None:
    """Return the reason why a seeder can't run here, or None if it can."""
    if name == "rtorrent" and missing_programs("rtorrent"):
        return "rtorrent is not installed"
    return CephRGW.why_missing() if name.startswith("ours") else None


def _our_version() -> str:
    import seeder

    return str(getattr(seeder, "__version__", "unversioned"))


def _rtorrent_version() -> str:
    program = shutil.which("rtorrent")
    assert program is not None
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+?)\.?\s", said)
    return found[1] if found else "unknown"


def _seed(address: str, torrent: Path, directory: Path) -> None:
    """Seed with libtorrent until a signal comes."""
    settings = lt.high_performance_seed()
    settings["listen_interfaces"] = address
    settings["allow_multiple_connections_per_ip"] = True
    settings["enable_dht"] = settings["enable_lsd"] = False
    settings["enable_upnp"] = settings["enable_natpmp"] = False
    settings["enable_outgoing_utp"] = settings["enable_incoming_utp"] = False
    settings["unchoke_slots_limit"] = -1
    settings["connections_limit"] = 4000
    settings["listen_queue_size"] = 512
    settings["send_buffer_watermark"] = 3 * MIB
    settings["send_buffer_low_watermark"] = MIB
    settings["send_buffer_watermark_factor"] = 150
    settings["alert_mask"] = 0
    session = lt.session(settings)
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent.read_bytes())
    parameters.save_path = str(directory)
    parameters.flags = lt.torrent_flags.seed_mode
    session.add_torrent(parameters)
    print("seeding", flush=True)
    signal.pause()


def main(arguments: Sequence[str]) -> None:
    """Run libtorrent as the child of a benchmark."""
    address, torrent, directory = arguments
    _seed(address, Path(torrent), Path(directory))


if __name__ == "__main__":
    main(sys.argv[1:])
