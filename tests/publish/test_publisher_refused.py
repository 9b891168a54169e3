"""Credentials that S3 refuses: said once for all objects, and over when there are others."""

import logging

import pytest

from seeder.config.added import name_of
from seeder.config.objects import ObjectSettings
from seeder.publish import rounds
from seeder.s3.notifications import News
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


ONE = KEYS[0]
LATER = 3600.0


async def ask(world: World, settings: ObjectSettings, how: str) -> None:
    """Have S3 asked about an entry, or about the one object below it."""
    match how:
        case "a reload":
            await world.publisher.apply([settings])
        case "a change of the entry":
            await world.publisher.apply([settings.model_copy(update={"refresh": LATER / 2})])
        case "a refresh":
            world.publisher.refresh(name_of(settings))
        case "an event":
            body = world.server.objects[ONE]
            etag = ObjectsServer.etag(body).strip('"')
            news = News("bucket", ONE, etag=etag, size=len(body))
            assert world.publisher.news.hear("default", news) == "asked"


@pytest.mark.parametrize("below", [{"key": ONE}, {"prefix": "d/"}], ids=["entry", "prefix"])
@pytest.mark.parametrize("how", ["a reload", "a change of the entry", "a refresh", "an event"])
async def test_what_was_refused_is_asked_for_at_once_when_it_may_be_granted(
    world: World, below: dict[str, str], how: str
) -> None:
    world.server.objects = {ONE: world.server.objects[ONE]}
    world.server.refuse = {ONE}
    settings = entry(refresh=LATER, **below)
    await world.publisher.apply([settings])
    await world.until_all(lambda: len(list(world.catalog)) == 1 and all_are(world, State.FAILED))
    rounds_of_it = world.publisher.rounds_of(next(iter(world.catalog)).ref)
    assert rounds_of_it is not None
    assert rounds_of_it.is_put_off
    world.server.refuse = set()
    await ask(world, settings, how)
    await world.until_all(lambda: all_are(world, State.SERVING))
    assert not rounds_of_it.is_put_off
