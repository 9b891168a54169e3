"""What downloads to come would cost with and without us: a model, which errs against us.

- Without us S3 sends the object for each download, by one request.
- With us a wave of downloads at the same time takes one copy from S3, for a missing piece is read
  once however many wait for it, and peers have the rest from us and of each other.
- An object that has to be hashed is read once for that. If all objects fit the cache, that copy, or
  else that of the first wave, is all that S3 sends.
- A cache that doesn't hold all objects counts as if it held nothing: each wave reads once more.
- Reading for peers takes a request a piece at most; hashing takes one for 8 MiB, or for a larger
  piece. Looks at objects are a few more, which aren't counted.

No I/O.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seeder.ledger.savings import BYTES_PER_GB, Prices
from seeder.units import MIB, counted, rounded_size, show_money

_HASHED_AT_ONCE = 8 * MIB
"""Bytes of a request that reads for hashing."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """An object that is downloaded."""

    size: int
    piece_length: int
    hashed: bool
    """Whether it is read for its metainfo, as far as the configuration tells."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What so many downloads of every object would come to, in one calendar month."""

    objects: int
    downloads: int
    at_once: int
    delivered_bytes: int
    origin_bytes: int
    origin_requests: int
    fits: bool
    """Whether the cache holds all objects."""
    prices: Prices

    @property
    def waves(self) -> int:
        return -(-self.downloads // self.at_once)

    @property
    def without(self) -> float:
        """The money without us."""
        return self.prices.money(self.delivered_bytes, self.objects * self.downloads)

    @property
    def billed(self) -> float:
        """The money with us."""
        return self.prices.money(self.origin_bytes, self.origin_requests)

    @property
    def origin_copies(self) -> float:
        """How often S3 sends what one download of every object would take."""
        return self.origin_bytes * self.downloads / (self.delivered_bytes or 1)

    def document(self) -> dict[str, object]:
        """Return the estimate for JSON, with money in the configured currency."""
        return {
            "objects": self.objects,
            "downloads": self.downloads,
            "at_once": self.at_once,
            "waves": self.waves,
            "delivered_bytes": self.delivered_bytes,
            "origin_bytes": self.origin_bytes,
            "origin_requests": self.origin_requests,
            "origin_copies": self.origin_copies,
            "cache_holds_all": self.fits,
            "without_money": self.without,
            "billed_money": self.billed,
            "saved_money": self.without - self.billed,
            "currency": self.prices.currency,
        }

    def lines(self) -> Iterator[str]:
        """Yield the estimate and its arithmetic, for a terminal."""
        prices, currency = self.prices, self.prices.currency
        yield (
            f"{counted(self.downloads, 'download')} of"
            f" {counted(self.objects, 'object')}, {self.at_once:,} at once"
            f" ({counted(self.waves, 'wave')}), in one month:"
        )
        requests = self.objects * self.downloads
        for name, count, asked, amount in (
            ("without us", self.delivered_bytes, requests, self.without),
            ("with us", self.origin_bytes, self.origin_requests, self.billed),
        ):
            parts = " + ".join(
                f"{part / BYTES_PER_GB:,.6f} GB x {price:g}" for part, price in prices.parts(count)
            )
            yield (
                f"{name}: {rounded_size(count)}, {counted(asked, 'request')}:"
                f" {parts} + {asked:,} x {prices.price_per_1000_requests:g} / 1000"
                f" = {show_money(amount, currency)}"
            )
        saved = show_money(self.without - self.billed, currency)
        yield f"saved: {saved}; S3 sends {self.origin_copies:.2f} copies at most"
        if not self.fits:
            yield (
                "The cache doesn't hold all objects, so each wave is counted as read from S3:"
                " cache.disk would save that."
            )


def estimate(
    objects: Sequence[Downloaded], prices: Prices, *, downloads: int, at_once: int, cache: int
) -> Estimate:
    """Return what `downloads` of every object come to, with a cache of so many bytes."""
    whole = sum(each.size for each in objects)
    fits = whole <= cache
    waves = -(-downloads // at_once)
    read, requests = 0, 0
    for each in objects:
        reads = waves
        if each.hashed:
            requests += -(-each.size // max(_HASHED_AT_ONCE, each.piece_length))
            read += each.size
            reads = 0 if fits else waves
        elif fits:
            reads = 1
        read += reads * each.size
        requests += reads * -(-each.size // each.piece_length)
    return Estimate(
        objects=len(objects),
        downloads=downloads,
        at_once=at_once,
        delivered_bytes=whole * downloads,
        origin_bytes=read,
        origin_requests=requests,
        fits=fits,
        prices=prices,
    )
