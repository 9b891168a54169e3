"""The metrics of what is counted, and of what may still be spent."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

from seeder.admin.exposition import Family, counter, gauge, labels
from seeder.ledger.budget import Remaining
from seeder.ledger.database import LedgerStatistics

_UNITS = ("bytes", "requests", "money")


def budget_metrics(budget: Sequence[Remaining]) -> Iterator[Family]:
    """Yield what is left by limit, named as in [budget]: in any unit, then in each apart."""
    if not budget:
        return
    for name, text, figure in (
        ("limit", "What [budget] allows a day or a month", "limit.amount"),
        ("spent", "What the present day or month (UTC) has cost", "spent"),
        ("left", "What is left of it", "left"),
        ("resets_timestamp_seconds", "When its day or month is over", "resets_at"),
        (
            "level",
            "0 normal, 1 fewer slots, 2 last in handout, 3 cache only, 4 tracker only",
            "level",
        ),
    ):
        value = attrgetter(figure)
        yield gauge(
            f"seeder_budget_{name}",
            text,
            [(labels(budget=each.limit.name), float(value(each))) for each in budget],
        )
    for unit in _UNITS:
        limits = [each for each in budget if each.limit.resource.value.endswith(f"_{unit}")]
        for name, text, figure in (
            ("limit", "allowed a day or a month", "limit.amount"),
            ("spent", "spent in the present one", "spent"),
        ):
            value = attrgetter(figure)
            series = [(labels(budget=each.limit.name), value(each)) for each in limits]
            family = f"seeder_budget_{name}_{unit}"
            yield gauge(family, f"{unit.capitalize()} {text}, of limits in {unit}", series)


def ledger_metrics(told: LedgerStatistics) -> Iterator[Family]:
    """Yield the families of the ledger."""
    yield gauge(
        "seeder_ledger_writable",
        "0 while what is counted waits in memory",
        [("", int(told.fault is None))],
    )
    yield counter("seeder_ledger_flushes_total", "Writes of the ledger", [("", told.flushes)])
    yield counter(
        "seeder_ledger_failures_total", "Writes of the ledger that failed", [("", told.failures)]
    )
    at = told.flushed_at
    yield gauge(
        "seeder_ledger_flushed_timestamp_seconds",
        "When the ledger was written last",
        [] if at is None else [("", at)],
    )
