"""How far back a page looks, and in which steps. No I/O."""

from collections.abc import Mapping
from enum import Enum

from seeder.ledger.recent import RECENT_STEP, STEPS
from seeder.units import DAY, HOUR, MINUTE


class Span(Enum):
    """How far back, and in which steps: two seconds, minutes, hours, days of UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    """30 days."""
    ALL = "all"

    @property
    def step(self) -> int:
        """Seconds of a step."""
        return _STEPS[self][0]

    @property
    def seconds(self) -> int | None:
        """How far back it goes; None: as far as anything was counted."""
        return _STEPS[self][1]


_STEPS: Mapping[Span, tuple[int, int | None]] = {
    Span.HOUR: (RECENT_STEP, RECENT_STEP * STEPS),
    Span.DAY: (MINUTE, DAY),
    Span.MONTH: (HOUR, 30 * DAY),
    Span.ALL: (DAY, None),
}
