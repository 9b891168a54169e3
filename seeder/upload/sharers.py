"""Several guests of one torrent at one address, as behind a NAT: whom to serve, and who waits.

What an address may have of a torrent has an end (`CopyLimits`). Were it spread over all who ask
there, each would get a part and nobody the whole. Where it can't be enough for all, a few are
served to their end, and the others wait: those first who were sent most, since what others say
that they have costs nothing to say.

No I/O.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

G = TypeVar("G", bound=Hashable)

MOST_CLIENTS = 4
"""Clients at one address that count: peer ids and ports cost nothing, so more would be believed."""
AT_A_TIME = 4
"""Guests at an address that are served at a time, where what is left can't be enough for all."""
STALLED = 30.0
"""Seconds after which one that takes nothing lets another have its turn."""
_MOST_TOLD = 1000


class Sharers(Generic[G]):
    """The guests of one torrent at one address, first come first."""

    __slots__ = ("_ids", "guests")

    def __init__(self) -> None:
        self.guests: dict[G, None] = {}
        self._ids: set[bytes] = set()

    @property
    def clients(self) -> int:
        """How many clients they were so far, at least 1 and at most `MOST_CLIENTS`.

        What the address is sent is counted for each of them in part.
        """
        return max(1, len(self._ids))

    def add(self, guest: G, peer_id: bytes, others: Iterable[bytes]) -> None:
        """Take in a guest; `others` are the peer ids of those that are here with it.

        Downloads have none, and are one client together: many use several connections. A client
        that comes back under another id is one all the same.
        """
        if len(self._ids) < MOST_CLIENTS:
            here = {peer_id, *others}
            if len(here) > len(self._ids):
                self._ids = set(sorted(here)[:MOST_CLIENTS])
        self.guests[guest] = None


class Claim(NamedTuple, Generic[G]):
    """What one of them wants; `place` is its place in the order in which they came."""

    guest: G
    needs: int
    """Bytes that it lacks, at most."""
    sent: int
    """Bytes that we sent it."""
    passed: int
    """How often it has let others go first because it took nothing."""
    place: int


def choose(claims: list[Claim[G]], room: float) -> set[G]:
    """Return whom to serve, of all who lack something; `room` are the bytes that are left.

    That is everybody, if what they lack fits in. Else it is a few that fit, one at least.
    """
    if sum(claim.needs for claim in claims) <= room:
        return {claim.guest for claim in claims}
    line = sorted(claims, key=lambda each: (each.passed, -each.sent, each.needs, each.place))
    chosen: set[G] = set()
    for claim in line[:AT_A_TIME]:
        room -= claim.needs
        if chosen and room < 0:
            break
        chosen.add(claim.guest)
    return chosen


class Told:
    """Of whom the log has told already: once each, as long as not too many others come between."""

    def __init__(self) -> None:
        self._all: set[Hashable] = set()

    def first(self, key: Hashable) -> bool:
        """Tell whether this is the first time, and remember it."""
        if key in self._all:
            return False
        if len(self._all) >= _MOST_TOLD:
            self._all.clear()
        self._all.add(key)
        return True
