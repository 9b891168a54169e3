"""A state directory of an older version: read and gone on from, with nothing done again."""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from bencode2 import bdecode, bencode

from seeder.commands.torrent import find_torrent
from seeder.config.load import load
from seeder.daemon.node import Node
from seeder.torrent.publications import State
from tests.daemon import old_state
from tests.daemon.support import serving, until
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.processes import python_environment
from tests.support.toml import toml

MEASURED = (
    "origin_bytes",
    "origin_bytes_by_purpose",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "delivered_claimed_bytes",
    "completed",
    "peers",
    "seeds",
)


@dataclass
class Site:
    """What the older version left, its configuration, and the objects as they were."""

    path: Path
    store: ObjectsServer
    report: Mapping[str, Any]
    """What the older version's `seeder report --json` said."""

    def known(self, name: str) -> Mapping[str, Any]:
        """Return the row of one object or bundle in the older version's report."""
        return _row(self.report, name)


@pytest.fixture
def site(faults: FaultServer, tmp_path: Path) -> Site:
    store = ObjectsServer(objects=dict(old_state.BODIES))
    faults.default = store.serve
    # As if it had stopped just now: peers of long ago would be forgotten.
    shutil.copytree(old_state.STATE, tmp_path / "state", copy_function=shutil.copyfile)
    anywhere = {"listen": ["127.0.0.1:0"]}
    settings = old_state.settings(
        faults.url,
        state_directory="state",
        cache={"directory": "cache"},
        tracker=anywhere | {"announce_url": "http://127.0.0.1:6969/announce"},
        admin=anywhere,
        peer=anywhere | {"super_seeding": "off", "public_address": "127.0.0.1:6881"},
    )
    path = tmp_path / "seeder.toml"
    path.write_text(toml(settings))
    return Site(path, store, json.loads(old_state.REPORT.read_text()))


def _row(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    [row] = [row for row in report["torrents"] if row["key"] == name]
    found: Mapping[str, Any] = row
    return found


def _as_then(told: Any, known: Any) -> Any:
    """Return `told` without what only newer versions tell."""
    if isinstance(known, dict):
        return {key: _as_then(told[key], value) for key, value in known.items()}
    if isinstance(known, list):
        return [_as_then(*pair) for pair in zip(told, known, strict=True)]
    return told


async def seeder(command: str, *words: str | Path) -> bytes:
    """Run a command that succeeds, and return its stdout."""
    done = await trio.run_process(
        [sys.executable, "-m", "seeder.cli", command, *words],
        capture_stdout=True,
        env=python_environment(AWS_ACCESS_KEY_ID="AKIATEST", AWS_SECRET_ACCESS_KEY="secrettest"),
    )
    return done.stdout


async def test_the_report_says_what_the_older_version_said(site: Site) -> None:
    told = json.loads(await seeder("report", "--json", "-c", site.path))
    assert _as_then(told, site.report) == site.report
    assert not site.store.requests


@pytest.mark.parametrize("name", old_state.SERVED)
async def test_a_torrent_is_known_and_the_object_is_only_looked_at(site: Site, name: str) -> None:
    config = await trio.to_thread.run_sync(load, site.path)
    torrent = await find_torrent(config, old_state.BUCKET, name)
    assert torrent.info_hash.hex() == site.known(name)["info_hash"]
    assert site.store.requests == {"LIST" if name == "bundle/" else f"HEAD {name}": 1}


async def test_the_command_for_a_torrent_knows_it_too(site: Site) -> None:
    info_hash = site.known("small")["info_hash"]
    magnet = await seeder("magnet", "-c", site.path, f"{old_state.BUCKET}/small")
    assert f"xt=urn:btih:{info_hash}&" in magnet.decode()
    file: Any = bdecode(await seeder("torrent", "-c", site.path, f"{old_state.BUCKET}/small"))
    assert hashlib.sha1(bencode(file[b"info"])).hexdigest() == info_hash
    assert site.store.requests == {"HEAD small": 2}


async def test_a_daemon_goes_on_with_all_of_it(site: Site) -> None:
    config = await trio.to_thread.run_sync(load, site.path)
    site.store.gate = trio.Event()  # of ranged GETs
    async with serving(config) as node:
        # What is known is served before S3 is asked for anything; by both hashes, if hybrid.
        for name in old_state.SERVED:
            assert _state(node, name) is State.SERVING
        await until(lambda: "HEAD late" in site.store.requests)
        told = await _document(node)
        for name in old_state.SERVED:
            before, now = site.known(name), _row(told, name)
            assert now["info_hash"] == before["info_hash"]
            assert {key: now[key] for key in MEASURED} == {key: before[key] for key in MEASURED}
        hybrid = node.catalog.by_name(old_state.BUCKET, "hybrid")
        assert hybrid is not None
        assert hybrid.torrent is not None
        assert hybrid.torrent.short_v2_hash is not None
        assert node.catalog.by_hash(hybrid.torrent.short_v2_hash) is hybrid.torrent
        # The build goes on behind the run that it had.
        site.store.gate.set()
        await until(lambda: _state(node, "late") is State.SERVING)
        late = len(old_state.BODIES["late"])
        assert site.store.body_bytes == {"late": late - old_state.FIRST_RUN}
        assert _row(await _document(node), "late")["origin_bytes_by_purpose"]["hashing"] == late
    looks = {"LIST", *(f"HEAD {key}" for key in ("small", "hybrid", "late"))}
    # An older record has no Last-Modified, and a listing doesn't tell it: HEAD is asked once.
    described = {f"HEAD {key}" for key in old_state.BODIES if key.startswith("prefix/")}
    looks |= described
    assert all(site.store.requests[request] <= 1 for request in described)
    assert {request for request in site.store.requests if "GET" not in request} <= looks


def _state(node: Node, name: str) -> State | None:
    found = node.catalog.by_name(old_state.BUCKET, name)
    return None if found is None else found.state


async def _document(node: Node) -> Mapping[str, Any]:
    document: Mapping[str, Any] = (await node.overview.report()).document()
    return document
