"""Room for the sessions whose peers aren't listed any more. No I/O."""

from typing import NamedTuple, Protocol

from seeder.net.addresses import Networks, networks_of
from seeder.net.shares import Shares


class Rememberer(Protocol):
    """Has the sessions of one swarm."""

    def last_endpoint(self, name: bytes) -> bytes:
        """Return where a session was listed last, as a compact endpoint; b"" if that is unknown."""

    def forget(self, name: bytes) -> None:
        """Give up the place of a past session to another one."""


class _Past(NamedTuple):
    rememberer: Rememberer
    name: bytes


class PastRoom:
    """Room for the past sessions of all swarms, by network; each is known by its name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._shares: Shares[_Past] = Shares(_networks_of)

    def __len__(self) -> int:
        return len(self._shares)

    def take(self, rememberer: Rememberer, name: bytes) -> bool:
        """Take a place, that of another in the largest network if need be; False if none is to be
        had."""
        newcomer = _Past(rememberer, name)
        if len(self._shares) >= self._limit:
            rivals = self._shares.rivals(_networks_of(newcomer))
            if not rivals:
                return False
            other = next(iter(rivals))
            other.rememberer.forget(other.name)
        self._shares.add(newcomer)
        return True

    def give_back(self, rememberer: Rememberer, name: bytes) -> None:
        """Free a place that was taken."""
        self._shares.remove(_Past(rememberer, name))


def _networks_of(past: _Past) -> Networks:
    address = past.rememberer.last_endpoint(past.name)[:-2]
    # What an earlier run didn't tell the address of is one network.
    return networks_of(address) if address else (b"", b"")
