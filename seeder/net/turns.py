"""A line in which networks take turns, however many of each wait.

The next one is of the network that has waited longest since it had a turn (the /48 or /24), in it
of the narrower network that has, and so on: a round-robin at each step. No I/O.
"""

from collections.abc import Hashable
from typing import Generic, TypeAlias, TypeVar

from seeder.net.addresses import Networks

W = TypeVar("W", bound=Hashable)

_Ring: TypeAlias = "dict[bytes | W, _Ring[W] | None]"
"""Whose turn it is, in order; those who wait at an address have nothing in them."""


class Turns(Generic[W]):
    """Those who wait; one waits once, in networks that have at least one who waits."""

    def __init__(self) -> None:
        self._all: _Ring[W] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, waiter: W, networks: Networks) -> None:
        """Put somebody at the end of the line of its address."""
        ring = self._all
        for network in reversed(networks):
            inside = ring.get(network)
            if inside is None:
                inside = ring[network] = {}
            ring = inside
        ring[waiter] = None

    def discard(self, waiter: W, networks: Networks) -> None:
        """Take somebody out of the line; no error if it isn't there."""
        path = [self._all]
        for network in reversed(networks):
            inside = path[-1].get(network)
            if inside is None:
                return
            path.append(inside)
        path.pop().pop(waiter, None)
        for ring, network in zip(reversed(path), networks, strict=True):
            if ring[network]:
                return
            del ring[network]

    def next(self) -> W:
        """Take the next one out of the line; StopIteration if nobody waits."""
        path: list[tuple[_Ring[W], bytes, _Ring[W]]] = []
        ring = self._all
        while True:
            first = next(iter(ring))
            inside = ring.pop(first)
            if inside is None:
                break
            assert isinstance(first, bytes)
            path.append((ring, first, inside))
            ring = inside
        for around, network, inside in reversed(path):
            if inside:
                # Behind all others.
                around[network] = inside
        assert not isinstance(first, bytes)
        return first
