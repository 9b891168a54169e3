"""Peer exchange (BEP 11): each peer hears of others that are connected to us.

Messages only say what is certain: peers whose handshake is done and whose listen port is known.
What peers send us of this kind is not read: a seeder dials nobody. A peer may name any port of its
own address, so networks take turns in what others are told. Of a private address only peers of its
kind are told.

No I/O.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import zip_longest
from math import inf
from typing import TypeAlias

from seeder.net.addresses import is_told_to, is_v6, networks_of
from seeder.torrent import bencode

SECONDS_BETWEEN = 60.0
"""From one message to a peer to the next (BEP 11)."""
MOST_CHANGES = 50
"""Peers added, and peers dropped, in one message; both families together."""
MOST_TOLD = 100
"""Peers that one peer knows from us at a time: enough to join the swarm, and little to remember.

A network (a /24, or a /48 of IPv6) may have as many of these places as are still free: half of them
if it is the only one, and there is always room for the peers of another.
"""

_Network: TypeAlias = dict[bytes, list[bytes]]
"""Address -> endpoints at it."""


class Roster:
    """The peers of one torrent that others may hear of; none of a private torrent (BEP 27)."""

    def __init__(self, *, private: bool) -> None:
        self.version = 0
        """Changes whenever an endpoint comes or goes."""
        self._private = private
        self._endpoints: dict[bytes, set[Hashable]] = {}
        """Endpoint -> sessions connected under it."""
        self._networks: dict[bytes, _Network] = {}
        """The same endpoints by network."""
        self._of: dict[Hashable, bytes] = {}
        """Session -> its endpoint."""

    def __contains__(self, endpoint: bytes) -> bool:
        return endpoint in self._endpoints

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._endpoints)

    def join(self, session: Hashable, endpoint: bytes) -> None:
        """List a peer that is handshaken and whose listen port is known; again if that changes.

        Two sessions may share an endpoint: it stays until both have left.
        """
        if self._private or self._of.get(session) == endpoint:
            return
        self.leave(session)
        self._of[session] = endpoint
        if endpoint not in self._endpoints:
            self._endpoints[endpoint] = set()
            address, network = _places(endpoint)
            self._networks.setdefault(network, {}).setdefault(address, []).append(endpoint)
            self.version += 1
        self._endpoints[endpoint].add(session)

    def leave(self, session: Hashable) -> None:
        """Take a session's endpoint off the list; nothing if it has none."""
        endpoint = self._of.pop(session, None)
        if endpoint is None:
            return
        sessions = self._endpoints[endpoint]
        sessions.discard(session)
        if not sessions:
            del self._endpoints[endpoint]
            address, network = _places(endpoint)
            addresses = self._networks[network]
            addresses[address].remove(endpoint)
            if not addresses[address]:
                del addresses[address]
                if not addresses:
                    del self._networks[network]
            self.version += 1

    def rings(self, chance: Callable[[], float]) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Yield each network with its endpoints, in which addresses take turns.

        Which network comes first is a matter of `chance`, which returns a float from 0 up to 1.
        Nothing may join or leave meanwhile.
        """
        for network in _from_anywhere(self._networks, chance):
            addresses = self._networks[network]
            yield (
                network,
                _one_of_each(addresses[each] for each in _from_anywhere(addresses, chance)),
            )


class ToldPeers:
    """Which endpoints one peer was told of, and when; `address` is the peer's, packed."""

    __slots__ = ("_address", "_seen", "_sent_at", "_told")

    def __init__(self, address: bytes) -> None:
        self._address = address
        self._told: tuple[bytes, ...] = ()
        self._sent_at = -inf
        self._seen = -1

    def message(
        self, roster: Roster, own: bytes | None, now: float, chance: Callable[[], float]
    ) -> bytes | None:
        """Return the payload of the `ut_pex` message that is due, None for none.

        `own` is the peer's own endpoint, if known. `chance` returns a float from 0 up to 1.
        """
        if roster.version == self._seen or now - self._sent_at < SECONDS_BETWEEN:
            return None
        gone = [endpoint for endpoint in self._told if endpoint not in roster]
        dropped = gone[:MOST_CHANGES]
        left_out = set(dropped)
        kept = [endpoint for endpoint in self._told if endpoint not in left_out]
        added, rest = _choose(roster, kept, own, self._address, chance)
        # What found no place this time is looked at again, whether or not the roster changes.
        self._seen = -1 if rest or len(gone) > len(dropped) else roster.version
        if not added and not dropped:
            return None
        self._told = (*kept, *added)
        self._sent_at = now
        return _encode(added, dropped)


