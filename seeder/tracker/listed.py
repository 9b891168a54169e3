"""The listed peers of one swarm in columns: a peer is a number, not an object.

Numbers have no gaps: when a peer goes, the last one takes its number. So a number is good until the
next one is taken off; what has to know a peer for longer knows it by its endpoint.

No I/O.
"""

from array import array
from collections.abc import Iterator
from math import inf

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, networks_of
from seeder.tracker.columns import trim
from seeder.tracker.crowd import Crowd
from seeder.tracker.locality import GroupedCrowd
from seeder.tracker.lookup import Lookup

COMPLETE, WANTS_NOTHING, KNOWN = 1, 2, 4
"""Flags of a peer: it has everything; it is a seed, or a partial seed (BEP 21); it, or another peer
of its address in its place, came to our seeder. Who has everything wants nothing."""
SAID = COMPLETE | WANTS_NOTHING
"""What peers say of themselves."""
_V6, _ALONE = 8, 16
_PADDING = bytes(V6_ENDPOINT - V4_ENDPOINT)
_V4_WIDEST, _V6_WIDEST = (len(networks_of(bytes(length))[-1]) for length in (4, 16))


class ListedPeers:
    """Every listed peer.

    Of most networks (/24 or /48) one peer is listed. It is found by its network, and so it is known
    at once of a newcomer whether there is another one near it. Where there are several, they are
    found by their endpoints.
    """

    __slots__ = (
        "_endpoints",
        "_v4",
        "_v6",
        "answered",
        "answered_by_alias",
        "company",
        "crowds",
        "flags",
        "places",
        "seen",
    )

    def __init__(self) -> None:
        self._endpoints = bytearray()
        """In rows of 18 bytes."""
        self.seen = array("d")
        """When each announced last (s)."""
        self.answered = array("d")
        """When each was last given peers."""
        self.answered_by_alias = array("d")
        """The same for its announces by the other hash of a hybrid."""
        self.flags = bytearray()
        self.places = array("i")
        """See `Crowd`."""
        self.crowds: list[Crowd | GroupedCrowd] = []
        """Where each stands."""
        self._v4 = Lookup(self._endpoints, V6_ENDPOINT, _V4_WIDEST)
        """Those that are alone in their network, by that."""
        self._v6: Lookup | None = None
        self.company: dict[bytes, int] = {}
        """The others, by endpoint; to be looked at only."""

    def __len__(self) -> int:
        return len(self.flags)

    def find(self, endpoint: bytes) -> int:
        """Return the number of the peer at a compact endpoint; -1 if it isn't listed."""
        if len(endpoint) == V4_ENDPOINT:
            number = self._v4.find(endpoint[:_V4_WIDEST], endpoint)
        elif self._v6 is None:
            number = -1
        else:
            number = self._v6.find(endpoint[:_V6_WIDEST], endpoint)
        if number < 0 and self.company:
            return self.company.get(endpoint, -1)
        return number

    def endpoint(self, number: int) -> bytes:
        """Return the compact endpoint of a peer."""
        start = number * V6_ENDPOINT
        length = V6_ENDPOINT if self.flags[number] & _V6 else V4_ENDPOINT
        return bytes(self._endpoints[start : start + length])

    def endpoints(self) -> Iterator[bytes]:
        """Yield the endpoints of all that there are at the first one."""
        endpoints, flags = bytes(self._endpoints), bytes(self.flags)
        for number, flag in enumerate(flags):
            start = number * V6_ENDPOINT
            yield endpoints[start : start + (V6_ENDPOINT if flag & _V6 else V4_ENDPOINT)]

    def find_or_reserve(self, widest: bytes) -> int:
        """Return who is alone in a /24 or /48.

        Where nobody is, the next one that is added is alone there, and -1 is returned.
        """
        if len(widest) == _V4_WIDEST:
            return self._v4.find_or_add(widest, len(self.flags))
        if self._v6 is None:
            self._v6 = Lookup(self._endpoints, V6_ENDPOINT, _V6_WIDEST)
        return self._v6.find_or_add(widest, len(self.flags))

    def add(
        self, endpoint: bytes, seen: float, flags: int, crowd: Crowd | GroupedCrowd, *, alone: bool
    ) -> int:
        """List a peer that isn't listed; return its number. It is to be put into the crowd.

        `alone`: this was found by `find_or_reserve`.
        """
        number = len(self.flags)
        if len(endpoint) == V4_ENDPOINT:
            endpoint_row = endpoint + _PADDING
        else:
            endpoint_row = endpoint
            flags |= _V6
        self._endpoints += endpoint_row
        self.seen.append(seen)
        self.answered.append(-inf)
        self.answered_by_alias.append(-inf)
        self.places.append(0)
        self.crowds.append(crowd)
        if alone:
            flags |= _ALONE
        else:
            self.company[endpoint] = number
        self.flags.append(flags)
        return number

    def alone_in(self, widest: bytes) -> int:
        """Return who is alone in a /24 or /48; -1 if there are several, or none."""
        if len(widest) == _V4_WIDEST:
            return self._v4.find(widest)
        return -1 if self._v6 is None else self._v6.find(widest)

    def note_alone(self, number: int) -> None:
        """Note that there is nobody else left in the network of a peer."""
        self.flags[number] |= _ALONE
        endpoint = self.endpoint(number)
        del self.company[endpoint]
        lookup, widest = self._lookup(endpoint)
        lookup.find_or_add(widest, number)

    def note_company(self, number: int, endpoint: bytes) -> None:
        """Note that there is somebody else in the network of a peer that was alone."""
        lookup, widest = self._lookup(endpoint)
        lookup.remove(number, widest)
        self.flags[number] &= ~_ALONE
        self.company[endpoint] = number

    def is_alone(self, number: int) -> bool:
        """Tell whether nobody else in its network is listed."""
        return self.flags[number] & _ALONE > 0

    def remove(self, number: int, endpoint: bytes) -> None:
        """Let a peer go that is in no crowd; the last one gets its number."""
        flags, last = self.flags[number], len(self.flags) - 1
        if flags & _ALONE:
            lookup, widest = self._lookup(endpoint)
            lookup.remove(number, widest)
        else:
            del self.company[endpoint]
        if number != last:
            self._move(last, number)
        del self._endpoints[last * V6_ENDPOINT :]
        self.seen.pop()
        self.answered.pop()
        self.answered_by_alias.pop()
        self.flags.pop()
        self.places.pop()
        self.crowds.pop()
        trim((self.seen, self.answered, self.answered_by_alias, self.places), last)

    def _lookup(self, endpoint: bytes) -> tuple[Lookup, bytes]:
        """Return where a peer is found that is alone, and by what."""
        if len(endpoint) == V4_ENDPOINT:
            return self._v4, endpoint[:_V4_WIDEST]
        assert self._v6 is not None
        return self._v6, endpoint[:_V6_WIDEST]

    def _move(self, last: int, number: int) -> None:
        """Give the last peer the number of one that has gone."""
        flags, crowd, endpoint = self.flags[last], self.crowds[last], self.endpoint(last)
        if flags & _ALONE:
            lookup, widest = self._lookup(endpoint)
            lookup.renumber(last, number, widest)
        else:
            self.company[endpoint] = number
        crowd.renumber(last, number, endpoint)
        start = last * V6_ENDPOINT
        self._endpoints[number * V6_ENDPOINT : (number + 1) * V6_ENDPOINT] = self._endpoints[start:]
        self.seen[number] = self.seen[last]
        self.answered[number] = self.answered[last]
        self.answered_by_alias[number] = self.answered_by_alias[last]
        self.flags[number] = flags
        self.crowds[number] = crowd
