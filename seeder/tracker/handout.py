"""Whom an asker hears of: random peers of the address family and of the kind that it needs.

Peers stand in three rows (see `seeder.tracker.neighbours`), and an answer is filled from the first
before the second is asked, and so on. What comes from a row that isn't trusted is no more than a
tenth of the answer. Beside each row stand those whose addresses are private, by kind: only an asker
of their kind hears of them.

No I/O.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, IntEnum
from typing import TypeAlias

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, Scope, scope_of
from seeder.tracker.crowd import Crowd, RandomFloats

PEERS_FOR_ONE_OTHER = 9
"""One peer that isn't trusted is added to so many others."""

Handout: TypeAlias = tuple[bytes, bytes]
"""IPv4 endpoints and IPv6 endpoints, each end to end."""
Choice: TypeAlias = tuple[list[bytes | bytearray], list[bytes | bytearray]]
"""The same in pieces: runs of endpoints."""

_Row: TypeAlias = tuple[tuple[Crowd, Crowd], tuple[Crowd, Crowd]]
"""[IPv6][wants nothing]: seeds and partial seeds (BEP 21) are of no use to each other."""
_Step: TypeAlias = tuple[list[_Row], int, int]
"""Rows, and how many seeds and leechers come from them."""
_LENGTHS = (V4_ENDPOINT, V6_ENDPOINT)
NOBODY: Handout = (b"", b"")


class OwnPlace(Enum):
    """When a handout names our own seeder."""

    ALWAYS = "always"
    SPARE = "spare"
    """When the other peers don't fill the handout."""
    ALONE = "alone"
    """When there is no other peer to hand out."""


_ALWAYS = OwnPlace.ALWAYS
"""To find a member of an enum takes long in Python 3.11."""


class Stand(IntEnum):
    """The row in which a peer stands."""

    FRONT = 0
    MIDDLE = 1
    BEHIND = 2


class Trust(Enum):
    """What the rows but the first add to an answer."""

    MIDDLE_MIXED = "mixed"
    """The middle is as good as the front; who stands behind isn't trusted."""
    MIDDLE_LAST = "last"
    """The middle fills what the front leaves; who stands behind isn't trusted."""
    FRONT_ONLY = "front"
    """Neither is trusted."""
    ALL = "all"
    """Each row fills what those before it leave."""


TRUSTED = {Trust.FRONT_ONLY: 1, Trust.MIDDLE_MIXED: 1, Trust.MIDDLE_LAST: 2, Trust.ALL: 3}
"""How many rows are trusted; with MIDDLE_MIXED the first two are one."""


class Stands:
    """The peers of a swarm as they are handed out."""

    __slots__ = ("_places", "_private", "_rng", "_rows", "are_deep")
    left_out = 0
    """Peers that had no place in the last answer though it isn't full: here there are none."""

    def __init__(self, rng: RandomFloats, places: "array[int]") -> None:
        """Begin without peers; `places` is as `Crowd` has it."""
        self.are_deep = False
        """Whether anybody stood elsewhere than in front, ever: in most swarms nobody does."""
        self._rng = rng
        self._places = places
        self._rows: list[_Row] = [self._new_row()]
        self._private: dict[tuple[Stand, Scope], _Row] = {}
        """What stands beside the rows."""

    def crowd(self, endpoint: bytes, wants_nothing: bool, stand: Stand) -> Crowd:
        """Return where a peer stands."""
        if stand and not self.are_deep:
            self.are_deep = True
            self._rows += [self._new_row(), self._new_row()]
        row, scope = self._rows[stand], scope_of(endpoint[:-2])
        if scope:
            beside = self._private.get((stand, scope))
            row = beside or self._private.setdefault((stand, scope), self._new_row())
        return row[len(endpoint) == V6_ENDPOINT][wants_nothing]

    def _new_row(self) -> _Row:
        v4, v6 = (
            (Crowd(length, self._rng, self._places), Crowd(length, self._rng, self._places))
            for length in _LENGTHS
        )
        return v4, v6

    def are_crowded(self) -> bool:
        """Tell whether more stand in the middle than in front."""
        front, middle = map(_size, self._rows[:2])
        for (stand, _), row in self._private.items():
            front += _size(row) if stand is Stand.FRONT else 0
            middle += _size(row) if stand is Stand.MIDDLE else 0
        return middle > front

    def choose(
        self,
        asker: bytes,
        count: int,
        own: Sequence[bytes],
        place: OwnPlace,
        *,
        wants_nothing: bool,
        trust: Trust,
        number: int,
    ) -> Choice:
        """Choose up to `count` peers that the asker hears of: its own address family first.

        `asker` is its compact endpoint, and `number` who is listed there; -1 is nobody.

        A leecher gets complete peers for half of the answer, for more if there are too few
        leechers; then our seeder; then leechers. A seed gets leechers, and our seeder if `own` is
        passed. With OwnPlace.SPARE or ALONE our seeder isn't chosen here.
        """
        row = self._rows[0]
        ours = own[:count] if own and place is _ALWAYS else ()
        count -= len(ours)
        if self._private or self.are_deep:
            rows = self._rows_for(asker) if self._private else [[row] for row in self._rows]
            if not len(rows) == len(rows[0]) == 1:
                steps = _steps(
                    rows, number, count, ours=len(ours), wants_nothing=wants_nothing, trust=trust
                )
                return _choose_by_steps(steps, asker, ours, number)
            row = rows[0][0]
        # There is but one row, as nearly always. What follows does what the steps would, with fewer
        # calls, which are dear here.
        is_v4 = len(asker) == V4_ENDPOINT
        (leechers, seeds), (far_leechers, far_seeds) = row if is_v4 else row[::-1]
        runs: list[bytes | bytearray] = []
        far_runs: list[bytes | bytearray] = []
        chosen = (runs, far_runs) if is_v4 else (far_runs, runs)
        if not wants_nothing:
            wanted = count // 2
            others = len(leechers.numbers) + len(far_leechers.numbers)
            if others <= count - wanted:
                # So few that it matters whether the asker is one of them.
                others -= number >= 0 and number in leechers
                wanted = max(wanted, count - others)
            size = len(seeds.numbers)
            if size and wanted > 0:
                runs.append(seeds.sample(wanted))
                some = wanted if wanted < size else size
                wanted -= some
                count -= some
            size = len(far_seeds.numbers)
            if size and wanted > 0:
                far_runs.append(far_seeds.sample(wanted))
                count -= wanted if wanted < size else size
        if ours:
            add(chosen, ours)
        if count > 0 and leechers.numbers:
            run = leechers.sample(count, number)
            runs.append(run)
            if far_leechers.numbers:
                count -= len(run) // len(asker)
        if count > 0 and far_leechers.numbers:
            far_runs.append(far_leechers.sample(count))
        return chosen

    def _rows_for(self, asker: bytes) -> list[list[_Row]]:
        """Return each row, with what stands beside it for one like the asker."""
        scope = scope_of(asker[:-2])
        rows = []
        for stand, row in zip(Stand, self._rows, strict=False):
            beside = self._private.get((stand, scope))
            # Where all are of one kind, as behind one router, one row is enough.
            rows.append([row] if beside is None else [row, beside] if _size(row) else [beside])
        return rows


