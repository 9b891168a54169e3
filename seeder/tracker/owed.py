"""What was said here and another node of the cluster is to count: completions, and bytes.

Each is told again and again until that node says that it is settled, so nothing is lost with a
command, or with a store that loses what it holds. What is settled twice is counted once: the node
that counts knows the session. That one is settled may be heard long after, when the client was
forgotten and has come again: what it says then isn't settled by that. No I/O.
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
"""Claims of each kind that are kept; beyond that the network that has most of them loses one."""
RETOLD_AFTER, RETOLD_AT_LATEST = 5.0, 60.0
"""Seconds until one is told again, and at most."""
CLOCKS_DIFFER = 1.0
"""Seconds by which what another node heard must be later to be the beginning of another download,
or a claim to be another one than was settled: the clocks of two nodes don't agree to the
millisecond."""


class ClaimName(NamedTuple):
    """What tells a claim from others of its kind."""

    info_hash: InfoHash
    session: bytes
    """The name of the client's session (`seeder.tracker.sessions`)."""


class OwedClaim(NamedTuple):
    """What a client has said: that it has completed, or which bytes it has received."""

    peer: SharedPeer
    """The client as it was then."""
    low: int = 0
    """Of bytes: the claim is those of its running total from here to `peer.downloaded`."""
    began: float = -inf
    """Of bytes: when the client began the download anew, if it has (s, by our clock)."""

    def joined(self, later: "OwedClaim") -> "OwedClaim":
        """Return the claim of both."""
        if later.began > self.began and later.low < self.peer.downloaded:
            return later  # of the former download nobody asks any more
        # If that has less, it may have begun anew at another node.
        return later._replace(low=min(self.low, later.low), began=self.began)


class Settled(NamedTuple):
    """Bytes of one download that need to be told no more, whether they were believed or not."""

    seen: float
    """When the client had said so (s, by our clock)."""
    began: float
    """As that of the claim."""
    low: int
    high: int

    def left_of(self, claim: OwedClaim) -> OwedClaim | None:
        """Return what is left of a claim; None where that is nothing."""
        if claim.peer.seen > self.seen + CLOCKS_DIFFER:
            return claim
        if self.began != claim.began and abs(self.began - claim.began) > CLOCKS_DIFFER:
            return claim if claim.began > self.began else None
        if not self.low <= claim.low <= self.high:
            return claim
        return None if claim.peer.downloaded <= self.high else claim._replace(low=self.high)


@dataclass(slots=True)
class _Owed:
    claim: OwedClaim
    due: float
    pause: float = RETOLD_AFTER


class Owed:
    """Claims of one kind that others are to count."""

    def __init__(self) -> None:
        self._owed: dict[ClaimName, _Owed] = {}
        self._by_torrent: dict[InfoHash, dict[bytes, None]] = {}
        self._shares: Shares[ClaimName] = Shares(self._networks)

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, name: ClaimName, claim: OwedClaim, due: float = -inf) -> None:
        """Keep what a client has claimed until that is settled; it is first told when it is due."""
        known = self._owed.get(name)
        if known is not None:
            self._replace(name, known.claim.joined(claim))
            return
        if len(self._owed) >= MOST_OWED:
            rivals = self._shares.rivals(networks_of(claim.peer.endpoint[:-2]))
            if not rivals:
                return
            self.settle(next(iter(rivals)))
        self._owed[name] = _Owed(claim, due)
        self._by_torrent.setdefault(name.info_hash, {})[name.session] = None
        self._shares.add(name)

    def _replace(self, name: ClaimName, claim: OwedClaim) -> None:
        # Where it comes from may be another network now.
        self._shares.remove(name)
        self._owed[name].claim = claim
        self._shares.add(name)

    def get(self, name: ClaimName) -> OwedClaim | None:
        """Return a claim; None if there is none of that name."""
        known = self._owed.get(name)
        return None if known is None else known.claim

    def settle(self, name: ClaimName) -> None:
        """Forget one: it was counted, or never will be."""
        if name in self._owed:
            self._shares.remove(name)
            del self._owed[name]
            sessions = self._by_torrent[name.info_hash]
            del sessions[name.session]
            if not sessions:
                del self._by_torrent[name.info_hash]

    def settle_said(self, name: ClaimName, seen: float) -> None:
        """Forget one that the client had said when it was `seen` (s), but none that it said since.

        What it went on to say is told again, and settled then.
        """
        claim = self.get(name)
        if claim is not None and claim.peer.seen <= seen + CLOCKS_DIFFER:
            self.settle(name)

    def settle_bytes(self, name: ClaimName, settled: Settled) -> None:
        """Forget what of a claim is settled."""
        claim = self.get(name)
        if claim is None:
            return
        left = settled.left_of(claim)
        if left is None:
            self.settle(name)
        else:
            self._replace(name, left)

    def due(self, now: float) -> Iterator[tuple[ClaimName, OwedClaim]]:
        """Yield what is to be told now, each by its name."""
        return ((name, each.claim) for name, each in self._owed.items() if each.due <= now)

    def of(self, info_hash: InfoHash) -> Iterator[OwedClaim]:
        """Yield what is owed of one torrent."""
        sessions = self._by_torrent.get(info_hash, ())
        return (self._owed[ClaimName(info_hash, each)].claim for each in tuple(sessions))

    def told(self, names: Iterable[ClaimName], now: float) -> None:
        """Note that these were told."""
        for name in names:
            each = self._owed.get(name)
            if each is not None:
                each.due = now + each.pause
                each.pause = min(2 * each.pause, RETOLD_AT_LATEST)

    def begin_anew(self) -> None:
        """Have all be told at once: what was told is lost."""
        for each in self._owed.values():
            each.due, each.pause = -inf, RETOLD_AFTER

    def expire(self, oldest: float) -> None:
        """Forget those from before `oldest`: nobody knows their sessions any more."""
        for name in [name for name, each in self._owed.items() if each.claim.peer.seen < oldest]:
            self.settle(name)

    def _networks(self, name: ClaimName) -> Networks:
        return networks_of(self._owed[name].claim.peer.endpoint[:-2])
