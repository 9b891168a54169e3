"""Where what peers claim is counted: the ledger, for us. No I/O."""

from typing import Protocol


class ClaimCounter(Protocol):
    """Counts what peers claim; the ledger's account of an object does."""

    def delivered_claimed(self, count: int) -> None:
        """Add `count` bytes that a peer says it received."""

    def completed(self) -> None:
        """Add one peer that says it has everything."""


class ClaimsOfGroup(Protocol):
    """Counts what the peers of a group of addresses claim; the ledger does."""

    def claimed(self, *, downloaded: int = 0, uploaded: int = 0) -> None:
        """Add bytes that a peer says it has received, and sent."""


class GroupCounter(Protocol):
    """Gives where claims are counted by group."""

    def at(self, address: bytes) -> ClaimsOfGroup | None:
        """Return where those of a packed address are; None: nowhere."""
