"""Completions that were said here and that another node of the cluster is to count.

Each is told again and again until that node says that it is settled, so nothing is lost with a
command, or with a store that loses what it holds. What is settled twice is counted once: the node
that counts knows the session. No I/O.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from seeder.net.addresses import Networks, networks_of
from seeder.net.shares import Shares
from seeder.torrent.info import InfoHash
from seeder.tracker.told import SharedPeer

MOST_OWED = 10_000
"""Completions that are kept; beyond that the network that has most of them loses one."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until one is told again, and at most."""


class CompletionName(NamedTuple):
    """What tells a completion from others."""

    info_hash: InfoHash
    session: bytes
    """The name of the client's session (`seeder.tracker.sessions`)."""


@dataclass(slots=True)
class _Owed:
    peer: SharedPeer
    """Who completed, as it was then."""
    due: float = -inf
    pause: float = FIRST_PAUSE


class OwedCompletions:
    """The completions that others are to count."""

    def __init__(self) -> None:
        self._owed: dict[CompletionName, _Owed] = {}
        self._by_torrent: dict[InfoHash, dict[bytes, None]] = {}
        self._shares: Shares[CompletionName] = Shares(self._networks)

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, name: CompletionName, peer: SharedPeer) -> None:
        """Keep that a peer has completed, until that is settled."""
        if name in self._owed:
            return
        if len(self._owed) >= MOST_OWED:
            rivals = self._shares.rivals(networks_of(peer.endpoint[:-2]))
            if not rivals:
                return
            self.settle(next(iter(rivals)))
        self._owed[name] = _Owed(peer)
        self._by_torrent.setdefault(name.info_hash, {})[name.session] = None
        self._shares.add(name)

    def settle(self, name: CompletionName) -> None:
        """Forget one: it was counted, or never will be."""
        if name in self._owed:
            self._shares.remove(name)
            del self._owed[name]
            sessions = self._by_torrent[name.info_hash]
            del sessions[name.session]
            if not sessions:
                del self._by_torrent[name.info_hash]

    def due(self, now: float) -> Iterator[tuple[CompletionName, SharedPeer]]:
        """Yield what is to be told now, each by its name."""
        return ((name, each.peer) for name, each in self._owed.items() if each.due <= now)

    def of(self, info_hash: InfoHash) -> Iterator[SharedPeer]:
        """Yield who completed of one torrent."""
        sessions = self._by_torrent.get(info_hash, ())
        return (self._owed[CompletionName(info_hash, each)].peer for each in tuple(sessions))

    def told(self, names: Iterable[CompletionName], now: float) -> None:
        """Note that these were told."""
        for name in names:
            each = self._owed.get(name)
            if each is not None:
                each.due = now + each.pause
                each.pause = min(2 * each.pause, LONGEST_PAUSE)

    def begin_anew(self) -> None:
        """Have all be told at once: what was told is lost."""
        for each in self._owed.values():
            each.due, each.pause = -inf, FIRST_PAUSE

    def expire(self, oldest: float) -> None:
        """Forget those from before `oldest`: nobody knows their sessions any more."""
        for name in [name for name, each in self._owed.items() if each.peer.seen < oldest]:
            self.settle(name)

    def _networks(self, name: CompletionName) -> Networks:
        return networks_of(self._owed[name].peer.endpoint[:-2])
