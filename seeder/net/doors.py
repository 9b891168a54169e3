"""Who may come in, by network: lists of those that are let in and of those that are kept out.

An address is looked up among sorted ranges, which of a list of 100,000 takes a microsecond.

No I/O.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from seeder.net.addresses import IPNetwork


class NetworkSet:
    """Networks as the ranges that they cover together; addresses are packed, IPv4 unmapped."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
        for each in networks:
            ranges[each.max_prefixlen // 8].append(_range(each))
        self._starts: dict[int, list[bytes]] = {}
        self._ends: dict[int, list[bytes]] = {}
        for length, some in ranges.items():
            starts: list[int] = []
            ends: list[int] = []
            for first, last in sorted(some):
                if ends and first <= ends[-1] + 1:
                    ends[-1] = max(ends[-1], last)
                else:
                    starts.append(first)
                    ends.append(last)
            self._starts[length] = [number.to_bytes(length, "big") for number in starts]
            self._ends[length] = [number.to_bytes(length, "big") for number in ends]

    def __contains__(self, address: bytes) -> bool:
        at = bisect_right(self._starts[len(address)], address)
        return at > 0 and address <= self._ends[len(address)][at - 1]

    def covers(self, network: IPNetwork) -> bool:
        """Tell whether one of the ranges has all of a network."""
        length = network.max_prefixlen // 8
        first, last = (number.to_bytes(length, "big") for number in _range(network))
        at = bisect_right(self._starts[length], first)
        return at > 0 and last <= self._ends[length][at - 1]


def _range(network: IPNetwork) -> tuple[int, int]:
    """Return the first and the last address of a network."""
    first = int(network.network_address)
    return first, first | (1 << (network.max_prefixlen - network.prefixlen)) - 1


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """Two lists of networks: `deny` goes before `allow`, and an empty `allow` is everybody."""

    allow: Sequence[IPNetwork] = ()
    deny: Sequence[IPNetwork] = ()

    def hidden(self) -> Iterator[tuple[int, IPNetwork]]:
        """Yield the networks in `allow` of which nobody gets in, each with its place."""
        if not self.allow:
            return
        denied = NetworkSet(self.deny)
        for place, network in enumerate(self.allow):
            if denied.covers(network):
                yield place, network


class Door:
    """Lets clients in by their address."""

    def __init__(self, rules: NetworkRules = NetworkRules()) -> None:
        self.turned_away = 0
        """How often somebody wasn't let in."""
        self.is_open = not rules.allow and not rules.deny
        """Whether everybody is let in."""
        self._allowed = NetworkSet(rules.allow) if rules.allow else None
        self._denied = NetworkSet(rules.deny)

    def follow(self, other: "Door") -> None:
        """Go by another one's rules from now on, which takes no time."""
        self.is_open, self._allowed, self._denied = other.is_open, other._allowed, other._denied

    def admits(self, address: bytes) -> bool:
        """Tell whether a packed address is let in."""
        if self.is_open:
            return True
        if address in self._denied:
            return False
        return self._allowed is None or address in self._allowed

    def turns_away(self, address: bytes) -> bool:
        """Tell whether a packed address isn't let in, and count it if so."""
        if self.is_open or self.admits(address):
            return False
        self.turned_away += 1
        return True


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors of a node, one for each section that has lists."""

    tracker: Door
    peer: Door
    gateway: Door
