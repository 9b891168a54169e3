"""Peers kept so that a random sample costs no more for a large swarm than a small one. No I/O."""

from typing import Protocol


class Randomness(Protocol):
    """Where chance comes from; `random.Random` is one."""

    def random(self) -> float:
        """Return a float from 0 up to, not including, 1."""


class Crowd:
    """Endpoints in random order: any run of them is then a random sample.

    A newcomer changes places with a random one (the inside-out shuffle of Fisher and Yates), a
    leaver's place goes to the last one, and whoever announces again is put elsewhere.
    """

    __slots__ = ("_endpoints", "_places", "_rng")

    def __init__(self, rng: Randomness) -> None:
        self._rng = rng
        self._endpoints: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    def __contains__(self, endpoint: bytes) -> bool:
        return endpoint in self._places

    def add(self, endpoint: bytes) -> None:
        """Take in an endpoint that isn't there."""
        self._places[endpoint] = len(self._endpoints)
        self._endpoints.append(endpoint)
        self.stir(endpoint)

    def stir(self, endpoint: bytes) -> None:
        """Let an endpoint change places with a random one."""
        endpoints, places = self._endpoints, self._places
        there = int(self._rng.random() * len(endpoints))
        here, other = places[endpoint], endpoints[there]
        endpoints[here], endpoints[there] = other, endpoint
        places[other], places[endpoint] = here, there

    def remove(self, endpoint: bytes) -> None:
        """Let go of an endpoint that is there; KeyError otherwise."""
        place = self._places.pop(endpoint)
        last = self._endpoints.pop()
        if last != endpoint:
            self._endpoints[place] = last
            self._places[last] = place

    def sample(self, count: int, *, without: bytes) -> list[bytes]:
        """Return up to `count` random endpoints, none twice and never `without`."""
        endpoints = self._endpoints
        place = self._places.get(without)
        count = min(count, len(endpoints) - (place is not None))
        if count <= 0:
            return []
        take = count + (place is not None)
        start = int(self._rng.random() * len(endpoints))
        run = endpoints[start : start + take]
        if len(run) < take:
            run += endpoints[: take - len(run)]
        if place is not None:
            offset = (place - start) % len(endpoints)
            run.pop(offset if offset < take else -1)
        return run


class Room:
    """A number of places that several swarms share."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self) -> bool:
        """Take one place; False when all are taken."""
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def give_back(self, count: int = 1) -> None:
        """Free places that were taken."""
        self.used -= count
