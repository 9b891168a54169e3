"""What the peers of one swarm claim, by the group that their addresses are in. No I/O."""

from seeder.tracker.counters import GroupCounter


class GroupClaims:
    """Counts by group; `counter`, which has the groups, may be replaced.

    Whatever was sent was received, too: all together can have sent no more than what they say that
    they received, and what each may have received since it announced.
    """

    __slots__ = ("_unsent", "counter")

    def __init__(self, counter: GroupCounter) -> None:
        self.counter = counter
        self._unsent = 0
        """Bytes that were counted as downloaded beyond those that were as uploaded; below zero by
        what was allowed beside them."""

    def downloaded(self, address: bytes, count: int) -> None:
        """Count bytes that a client at an address (packed) says that it received."""
        counts = self.counter.at(address)
        if counts is not None:
            counts.claimed(downloaded=count)
            self._unsent += count

    def uploaded(self, address: bytes, count: int, unannounced: int) -> None:
        """Count bytes that a client at an address says that it sent, as far as they can be.

        `unannounced` bytes may have been received by others that have not announced since.
        """
        counts = self.counter.at(address)
        counted = min(count, self._unsent + unannounced)
        if counts is not None and counted > 0:
            self._unsent -= counted
            counts.claimed(uploaded=counted)