def _choose_by_steps(
    steps: Sequence[_Step], asker: bytes, ours: Sequence[bytes], number: int
) -> Choice:
    chosen: Choice = ([], [])
    near = len(asker) == V6_ENDPOINT
    for group, seeds, _ in steps:
        _choose(chosen, group, near, True, seeds, asker=number)
    add(chosen, ours)
    for group, _, leechers in steps:
        _choose(chosen, group, near, False, leechers, asker=number)
    return chosen


def _steps(
    rows: list[list[_Row]],
    asker: int,
    count: int,
    *,
    ours: int,
    wants_nothing: bool,
    trust: Trust,
) -> list[_Step]:
    """Return how many seeds and leechers come from which rows, `count` in all at most."""
    if trust is Trust.MIDDLE_MIXED:
        front, middle, *rest = rows
        rows = [front + middle, *rest]
    trusted = TRUSTED[trust]
    steps, given = [], 0
    for number, group in enumerate(rows):
        missing = count - given
        if number >= trusted:
            missing = min(missing, (given + ours) // PEERS_FOR_ONE_OTHER)
        leechers = _others(group, False, asker)
        seeds = 0
        if not wants_nothing:
            seeds = max(missing // 2, missing - leechers)
            seeds = min(seeds, _others(group, True, asker))
        leechers = min(leechers, missing - seeds)
        steps.append((group, seeds, leechers))
        given += seeds + leechers
    return steps


def _size(row: _Row) -> int:
    return sum(len(crowd) for family in row for crowd in family)


def _others(rows: Iterable[_Row], wants_nothing: bool, asker: int) -> int:
    """Return how many there are but the asker."""
    count = 0
    for v4, v6 in rows:
        one, other = v4[wants_nothing], v6[wants_nothing]
        count += len(one) + len(other)
        count -= asker >= 0 and (asker in one or asker in other)
    return count


def _choose(
    chosen: Choice,
    rows: Sequence[_Row],
    near: bool,
    wants_nothing: bool,
    missing: int,
    *,
    asker: int,
) -> None:
    """Add up to `missing` random peers of one kind, of each row as its share of all is."""
    for family in (near, not near):
        if missing > 0:
            crowds = [crowd for row in rows if len(crowd := row[family][wants_nothing])]
            total = sum(map(len, crowds))
            for crowd in crowds:
                # The last one makes up for rounding.
                total -= len(crowd)
                part = missing if not total else -(-missing * len(crowd) // (total + len(crowd)))
                some = crowd.sample(part, without=asker)
                chosen[family].append(some)
                missing -= len(some) // _LENGTHS[family]


def add(chosen: Choice, endpoints: Iterable[bytes]) -> None:
    """Add endpoints of either family to a choice."""
    for endpoint in endpoints:
        chosen[len(endpoint) == V6_ENDPOINT].append(endpoint)


def size_of(choice: Choice) -> int:
    """Return how many endpoints were chosen."""
    return sum(
        len(run) // length for runs, length in zip(choice, _LENGTHS, strict=True) for run in runs
    )


def endpoints_of(choice: Choice) -> Iterator[bytes]:
    """Yield the chosen endpoints one by one."""
    for runs, length in zip(choice, _LENGTHS, strict=True):
        for run in runs:
            for start in range(0, len(run), length):
                yield bytes(run[start : start + length])
