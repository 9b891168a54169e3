"""What was counted by groups of addresses, and what that says about bytes between groups. No I/O.

What our seeder sent is measured. What peers say that they downloaded and uploaded is claimed, and
bounds what went from group to group: nobody tells from whom a byte came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import add, attrgetter, sub

from seeder.net.groups import OTHERS, Groups


@dataclass(slots=True)
class GroupCounts:
    """Sums of bytes of one group."""

    sent_bytes: int = 0
    """Piece payload that we sent to its addresses (measured)."""
    delivered_verified_bytes: int = 0
    """What we saw its peers gain, from us and from others."""
    downloaded_claimed_bytes: int = 0
    uploaded_claimed_bytes: int = 0

    def sent(self, count: int) -> None:
        """Count `count` bytes of payload that we sent to the group."""
        self.sent_bytes += count

    def delivered(self, count: int) -> None:
        """Count `count` bytes that we saw a peer of the group gain."""
        self.delivered_verified_bytes += count

    def claimed(self, *, downloaded: int = 0, uploaded: int = 0) -> None:
        """Count bytes that a peer of the group says it has received and sent."""
        self.downloaded_claimed_bytes += downloaded
        self.uploaded_claimed_bytes += uploaded

    def values(self) -> tuple[int, ...]:
        """Return every count in the order of GROUP_COUNTS."""
        values: tuple[int, ...] = _values(self)
        return values

    def plus(self, other: "GroupCounts") -> "GroupCounts":
        return GroupCounts(*map(add, self.values(), other.values()))

    def minus(self, other: "GroupCounts") -> "GroupCounts":
        return GroupCounts(*map(sub, self.values(), other.values()))

    def __bool__(self) -> bool:
        return any(self.values())


GROUP_COUNTS = tuple(entry.name for entry in fields(GroupCounts))
_values = attrgetter(*GROUP_COUNTS)


@dataclass(slots=True)
class GroupLedger:
    """What was counted by group, of this run and of former ones."""

    groups: Groups | None = None
    """Those in force; None: nothing is counted by group. May be replaced."""
    counts: dict[str, GroupCounts] = field(default_factory=dict)
    """By name, those of former configurations included."""

    def present(self) -> dict[str, GroupCounts]:
        """Return what was counted for each of the groups in force."""
        names = () if self.groups is None else self.groups.names
        return {name: self.counts.get(name) or GroupCounts() for name in names}

    def at(self, address: bytes) -> GroupCounts | None:
        """Return what is counted for a packed address."""
        groups = self.groups
        if groups is None:
            return None
        name = groups.names[groups.of(address)]
        found = self.counts.get(name)
        return self.counts.setdefault(name, GroupCounts()) if found is None else found


@dataclass(frozen=True, slots=True)
class GroupFlow:
    """One group in a report."""

    name: str
    counts: GroupCounts
    from_peers_claimed: int
    """What its peers say that they downloaded, less what we sent them: it came of other peers."""
    from_others_least: int
    """So much of that came of other groups at least, if all reports are true: what its own peers
    say that they uploaded isn't enough for it."""
    from_others_most: int
    """And so much at most: other groups say that they uploaded no more."""

    def document(self) -> dict[str, object]:
        """Return it in the form of /status.json and `seeder report --json`; bytes."""
        return {
            "name": self.name,
            **{name: getattr(self.counts, name) for name in GROUP_COUNTS},
            "from_peers_claimed_bytes": self.from_peers_claimed,
            "from_other_groups_claimed_least_bytes": self.from_others_least,
            "from_other_groups_claimed_most_bytes": self.from_others_most,
        }


def flows(counts: Mapping[str, GroupCounts]) -> list[GroupFlow]:
    """Return what each group got and of whom, by name; who is in no group comes last."""
    uploaded = sum(each.uploaded_claimed_bytes for each in counts.values())
    found = []
    for name in sorted(counts, key=lambda name: (name == OTHERS, name)):
        each = counts[name]
        of_peers = max(0, each.downloaded_claimed_bytes - each.sent_bytes)
        most = min(of_peers, uploaded - each.uploaded_claimed_bytes)
        least = min(most, max(0, of_peers - each.uploaded_claimed_bytes))
        found.append(GroupFlow(name, each, of_peers, least, most))
    return found
