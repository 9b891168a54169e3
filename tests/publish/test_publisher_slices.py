"""Thousands of objects that come or go at once leave the loop to other tasks in between."""

from collections.abc import Sequence

import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.net import slices
from seeder.torrent.publications import State
from tests.publish.support import World, settings
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer

NAMES = [f"object-{number}" for number in range(12)]


@pytest.fixture
def server(faults: FaultServer) -> ObjectsServer:
    server = ObjectsServer({name: name.encode() * 100 for name in NAMES})
    faults.default = server.serve
    return server


async def test_other_tasks_see_a_reload_half_done_and_its_end_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_SLICE", -1.0)
    wanted = [settings(key=name) for name in NAMES]

    async def counts_while(objects: Sequence[ObjectSettings]) -> set[int]:
        seen = set()
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while True:
                    seen.add(len(world.catalog.publications))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(watch)
            await world.publisher.apply(objects)
            nursery.cancel_scope.cancel()
        return seen

    assert len(await counts_while(wanted)) > len(NAMES) / 2
    await world.until_all(
        lambda: all(publication.state is State.SERVING for publication in world.catalog)
    )
    assert len(await counts_while(wanted[:1])) > len(NAMES) / 2
    assert [publication.ref.key for publication in world.catalog] == NAMES[:1]
    # Two reloads at a time are one after the other.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.publisher.apply, wanted)
        nursery.start_soon(world.publisher.apply, wanted[:2])
    assert [publication.ref.key for publication in world.catalog] in (NAMES, NAMES[:2])
