"""Objects that are to be warm are read ahead: once, within budgets, as far as the cache reaches."""

import pytest

from seeder.config.money import BudgetSettings
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon import warming
from seeder.daemon.node import Node
from seeder.torrent.publications import State
from seeder.units import MIB
from tests.daemon.support import BODY, serving, until
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import make_torrent


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(warming, "RETRY", 0.1)


def warm(config: Config, store: ObjectsServer, **more: object) -> Config:
    """Return the configuration for an object whose metainfo is there already."""
    made = make_torrent(BODY, name="Nelson", piece_length=256 * 1024)
    store.torrents["Nelson"] = made.file()
    entry = {"bucket": "quotes", "key": "Nelson", "metainfo": ["origin", "build"], "warm": True}
    objects = (ObjectSettings.model_validate(entry | more),)
    return config.model_copy(update={"objects": objects})


def held(node: Node) -> int:
    torrent = node.publisher.torrent_of(next(iter(node.catalog.publications)))
    return 0 if torrent is None else len(node.foundation.cache.held(torrent))


async def until_warm(node: Node) -> None:
    await until(lambda: held(node) == len(BODY) // (256 * 1024))


@pytest.mark.parametrize("state", [State.SERVING, State.EMBARGOED])
async def test_an_object_is_read_ahead_once(
    config: Config, store: ObjectsServer, state: State
) -> None:
    more = {"publish_at": 4e9} if state is State.EMBARGOED else {}
    given = warm(config, store, **more)
    async with serving(given) as node:
        await until_warm(node)
        [publication] = node.catalog
        assert publication.state is state
        assert store.body_bytes["Nelson"] == len(BODY)
    async with serving(given) as node:  # a restart has it on disk
        await until_warm(node)
        await until(lambda: node.warmer._done != {})
    assert store.body_bytes["Nelson"] == len(BODY)


async def test_it_is_not_read_unasked(config: Config, store: ObjectsServer) -> None:
    async with serving(warm(config, store, warm=False)) as node:
        await until(lambda: [each.state for each in node.catalog] == [State.SERVING])
        await node.warmer._look()
    assert store.body_bytes["Nelson"] < len(BODY)


async def test_no_more_is_read_than_a_budget_has(config: Config, store: ObjectsServer) -> None:
    budget = BudgetSettings.model_validate({"origin_bytes_per_day": 8 * MIB})
    given = warm(config, store).model_copy(update={"budget": budget})
    async with serving(given) as node:
        await until(lambda: bool(node.warmer._due_at))
        assert [each.state for each in node.catalog] == [State.SERVING]
    # What is on its way when it is spent still comes.
    assert store.body_bytes["Nelson"] <= 8 * MIB + warming.AT_ONCE


async def test_what_the_cache_has_no_room_for_is_left_and_said_once(
    config: Config, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = config.cache.model_copy(update={"disk": 10 * MIB})
    given = warm(config, store).model_copy(update={"cache": cache})
    async with serving(given) as node:
        await until(lambda: node.warmer._done != {})
        await node.warmer._look()
    assert caplog.text.count("the cache has no room to keep it warm") == 1
    assert store.body_bytes["Nelson"] < len(BODY)


async def test_an_object_is_read_once_when_somebody_asks(
    config: Config, store: ObjectsServer
) -> None:
    async with serving(warm(config, store, warm=False)) as node:
        await until(lambda: [each.state for each in node.catalog] == [State.SERVING])
        [ref] = node.catalog.publications
        node.warmer.ask([ref])
        assert node.warmer.asked[ref].fault is None
        await until(lambda: node.warmer.asked == {})
        await until_warm(node)
        torrent = node.publisher.torrent_of(ref)
        assert torrent is not None
        node.foundation.cache.discard(torrent.cache_id)
        await node.warmer._look()
        assert held(node) == 0  # it isn't kept so
    assert store.body_bytes["Nelson"] == len(BODY)


async def test_what_is_asked_for_and_does_not_fit_is_said(
    config: Config, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = config.cache.model_copy(update={"disk": 10 * MIB})
    given = warm(config, store, warm=False).model_copy(update={"cache": cache})
    async with serving(given) as node:
        await until(lambda: [each.state for each in node.catalog] == [State.SERVING])
        [ref] = node.catalog.publications
        node.warmer.ask([ref])
        await until(lambda: node.warmer.asked[ref].fault == warming.NO_ROOM)
        await node.warmer._look()
    assert caplog.text.count("the cache has no room to keep it warm") == 1
    assert store.body_bytes["Nelson"] < len(BODY)
