"""Upload rates: token buckets in chains, and the line of guests that wait for them.

A bucket is one number, the time at which all that it granted is paid for (the virtual scheduling
form of the leaky bucket, ITU-T I.371). Before the present it holds tokens, after it owes them.

A guest that finds its chain dry gets in line: a quantum is booked in one bucket after the other,
and the guest is woken when the last one is paid. The innermost bucket comes first, so that no guest
holds a place in a shared one that a bucket of its own keeps it from using. Bookings stand in the
order in which they were made, and no guest is granted anything before those whose time has come:
that makes it a round-robin by bytes, however late the timer is.

No I/O.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from seeder.units import KIB, MIB

S = TypeVar("S")

GRAIN = 16 * KIB
"""Bytes; a block. Nothing smaller is granted, unless it is all that was asked for."""
SLACK = 0.125
"""Seconds' worth of tokens that a bucket keeps beside one grain, for timers that are late."""
WAKES = 4096
"""Wake-ups a second, at most: above 64 MiB/s those in line get more than a grain at a time."""
LARGEST_QUANTUM = MIB
MOST_SHARED = 2000
"""Addresses whose downloads over HTTP share a rate; the one that came longest ago is forgotten."""
_ROUNDING = 64
"""Bytes that a grain may lack: seconds are floats, and an uptime of months is a large one."""


class RateBucket:
    """One limit in bytes a second, shared by all chains that have it."""

    __slots__ = ("__weakref__", "cost", "depth", "paid_at", "rate")

    def __init__(self, rate: float, *, dry_at: float = -inf) -> None:
        """Begin full, or with nothing at `dry_at` (s); ValueError unless the rate is positive."""
        self.paid_at = dry_at
        self._set(rate)

    def _set(self, rate: float) -> None:
        if not 0 < rate < inf:
            raise ValueError(f"not a rate in bytes a second: {rate}")
        self.rate = rate
        self.cost = 1 / rate
        self.depth = GRAIN / rate + SLACK

    def change(self, rate: float, now: float) -> None:
        """Set another rate; what is owed or left stays the same number of bytes."""
        before = max(self.paid_at, now - self.depth)
        self.paid_at = now + (before - now) * self.rate / rate
        self._set(rate)

    def book(self, size: int, now: float) -> float:
        """Take `size` bytes, owed if they aren't there; return when they are paid (s)."""
        self.paid_at = max(self.paid_at, now - self.depth) + size * self.cost
        return self.paid_at


class Chain:
    """The buckets that one guest has to take from, innermost first; `RateLimits` makes them."""

    __slots__ = ("_booked", "_buckets", "_line", "_quantum", "_stage", "ticket")

    def __init__(self, buckets: tuple[RateBucket, ...], line: list["_Booking"]) -> None:
        self.ticket = 0
        """The place in line; 0 is none."""
        self._buckets = buckets
        self._line = line
        self._booked = 0
        self._stage = 0
        grains = int(min(bucket.rate for bucket in buckets) / WAKES) // GRAIN
        self._quantum = min(max(1, grains) * GRAIN, LARGEST_QUANTUM)

    def grant(self, most: int, now: float) -> int:
        """Take up to `most` bytes and return how many; 0 is the time to get in line.

        A guest that was woken gets what was booked for it.
        """
        if self._booked:
            return self._grant_booked(most)
        line = self._line
        if line and line[0][0] <= now:
            return 0
        buckets = self._buckets
        room: float = most
        for bucket in buckets:
            paid_at = bucket.paid_at
            oldest = now - bucket.depth
            if paid_at < oldest:
                bucket.paid_at = paid_at = oldest
            left = (now - paid_at) * bucket.rate + _ROUNDING
            if left < room:  # noqa: PLR1730 - min() costs twice as much
                room = left
        granted = most
        if room < most:
            if room < GRAIN:
                return 0
            granted = int(room) // GRAIN * GRAIN
        for bucket in buckets:
            bucket.paid_at += granted * bucket.cost
        return granted

    def _grant_booked(self, most: int) -> int:
        if self.ticket:
            return 0
        granted = min(most, self._booked)
        self.give_back(self._booked - granted)
        self._booked = self._stage = 0
        return granted

    def give_back(self, size: int) -> None:
        """Return `size` granted bytes that weren't used; if negative, take so many more."""
        for bucket in self._buckets:
            bucket.paid_at -= size * bucket.cost

    def want(self, most: int) -> None:
        """Begin a booking of a quantum, or of `most` bytes if that is less."""
        self.cancel()
        self._booked = max(1, min(most, self._quantum))

    @property
    def is_booked(self) -> bool:
        """Whether every bucket has been booked."""
        return self._stage == len(self._buckets)

    def book(self, now: float) -> float:
        """Book the next bucket, and those after it if it is paid; return when the last one is."""
        while True:
            paid_at = self._buckets[self._stage].book(self._booked, now)
            self._stage += 1
            if paid_at > now or self.is_booked:
                return paid_at

    def cancel(self) -> None:
        """Give back what is booked and not used."""
        for bucket in self._buckets[: self._stage]:
            bucket.paid_at -= self._booked * bucket.cost
        self._booked = self._stage = 0


