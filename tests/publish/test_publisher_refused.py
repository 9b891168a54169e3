"""Credentials that S3 refuses: said once for all objects, and over when there are others."""

import logging

import pytest

from seeder.config.objects import ObjectSettings
from seeder.publish import rounds
from seeder.torrent.publications import State
from tests.publish.support import World
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer

KEYS = [f"d/{number}" for number in range(12)]


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({key: key.encode() * 20_000 for key in KEYS})
    faults.default = server.serve
    return server


def entry(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate({"bucket": "bucket", "refresh": 0.05, **more})


def all_are(world: World, state: State) -> bool:
    return all(each.state is state for each in world.catalog)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "RequestTimeTooSkewed", "InvalidToken"])
async def test_a_refusal_of_whoever_signs_is_said_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    caplog.set_level(logging.INFO)
    await world.publisher.apply([entry(key=key) for key in KEYS])
    await world.until_all(lambda: all_are(world, State.SERVING))
    monkeypatch.setattr(rounds, "LONGEST_RETRY", 0.1)
    world.server.down = (403, f"<Error><Code>{code}</Code></Error>".encode())
    await world.until_all(lambda: all_are(world, State.FAULTY))
    assert all(code in str(each.reason) for each in world.catalog)
    # What was asked before may be answered after the first line, and begin another one.
    assert 1 <= sum(code in text for text in caplog.messages) <= 4
    world.server.down = None
    await world.until_all(lambda: all_are(world, State.SERVING))
    assert 1 <= caplog.text.count("origin default: S3 takes our requests again") <= 4
