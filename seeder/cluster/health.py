"""Whether the cluster's store can be used, since when, and why not; the log says it once.

No I/O.
"""

import logging
from collections.abc import Awaitable, Callable

from seeder.cluster.store import reason_of
from seeder.errors import StoreAway
from seeder.units import rounded_time

_LOG = logging.getLogger(__name__)

MOST_TOLD = 5
"""Reasons of one outage that the log names."""


class Health:
    """What fails of what a node shares, by part; `clock` is the wall clock (Unix s)."""

    def __init__(self, address: str, clock: Callable[[], float]) -> None:
        """`address` is the store's, for the log, without a password."""
        self._address = address
        self._clock = clock
        self._faults: dict[str, str] = {"members": "wasn't asked yet"}
        self._told: set[str] = set()
        self._ever = False
        self.since = clock()
        """When it was last found to work, or to fail (Unix s)."""
        self.outages = 0
        """How often it went away, since the start."""

    @property
    def fault(self) -> str | None:
        """What is wrong, to be said behind "the store of the cluster"; None if nothing is."""
        return next(iter(self._faults.values()), None)

    @property
    def up(self) -> bool:
        """Whether all parts work."""
        return not self._faults

    async def attempt(self, part: str, step: Awaitable[object]) -> bool:
        """Await what a part asks of the store; tell whether the store did it."""
        try:
            await step
        except (StoreAway, ValueError) as error:
            self.failed(part, reason_of(error))
            return False
        except Exception as error:
            # A fault of ours with what the store says: the node goes on by itself.
            _LOG.exception("%s of the cluster: internal error", part)
            self.failed(part, f"says what we fail with (internal error: {error!r})")
            return False
        self.works(part)
        return True

    def failed(self, part: str, reason: str) -> None:
        """Note that a part of the sharing fails."""
        if not self._faults:
            self.since = self._clock()
            self.outages += 1
        self._faults[part] = reason
        if reason not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(reason)
            _LOG.warning(
                "the store of the cluster, %s, %s; this node goes on with what it has",
                self._address,
                reason,
            )

    def works(self, part: str) -> None:
        """Note that a part of the sharing works."""
        if self._faults.pop(part, None) is None or self._faults:
            return
        now = self._clock()
        if self._told:
            away = rounded_time(max(0.0, now - self.since))
            was = f"is back after {away}" if self._ever else f"answers after {away}"
            _LOG.info("the store of the cluster, %s, %s", self._address, was)
        self.since, self._ever = now, True
        self._told.clear()
