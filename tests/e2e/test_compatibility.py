"""What works with which S3 and which client: the rows of config/s3.md's table."""

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libtorrent as lt
import pytest
import trio
from botocore.exceptions import ClientError

from seeder.config.origins import OriginSettings
from seeder.s3.client import S3Origin
from tests.compatibility import CLIENTS, note, real_row
from tests.e2e.ceph import CephRGW
from tests.e2e.clients import ClientFactory
from tests.e2e.daemon import SeederDaemon
from tests.e2e.localstack import LocalStack
from tests.e2e.network import FIRST_CLIENT_ADDRESS, S3_ADDRESS, Network
from tests.e2e.publishing import served_torrent, wait_for_state
from tests.e2e.s3 import MULTIPART_PART_SIZE, Publisher
from tests.e2e.server import Server
from tests.e2e.swift import Swift
from tests.publish.servers import Trial
from tests.publish.support import make_world
from tests.s3.dialects import DIALECTS
from tests.s3.fault_server import FaultServer, Seen, in_thread
from tests.s3.objects_server import ObjectsServer
from tests.support.leecher import Leecher
from tests.support.libtorrent_client import local_settings
from tests.support.moto import moto_server
from tests.support.objects import KIB, content, digest
from tests.support.processes import HarnessError, poll_until

MakeDaemon = Callable[..., SeederDaemon]

BODY = content(300 * KIB + 5)
KEY = "a b+\xe9.bin"
FIXTURES = {
    "Ceph RGW 16.2": "ceph",
    "OpenStack Swift": "swift",
    "LocalStack": "localstack",
    "moto": None,
}


@dataclass
class Real:
    """A bucket of a real server."""

    endpoint: str
    environment: Mapping[str, str]
    publisher: Publisher
    bucket: str

    def put(self, key: str, body: bytes) -> None:
        self.publisher.put(self.bucket, key, body)

    def put_in_parts(self, key: str) -> bytes:
        body = content(MULTIPART_PART_SIZE + 5)
        try:
            self.publisher.put_multipart(self.bucket, key, body, ChecksumAlgorithm="SHA1")
        except ClientError:  # an older server: it takes none
            self.publisher.put_multipart(self.bucket, key, body)
        return body

    def delete(self, key: str) -> None:
        self.publisher.raw.delete_object(Bucket=self.bucket, Key=key)


@pytest.fixture(params=FIXTURES)
def real(request: pytest.FixtureRequest, network: Network) -> Iterator[tuple[str, Real]]:
    """A new bucket of each real server, with the server's name."""
    bucket = f"bucket-{secrets.token_hex(8)}"
    fixture = FIXTURES[request.param]
    if fixture is not None:
        server: CephRGW | Swift | LocalStack = request.getfixturevalue(fixture)
        assert isinstance(server, Server)
        store = Real(server.endpoint, server.environment(), server.publisher(), bucket)
        store.publisher.create_bucket(bucket)
        yield request.param, store
        return
    with moto_server(network.address(S3_ADDRESS)) as endpoint:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        store = Real(endpoint, keys, Publisher(endpoint, "test", "test"), bucket)
        store.publisher.create_bucket(bucket)
        yield request.param, store


async def find_out(store: Real, directory: Path) -> dict[str, str]:
    """Return what the publisher does with a server."""
    made: list[S3Origin] = []
    async with trio.open_nursery() as nursery:

        async def make(*, allowance: Any, **_: object) -> S3Origin:
            settings = OriginSettings(endpoint=store.endpoint, path_style=True)
            origin = S3Origin(settings, rng=random.Random(7), allowance=allowance)
            await nursery.start(origin.run)
            made.append(origin)
            return origin

        async with make_world(ObjectsServer(), make, directory) as world:
            trial = Trial(world, store, made[0])
            found = {"listed by": await trial.find_out_listing(), **await trial.find_out_metainfo()}
            found["replaced, gone"] = await trial.find_out_replacing()
        nursery.cancel_scope.cancel()
    return found


def ends(leecher: Leecher, deadline: float) -> bool:
    """Tell whether a download comes to its end with the right bytes."""
    try:
        return digest(leecher.wait(max(1.0, deadline - time.monotonic()))) == digest(BODY)
    except HarnessError as error:
        print(error)
        return False


