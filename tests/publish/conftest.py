"""A publisher that runs, and the S3 server that it asks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.metainfo.support import BODY
from tests.publish.support import World, make_world
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.s3.support import MakeOrigin


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer(objects={"key": BODY})
    faults.default = server.serve
    return server


@pytest.fixture
async def world(
    server: ObjectsServer, make_origin: MakeOrigin, tmp_path: Path
) -> AsyncIterator[World]:
    async with make_world(server, make_origin, tmp_path) as world:
        yield world
