"""The limits of a budget: how much of what a day or a month may take, and what follows near that.

No I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from seeder.ledger.counters import Counters
from seeder.ledger.savings import Prices
from seeder.units import exact_size, rounded_size, show_money

FEWER_SLOTS_AT, LAST_AT = 0.8, 0.9
"""Spent shares of a limit at which FEWER_SLOTS and LAST_IN_HANDOUT begin."""
_NOTHING = Counters()


class Level(IntEnum):
    """How the node holds back; each level includes those before it.

    Peers go without in this order since a swarm helps itself first (see seeder/README.md,
    decision 12).
    """

    NORMAL = 0
    FEWER_SLOTS = 1
    LAST_IN_HANDOUT = 2
    CACHE_ONLY = 3
    """Nothing is read from S3."""
    TRACKER_ONLY = 4
    """Nothing is sent to peers either, nor torrent files to anybody."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


class Resource(Enum):
    """What a limit is about; money is in the currency of the prices."""

    ORIGIN_BYTES = "origin_bytes"
    ORIGIN_REQUESTS = "origin_requests"
    ORIGIN_MONEY = "origin_money"
    """The price of the origin bytes and requests together."""
    UPLOADED_BYTES = "uploaded_bytes"
    """All bytes that left us, whatever they carried (see seeder/README.md, decision 15)."""
    UPLOADED_MONEY = "uploaded_money"
    """The same at the origin's price a GB: their price if we run in the same cloud."""

    @property
    def last_level(self) -> Level:
        """The level when all of it is spent."""
        uploaded = self in (Resource.UPLOADED_BYTES, Resource.UPLOADED_MONEY)
        return Level.TRACKER_ONLY if uploaded else Level.CACHE_ONLY

    def of(self, counters: Counters, prices: Prices, before: Counters = _NOTHING) -> float:
        """Return how much of it `counters` say was used, `before` which the month had some."""
        match self:
            case Resource.ORIGIN_BYTES:
                return counters.origin_bytes
            case Resource.ORIGIN_REQUESTS:
                return counters.origin_requests
            case Resource.ORIGIN_MONEY:
                return prices.money(
                    counters.origin_bytes, counters.origin_requests, before=before.origin_bytes
                )
            case Resource.UPLOADED_BYTES:
                return _sent(counters)
            case Resource.UPLOADED_MONEY:
                return prices.money(_sent(counters), before=_sent(before))


class Period(Enum):
    """A day or a month of the UTC calendar."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a resource a period may take: bytes, requests or money. Zero is nothing."""

    resource: Resource
    period: Period
    amount: float

    def __post_init__(self) -> None:
        if not self.amount >= 0:
            raise ValueError(f"not a budget: {self.amount}")

    @property
    def name(self) -> str:
        """The key in [budget] that sets it."""
        return f"{self.resource.value}_per_{self.period.value}"

    def __str__(self) -> str:
        in_bytes = self.resource in (Resource.ORIGIN_BYTES, Resource.UPLOADED_BYTES)
        amount = f'"{exact_size(int(self.amount))}"' if in_bytes else str(self.amount)
        return f"budget.{self.name} = {amount}"

    def show(self, amount: float) -> str:
        """Return an amount of its resource for an operator: bytes, requests or money."""
        match self.resource:
            case Resource.ORIGIN_BYTES | Resource.UPLOADED_BYTES:
                return rounded_size(int(amount))
            case Resource.ORIGIN_REQUESTS:
                return f"{int(amount):,}"
            case Resource.ORIGIN_MONEY | Resource.UPLOADED_MONEY:
                return show_money(amount)

    def level(self, spent: float) -> Level:
        """Return the level that `spent` of it leads to."""
        if spent >= self.amount:
            return self.resource.last_level
        if spent >= self.amount * LAST_AT:
            return Level.LAST_IN_HANDOUT
        return Level.FEWER_SLOTS if spent >= self.amount * FEWER_SLOTS_AT else Level.NORMAL


def limits_of(amounts: Mapping[str, float | None]) -> tuple[Limit, ...]:
    """Return the limits that a section [budget] sets, by its keys; None sets none."""
    limits = []
    for resource in Resource:
        for period in Period:
            amount = amounts[f"{resource.value}_per_{period.value}"]
            if amount is not None:
                limits.append(Limit(resource, period, amount))
    return tuple(limits)


def _sent(counters: Counters) -> int:
    return counters.uploaded_bytes + counters.protocol_bytes
