"""A node that keeps to its budget: what it goes without, what it says, and how it goes on."""

import json
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.config.money import BudgetSettings
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.daemon import restraint, run
from seeder.daemon.foundation import LEDGER
from seeder.daemon.node import Node
from seeder.daemon.reload import reload
from seeder.errors import StorageError
from seeder.ledger.budget import Budget
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.ledger.limits import Level
from seeder.ledger.reading import read_ledger
from seeder.torrent.publications import State
from seeder.tracker.handout import OwnPlace
from seeder.units import DAY, MIB
from seeder.upload.uploads import SLOTS_HELD_BACK
from tests.daemon.support import get, served, serving, until
from tests.s3.fault_server import FaultServer
from tests.s3.objects_server import ObjectsServer
from tests.support.objects import content

RUN = 8 * MIB
"""What hashing reads at a time."""
BODY = content(3 * RUN)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BUDGET_EVERY", 0.01)


@pytest.fixture
def store(faults: FaultServer) -> ObjectsServer:
    made = ObjectsServer(objects={"Nelson": BODY})
    faults.default = made.serve
    return made


def with_budget(config: Config, **limits: float) -> Config:
    budget = BudgetSettings.model_validate(limits)
    return config.model_copy(update={"budget": budget})


def with_objects(config: Config, *keys: str) -> Config:
    objects = tuple(ObjectSettings(bucket="quotes", key=key, metainfo=("build",)) for key in keys)
    return config.model_copy(update={"objects": objects})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record.getMessage() for record in found]


def reason(node: Node, key: str = "Nelson") -> str:
    publication = node.catalog.by_name("quotes", key)
    assert publication is not None
    return publication.reason or ""


def level_of(node: Node) -> Level:
    return node.foundation.budget.level


