"""What became of the reloads of the configuration since the start. No I/O."""

from collections import Counter
from typing import Literal, TypeAlias, get_args

ReloadOutcome: TypeAlias = Literal["ok", "partial", "refused"]
RELOAD_OUTCOMES: tuple[ReloadOutcome, ...] = get_args(ReloadOutcome)
"""In this order: all of it is in force; some of it needs a restart, or couldn't be taken up;
nothing of it is in force."""


class Reloads:
    """Counts reloads; `at` is when the configuration in force was read (Unix s)."""

    def __init__(self, at: float) -> None:
        self.counts: Counter[ReloadOutcome] = Counter()
        self.taken_up_at = at
        """When the configuration that is in force was read."""
        self.last_at: float | None = None
        """When the last reload was; None before the first."""
        self.last: ReloadOutcome = "ok"
        self.reason: str | None = None
        """Why the last one wasn't ok."""

    def note(self, at: float, outcome: ReloadOutcome, reason: str | None = None) -> None:
        """Take note of a reload."""
        self.counts[outcome] += 1
        self.last, self.last_at, self.reason = outcome, at, reason
        if outcome != "refused":
            self.taken_up_at = at

    def document(self) -> dict[str, object]:
        """Return them in the form of /status.json."""
        return {
            "outcome": self.last,
            "reason": self.reason,
            "at": self.last_at,
            "taken_up_at": self.taken_up_at,
            "counts": {outcome: self.counts[outcome] for outcome in RELOAD_OUTCOMES},
        }
