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
    """What the origin costs, in the operator's currency.

    With tiers a GB costs less the more was read in a calendar month (UTC), as AWS bills it.
    """

    price_per_gb: float
    """The first price that isn't zero, where there are tiers."""
    price_per_1000_requests: float
    currency: str = ""
    tiers: tuple[tuple[int, float], ...] = ()
    """Bytes of a month from which on a price holds, and the price; the first at 0. Empty: one price
    for all."""

    def money(self, count: int, requests: int = 0, *, before: int = 0) -> float:
        """Return the price of `count` bytes and of `requests` requests; negative for negatives.

        `before` is how many bytes came before them in the same month.
        """
        of_requests = requests / 1000 * self.price_per_1000_requests
        if not self.tiers:
            return count / BYTES_PER_GB * self.price_per_gb + of_requests
        if count < 0:
            return of_requests - self.money(-count, before=before)
        return of_requests + sum(
            part / BYTES_PER_GB * price for part, price in self.parts(count, before)
        )

    def parts(self, count: int, before: int = 0) -> list[tuple[int, float]]:
        """Return `count` bytes as parts of one price each, and their prices a GB."""
        if not self.tiers:
            return [(count, self.price_per_gb)]
        ends = [*(begin for begin, _ in self.tiers[1:]), before + count]
        found = []
        for (begin, price), end in zip(self.tiers, ends, strict=True):
            part = min(before + count, end) - max(before, begin)
            if part > 0:
                found.append((part, price))
        return found or [(0, self.tiers[0][1])]

    def buys(self, amount: float) -> int | None:
        """Return how many bytes of a month an amount of money pays for; None: any number."""
        count, left = 0, amount
        tiers = self.tiers or ((0, self.price_per_gb),)
        for place, (begin, price) in enumerate(tiers):
            width = tiers[place + 1][0] - begin if place + 1 < len(tiers) else None
            cost = None if width is None else width / BYTES_PER_GB * price
            if cost is None or cost > left:
                return count + int(left / price * BYTES_PER_GB) if price else None
            count, left = count + (width or 0), left - cost
        return None


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
