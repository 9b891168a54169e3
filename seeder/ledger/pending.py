"""What was counted and isn't in the ledger's file yet, by the minute in which it was."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add, sub

from seeder.ledger.counters import NO_COUNTS, AccountKey
from seeder.ledger.groups import GroupCounts
from seeder.ledger.holders import HolderCounts
from seeder.ledger.node import NodeFigures
from seeder.ledger.records import Entry

MOST_MINUTES = 180
"""Minutes that wait for a file that can't be written; more are added up."""


@dataclass(slots=True)
class MinuteCounts:
    """What was counted in one minute."""

    counts: dict[AccountKey, tuple[int, ...]] = field(default_factory=dict)
    node: NodeFigures | None = None
    groups: dict[str, GroupCounts] = field(default_factory=dict)
    holders: dict[str, HolderCounts] = field(default_factory=dict)
    """Of those that were seen."""

    def add(self, key: AccountKey, counts: tuple[int, ...]) -> None:
        self.counts[key] = tuple(map(add, self.counts.get(key, NO_COUNTS), counts))

    def add_node(self, figures: NodeFigures) -> None:
        self.node = figures if self.node is None else self.node.plus(figures)

    def add_groups(self, groups: Mapping[str, GroupCounts]) -> None:
        for name, counts in groups.items():
            self.groups[name] = self.groups.get(name, GroupCounts()).plus(counts)

    def take_over(self, other: "MinuteCounts") -> None:
        for key, counts in other.counts.items():
            self.add(key, counts)
        if other.node is not None:
            self.add_node(other.node)
        self.add_groups(other.groups)
        for holder, holder_counts in other.holders.items():
            self.add_holder(holder, holder_counts)

    def add_holder(self, holder: str, counts: HolderCounts) -> None:
        self.holders[holder] = self.holders.get(holder, HolderCounts()).plus(counts)


class Pending:
    """The minutes that are to be written, until they are."""

    def __init__(self) -> None:
        self.minutes: dict[int, MinuteCounts] = {}
        """By their start (Unix s)."""
        self._noted: dict[AccountKey, tuple[int, ...]] = {}
        """What is written or pending, of the accounts that have something pending."""
        self._node: NodeFigures | None = None
        """At the last call; what came before the first one was counted for another file, if any."""

    def note(
        self,
        minute: int,
        changed: Iterable[Entry],
        written: Mapping[AccountKey, Entry],
        *,
        node: NodeFigures | None,
        groups: Mapping[str, GroupCounts],
        holders: Mapping[str, HolderCounts],
    ) -> None:
        """Keep what was counted since the last call under a minute (Unix s).

        `changed` are accounts with sums that differ from the `written` ones, `node` is what the
        node has done since its start; of `groups` and `holders` it is what is new.
        """
        pending = self.minutes.setdefault(minute, MinuteCounts())
        for holder, holder_counts in holders.items():
            pending.add_holder(holder, holder_counts)
        for entry in changed:
            before = written.get(entry.key)
            noted = self._noted.get(entry.key, before.counts if before else NO_COUNTS)
            if entry.counts != noted:
                pending.add(entry.key, tuple(map(sub, entry.counts, noted)))
                self._noted[entry.key] = entry.counts
        if node is not None:
            pending.add_node(node.since(self._node or node))
            self._node = node
        pending.add_groups(groups)
        if len(self.minutes) > MOST_MINUTES:
            first, second, *_ = sorted(self.minutes)
            self.minutes[second].take_over(self.minutes.pop(first))

    def clear(self) -> None:
        """Take note that all of it was written."""
        self.minutes.clear()
        self._noted.clear()
