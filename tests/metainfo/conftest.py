"""A ladder with an object to climb it for."""

import random
from pathlib import Path

import pytest

from seeder.metainfo.ladder import Ladder
from seeder.metainfo.records import Record
from seeder.torrent.objects import ObjectRef, PinnedObject
from tests.metainfo.support import Climber, Shelf
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import CountingMeter, MakeOrigin


@pytest.fixture
async def climber(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, tmp_path: Path
) -> Climber:
    server = ObjectsServer()
    faults.default = server.serve
    shelf = Shelf()
    ladder = Ladder(await make_origin(path_style=True), shelf, tmp_path, random.Random(5))
    climber = Climber(
        server, ladder, meter, shelf, Record(PinnedObject(ObjectRef("", "", ""), "", 0))
    )
    climber.aim("key")
    return climber
