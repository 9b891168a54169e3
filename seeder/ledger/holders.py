"""What the holders of passkeys were sent, and what they claim, by name. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import add, attrgetter, sub


@dataclass(slots=True)
class HolderCounts:
    """Sums of one holder. What was sent is measured, the rest is what its clients announce."""

    sent_bytes: int = 0
    """Piece payload that we sent it, as a peer and over HTTP."""
    uploaded_claimed_bytes: int = 0
    downloaded_claimed_bytes: int = 0
    completed: int = 0
    """Downloads announced as completed (claimed)."""

    def values(self) -> tuple[int, ...]:
        """Return every count in the order of HOLDER_COUNTS."""
        values: tuple[int, ...] = _values(self)
        return values

    def plus(self, other: "HolderCounts") -> "HolderCounts":
        return HolderCounts(*map(add, self.values(), other.values()))

    def minus(self, other: "HolderCounts") -> "HolderCounts":
        return HolderCounts(*map(sub, self.values(), other.values()))


HOLDER_COUNTS = tuple(entry.name for entry in fields(HolderCounts))
_values = attrgetter(*HOLDER_COUNTS)


@dataclass(slots=True)
class HolderLedger:
    """What was counted by name since the start; names come with passkeys of ours alone."""

    counts: dict[str, HolderCounts] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    """How often each was seen: who is seen again since the last look has a higher number."""

    def sent(self, holder: str, count: int) -> None:
        """Count `count` bytes of payload that a holder was sent."""
        self._seen(holder).sent_bytes += count

    def announced(self, holder: str, *, uploaded: int, downloaded: int, completed: bool) -> None:
        """Count what a holder's client says that it did since its last announce."""
        counts = self._seen(holder)
        counts.uploaded_claimed_bytes += uploaded
        counts.downloaded_claimed_bytes += downloaded
        counts.completed += completed

    def _seen(self, holder: str) -> HolderCounts:
        self.visits[holder] = self.visits.get(holder, 0) + 1
        found = self.counts.get(holder)
        if found is None:
            found = self.counts[holder] = HolderCounts()
        return found


@dataclass(frozen=True, slots=True)
class HolderSum:
    """What was counted for one holder in an interval."""

    name: str
    seen: int
    """When it was last seen, whatever the interval is (Unix s)."""
    counts: HolderCounts


@dataclass(slots=True)
class HolderNews:
    """What is new of holders since the last look."""

    noted: dict[str, HolderCounts] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)

    def take(self, ledger: HolderLedger) -> Mapping[str, HolderCounts]:
        """Return what was counted since the last call, of whoever was seen since then."""
        news = {}
        # In the thread that writes, while others count: what is missed now comes next time.
        for holder, visits in tuple(ledger.visits.items()):
            if self.visits.get(holder) == visits:
                continue
            counts = HolderCounts(*ledger.counts[holder].values())
            news[holder] = counts.minus(self.noted.get(holder, HolderCounts()))
            self.noted[holder], self.visits[holder] = counts, visits
        return news
