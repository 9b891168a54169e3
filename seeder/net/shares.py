"""Who holds how many of something scarce, by network, and who makes room for a newcomer.

The holders of one address, of its /56, and of its /48 or /24 count together, so that nobody gets
more by taking many addresses of a network that is his. When there is no room, the newcomer is given
the holders of the largest share, to end one of them: max-min fairness, network by network. Nobody
is pushed below the share of another.

A network with a single holder is nothing but an entry of the one around it: most honest ones are.

No I/O.
"""

from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Generic, TypeAlias, TypeVar

from seeder.net.addresses import Networks

H = TypeVar("H", bound=Hashable)


class _Address(dict[H, None]):
    """Several holders at one address, in the order in which they came."""


class _Network(Generic[H]):
    """The holders in one network, and which of the networks in it has most."""

    __slots__ = ("count", "inside", "largest", "ranks")

    def __init__(self) -> None:
        self.count = 0
        self.inside: dict[bytes, _Share[H]] = {}
        self.largest = 0
        """How many the network in it has that has most."""
        self.ranks: dict[int, dict[bytes, None]] = {}
        """The networks in it by how many they have, from two on."""

    def add(self, holder: H, networks: Networks, of: Callable[[H], Networks], level: int) -> None:
        """Take a holder in; `level` is the place in `networks` of the next narrower network."""
        network = networks[level]
        share = self.inside.get(network)
        if share is None:
            self.inside[network] = holder
            self.count += 1
            self.largest = self.largest or 1
            return
        if isinstance(share, _Network):
            share.add(holder, networks, of, level - 1)
            after = share.count
        elif isinstance(share, _Address):
            share[holder] = None
            after = len(share)
        else:
            self.inside[network] = _both(share, holder, of, networks, level)
            after = 2
        self.count += 1
        self._rank(network, after - 1, after)

    def remove(self, holder: H, networks: Networks, level: int) -> None:
        """Let a holder go; KeyError if it isn't there."""
        network = networks[level]
        share = self.inside[network]
        if isinstance(share, _Network):
            share.remove(holder, networks, level - 1)
            after = share.count
            if after == 1:
                [self.inside[network]] = share.inside.values()
        elif isinstance(share, _Address):
            del share[holder]
            after = len(share)
            if after == 1:
                [self.inside[network]] = share
        else:
            if share != holder:
                raise KeyError(holder)
            del self.inside[network]
            after = 0
        self.count -= 1
        self._rank(network, after + 1, after)

    def _rank(self, network: bytes, before: int, after: int) -> None:
        ranks = self.ranks
        if before > 1:
            equals = ranks[before]
            del equals[network]
            if not equals:
                del ranks[before]
        if after > 1:
            equals = ranks.get(after) or ranks.setdefault(after, {})
            equals[network] = None
        overtaken = before == self.largest and before not in ranks
        if after > self.largest or (overtaken and (before > 1 or not self.inside)):
            self.largest = after

    def holders(self) -> Iterator[H]:
        """Yield every holder in it; nothing may change meanwhile."""
        for share in self.inside.values():
            if isinstance(share, _Network):
                yield from share.holders()
            elif isinstance(share, _Address):
                yield from share
            else:
                yield share

    def most(self) -> Collection[H]:
        """Return the holders at one address, going to the network that has most at each step."""
        network = self
        while True:
            narrower = network.ranks[network.largest] if network.largest > 1 else network.inside
            share = network.inside[next(iter(narrower))]
            if not isinstance(share, _Network):
                return share if isinstance(share, _Address) else (share,)
            network = share


_Share: TypeAlias = H | _Address[H] | _Network[H]


class Shares(Generic[H]):
    """All holders of something scarce; `networks` tells where one is, the same at all times."""

    __slots__ = ("_all", "_networks")

    def __init__(self, networks: Callable[[H], Networks]) -> None:
        self._networks = networks
        self._all: _Network[H] = _Network()

    def __len__(self) -> int:
        return self._all.count

    @property
    def largest(self) -> int:
        """How many the /24 or /48 has that has most."""
        return self._all.largest

    def add(self, holder: H, networks: Networks | None = None) -> None:
        """Count a holder that isn't counted yet; its `networks` are looked up unless given."""
        if networks is None:
            networks = self._networks(holder)
        self._all.add(holder, networks, self._networks, len(networks) - 1)

    def remove(self, holder: H) -> None:
        """Count it no more; KeyError if it isn't counted."""
        networks = self._networks(holder)
        self._all.remove(holder, networks, len(networks) - 1)

    def share(self, networks: Networks) -> int:
        """Return how many the widest of these networks has."""
        return _size(self._all.inside.get(networks[-1]))

    def holders(self, widest: bytes) -> Iterator[H]:
        """Yield the holders in a /24 or /48; nothing may change meanwhile."""
        share = self._all.inside.get(widest)
        if isinstance(share, _Network):
            yield from share.holders()
        elif isinstance(share, _Address):
            yield from share
        elif share is not None:
            yield share

    def most(self) -> Collection[H]:
        """Return the holders at the address with most in the network with most; one at least."""
        return self._all.most()

    def at(self, networks: Networks) -> Collection[H]:
        """Return the holders at an address, first come first; good until the next change."""
        network = self._all
        for each in reversed(networks):
            share = network.inside.get(each)
            if isinstance(share, _Address):
                return share
            if isinstance(share, _Network):
                network = share
            elif share is not None and self._networks(share) == networks:
                return (share,)
            else:
                break
        return ()

    def rivals(self, newcomer: Networks) -> Collection[H]:
        """Return the holders of which one may be ended for a newcomer; good until the next change.

        They are at one address: that with most in the largest network, if that has more than the
        newcomer's network would have with the newcomer. If it hasn't, the networks in the
        newcomer's are compared likewise. Nobody is returned where the newcomer's share would be as
        large as any.
        """
        network = self._all
        for each in reversed(newcomer):
            share = network.inside.get(each)
            if _size(share) + 1 < network.largest:
                return network.most()
            if not isinstance(share, _Network):
                break
            network = share
        return ()


def _size(share: _Share[H] | None) -> int:
    if isinstance(share, _Network):
        return share.count
    return len(share) if isinstance(share, _Address) else int(share is not None)


def _both(
    one: H, other: H, of: Callable[[H], Networks], networks: Networks, level: int
) -> "_Address[H] | _Network[H]":
    """Return the share of two holders in one network; that is an address at level 0."""
    if not level:
        return _Address({one: None, other: None})
    network: _Network[H] = _Network()
    network.add(one, of(one), of, level - 1)
    network.add(other, networks, of, level - 1)
    return network
