"""What one origin was asked, by S3's names for it, what came of it, and how long answers took.

No I/O.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from seeder.net.timings import Timings
from seeder.s3.answers import Answer
from seeder.s3.pace import Progress
from seeder.s3.stalls import Stall

Operation: TypeAlias = Literal[
    "HeadObject",
    "GetObject",
    "ListObjects",
    "GetObjectTorrent",
    "GetObjectAttributes",
    "PutObject",
]
Outcome: TypeAlias = Literal[
    "ok", "refused", "throttled", "failed", "unfit", "unreachable", "switched", "cancelled"
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""In this order: S3 gave what was asked for; it said no; it wants to be asked less; it failed;
its answer wasn't what it should have been; no answer came, or not all of one; the rest was asked
for over another connection; we asked no longer."""


def outcome_of(answer: Answer) -> Outcome:
    """Return what an error that S3 sent is counted as."""
    if answer.throttled:
        return "throttled"
    return "failed" if answer.status >= 500 or answer.transient else "refused"


class Operations:
    """The attempts at one origin's calls since the start; a retry is another one."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Operation, Outcome]] = Counter()
        self.waits = {operation: Timings() for operation in OPERATIONS}
        """From the moment that there is a connection, or one is opened, to the head of an answer
        that is no error."""

    def count(self, operation: Operation, outcome: Outcome, progress: Progress) -> None:
        """Count an attempt that has ended, unless it never got as far as a connection."""
        if not progress.began:
            return
        self.counts[operation, outcome] += 1
        if progress.answered_at is not None:
            self.waits[operation].add(progress.answered_at - progress.began)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What calls wait for, of an S3 that gives no answer."""

    host: str
    seconds: float
    """Since it was asked in vain for the first time."""
    tries: int
    """Attempts since then, also those whose answers may still come."""
    why: str | None
    """What the first of them met; None if none has ended."""


@dataclass(frozen=True, slots=True)
class OriginStatistics:
    """What one origin's calls came to since the start, and how they stand now."""

    requests: int
    retries: int
    errors: Mapping[str, int]
    """Calls that failed, by kind."""
    switched: int
    """Reads that went on over another connection, since others were much faster."""
    operations: Mapping[tuple[Operation, Outcome], int]
    """Attempts by what was asked and what came of it; a retry is another one."""
    answer_times: Mapping[Operation, Timings]
    """From asking to the head of an answer that is no error."""
    waiting: int
    """Calls that haven't ended."""
    stall: Stall | None
    """How long nothing has come of it though something is wanted."""
    reachable: bool
    """False after a call got no answer or only 5xx, or nothing came for a while, until the next
    answer."""
    since: float | None
    """When it went away (Unix s); None while it is reachable."""
    reason: str | None
    """Why it counts as away."""
    last_success: float | None
    """When the last answer came (Unix s)."""
    clock_ahead: float
    """Seconds by which S3's clock is ahead of the machine's; 0 while requests that are signed for
    the machine's time are taken."""
    clock_fault: str | None
    """What is wrong with the machine's clock, if it is too far from S3's."""
    last_error: str | None
