"""Peers kept so that a random sample costs no more in a large swarm than in a small one. No I/O."""

from typing import Protocol


class RandomFloats(Protocol):
    """Gives random floats; `random.Random` does."""

    def random(self) -> float:
        """Return a float from 0 up to, not including, 1."""


class Crowd:
    """Endpoints of one length in random order, so that any run of them is a random sample.

    A newcomer changes places with a random endpoint (the inside-out shuffle of Fisher and Yates), a
    leaver's place goes to the last endpoint, and an endpoint that announces again is put elsewhere.
    All lie in one piece of memory, so that a sample is a slice of it, in the form of the reply.
    """

    __slots__ = ("_endpoints", "_rng", "_stride", "places")

    def __init__(self, stride: int, rng: RandomFloats) -> None:
        """Make a crowd of endpoints of `stride` bytes each."""
        self._stride = stride
        self._rng = rng
        self._endpoints = bytearray()
        self.places: dict[bytes, int] = {}
        """Where each is; to be looked at only, and faster than by asking."""

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, endpoint: bytes) -> bool:
        return endpoint in self.places

    def add(self, endpoint: bytes) -> None:
        """Take in an endpoint that isn't there."""
        self.places[endpoint] = len(self._endpoints)
        self._endpoints += endpoint
        self.stir(endpoint)

    def stir(self, endpoint: bytes) -> None:
        """Let an endpoint change places with a random one."""
        endpoints, places, stride = self._endpoints, self.places, self._stride
        here, there = places[endpoint], int(self._rng.random() * len(places)) * stride
        other = bytes(endpoints[there : there + stride])
        endpoints[here : here + stride] = other
        endpoints[there : there + stride] = endpoint
        places[other], places[endpoint] = here, there

    def remove(self, endpoint: bytes) -> None:
        """Let go of an endpoint that is there; KeyError otherwise."""
        place, stride = self.places.pop(endpoint), self._stride
        last = bytes(self._endpoints[-stride:])
        del self._endpoints[-stride:]
        if last != endpoint:
            self._endpoints[place : place + stride] = last
            self.places[last] = place

    def discard(self, endpoint: bytes) -> None:
        """Let go of an endpoint if it is there."""
        if endpoint in self.places:
            self.remove(endpoint)

    def sample(self, count: int, *, without: bytes) -> bytes:
        """Return up to `count` random endpoints end to end, none twice and never `without`."""
        endpoints, stride = self._endpoints, self._stride
        place = self.places.get(without)
        present, total = place is not None, len(self.places)
        count = min(count, total - present)
        if count <= 0:
            return b""
        start = int(self._rng.random() * total) * stride
        length = (count + present) * stride
        run = endpoints[start : start + length]
        if len(run) < length:
            run += endpoints[: length - len(run)]
        if place is None:
            return bytes(run)
        cut = (place - start) % len(endpoints)
        if cut + stride >= length:
            return bytes(run[: length - stride])
        del run[cut : cut + stride]
        return bytes(run)
