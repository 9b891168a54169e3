"""What was counted over the span of time that a page looks at, up to this moment."""

import time
from dataclasses import dataclass, field

import trio

from seeder.errors import StorageError
from seeder.ledger.counters import Counters, Ledger
from seeder.ledger.history import History
from seeder.ledger.spans import Span

FRESH = 30.0
"""Seconds for which it stays true enough what was counted before a span: it begins at a minute."""


@dataclass(slots=True, eq=False)
class Lately:
    """All that was ever counted less what there was before a span, which the ledger's file knows.

    So the figures are those of this moment, and what isn't written yet is among them.
    """

    ledger: Ledger
    history: History
    _before: dict[Span, tuple[float, Counters]] = field(default_factory=dict)
    """When it was read (trio's clock), and what was counted before."""
    _lock: trio.Lock = field(default_factory=trio.Lock)

    async def counted(self, span: Span) -> Counters | None:
        """Return what was counted over a span; None while the ledger's file can't be read."""
        before = await self._counted_before(span)
        if before is None:
            return None
        totals = self.ledger.totals()
        # A ledger that was damaged may have lost what the file of before had.
        return Counters(
            *(max(0, count) for count in map(int.__sub__, totals.values(), before.values()))
        )

    async def _counted_before(self, span: Span) -> Counters | None:
        if span.seconds is None:
            return Counters()
        async with self._lock:
            read_at, before = self._before.get(span, (-FRESH, Counters()))
            now = trio.current_time()
            if now < read_at + FRESH:
                return before
            try:
                before, _ = await self.history.totals(None, time.time() - span.seconds)
            except StorageError:
                return None
            self._before[span] = now, before
            return before
