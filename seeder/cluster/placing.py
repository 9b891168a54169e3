"""Which nodes seed which object: rendezvous hashing, and who is there to be chosen.

Each node ranks all nodes for an object by a hash of both names, and the first few own the object.
Nothing has to be agreed on but who the nodes are. When one leaves, only its objects move, in equal
parts to all others; when one comes, it takes an equal part from each.

No I/O.
"""

from collections.abc import Iterable
from hashlib import blake2b
from heapq import nlargest
from math import inf

LINGER = 5.0
"""Seconds for which a node that is no member any more keeps its objects: a restart is shorter, and
would else have them read from S3 by others."""


def owners(name: str, members: Iterable[str], replicas: int) -> tuple[str, ...]:
    """Return the `replicas` of the members that own what has this name, the first in rank first.

    All members if there are fewer. The order of `members` doesn't matter.
    """
    what = name.encode()

    def rank(member: str) -> tuple[bytes, str]:
        return blake2b(what, digest_size=8, key=_key(member)).digest(), member

    return tuple(nlargest(replicas, members, key=rank))


def _key(member: str) -> bytes:
    key = member.encode()
    return key if 0 < len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()


class Attendance:
    """The nodes that own objects: the members, and those that went a moment ago.

    `own` is our own name: we are always there.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._gone: dict[str, float] = {}
        """Who went, and when (s)."""
        self.present: frozenset[str] = frozenset({own})
        """Whom clients are sent to."""
        self.owners: frozenset[str] = frozenset({own})
        """Who owns objects."""

    def note(self, names: Iterable[str], now: float) -> bool:
        """Take note of who is a member at `now` (s); tell whether anything has changed by that."""
        before = self.present, self.owners
        present = frozenset({self._own, *names})
        self._gone |= dict.fromkeys(self.present - present, now)
        self._gone = {
            name: at for name, at in self._gone.items() if name not in present and now - at < LINGER
        }
        self.present, self.owners = present, present | self._gone.keys()
        return before != (self.present, self.owners)

    @property
    def next_at(self) -> float:
        """When to note the members again at the latest: somebody who went is out then."""
        return min(self._gone.values(), default=inf) + LINGER