@pytest.mark.timeout(240)
def test_each_real_server_and_each_client_work_as_the_document_says(
    real: tuple[str, Real],
    namespace: Network,
    seeder: MakeDaemon,
    client: ClientFactory,
    kinds: list[type[Leecher]],
    *,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    name, store = real
    for variable, value in store.environment.items():
        monkeypatch.setenv(variable, value)
    store.put("object", BODY)
    settings = {
        "origin": {"endpoint": store.endpoint, "path_style": True},
        "objects": [{"bucket": store.bucket, "key": "object"}],
        "gateway": {"web_seed": True},
    }
    daemon = seeder(settings, environment=store.environment)
    daemon.start()
    wait_for_state(daemon, store.bucket, "object")
    file = tmp_path / "object.torrent"
    file.write_bytes(served_torrent(daemon, store.bucket, "object"))
    leechers = [client(kind) for kind in kinds]
    for leecher in leechers:
        leecher.add(file)
    # Some clients take ten seconds before they begin.
    found = trio.run(find_out, store, tmp_path / "state")
    code, body = daemon.get(f"/{store.bucket}/object")
    found["web seed"] = "yes" if (code, body) == (200, BODY) else "no"
    deadline = time.monotonic() + 90
    for leecher in leechers:
        [column] = [each for each in CLIENTS if each.lower() == type(leecher).__name__.lower()]
        found[column] = "yes" if ends(leecher, deadline) else "no"
    note(real_row(name), found)


def is_served(daemon: SeederDaemon, bucket: str) -> bool:
    entries = daemon.status()["torrents"]
    return any(each["bucket"] == bucket and each["state"] == "serving" for each in entries)


class Vendors:
    """A server for each dialect, told apart by the name of the bucket."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        """Of the dialects by bucket."""
        self.bodies: dict[str, bytes] = {}
        """Objects of one content would share a torrent."""
        self._servers: dict[str, ObjectsServer] = {}
        for number, dialect in enumerate(DIALECTS):
            if not dialect.unfit:
                bucket = f"vendor-{number}"
                self.names[bucket] = dialect.name
                body = self.bodies[bucket] = content(200 * KIB + 5, seed=number)
                self._servers[bucket] = ObjectsServer(objects={KEY: body}, dialect=dialect)

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        bucket = seen.path.split("/")[1].partition("?")[0]
        await self._servers[bucket].serve(seen, stream)


@pytest.mark.timeout(240)
def test_libtorrent_and_a_web_client_download_from_every_dialect(
    network: Network, seeder: MakeDaemon, tmp_path: Path
) -> None:
    vendors = Vendors()
    server = FaultServer(default=vendors.serve)
    with in_thread(server, inside=network.entered):
        daemon = seeder(
            {
                "origin": {"endpoint": server.url, "path_style": True},
                "objects": [{"bucket": each, "prefix": ""} for each in vendors.names],
                "gateway": {"web_seed": True},
                # So that most blocks are read from S3 again.
                "cache": {"memory": "1 MiB", "disk": "0 B"},
            }
        )
        daemon.start()
        address = network.address(FIRST_CLIENT_ADDRESS)
        session = lt.session(local_settings(address, 0))
        handles: dict[str, lt.torrent_handle] = {}
        found: dict[str, dict[str, str]] = {}
        for bucket in vendors.names:
            poll_until(lambda: is_served(daemon, bucket), timeout=90, what=vendors.names[bucket])  # noqa: B023
            file = tmp_path / f"{bucket}.torrent"
            file.write_bytes(served_torrent(daemon, bucket, KEY))
            wanted = lt.add_torrent_params()
            wanted.ti = lt.torrent_info(str(file))
            wanted.save_path = str(tmp_path / bucket)
            handles[bucket] = session.add_torrent(wanted)
        for bucket in vendors.names:
            right = daemon.get(f"/{bucket}/{quote(KEY)}") == (200, vendors.bodies[bucket])
            found[bucket] = {"web seed": "yes" if right else "no"}
        deadline = time.monotonic() + 120
        for bucket, handle in handles.items():
            file, wanted_digest = tmp_path / bucket / KEY, digest(vendors.bodies[bucket])
            right = False
            while not right and time.monotonic() < deadline:
                session.wait_for_alert(100)
                session.pop_alerts()
                # It has all a moment before that is on the disk.
                whole = handle.status().is_seeding and file.exists()
                right = whole and digest(file) == wanted_digest
            found[bucket]["libtorrent"] = "yes" if right else "no"
    for bucket, cells in found.items():
        note(vendors.names[bucket], cells)
