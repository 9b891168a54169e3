"""Objects that are another one at each look, and caches that lag behind."""

from itertools import count

import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.ledger.counters import FORMER
from seeder.publish import rounds
from seeder.publish.restless import MANY_CHANGES
from seeder.torrent.publications import State
from tests.publish.support import World
from tests.s3.fault_server import FaultServer, Seen, stored
from tests.s3.objects_server import ObjectsServer

BODY = b"x" * 100_000


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({"d/a": BODY})
    faults.default = server.serve
    return server


def entry(**more: object) -> ObjectSettings:
    return ObjectSettings.model_validate({"bucket": "bucket", "metainfo": ["build"], **more})


async def test_an_object_that_changes_whenever_it_is_read_is_left_alone_for_a_while(
    world: World,
    faults: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(rounds, "FIRST_RETRY", 0.01)
    tags = count()

    async def restless(seen: Seen, stream: trio.abc.Stream) -> None:
        await stored(BODY, f'"{next(tags)}"')(seen, stream)

    faults.default = restless
    await world.publisher.apply([entry(key="d/a", refresh=600.0)])
    publication = world.publication("d/a")
    await world.until_all(lambda: "each time it is read" in str(publication.reason))
    assert publication.state is State.WAITING
    assert sum("it has another ETag each time" in text for text in caplog.messages) == 1
    assert sum(seen.method == "HEAD" for seen in faults.seen) <= 2 * MANY_CHANGES
    # None of the states that are over is shown as if it were to come.
    version = publication.pinned.version if publication.pinned is not None else ""
    states = {each.key.version: each.state for each in world.ledger.accounts}
    assert states.pop(version) != FORMER
    assert len(states) >= MANY_CHANGES - 1
    assert set(states.values()) == {FORMER}
    # As soon as it stays as it is, it is published.
    faults.default = world.server.serve
    await world.publisher.apply([])
    await world.publisher.apply([entry(key="d/a")])
    await world.until("d/a", State.SERVING)


async def test_a_head_that_lags_behind_a_listing_is_asked_again(
    world: World, faults: FaultServer
) -> None:
    await world.publisher.apply([entry(prefix="d/", refresh=0.02)])
    await world.until_all(lambda: len(list(world.catalog)) == 1)
    publication = await world.until("d/a", State.SERVING)
    old, new = ObjectsServer(dict(world.server.objects)), BODY + b"y"
    world.server.objects["d/a"] = new
    lags = True

    async def serve(seen: Seen, stream: trio.abc.Stream) -> None:
        server = old if lags and seen.method == "HEAD" else world.server
        await server.serve(seen, stream)

    faults.default = serve
    # It may lag for ever, and costs less and less.
    listings = world.server.requests["LIST"]
    await world.until_all(lambda: world.server.requests["LIST"] > listings + 30)
    assert 2 <= old.requests["HEAD d/a"] <= 8
    assert publication.state is State.SERVING
    lags = False
    world.server.objects["d/a"] = new = BODY + b"z"
    await world.until_all(lambda: len(world.audience.gone) == 1)
    await world.until("d/a", State.SERVING)
    assert publication.torrent is not None
    assert publication.torrent.pinned.etag == ObjectsServer.etag(new)
