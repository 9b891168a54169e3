"""A node whose directories hold what they shouldn't, or can't be used: it starts and serves."""

import contextlib
import logging
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import trio

from seeder.cache import disk
from seeder.config.load import load
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon import swarm_file
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.errors import StorageError
from seeder.publish import rounds
from seeder.torrent.publications import State
from seeder.units import MIB
from tests.daemon.support import BODY, get, serving, until
from tests.s3.objects_server import ObjectsServer
from tests.support.disks import DAMAGE, NOT_FILES, small_file_system
from tests.support.toml import toml

LEFT = NOT_FILES | DAMAGE
NAMES = ("Nelson", "other", "below/1", "below/2")


@pytest.fixture
def store(store: ObjectsServer) -> ObjectsServer:
    for number, name in enumerate(NAMES):
        store.objects[name] = BODY[number:][: 3 * MIB]
    return store


@pytest.fixture
def config(config: Config, store: ObjectsServer) -> Config:
    """A node with a hybrid, a torrent of v1 and a prefix."""
    build: tuple[Literal["build"]] = ("build",)
    objects = (
        ObjectSettings(bucket="quotes", key="Nelson", metainfo=build, format="hybrid"),
        ObjectSettings(bucket="quotes", key="other", metainfo=build),
        ObjectSettings(bucket="quotes", prefix="below/", metainfo=build),
    )
    return config.model_copy(update={"objects": objects})


def all_served(node: Node) -> bool:
    found = [node.catalog.by_name("quotes", name) for name in NAMES]
    return all(each is not None and each.state is State.SERVING for each in found)


async def fetch_all(node: Node) -> None:
    """Wait until every object is served and its torrent can be had."""
    with trio.fail_after(60):
        for name in NAMES:
            while True:
                await until(partial(all_served, node))
                status, _ = await get_bytes(node, f"/quotes/{name}?torrent")
                if status == 200:
                    break
                await trio.sleep(0.01)


