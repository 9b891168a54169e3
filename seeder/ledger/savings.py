"""What the counters say was saved: the formulas, each for verified and for claimed bytes.

A ratio whose divisor is zero or unknown is None; a loss is a negative number and stays one.

No I/O.
"""

from dataclasses import dataclass

from seeder.ledger.counters import Counters

BYTES_PER_GB = 2**30
"""S3 bills a GB of 2^30 bytes."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What the origin costs, in the operator's currency."""

    price_per_gb: float
    price_per_1000_requests: float

    def money(self, count: int, requests: int = 0) -> float:
        """Return the price of `count` bytes and of `requests` requests; negative for negatives."""
        return (
            count / BYTES_PER_GB * self.price_per_gb
            + requests / 1000 * self.price_per_1000_requests
        )


@dataclass(frozen=True, slots=True)
class Savings:
    """What was saved: bytes, ratios (1.0 is all of it), copies and money."""

    saved_verified_bytes: int
    saved_claimed_bytes: int
    total_saving_verified: float | None
    total_saving_claimed: float | None
    offload_verified: float | None
    offload_claimed: float | None
    cache_saving: float | None
    s3_copies: float | None
    seeder_copies: float | None
    origin_money: float
    """What S3 charges for what it sent us and for our requests."""
    saved_verified_money: float
    saved_claimed_money: float


def savings(counters: Counters, *, size: int | None, prices: Prices) -> Savings:
    """Return what `counters` saved on objects of `size` bytes together.

    Saved money is the price of the delivered bytes less what S3 charged us. How many requests
    direct downloads would have taken isn't known; they count as none.
    """
    origin, uploaded = counters.origin_bytes, counters.uploaded_bytes
    verified, claimed = counters.delivered_verified_bytes, counters.delivered_claimed_bytes
    origin_money = prices.money(origin, counters.origin_requests)
    return Savings(
        saved_verified_bytes=verified - origin,
        saved_claimed_bytes=claimed - origin,
        total_saving_verified=_one_minus(origin, verified),
        total_saving_claimed=_one_minus(origin, claimed),
        offload_verified=_one_minus(uploaded, verified),
        offload_claimed=_one_minus(uploaded, claimed),
        cache_saving=_one_minus(origin, uploaded),
        s3_copies=_ratio(origin, size),
        seeder_copies=_ratio(uploaded, size),
        origin_money=origin_money,
        saved_verified_money=prices.money(verified) - origin_money,
        saved_claimed_money=prices.money(claimed) - origin_money,
    )


def _ratio(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


def _one_minus(part: int, whole: int) -> float | None:
    return (whole - part) / whole if whole else None
