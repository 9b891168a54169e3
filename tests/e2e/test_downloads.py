"""Objects of every size and name go from two unlike S3 servers to real clients, byte for byte."""

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bencode2 import bdecode

from tests.e2e.clients import Aria2, ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.publishing import (
    origin,
    read_torrent,
    served_magnet,
    served_torrent,
    wait_for_state,
)
from tests.e2e.s3 import Publisher
from tests.e2e.server import Server
from tests.support.leecher import Leecher, wait_for_all
from tests.support.libtorrent_client import Libtorrent
from tests.support.objects import KIB, MIB, content, digest
from tests.support.processes import Child, poll_until, python_environment

PIECE = 64 * KIB
SIZES = {
    "one byte": 1,
    "one whole piece": PIECE,
    "one piece and a byte": PIECE + 1,
    "whole pieces": 4 * PIECE,
    "many pieces": 3 * MIB + 5,
}
NAMES = {
    "spaces + pluses % percents%20": "spaces + pluses % percents%20",
    "ünïcode/日本語 🙂.bin": "日本語 🙂.bin",
    "a//b///c": "c",
    "a/../b/./c.d": "c.d",
    "folder/": "object",
    "?torrent&x=1#y": "_torrent&x=1#y",
}
"""Keys, and the file that a client makes of each."""
HOWS = ("file", "magnet")


@dataclass(frozen=True)
class Store:
    """A bucket of one's own in a running S3 server, and the daemon's credentials for it."""

    server: Server
    publisher: Publisher
    bucket: str
    environment: Mapping[str, str]


@pytest.fixture(params=["ceph", "swift"])
def store(request: pytest.FixtureRequest) -> Store:
    server: Server = request.getfixturevalue(request.param)
    publisher = server.publisher()
    bucket = f"bucket-{secrets.token_hex(8)}"
    publisher.create_bucket(bucket)
    return Store(server, publisher, bucket, server.environment())


def publish(
    make: Callable[..., SeederDaemon],
    store: Store,
    bodies: Mapping[str, bytes],
    **further: object,
) -> SeederDaemon:
    """Upload objects, start a daemon that publishes them, and wait until all are served."""
    for key, body in bodies.items():
        store.publisher.put(store.bucket, key, body)
    daemon = make(
        {
            "origin": origin(store.server),
            "objects": [{"bucket": store.bucket, "key": key, **further} for key in bodies],
        },
        environment=store.environment,
    )
    daemon.start()
    for key in bodies:
        wait_for_state(daemon, store.bucket, key)
    return daemon


def save_torrent(daemon: SeederDaemon, bucket: str, key: str, path: Path) -> Path:
    path.write_bytes(served_torrent(daemon, bucket, key))
    return path


def test_objects_of_every_size_arrive_whole(
    store: Store, seeder: Callable[..., SeederDaemon], client: ClientFactory, tmp_path: Path
) -> None:
    bodies = {key: content(size, seed=size) for key, size in SIZES.items()}
    daemon = publish(seeder, store, bodies, metainfo=["build"], piece_length="64 KiB")
    by_file, by_magnet = {}, {}
    for number, key in enumerate(bodies):
        file = save_torrent(daemon, store.bucket, key, tmp_path / f"{number}.torrent")
        assert read_torrent(file.read_bytes()).size == len(bodies[key])
        by_file[key], by_magnet[key] = client(Libtorrent), client(Libtorrent)
        by_file[key].add(file)
        by_magnet[key].add(served_magnet(daemon, store.bucket, key))
    for leechers in (by_file, by_magnet):
        for key, leecher in leechers.items():
            path = leecher.wait(30)
            assert path.name == key
            assert path.stat().st_size == len(bodies[key])
            assert digest(path) == digest(bodies[key]), key


def test_an_empty_object_is_a_torrent_without_pieces(
    store: Store, seeder: Callable[..., SeederDaemon], client: ClientFactory, tmp_path: Path
) -> None:
    daemon = publish(seeder, store, {"nothing": b""})
    file = save_torrent(daemon, store.bucket, "nothing", tmp_path / "nothing.torrent")
    info: Any = bdecode(read_torrent(file.read_bytes()).info)
    assert (info[b"length"], info[b"pieces"]) == (0, b"")
    # libtorrent, Transmission and rtorrent take no torrent of no bytes.
    path = client(Aria2).download(file, timeout=30)
    assert (path.name, path.stat().st_size) == ("nothing", 0)
    assert wait_for_state(daemon, store.bucket, "nothing")["uploaded_bytes"] == 0