class RosterEntry:
    """One peer in a torrent's roster: what others hear of it, and what it hears of them."""

    __slots__ = ("_endpoint", "_roster", "_session", "_told")

    def __init__(self, roster: Roster, session: Hashable, address: bytes) -> None:
        """Begin with a peer at a packed address."""
        self._roster = roster
        self._session = session
        self._endpoint: bytes | None = None
        self._told = ToldPeers(address)

    def takes_connections_at(self, endpoint: bytes) -> None:
        """Let others hear of the peer: its compact endpoint, with the port that it named."""
        self._endpoint = endpoint
        self._roster.join(self._session, endpoint)

    def message(self, now: float, chance: Callable[[], float]) -> bytes | None:
        """Return the payload of the `ut_pex` message that is due, None for none."""
        return self._told.message(self._roster, self._endpoint, now, chance)

    def leave(self) -> None:
        """Take the peer out of the roster."""
        self._roster.leave(self._session)


def _choose(
    roster: Roster,
    known: list[bytes],
    own: bytes | None,
    address: bytes,
    chance: Callable[[], float],
) -> tuple[list[bytes], bool]:
    """Return whom a peer hears of beside those it knows, and whether others may come later."""

    def is_new(endpoint: bytes) -> bool:
        return endpoint not in told and is_told_to(address, endpoint[:-2])

    added: list[bytes] = []
    free = MOST_TOLD - len(known)
    if free <= 0:
        return added, False
    told = {*known, own}
    shares = Counter(_places(endpoint)[1] for endpoint in known)
    first, again = roster.rings(chance), deque[tuple[bytes, Iterator[bytes]]]()
    # What is free becomes less: a network that has its share now gets no more.
    while free and (turn := next(first, None) or (again.popleft() if again else None)):
        network, ring = turn
        endpoint = next(filter(is_new, ring), None)
        if endpoint is None or shares[network] >= free:
            continue
        if len(added) == MOST_CHANGES:
            return added, True
        added.append(endpoint)
        shares[network] += 1
        free -= 1
        again.append(turn)
    return added, False


def _places(endpoint: bytes) -> tuple[bytes, bytes]:
    """Return the address of an endpoint, and its network, as `networks_of` names them."""
    networks = networks_of(endpoint[:-2])
    return networks[0], networks[-1]


def _from_anywhere(keys: Iterable[bytes], chance: Callable[[], float]) -> list[bytes]:
    """Return all keys in their order, from a random one on."""
    every = list(keys)
    start = int(chance() * len(every))
    return every[start:] + every[:start]


def _one_of_each(addresses: Iterable[list[bytes]]) -> Iterator[bytes]:
    """Yield the first endpoint of each address, then the second of each, and so on."""
    for row in zip_longest(*addresses):
        yield from filter(None, row)


def _encode(added: list[bytes], dropped: list[bytes]) -> bytes:
    added4, added6 = _by_family(added)
    dropped4, dropped6 = _by_family(dropped)
    # No flags: seeds are let go (BEP 21), and whether a peer can be reached (0x10) is not known,
    # for we dial nobody.
    fields: dict[bytes, bencode.Value] = {
        b"added": b"".join(added4),
        b"added.f": bytes(len(added4)),
        b"added6": b"".join(added6),
        b"added6.f": bytes(len(added6)),
        b"dropped": b"".join(dropped4),
        b"dropped6": b"".join(dropped6),
    }
    return bencode.encode({name: value for name, value in fields.items() if value})


def _by_family(endpoints: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    v4 = [endpoint for endpoint in endpoints if not is_v6(endpoint)]
    return v4, [endpoint for endpoint in endpoints if is_v6(endpoint)]