_Booking = tuple[float, int, Chain]
"""When a booking is paid (s), its ticket, and the chain that it is for."""


class Waiting(Generic[S]):
    """The guests whose chains are dry, for one timer to wake them: a fair queue."""

    def __init__(self) -> None:
        self.line: list[_Booking] = []
        self._guests: dict[int, S] = {}
        self._tickets = count(1)

    @property
    def next_at(self) -> float:
        """When somebody is due (s); infinite while nobody waits."""
        return self.line[0][0] if self.line else inf

    def add(self, guest: S, chain: Chain, most: int, now: float) -> None:
        """Put a guest in line that has `most` bytes to send; no change if it is there."""
        if chain.ticket:
            return
        chain.want(most)
        chain.ticket = next(self._tickets)
        self._guests[chain.ticket] = guest
        heappush(self.line, (chain.book(now), chain.ticket, chain))

    def due(self, now: float) -> Iterator[S]:
        """Yield the guests to wake; each has to send before the next one is taken.

        One that gets in line again meanwhile comes up again if there is something for it.
        """
        line = self.line
        while line and line[0][0] <= now:
            _, ticket, chain = heappop(line)
            self._drop_stale()
            if chain.is_booked:
                chain.ticket = 0
                yield self._guests.pop(ticket)
            else:
                heappush(line, (chain.book(now), ticket, chain))

    def discard(self, chain: Chain) -> None:
        """Take a guest out of line that leaves or gets another chain; its booking is undone."""
        self._guests.pop(chain.ticket, None)
        chain.ticket = 0
        chain.cancel()
        self._drop_stale()

    def _drop_stale(self) -> None:
        # Guests that left stay in the heap until they would be first.
        while self.line and self.line[0][1] not in self._guests:
            heappop(self.line)

    def recall(self) -> list[S]:
        """Undo all bookings and return the guests in line, in order: the rates have changed."""
        places = [place for place in sorted(self.line) if place[1] in self._guests]
        for _, _, chain in places:
            chain.ticket = 0
            chain.cancel()
        guests = [self._guests[ticket] for _, ticket, _ in places]
        self.line.clear()
        self._guests.clear()
        return guests


@dataclass(frozen=True, slots=True)
class Rates:
    """Upload limits in bytes a second; None is unlimited."""

    total: float | None = None
    torrent: float | None = None
    """Of each torrent, all its peers together."""
    peer: float | None = None
    """Of each connection, or of all downloads of an address over HTTP."""
    slow: float = 16 * KIB
    """Of one address and torrent whose standing is SLOW."""

    @property
    def any(self) -> bool:
        """Whether there is any limit for those whose standing isn't."""
        return any((self.total, self.torrent, self.peer))