async def test_hashing_stops_when_the_budget_is_spent_and_a_reload_lets_it_go_on(
    config: Config, file: Path, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    path = trio.Path(file)
    text = await path.read_text()
    limited = with_budget(config, origin_bytes_per_day=RUN)
    async with serving(limited) as node:
        await until(
            lambda: "is spent" in reason(node) and node.foundation.budget.level >= Level.CACHE_ONLY
        )
        assert store.body_bytes["Nelson"] == RUN
        [publication] = node.catalog
        assert publication.state is State.WAITING
        document = json.loads((await get(config.admin.listen[0], "/status.json"))[1])
        [limit] = document["budget"]
        assert (limit["spent"], limit["left"], limit["level"]) == (RUN, 0, "cache only")
        [torrent] = document["torrents"]
        assert (torrent["state"], torrent["reason"]) == ("waiting", reason(node))
        metrics = (await get(config.admin.listen[0], "/metrics"))[1]
        assert 'seeder_budget_left{budget="origin_bytes_per_day"} 0.0' in metrics
        assert (await get(config.tracker.listen[0], "/quotes/Nelson?torrent"))[0] == 503
        assert "budget: cache only" in await node.overview.summary()

        await path.write_text(f'{text}[budget]\norigin_bytes_per_day = "{RUN + 1} B"\n')
        await reload(node, file)
        await until(lambda: str(RUN + 1) in reason(node))
        assert store.body_bytes["Nelson"] == 2 * RUN

        await path.write_text(text)
        await reload(node, file)
        await until(partial(served, node))
        assert node.config.budget == BudgetSettings()
    assert store.body_bytes["Nelson"] == len(BODY)
    told = [line for line in warnings(caplog) if "cache only" in line]
    assert len(told) == 2
    assert told[0].startswith("cache only until 20")
    assert told[0].endswith('8.00 MiB spent of budget.origin_bytes_per_day = "8 MiB"')
    assert "the budget holds nothing back any more" in caplog.text
    # Once for each limit that it ran into.
    assert len([line for line in warnings(caplog) if "is spent" in line]) == 2


@dataclass
class Clock:
    """The wall clock of what counts in a node."""

    now: float

    def time(self) -> float:
        return self.now

    def use(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(restraint, "time", self)
        patch.setattr(node.foundation.database, "_clock", self.time)


async def test_an_object_that_waits_for_budget_goes_on_when_the_day_is_over(
    config: Config, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(with_budget(config, origin_bytes_per_day=2 * RUN)) as node:
        await until(
            lambda: "is spent" in reason(node) and node.foundation.budget.level >= Level.CACHE_ONLY
        )
        await node.foundation.database.flush(node.foundation.ledger)
        [limit] = node.foundation.budget.left()
        assert store.body_bytes["Nelson"] == 2 * RUN
        Clock(limit.resets_at).use(node, monkeypatch)
        await until(partial(served, node))
        assert level_of(node) is Level.NORMAL
        [limit] = node.foundation.budget.left()
        assert limit.spent == len(BODY) - 2 * RUN
        Clock(limit.resets_at - DAY).use(node, monkeypatch)


def has_reached(budget: Budget, now: float) -> bool:
    """Tell whether it is the day of `now`, of which the ledger was asked."""
    day = budget.left()[0]
    return 0 < day.resets_at - now <= DAY and not budget.has_moved


@pytest.mark.parametrize("days", [-20_000, -40, -2, 2, 40, 7000])
async def test_a_clock_that_was_wrong_for_a_while_gives_nobody_the_day_again(
    config: Config, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """One without a battery begins in the past; one that was set wrong goes back."""
    limited = with_budget(
        config, origin_bytes_per_day=len(BODY) + RUN, origin_bytes_per_month=len(BODY) + RUN
    )
    async with serving(limited) as node:
        await until(partial(served, node))
        await node.foundation.database.flush(node.foundation.ledger)
        budget, now = node.foundation.budget, time.time()
        for at in (now + days * DAY, now, now + days * DAY, now):
            Clock(at).use(node, monkeypatch)
            await until(partial(has_reached, budget, at))
        spent = [limit.spent for limit in budget.left()]
    assert spent == [len(BODY)] * 2


@pytest.mark.parametrize(("days", "counted"), [(1, 0), (40, 0), (-2, len(BODY))])
async def test_a_day_that_begins_while_the_ledger_cannot_be_written_is_counted_once(
    config: Config, store: ObjectsServer, monkeypatch: pytest.MonkeyPatch, days: int, counted: int
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    def spent() -> float:
        return budget.left()[0].spent

    async with serving(with_budget(config, origin_bytes_per_day=10 * len(BODY))) as node:
        await until(partial(served, node))
        database, ledger = node.foundation.database, node.foundation.ledger
        assert await database.flush(ledger)
        budget, then = node.foundation.budget, time.time() + days * DAY
        with monkeypatch.context() as full:
            full.setattr(LedgerFile, "write", refuse)
            Clock(then).use(node, monkeypatch)
            await until(partial(has_reached, budget, then))
            # A clock that goes back gives nothing back.
            assert spent() == counted
            ledger.unattributed.origin_received("pieces", 7)
            await until(lambda: spent() == counted + 7)
        assert await database.flush(ledger)
        assert (await database.spent()).today.origin_bytes_pieces == 7
        node.restraint.update()
        await node.restraint.recount()
        assert spent() == counted + 7


async def test_what_was_spent_is_spent_after_a_restart_too(
    config: Config, store: ObjectsServer, caplog: pytest.LogCaptureFixture
) -> None:
    store.objects["Hardy"] = b"kiss me"
    limited = with_budget(config, origin_bytes_per_month=len(BODY))
    async with serving(config) as node:
        await until(partial(served, node))
    read = store.body_bytes.copy()
    async with serving(with_objects(limited, "Nelson", "Hardy")) as node:
        assert served(node)
        assert level_of(node) is Level.CACHE_ONLY
        assert node.uploads.slots.places == SLOTS_HELD_BACK
        assert node.swarms.own_place is OwnPlace.SPARE
        await until(lambda: "is spent" in reason(node, "Hardy"))
        await until(lambda: store.requests["HEAD Nelson"] == 2)
    assert store.body_bytes == read
    # What was never flushed can't be remembered; what was is counted once.
    async with serving(limited) as node:
        [limit] = node.foundation.budget.left()
        assert limit.spent == len(BODY)


async def test_a_spent_budget_of_requests_ends_even_heads(
    config: Config, store: ObjectsServer
) -> None:
    limited = with_budget(config, origin_requests_per_day=1)
    async with serving(limited) as node:
        await until(lambda: "origin_requests_per_day = 1 is spent" in reason(node))
    assert store.requests == {"HEAD Nelson": 1}
    async with serving(limited) as node:
        await until(lambda: "is spent" in reason(node))
    assert store.requests == {"HEAD Nelson": 1}


@pytest.mark.parametrize("super_seeding", ["auto", "off"])
async def test_what_is_uploaded_makes_the_node_hold_back_in_order(
    config: Config, caplog: pytest.LogCaptureFixture, super_seeding: str
) -> None:
    peer = config.peer.model_copy(update={"super_seeding": super_seeding})
    limited = with_budget(config, uploaded_bytes_per_day=1000, origin_bytes_per_day=1000)
    limited = limited.model_copy(update={"peer": peer, "objects": ()})
    expected = (
        (0, 799, Level.NORMAL, OwnPlace.ALWAYS),
        (0, 800, Level.FEWER_SLOTS, OwnPlace.ALWAYS),
        (0, 900, Level.LAST_IN_HANDOUT, OwnPlace.SPARE),
        (1000, 950, Level.CACHE_ONLY, OwnPlace.SPARE),
        (1000, 1000, Level.TRACKER_ONLY, OwnPlace.ALONE),
    )
    async with serving(limited) as node:
        account = node.foundation.ledger.unattributed
        for origin, uploaded, level, place in expected:
            account.origin_received("pieces", origin - account.counters.origin_bytes)
            account.uploaded(uploaded - account.counters.uploaded_bytes)
            await until(lambda level=level: level_of(node) is level)  # type: ignore[misc]
            held_back = 0 if level is Level.TRACKER_ONLY else SLOTS_HELD_BACK
            assert node.uploads.slots.places == (held_back if level > Level.NORMAL else None)
            assert node.swarms.own_place is place
            assert node.uploads.super_seeds._only_held == (level >= Level.CACHE_ONLY)
    told = [line.partition(" until ")[0] for line in warnings(caplog)]
    assert told == ["fewer slots", "last in handout", "cache only", "tracker only"]


async def test_every_percent_of_a_limit_that_is_spent_is_in_the_ledger_at_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults: Any = LedgerDatabase.run.__kwdefaults__
    monkeypatch.setitem(defaults, "interval", 3600.0)
    limited = with_budget(config.model_copy(update={"objects": ()}), uploaded_bytes_per_day=1000)
    path = config.state_directory / LEDGER

    def flushed() -> int:
        resets_at = node.foundation.budget.left()[0].resets_at
        return read_ledger(path, now=resets_at - 1).spent.today.uploaded_bytes

    async with serving(limited) as node:
        node.foundation.ledger.unattributed.uploaded(9)
        await until(lambda: node.foundation.budget.left()[0].spent == 9)
        assert flushed() == 0
        for more, spent in ((1, 10), (980, 990), (10, 1000)):
            node.foundation.ledger.unattributed.uploaded(more)
            await until(lambda spent=spent: flushed() == spent)  # type: ignore[misc]
