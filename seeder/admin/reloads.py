"""What became of the reloads of the configuration since the start. No I/O."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

ReloadOutcome: TypeAlias = Literal["ok", "partial", "refused"]
RELOAD_OUTCOMES: tuple[ReloadOutcome, ...] = get_args(ReloadOutcome)
"""In this order: all of it is in force; some of it needs a restart, or couldn't be taken up;
nothing of it is in force."""


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What became of one reload."""

    at: float
    """When it was over (Unix s)."""
    outcome: ReloadOutcome
    reason: str | None = None
    """Why it wasn't ok."""
    changed: tuple[str, ...] = ()
    """The keys that have another value in force than before."""
    restart: tuple[str, ...] = ()
    """The keys that only a restart takes up."""
    errors: tuple[str, ...] = ()
    """Every mistake of what was refused."""


class Reloads:
    """Counts reloads; `at` is when the configuration in force was read (Unix s)."""

    def __init__(self, at: float) -> None:
        self.counts: Counter[ReloadOutcome] = Counter()
        self.taken_up_at = at
        """When the configuration that is in force was read."""
        self.report: ReloadReport | None = None
        """The last one; None before the first."""

    @property
    def last_at(self) -> float | None:
        """When the last reload was; None before the first."""
        return None if self.report is None else self.report.at

    @property
    def last(self) -> ReloadOutcome:
        """What became of the last one; "ok" before the first."""
        return "ok" if self.report is None else self.report.outcome

    @property
    def reason(self) -> str | None:
        """Why the last one wasn't ok."""
        return None if self.report is None else self.report.reason

    def note(self, report: ReloadReport) -> None:
        """Take note of a reload."""
        self.counts[report.outcome] += 1
        self.report = report
        if report.outcome != "refused":
            self.taken_up_at = report.at

    def document(self) -> dict[str, object]:
        """Return them in the form of /status.json."""
        return {
            "outcome": self.last,
            "reason": self.reason,
            "at": self.last_at,
            "taken_up_at": self.taken_up_at,
            "counts": {outcome: self.counts[outcome] for outcome in RELOAD_OUTCOMES},
        }