async def get_bytes(node: Node, target: str) -> tuple[int, bytes]:
    address = node.config.tracker.listen[0]
    stream = await trio.open_tcp_stream(address.host, address.port)
    async with stream:
        await stream.send_all(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b"".join([part async for part in stream])
    return int(answer.split(b" ", 2)[1]), answer


def files_of(config: Config) -> list[Path]:
    """Return a file of each kind that a run leaves, one of several of a kind."""
    state = config.state_directory
    pieces = sorted(path for path in config.cache.directory.rglob("[0-9]*") if path.is_file())
    records = sorted((state / "metainfo").glob("*.info"))
    return [
        state / "ledger.sqlite",
        state / "swarms.json",
        records[0],
        next((state / "metainfo").glob("*.tree")),
        next((state / "listings").glob("*.json")),
        state / "lock",
        pieces[0],
        config.cache.directory / "lock",
    ]


async def leave(config: Config) -> None:
    """Let a run leave everything there is, with somebody in the swarm."""
    async with serving(config) as node:
        await fetch_all(node)
        [first, *_] = node.catalog
        assert first.torrent is not None
        query = "".join(f"%{byte:02x}" for byte in first.torrent.info_hash)
        target = f"/announce?info_hash={query}&peer_id=-XX0000-000000000000&port=1&left=1"
        assert (await get(config.tracker.listen[0], target))[0] == 200


@pytest.mark.parametrize("kind", LEFT)
async def test_whatever_lies_in_the_place_of_every_kind_of_file_the_node_starts_and_serves(
    config: Config, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    await leave(config)
    spoiled = files_of(config)
    for path in spoiled:
        if not (kind == "truncated" and not path.stat().st_size):
            with contextlib.suppress(IndexError):  # nothing can be flipped in an empty file
                LEFT[kind](path)
    caplog.clear()
    for _ in range(2):
        async with serving(config) as node:
            await fetch_all(node)
            assert node.foundation.database.statistics().fault is None
            await node.foundation.database.flush(node.foundation.ledger)
            assert node.foundation.database.statistics().fault is None
            assert node.foundation.cache.statistics().disk_ok
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    if kind in NOT_FILES:
        # A link to a file is for SQLite as good as the file.
        links = {"a link outside", "a dangling link"}
        named = spoiled[1:6] if kind in links else spoiled[:6]
        for path in named:
            assert [line for line in told if str(path) in line], path
    # A second start has nothing left to say.
    assert len(told) == len(set(told))
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize("kind", LEFT)
async def test_a_reload_that_meets_a_bad_record_serves_all(
    config: Config, tmp_path: Path, kind: str
) -> None:
    await leave(config)
    for path in sorted((config.state_directory / "metainfo").glob("*.info")):
        LEFT[kind](path)
    for path in sorted((config.state_directory / "listings").glob("*.json")):
        LEFT[kind](path)
    file = tmp_path / "seeder.toml"
    origin = config.origins["default"]
    objects = [
        {"bucket": "quotes", "metainfo": ["build"], **entry}
        for entry in ({"key": "Nelson", "format": "hybrid"}, {"key": "other"}, {"prefix": "below/"})
    ]
    settings = {
        "state_directory": str(config.state_directory),
        "origin": {"endpoint": origin.endpoint, "path_style": True},
        "objects": objects,
        "cache": {"directory": str(config.cache.directory)},
        **{
            name: {"listen": [str(address) for address in getattr(config, name).listen]}
            for name in ("tracker", "peer", "admin")
        },
    }
    file.write_text(toml(settings))
    assert load(file).objects == config.objects
    async with serving(config.model_copy(update={"objects": ()})) as node:
        await reload(node, file)
        await fetch_all(node)


# -- disks


@contextmanager
def read_only(point: Path) -> Iterator[None]:
    remount(point, "ro")
    try:
        yield
    finally:
        remount(point, "rw")


def remount(point: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(point)], check=True)


@contextmanager
def full(point: Path) -> Iterator[None]:
    filler = point / "of somebody else"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextmanager
def without_inodes(point: Path) -> Iterator[None]:
    fillers = list[Path]()
    with contextlib.suppress(OSError):
        while True:
            filler = point / f"of somebody else {len(fillers)}"
            filler.touch()
            fillers.append(filler)
    yield
    for filler in fillers:
        filler.unlink()


FAILING = {"read-only": read_only, "full": full, "without inodes": without_inodes}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what failed be tried again soon."""
    monkeypatch.setattr(disk, "DISK_RETRY_AFTER", 0.01)
    monkeypatch.setattr(rounds, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(swarm_file, "SAVE_EVERY", 0.05)


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("which", ["state", "cache"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_disk_that_takes_nothing_at_the_start_is_used_when_it_does(
    *,
    config: Config,
    tmp_path: Path,
    soon: None,
    caplog: pytest.LogCaptureFixture,
    how: str,
    which: str,
    known: bool,
) -> None:
    with small_file_system(tmp_path / "disk", 20 * MIB, inodes=1000) as point:
        config = moved(config, point, which)
        if known:
            await leave(config)
        else:
            # What isn't there can't be made; of the state directory that is refused.
            (point / which).mkdir()
        failing: Callable[[Path], contextlib.AbstractContextManager[None]] = FAILING[how]
        with contextlib.ExitStack() as stack:
            stack.enter_context(failing(point))
            async with serving(config) as node:
                if known or which == "cache":
                    await fetch_all(node)
                else:
                    await until(lambda: any(each.state is State.FAILED for each in node.catalog))
                assert (await get(config.admin.listen[0], "/readyz"))[0] == 200
                told = [each for each in caplog.records if str(point) in each.getMessage()]
                # Where all pieces are there, nothing asks for more room.
                assert told or (known, which, how) == (True, "cache", "full")
                stack.close()
                await fetch_all(node)
                node.foundation.ledger.unattributed.uploaded(1)
                await until_true(node)
        async with serving(config) as node:
            await fetch_all(node)
            assert node.foundation.ledger.unattributed.counters.uploaded_bytes == 1
    assert not [each for each in caplog.records if each.exc_info]


def moved(config: Config, point: Path, which: str) -> Config:
    if which == "state":
        return config.model_copy(update={"state_directory": point / "state"})
    cache = config.cache.model_copy(update={"directory": point / "cache"})
    return config.model_copy(update={"cache": cache})


async def until_true(node: Node) -> None:
    with trio.fail_after(30):
        while not await node.foundation.database.flush(node.foundation.ledger):  # noqa: ASYNC110
            await trio.sleep(0.01)


# -- what is refused


async def refusal(config: Config) -> str:
    """Return the one error that a start ends with."""
    error: BaseException
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(config):
            pass
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, StorageError)
    assert "\n" not in str(error)
    return str(error)


async def test_a_ledger_of_a_newer_seeder_is_refused_in_one_line(config: Config) -> None:
    await leave(config)
    path = config.state_directory / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "newer seeder" in await refusal(config)


async def test_a_state_directory_that_can_not_be_made_is_refused_in_one_line(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    config = config.model_copy(update={"state_directory": tmp_path / "file" / "state"})
    assert "can't be used: Not a directory" in await refusal(config)
