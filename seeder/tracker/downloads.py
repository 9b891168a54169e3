"""What a node of a cluster knows of a session's download beside its numbers, if anything.

Of the client's running total, what is between where the session was met first and the highest that
was heard is looked at, but for the gaps: of those it is known that the client has them, not that
anybody has counted them. No I/O.
"""

from dataclasses import dataclass, field
from math import inf

MOST_GAPS = 8
"""Of one session; beyond that the lowest is taken as counted."""


@dataclass(slots=True)
class DownloadState:
    """Of one session; most have none."""

    began: float = -inf
    """When the client began it anew in its session, if it has (s, by our clock)."""
    had_more: bool = False
    """Whether the client had more of the download before."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """From where to where, in order; none touches another."""

    @property
    def missing(self) -> int:
        """Bytes that are in gaps."""
        return sum(high - low for low, high in self.gaps)

    def skip(self, low: int, high: int) -> int:
        """Note that nobody may have counted the bytes beyond the highest; how many others count.

        Of too many gaps the lowest is given up.
        """
        gaps = self.gaps
        if gaps and gaps[-1][1] == low:
            gaps[-1] = gaps[-1][0], high
        else:
            gaps.append((low, high))
        if len(gaps) <= MOST_GAPS:
            return 0
        first, last = gaps.pop(0)
        return last - first


def look_at(state: DownloadState, base: int, highest: int, low: int, high: int) -> tuple[int, int]:
    """Look at some bytes, too: return how many weren't looked at before, and the highest then.

    What is looked at already is what is between `base` and `highest`, but for the gaps.
    """
    fresh = max(0, high - max(low, highest)) + max(0, min(high, base) - low)
    left = [(high, base)] if high < base else []
    for first, last in state.gaps:
        start, end = max(first, low), min(last, high)
        if start >= end:
            left.append((first, last))
            continue
        fresh += end - start
        left += [each for each in ((first, start), (end, last)) if each[0] < each[1]]
    if low > highest:
        left.append((highest, low))
    state.gaps = left
    return fresh, max(highest, high)