def test_keys_of_every_kind_become_file_names(
    store: Store, seeder: Callable[..., SeederDaemon], client: ClientFactory, tmp_path: Path
) -> None:
    bodies = {key: content(PIECE + 1, seed=number) for number, key in enumerate(NAMES)}
    daemon = publish(seeder, store, bodies, metainfo=["build"])
    by_file, by_magnet = {}, {}
    for number, key in enumerate(bodies):
        file = save_torrent(daemon, store.bucket, key, tmp_path / f"{number}.torrent")
        by_file[key], by_magnet[key] = client(Libtorrent), client(Libtorrent)
        by_file[key].add(file)
        by_magnet[key].add(served_magnet(daemon, store.bucket, key))
    for leechers in (by_file, by_magnet):
        for key, leecher in leechers.items():
            path = leecher.wait(30)
            assert path.name == NAMES[key]
            assert digest(path) == digest(bodies[key]), key


def test_every_client_downloads_by_torrent_and_by_magnet(
    store: Store,
    seeder: Callable[..., SeederDaemon],
    client: ClientFactory,
    kinds: Sequence[type[Leecher]],
    tmp_path: Path,
) -> None:
    body = content(4 * MIB + 3)
    # A swarm for each, so that everything comes from the daemon.
    leechers = {f"{kind.__name__} by {how}": client(kind) for kind in kinds for how in HOWS}
    daemon = publish(seeder, store, dict.fromkeys(leechers, body))
    for number, (key, leecher) in enumerate(leechers.items()):
        file = save_torrent(daemon, store.bucket, key, tmp_path / f"{number}.torrent")
        magnet = served_magnet(daemon, store.bucket, key)
        leecher.add(file if key.endswith("file") else magnet)
    for path in wait_for_all(list(leechers.values()), timeout=90):
        assert path.name in leechers
        assert digest(path) == digest(body)
    for key, leecher in leechers.items():
        # aria2 leaves at the end of a download without announcing that it is complete.
        announces = not isinstance(leecher, Aria2)
        check_account(daemon, store, key, len(body), completed=int(announces))


def check_account(
    daemon: SeederDaemon, store: Store, key: str, size: int, *, completed: int
) -> None:
    """Check what /status.json says about an object that one client got from the daemon alone."""

    def settled() -> bool:
        status = daemon.torrent_status(store.bucket, key)
        claimed = status["delivered_claimed_bytes"] >= size
        return claimed and bool(status["completed"] == completed)

    poll_until(settled, timeout=20, what=f"completed download of {key}")
    status = daemon.torrent_status(store.bucket, key)
    assert status["uploaded_bytes"] == size
    assert status["delivered_verified_bytes"] == size
    # Some count the metadata that a magnet link lacked as downloaded too.
    assert status["delivered_claimed_bytes"] <= size + 2 * KIB
    # The object once, and what the ladder asked for: S3's own torrent, a 404 for a sidecar.
    assert size <= status["origin_bytes"] <= size + 2 * KIB
    assert status["saved_verified_bytes"] == size - status["origin_bytes"]
    assert status["origin_bytes_by_purpose"]["pieces"] == 0


def test_a_private_torrent_is_for_those_who_are_given_it(
    store: Store, seeder: Callable[..., SeederDaemon], client: ClientFactory, tmp_path: Path
) -> None:
    body = content(MIB)
    daemon = publish(seeder, store, {"secret": body}, private=True)
    for page in ("torrent", "magnet"):
        code, answer = daemon.get(f"/{store.bucket}/secret?{page}")
        assert (code, b"<Code>AccessDenied</Code>" in answer) == (403, True)
    file = tmp_path / "secret.torrent"
    name = f"{store.bucket}/secret"
    argv: list[str | Path] = [sys.executable, "-m", "seeder.cli", "torrent"]
    argv += ["-c", daemon.path, name, "--for", "somebody", "-o", file]
    environment = python_environment(**store.environment)
    with Child(argv, log=tmp_path / "torrent.log", env=environment, cwd=tmp_path) as command:
        assert command.wait(30) == 0, command.output()
    info: Any = bdecode(read_torrent(file.read_bytes()).info)
    assert info[b"private"] == 1
    assert digest(client(Libtorrent).download(file, timeout=30)) == digest(body)
