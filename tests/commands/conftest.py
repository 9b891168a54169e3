"""A site for the commands: a configuration on disk and the S3 server that it names."""

from pathlib import Path

import pytest

from tests.commands.support import BODY, Site, write_settings
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.ports import free_port


@pytest.fixture
def site(faults: FaultServer, tmp_path: Path) -> Site:
    store = ObjectsServer(objects={"Nelson": BODY, "Hardy": b"kiss me"})
    faults.default = store.serve
    peer = f"127.0.0.1:{free_port('127.0.0.1')}"
    return Site(write_settings(tmp_path / "seeder.toml", faults.url, peer), peer, faults, store)
