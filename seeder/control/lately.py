"""What a node has done since midnight (UTC) and in the last seconds, and what is wrong with it."""

import time
from collections import Counter
from dataclasses import fields

import trio

from seeder.admin.overview import Overview
from seeder.admin.rows import batched
from seeder.control.operations import JsonObject, OpenObject
from seeder.errors import StorageError
from seeder.ledger.counters import Counters
from seeder.ledger.history import History
from seeder.ledger.report import counts_document
from seeder.ledger.savings import savings
from seeder.ledger.spans import Span
from seeder.torrent.publications import State
from seeder.units import DAY

_RATE_OF = 10
"""Seconds that rates are about."""


class NodeRates(JsonObject):
    """Bytes a second, of the last ten seconds."""

    origin: float
    """Read from S3."""
    uploaded: float
    """Sent to peers and downloads."""


async def states_of(overview: Overview) -> tuple[dict[str, int], int]:
    """Return how many objects there are in each state, and what is known of their bytes."""
    states: Counter[State] = Counter()
    size = 0
    for some in batched(tuple(overview.accounts.catalog)):
        states.update(publication.state for publication in some)
        size += sum(each.pinned.size for each in some if each.pinned is not None)
        await trio.lowlevel.checkpoint()
    return {state.value: states[state] for state in State}, size


async def counted_today(overview: Overview) -> OpenObject | None:
    """Return what was counted and saved since midnight (UTC).

    None while the ledger can't be read.
    """
    now = time.time()
    totals = overview.accounts.ledger.totals()
    try:
        before, _ = await overview.history.totals(None, now - now % DAY)
    except StorageError:
        return None
    # A ledger that was damaged may have lost what the file of before had.
    pairs = zip(totals.values(), before.values(), strict=True)
    today = Counters(*(max(0, count - earlier) for count, earlier in pairs))
    saved = savings(today, size=None, prices=overview.prices)
    names = [each.name for each in fields(saved)]
    figures = {name: getattr(saved, name) for name in names if name.startswith("saved")}
    return OpenObject.model_validate(counts_document(today) | figures)


async def rates_of(history: History) -> NodeRates:
    """Return how fast bytes come and go."""
    series = await history.series(Span.HOUR)
    steps = max(1, _RATE_OF // series.step)
    sums: Counter[str] = Counter()
    for name, column in series.columns.items():
        kind = "origin" if name.startswith("origin_bytes") else name
        sums[kind] += sum(value or 0 for value in column[-steps:])
    seconds = steps * series.step
    return NodeRates(origin=sums["origin"] / seconds, uploaded=sums["uploaded_bytes"] / seconds)
