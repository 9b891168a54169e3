"""Metrics of a ledger and of the parts of a node that does nothing, as text and as samples."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import trio
from prometheus_client.parser import text_string_to_metric_families

from seeder.admin.accounts import Accounts
from seeder.admin.exposition import slices
from seeder.admin.figures import figures
from seeder.admin.metrics import NodeState, node_metrics
from seeder.admin.pulse import Pulse
from seeder.admin.reloads import Reloads
from seeder.admin.stalls import StalledObjects
from seeder.admin.sums import add_up
from seeder.cache.pieces import CacheStatistics
from seeder.ledger.counters import Ledger
from seeder.ledger.database import LedgerStatistics
from seeder.ledger.groups import GroupCounts
from seeder.ledger.savings import Prices
from seeder.net.timings import Timings
from seeder.peer.hub import HubStatistics
from seeder.s3.operations import OPERATIONS, OriginStatistics
from seeder.torrent.catalog import Catalog
from seeder.torrent.objects import ObjectRef
from seeder.tracker.policy import SwarmPolicy
from seeder.tracker.seeders import OwnSeeder
from seeder.tracker.swarms import Swarms
from seeder.tracker.tallies import TrackerTallies
from tests.events.support import Ears, feed_of

PRICES = Prices(0.09, 0.0004)
Sample: TypeAlias = tuple[str, frozenset[tuple[str, str]]]

IDLE_CACHE = CacheStatistics(
    memory_budget=1000,
    disk_budget=2000,
    memory_bytes=0,
    memory_pieces=0,
    memory_hits=0,
    memory_evictions=0,
    disk_bytes=0,
    disk_pieces=0,
    disk_hits=0,
    disk_evictions=0,
    disk_ok=True,
    misses=0,
    fetching=0,
    queued_writes=0,
    dropped_writes=0,
    corrupt=0,
    origin_mismatches=0,
)
IDLE_ORIGIN = OriginStatistics(
    requests=0,
    retries=0,
    errors={"denied": 0},
    switched=0,
    operations={},
    answer_times={name: Timings() for name in OPERATIONS},
    waiting=0,
    stall=None,
    reachable=True,
    since=None,
    reason=None,
    last_success=None,
    clock_ahead=0.0,
    clock_fault=None,
    last_error=None,
)


def accounts_of(ledger: Ledger, catalog: Catalog | None = None) -> Accounts:
    swarms = Swarms(SwarmPolicy(), OwnSeeder(6881), rng=random.Random(1))
    return Accounts(ledger, catalog or Catalog(), swarms)


async def parts_of(
    ledger: Ledger,
    *,
    catalog: Catalog | None = None,
    prefixes: tuple[ObjectRef, ...] = (),
    stalled: StalledObjects | None = None,
    most: int = 200,
    **told: Any,
) -> list[bytes]:
    """Return the slices of the exposition; `told` is what parts of the node tell."""
    accounts = accounts_of(ledger, catalog)
    sums = await add_up(accounts, prefixes, stalled or StalledObjects(), most)
    idle = NodeState(
        version="1.2.3",
        ready=True,
        sums=sums,
        prefixes=(),
        stalled=stalled or StalledObjects(),
        hub=HubStatistics(0, 0, {}, {}, {}),
        connections=2000,
        downloads=0,
        tracker=TrackerTallies(),
        groups={"a": GroupCounts()},
        cache=IDLE_CACHE,
        origins={"default": IDLE_ORIGIN},
        budget=(),
        ledger=LedgerStatistics(0, 0, None, flushed_at=None),
        reloads=Reloads(1.7e9),
        pulse=Pulse(),
        sidecars={"written": 0},
        feeds=(feed_of(Ears(), Path("/nonexistent")),),
    )
    node = replace(idle, **told)
    return list(slices((*node_metrics(node), *figures(sums, PRICES))))


def render(ledger: Ledger, **options: Any) -> str:
    async def made() -> bytes:
        return b"".join(await parts_of(ledger, **options))

    return trio.run(made).decode()


def samples_of(text: str) -> dict[Sample, float]:
    """Return the value of every series; none may be there twice."""
    found: dict[Sample, float] = {}
    for sample, value in _samples(text):
        assert sample not in found, "one series twice"
        found[sample] = value
    return found


def _samples(text: str) -> Iterator[tuple[Sample, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value
