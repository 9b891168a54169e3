"""The configuration of a node with one object, and the S3 server that it asks."""

from pathlib import Path

import pytest

from seeder.config.load import load
from seeder.config.node import AdminSettings, CacheSettings
from seeder.config.objects import ObjectSettings
from seeder.config.origins import OriginSettings
from seeder.config.public import PeerSettings, TrackerSettings
from seeder.config.sections import Config
from seeder.net.addresses import HostPort
from tests.daemon.support import BODY, LOOPBACK
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.ports import free_port
from tests.support.toml import toml


@pytest.fixture
def store(faults: FaultServer) -> ObjectsServer:
    made = ObjectsServer(objects={"Nelson": BODY})
    faults.default = made.serve
    return made


@pytest.fixture
def config(faults: FaultServer, store: ObjectsServer, tmp_path: Path) -> Config:
    ports = [free_port(LOOPBACK) for _ in range(3)]
    tracker, peer, admin = (HostPort(LOOPBACK, port) for port in ports)
    return Config(
        state_directory=tmp_path / "state",
        origins={"default": OriginSettings(endpoint=faults.url, path_style=True)},
        objects=(ObjectSettings(bucket="quotes", key="Nelson", metainfo=("build",)),),
        tracker=TrackerSettings(listen=(tracker,)),
        peer=PeerSettings(listen=(peer,)),
        cache=CacheSettings(directory=tmp_path / "cache"),
        admin=AdminSettings(listen=(admin,)),
    )


@pytest.fixture
def file(config: Config, tmp_path: Path) -> Path:
    """The configuration as a file, for reloading."""
    settings = {
        "state_directory": str(config.state_directory),
        "origin": {"endpoint": config.origins["default"].endpoint, "path_style": True},
        "objects": [{"bucket": "quotes", "key": "Nelson", "metainfo": ["build"]}],
        "cache": {"directory": str(config.cache.directory)},
        **{
            name: {"listen": [str(address) for address in getattr(config, name).listen]}
            for name in ("tracker", "peer", "admin")
        },
    }
    path = tmp_path / "seeder.toml"
    path.write_text(toml(settings))
    assert load(path) == config
    return path
