"""Entries that a reload finds as they were: nothing new is kept in their place."""

import gc
from functools import partial
from pathlib import Path

import trio

from seeder.config.sections import Config
from seeder.daemon.garbage import only_new_garbage
from seeder.daemon.reload import reload
from tests.daemon.support import served, serving, until
from tests.s3.objects_server import ObjectsServer


async def test_an_entry_that_is_as_it_was_stays_the_same_thing(
    config: Config, file: Path, store: ObjectsServer
) -> None:
    store.objects["Hardy"] = b"kiss me"
    path = trio.Path(file)
    text = await path.read_text()
    hardy = '[[objects]]\nbucket = "quotes"\nkey = "Hardy"\n'
    lady = '[[objects]]\nbucket = "quotes"\nkey = "Lady"\n'
    async with serving(config) as node:
        await until(partial(served, node))
        await path.write_text(f"{text}\n{hardy}")
        await reload(node, file)
        nelson, hardy_before = node.config.objects
        await path.write_text(f'{text}\n{hardy}refresh = "1h"\n')
        await reload(node, file)
        [ref] = [ref for ref in node.catalog.publications if ref.key == "Nelson"]
        assert node.config.objects[0] is nelson
        assert node.publisher.settings_of(ref) is nelson
        assert node.config.objects[1].refresh == 3600
        assert hardy_before.refresh == 600
        hardy_now = node.config.objects[1]
        await path.write_text(f'{text}\n{lady}{hardy}refresh = "1h"\n')
        await reload(node, file)
        assert [each.key for each in node.config.objects] == ["Nelson", "Lady", "Hardy"]
        assert node.config.objects[2] is hardy_now
        await path.write_text(f"{text}\n{lady}")
        await reload(node, file)
        assert [each.key for each in node.config.objects] == ["Nelson", "Lady"]


def test_a_reload_has_no_garbage_looked_for_among_all_objects() -> None:
    generations = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    before = gc.get_threshold()
    gc.callbacks.append(note)
    try:
        with only_new_garbage():
            kept = [[[number] for number in range(100)] for _ in range(10_000)]
        during, generations[:] = set(generations), []
        more = [[[number] for number in range(100)] for _ in range(10_000)]
    finally:
        gc.callbacks.remove(note)
    assert during == {0, 1}
    assert 2 in generations, "as many do otherwise"
    assert gc.get_threshold() == before
    assert len(kept) == len(more)