class RateLimits(Generic[S]):
    """Every bucket of the node, and the line before them."""

    def __init__(self, rates: Rates) -> None:
        self.waiting: Waiting[S] = Waiting()
        self._rates = rates
        self._total = RateBucket(rates.total) if rates.total else None
        self._owed = RateBucket(rates.total / 2) if rates.total else None
        """What may leave without waiting: half of the rate of all."""
        # A torrent's bucket lives as long as a chain has it.
        self._torrents: WeakValueDictionary[bytes, RateBucket] = WeakValueDictionary()
        self._slow: WeakValueDictionary[tuple[bytes, bytes], RateBucket] = WeakValueDictionary()
        self._shared: OrderedDict[bytes, RateBucket] = OrderedDict()

    def chain(
        self,
        torrent: bytes | None,
        now: float,
        *,
        slow: bytes | None = None,
        sharing: bytes | None = None,
    ) -> Chain | None:
        """Return a new guest's chain, None for unlimited; `slow` is an address to slow down.

        `torrent` is None for what belongs to none.

        `sharing` is an address whose chains of this kind share one peer's rate: an HTTP client gets
        a new chain for each request.
        """
        rates, buckets = self._rates, list[RateBucket]()
        if slow is not None and torrent is not None:
            bucket = self._slow.get((torrent, slow))
            if bucket is None:
                # Dry, so that a new connection brings nothing.
                bucket = self._slow[torrent, slow] = RateBucket(rates.slow, dry_at=now)
            buckets.append(bucket)
        if rates.peer:
            buckets.append(RateBucket(rates.peer) if sharing is None else self._shared_by(sharing))
        if rates.torrent and torrent is not None:
            bucket = self._torrents.get(torrent)
            if bucket is None:
                bucket = self._torrents[torrent] = RateBucket(rates.torrent)
            buckets.append(bucket)
        if self._total is not None:
            buckets.append(self._total)
        return Chain(tuple(buckets), self.waiting.line) if buckets else None

    def _shared_by(self, address: bytes) -> RateBucket:
        bucket = self._shared.pop(address, None) or RateBucket(self._rates.peer or inf)
        self._shared[address] = bucket
        if len(self._shared) > MOST_SHARED:
            self._shared.popitem(last=False)
        return bucket

    def may_owe(self, size: int, now: float) -> bool:
        """Tell whether `size` bytes needn't wait for the rate of all; if so, note them."""
        owed = self._owed
        if owed is None:
            return True
        if owed.paid_at > now:
            return False
        owed.book(size, now)
        return True

    def owe(self, size: int, now: float) -> None:
        """Take up to `size` bytes that have left from the rate of all: half a second's at most."""
        total, owed = self._total, self._owed
        if total is None or owed is None or not size:
            return
        since = max(owed.paid_at, now - owed.depth)
        size = min(size, max(0, int((now + 1.0 - since) * owed.rate)))
        owed.book(size, now)
        total.book(size, now)

    def is_short(self, now: float) -> bool:
        """Tell whether the rate of all peers together is used up to the last grain."""
        total = self._total
        return total is not None and total.paid_at + GRAIN * total.cost > now

    def change(self, rates: Rates, now: float) -> list[S]:
        """Set other rates; return the guests that were in line.

        Every guest needs a new chain now; then those that were in line have to be woken.
        """
        waiting = self.waiting.recall()
        self._rates = rates
        if not rates.total:
            self._total = self._owed = None
        elif self._total is None or self._owed is None:
            self._total, self._owed = RateBucket(rates.total), RateBucket(rates.total / 2)
        else:
            self._total.change(rates.total, now)
            self._owed.change(rates.total / 2, now)
        if rates.torrent:
            for bucket in self._torrents.values():
                bucket.change(rates.torrent, now)
        for bucket in self._slow.values():
            bucket.change(rates.slow, now)
        for bucket in self._shared.values():
            bucket.change(rates.peer or bucket.rate, now)
        return waiting
