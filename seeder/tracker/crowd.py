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

    __slots__ = ("_endpoints", "_places", "_rng", "_stride")

    def __init__(self, stride: int, rng: RandomFloats) -> None:
        """Make a crowd of endpoints of `stride` bytes each."""
        self._stride = stride
        self._rng = rng
        self._endpoints = bytearray()
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, endpoint: bytes) -> bool:
        return endpoint in self._places

    def add(self, endpoint: bytes) -> None:
        """Take in an endpoint that isn't there."""
        self._places[endpoint] = len(self._endpoints)
        self._endpoints += endpoint
        self.stir(endpoint)

    def stir(self, endpoint: bytes) -> None:
        """Let an endpoint change places with a random one."""
        endpoints, places, stride = self._endpoints, self._places, self._stride
        here, there = places[endpoint], int(self._rng.random() * len(places)) * stride
        other = bytes(endpoints[there : there + stride])
        endpoints[here : here + stride] = other
        endpoints[there : there + stride] = endpoint
        places[other], places[endpoint] = here, there

    def remove(self, endpoint: bytes) -> None:
        """Let go of an endpoint that is there; KeyError otherwise."""
        place, stride = self._places.pop(endpoint), self._stride
        last = bytes(self._endpoints[-stride:])
        del self._endpoints[-stride:]
        if last != endpoint:
            self._endpoints[place : place + stride] = last
            self._places[last] = place

    def discard(self, endpoint: bytes) -> None:
        """Let go of an endpoint if it is there."""
        if endpoint in self._places:
            self.remove(endpoint)

    def sample(self, count: int, *, without: bytes) -> bytes:
        """Return up to `count` random endpoints end to end, none twice and never `without`."""
        endpoints, stride = self._endpoints, self._stride
        place = self._places.get(without)
        present = place is not None
        count = min(count, len(self._places) - present)
        if count <= 0:
            return b""
        start = int(self._rng.random() * len(self._places)) * stride
        length = (count + present) * stride
        run = endpoints[start : start + length]
        if len(run) < length:
            run += endpoints[: length - len(run)]
        if place is not None:
            cut = (place - start) % len(endpoints)
            cut = min(cut, count * stride)
            del run[cut : cut + stride]
        return bytes(run)
