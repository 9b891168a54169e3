"""Every origin by its name: run together, read from, asked how they stand."""

import random

import pytest
import trio

from seeder.config.origins import OriginSettings
from seeder.errors import OriginUnreachable
from seeder.s3.client import S3Origin
from seeder.s3.origins import Origins
from seeder.torrent.info import build_info, parse_info
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.samples import BODY
from tests.s3.support import QUICK, CountingMeter, until

LAYOUT = Layout(len(BODY), 65536)
NORTH, SOUTH = (ObjectRef(name, "bucket", "key") for name in ("north", "south"))


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({"key": BODY})
    faults.default = server.serve
    return server


@pytest.fixture
def origins(faults: FaultServer, meter: CountingMeter) -> Origins:
    made = {}
    for name in ("north", "south"):
        settings = OriginSettings(name=name, endpoint=faults.url, path_style=True, connections=1)
        made[name] = S3Origin(settings, rng=random.Random(1), policy=QUICK)
    return Origins(made, lambda _: meter)


def torrent_of(ref: ObjectRef) -> Torrent:
    info = build_info(name="key", layout=LAYOUT, pieces=bytes(20 * LAYOUT.piece_count))
    pinned = PinnedObject(ref, ObjectsServer.etag(BODY), len(BODY))
    return Torrent(parse_info(info), pinned, "build")


async def test_pieces_are_read_from_the_origin_of_their_object(
    origins: Origins, server: ObjectsServer, meter: CountingMeter, nursery: trio.Nursery
) -> None:
    await nursery.start(origins.run)
    pieces: list[bytearray] = []
    await origins.read_pieces(torrent_of(SOUTH), 2, 3, pieces.append)
    assert pieces == [BODY[131072:196608], BODY[196608:262144], BODY[262144:]]
    assert meter.received == {"pieces": len(BODY) - 131072}
    told = origins.statistics()
    assert {name: each.requests for name, each in told.items()} == {"north": 0, "south": 1}


async def test_origins_are_busy_when_calls_to_one_of_them_wait_for_a_connection(
    origins: Origins, server: ObjectsServer, nursery: trio.Nursery
) -> None:
    await nursery.start(origins.run)
    server.gate = trio.Event()
    pieces: list[bytearray] = []
    torrent = torrent_of(NORTH)
    async with trio.open_nursery() as reading:
        reading.start_soon(origins.read_pieces, torrent, 0, 1, pieces.append)
        await until(lambda: server.requests["GET key"] == 1)
        assert not origins.is_busy()
        reading.start_soon(origins.read_pieces, torrent, 1, 1, pieces.append)
        await until(origins.is_busy)
        server.gate.set()
    assert not origins.is_busy()
    assert len(pieces) == 2


async def test_origins_stop_together(
    origins: Origins, server: ObjectsServer, meter: CountingMeter
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(origins.run)
        nursery.cancel_scope.cancel()
    for ref in (NORTH, SOUTH):
        with pytest.raises(OriginUnreachable, match=f"origin {ref.origin} is stopped"):
            await origins[ref.origin].head(ref, meter)
