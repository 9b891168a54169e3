"""Several guests of one torrent at one address, as behind a NAT: whom to serve, and who waits.

What an address may have of a torrent has an end (`CopyLimits`). Were it spread over all who ask
there, each would get a part and nobody the whole. Where it can't be enough for all, a few are
served to their end, and the others wait: those first who were sent most, since what others say
that they have costs nothing to say.

No I/O.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

G = TypeVar("G", bound=Hashable)

MOST_CLIENTS = 4
"""Clients at one address that count: peer ids and ports cost nothing, so more would be believed."""
AT_A_TIME = 4
"""Guests at an address that begin at a time, where what is left can't be enough for all."""
STALLED_AFTER = 30.0
"""Seconds after which one that takes nothing lets another have its turn, and one that takes
something has it beside another: the slowest at an address mustn't keep the others waiting."""


class Sharers(Generic[G]):
    """The guests of one torrent at one address, first come first."""

    __slots__ = ("_ids", "clients", "guests", "spare")

    def __init__(self) -> None:
        self.guests: dict[G, bytes] = {}
        """Each with its peer id."""
        self.clients = 1
        """How many clients were here at a time so far, at least 1 and at most `MOST_CLIENTS`.

        What the address is sent is counted for each of them in part.
        """
        self.spare = 0.0
        """Bytes that were left, beyond what all who were here lacked, when that was looked at last.

        Below 0 if that wasn't enough for all, and 0 if it isn't known.
        """
        self._ids: dict[bytes, int] = {}
        """Guests by peer id."""

    def add(self, guest: G, peer_id: bytes) -> None:
        """Take in a guest.

        Downloads have no peer id, and are one client together: many use several connections. A
        client that comes back under another id is one all the same.
        """
        self.guests[guest] = peer_id
        self._ids[peer_id] = self._ids.get(peer_id, 0) + 1
        if self.clients < len(self._ids) <= MOST_CLIENTS:
            self.clients = len(self._ids)
            self.spare = 0.0

    def remove(self, guest: G) -> None:
        """Forget a guest, but not how many clients there were."""
        peer_id = self.guests.pop(guest)
        self._ids[peer_id] -= 1
        if not self._ids[peer_id]:
            del self._ids[peer_id]
        if len(self.guests) == 1:
            # Nobody looks at one that is alone, so this would stay.
            self.spare = 0.0


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
    settled: bool = False
    """Whether it has been served for `STALLED_AFTER` seconds, and took something."""


def choose(claims: list[Claim[G]], room: float) -> set[G]:
    """Return whom to serve where the `room` bytes that are left aren't enough for all.

    They are those that fit, one at least, and of those that aren't settled a few.
    """
    line = sorted(claims, key=lambda each: (each.passed, -each.sent, each.needs, each.place))
    chosen: set[G] = set()
    beginners = 0
    for claim in line:
        if beginners == AT_A_TIME and not claim.settled:
            continue
        room -= claim.needs
        if chosen and room < 0:
            break
        chosen.add(claim.guest)
        beginners += not claim.settled
    return chosen
