"""Networks that are kept out for a while, or until further notice, and what nodes tell each other
of them.

Of two words on a network the later one counts, and a ban that was lifted is remembered for a day:
so bans of several nodes can be joined in any order, as often as one likes. No I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from math import isfinite
from typing import Any

from seeder.net.addresses import IPNetwork
from seeder.units import DAY

MOST_BANS = 10_000
LONGEST_NOTE = 200
"""Characters."""
KEPT_FOR = DAY
"""Seconds for which a ban is remembered that has ended."""
_FORMAT = 1
_STEP = 1e-6
_LATEST = 2**53


@dataclass(frozen=True, slots=True)
class Ban:
    """What was last said of a network; times in Unix seconds."""

    network: IPNetwork
    at: float
    """When that was said."""
    until: float | None = None
    """When it ends; None: it has no end."""
    note: str = ""
    lifted: bool = False
    """Whether it was said that it ends now."""

    def holds(self, now: float) -> bool:
        """Tell whether nobody of the network is let in."""
        return not self.lifted and (self.until is None or now < self.until)

    def forgettable_at(self) -> float | None:
        """Return from when on nobody has to know of it; None: ever."""
        end = self.at if self.lifted else self.until
        return None if end is None else end + KEPT_FOR

    def row(self) -> list[object]:
        """Return it as JSON has it."""
        return [str(self.network), self.at, self.until, self.note, self.lifted]


class Bans:
    """What was last said of each network."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._bans: dict[IPNetwork, Ban] = {}
        for each in bans:
            self.hear(each)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bans) and self._bans == other._bans

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Ban]:
        return iter(tuple(self._bans.values()))

    def hear(self, ban: Ban) -> bool:
        """Take in what was said of a network; tell whether that is news."""
        known = self._bans.get(ban.network)
        if known is not None and _rank(ban) <= _rank(known):
            return False
        self._bans[ban.network] = ban
        return True

    def after(self, ban: Ban) -> Ban:
        """Return a ban that counts more than what is known of its network, whatever the clock."""
        known = self._bans.get(ban.network)
        return ban if known is None else replace(ban, at=max(ban.at, known.at + _STEP))

    def find(self, network: IPNetwork, now: float) -> Ban | None:
        """Return the ban of a network that is in force."""
        found = self._bans.get(network)
        return found if found is not None and found.holds(now) else None

    def in_force(self, now: float) -> list[Ban]:
        """Return those that hold, in the order of their networks."""
        held = [each for each in self._bans.values() if each.holds(now)]
        return sorted(held, key=lambda each: (each.network.version, each.network))

    def trim(self, now: float) -> None:
        """Forget what nobody has to know any more."""
        for ban in self:
            end = ban.forgettable_at()
            if end is not None and end < now:
                del self._bans[ban.network]

    def document(self) -> Mapping[str, object]:
        """Return them as JSON has them."""
        return {"bans": _FORMAT, "entries": [each.row() for each in self]}


def _rank(ban: Ban) -> tuple[float, bool, float, str]:
    return ban.at, ban.lifted, -1.0 if ban.until is None else ban.until, ban.note


def read_bans(document: Any) -> Bans:
    """Return what `Bans.document` made; ValueError for anything else."""
    try:
        if document["bans"] != _FORMAT:
            raise ValueError("another version wrote it")
        return Bans(map(read_ban, document["entries"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no list of bans: {error!r}") from error


def read_ban(row: Any) -> Ban:
    """Return what `Ban.row` made; ValueError for anything else."""
    try:
        network, at, until, note, lifted = row
    except (TypeError, ValueError):
        raise ValueError("a ban in it is none") from None
    told = isinstance(network, str) and isinstance(note, str) and len(note) <= LONGEST_NOTE
    if not told or not isinstance(lifted, bool):
        raise ValueError("a ban in it is none")
    return Ban(
        ip_network(network), _moment(at), None if until is None else _moment(until), note, lifted
    )


def _moment(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isfinite(value) or not 0 <= value < _LATEST:  # type: ignore[arg-type,operator]
        raise ValueError("a time in it is none")
    return float(value)  # type: ignore[arg-type]
