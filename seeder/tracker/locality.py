"""Whom an asker hears of where addresses are in groups: its own group first, then the near ones.

A few peers of the others come with every answer, so that what is in one group gets into all of
them; and where a group is small, so many more that nobody knows too few. Otherwise the rows and the
kinds of `seeder.tracker.handout` hold: first comes who is trusted, then who is near.

No I/O.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from seeder.net.addresses import V4_ENDPOINT, V6_ENDPOINT, Scope, scope_of
from seeder.net.groups import Groups
from seeder.tracker.crowd import Crowd, RandomFloats
from seeder.tracker.handout import (
    PEERS_FOR_ONE_OTHER,
    TRUSTED,
    Choice,
    OwnPlace,
    Stand,
    Trust,
    add,
)

NEAR_FOR_ONE_FAR = 9
"""One peer that is far away is added to so many near ones."""
ENOUGH = 5
"""Peers that an asker hears of, though most of them be far away, where fewer are near."""


class _Part(NamedTuple):
    """Peers of one kind in groups that are equally far from an asker, and next to each other."""

    size: int
    first: int
    """Where the first of the groups stands among those that have peers."""
    after: int
    """Where the one behind the last of them stands."""


class _Ring(NamedTuple):
    """The same on both sides of the asker's group."""

    size: int
    parts: tuple[_Part, ...]


class GroupedCrowd:
    """Peers of one kind, as a crowd for each group, of which those in some groups can be had."""

    __slots__ = (
        "_crowds",
        "_groups",
        "_order",
        "_places",
        "_rings",
        "_rng",
        "_sums",
        "is_empty",
        "stride",
    )

    def __init__(
        self, stride: int, rng: RandomFloats, groups: Groups, places: "array[int]"
    ) -> None:
        """Make a crowd of endpoints of `stride` bytes each; `places` is as `Crowd` has it."""
        self.is_empty = True
        self.stride = stride
        self._rng = rng
        self._groups = groups
        self._places = places
        self._crowds: dict[int, Crowd] = {}
        """Those that aren't empty, by the number of the group."""
        self._order: list[int] = []
        """Their numbers."""
        self._sums: list[int] = [0]
        """How many are in the groups before each in `_order`, and in all; see `_count`."""
        self._rings: dict[int, tuple[_Ring, ...]] = {}
        """What `around` has found since anybody came or went."""

    def __len__(self) -> int:
        return sum(map(len, self._crowds.values()))

    def has(self, number: int, endpoint: bytes) -> bool:
        """Tell whether a peer is there."""
        crowd = self._crowds.get(self._groups.of(endpoint[:-2]))
        return crowd is not None and number in crowd

    def add(self, number: int, endpoint: bytes) -> None:
        """Take in a peer that isn't there."""
        group = self._groups.of(endpoint[:-2])
        crowd = self._crowds.get(group)
        if crowd is None:
            crowd = self._crowds[group] = Crowd(self.stride, self._rng, self._places)
            insort(self._order, group)
            self.is_empty = False
        crowd.add(number, endpoint)
        self._rings.clear()

    def stir(self, number: int, endpoint: bytes) -> None:
        """Let a peer change places with a random one of its group."""
        self._crowds[self._groups.of(endpoint[:-2])].stir(number, endpoint)

    def remove(self, number: int, endpoint: bytes) -> None:
        """Let go of a peer that is there; KeyError otherwise."""
        group = self._groups.of(endpoint[:-2])
        crowd = self._crowds[group]
        crowd.remove(number, endpoint)
        if not len(crowd):
            del self._crowds[group]
            self._order.remove(group)
            self.is_empty = not self._order
        self._rings.clear()

    def renumber(self, number: int, other: int, endpoint: bytes) -> None:
        """Let a peer that is there have another number, which nobody has."""
        self._crowds[self._groups.of(endpoint[:-2])].renumber(number, other, endpoint)

    def around(self, home: int) -> tuple[_Ring, ...]:
        """Return those in a group, then those ever farther from it, as `Groups.rings` has them."""
        found = self._rings.get(home)
        if found is None:
            found = self._rings[home] = self._count(home)
        return found

    def _count(self, home: int) -> tuple[_Ring, ...]:
        if len(self._rings) <= 1:
            sizes = (len(self._crowds[number]) for number in self._order)
            self._sums = list(accumulate(sizes, initial=0))
        order, sums = self._order, self._sums
        rings = []
        for ring in self._groups.rings[home]:
            spans = ((bisect_left(order, begin), bisect_left(order, end)) for begin, end in ring)
            parts = tuple(
                _Part(sums[after] - sums[first], first, after)
                for first, after in spans
                if first < after
            )
            rings.append(_Ring(sum(part.size for part in parts), parts))
        return tuple(rings)

    def sample(self, part: _Part, count: int, *, without: int) -> bytes | bytearray:
        """Return up to `count` random endpoints of a part, end to end, none twice.

        Each has the same chance. `without` isn't among them where the part is its own group.
        """
        order, crowds, sums = self._order, self._crowds, self._sums
        total, first, after = part
        if count <= 0:
            return b""
        if after - first == 1:
            return crowds[order[first]].sample(count, without=without)
        if count >= total:
            parts = order[first:after]
            return b"".join(crowds[number].sample(total, without=-1) for number in parts)
        # At equal distances all along the groups, from a random place on.
        begin = sums[first]
        step = total / count
        offset = self._rng.random() * step
        runs, taken = [], 0
        while taken < count:
            place = min(bisect_right(sums, begin + offset + taken * step) - 1, after - 1)
            room = (sums[place + 1] - begin - offset) / step
            upto = count if place == after - 1 else min(count, max(taken + 1, -int(-room // 1)))
            runs.append(crowds[order[place]].sample(upto - taken, without=-1))
            taken = upto
        return b"".join(runs)


_Row: TypeAlias = tuple[tuple[GroupedCrowd, GroupedCrowd], tuple[GroupedCrowd, GroupedCrowd]]
"""[IPv6][wants nothing], as in `seeder.tracker.handout`."""
_Step: TypeAlias = tuple[list[bytes | bytearray], Sequence[GroupedCrowd], int, int]
"""Where runs of peers go, the crowds that they come from, the ring of these, and how many."""


class _Found(NamedTuple):
    """Peers of one address family that are equally trusted."""

    family: bool
    """Whether it is IPv6."""
    is_own: bool
    """Whether it is the asker's."""
    is_trusted: bool
    leechers: Sequence[GroupedCrowd]
    leeching: Sequence[int]
    """How many leechers there are in each ring around the asker, but itself."""
    seeds: Sequence[GroupedCrowd]
    seeding: Sequence[int]


class GroupedStands:
    """The peers of a swarm as they are handed out, where addresses are in groups."""

    __slots__ = ("_groups", "_places", "_rng", "_rows", "are_deep", "left_out")

    def __init__(self, rng: RandomFloats, groups: Groups, places: "array[int]") -> None:
        """Begin without peers; `places` is as `Crowd` has it."""
        self.are_deep = False
        """Whether anybody stood elsewhere than in front, ever."""
        self.left_out = 0
        """Peers that would have had a place in the last answer if they weren't far away."""
        self._rng = rng
        self._groups = groups
        self._places = places
        self._rows: dict[tuple[Stand, Scope], _Row] = {}

    def crowd(self, endpoint: bytes, wants_nothing: bool, stand: Stand) -> GroupedCrowd:
        """Return where a peer stands."""
        self.are_deep = self.are_deep or bool(stand)
        place = stand, scope_of(endpoint[:-2])
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = self._new_row()
        return row[len(endpoint) == V6_ENDPOINT][wants_nothing]

    def _new_row(self) -> _Row:
        return self._new_pair(V4_ENDPOINT), self._new_pair(V6_ENDPOINT)

    def _new_pair(self, stride: int) -> tuple[GroupedCrowd, GroupedCrowd]:
        rng, groups, places = self._rng, self._groups, self._places
        return (
            GroupedCrowd(stride, rng, groups, places),
            GroupedCrowd(stride, rng, groups, places),
        )

    def are_crowded(self) -> bool:
        """Tell whether more stand in the middle than in front."""
        sizes = dict.fromkeys(Stand, 0)
        for (stand, _), row in self._rows.items():
            sizes[stand] += sum(len(crowd) for family in row for crowd in family)
        return sizes[Stand.MIDDLE] > sizes[Stand.FRONT]

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
        """Choose up to `count` peers that the asker hears of, as `Stands.choose` does.

        Those of its own address family come first, and of these its own group, then those around
        it: an asker may have no use for neighbours of the other family.
        """
        chosen: Choice = ([], [])
        ours = own[:count] if place is OwnPlace.ALWAYS else ()
        home = self._groups.of(asker[:-2])
        found = self._look(asker, number, home, wants_nothing=wants_nothing, trust=trust)
        seeds, leechers = self._plan(chosen, found, count, len(ours))
        for runs, crowds, ring, wanted in seeds:
            some = self._take(crowds, ring, wanted, home=home, asker=asker, number=number)
            runs.extend(some)
        add(chosen, ours)
        for runs, crowds, ring, wanted in leechers:
            some = self._take(crowds, ring, wanted, home=home, asker=asker, number=number)
            runs.extend(some)
        return chosen

    def _look(
        self, asker: bytes, number: int, home: int, *, wants_nothing: bool, trust: Trust
    ) -> list[_Found]:
        """Return who may be chosen: the most trusted first, then its own address family."""
        trusted, is_v6 = TRUSTED[trust], len(asker) == V6_ENDPOINT
        last = len(self._groups.rings[home]) - 1
        found = []
        for place, rows in enumerate(self._rows_for(asker, trust)):
            for family in (is_v6, not is_v6):
                leechers, seeds = [], []
                for row in rows:
                    one, other = row[family]
                    if not one.is_empty:
                        leechers.append(one)
                    if not (wants_nothing or other.is_empty):
                        seeds.append(other)
                if not (leechers or seeds):
                    continue
                leeching, seeding = _sizes(leechers, home, last), _sizes(seeds, home, last)
                if family is is_v6 and number >= 0:
                    for crowd in leechers:
                        leeching[0] -= crowd.has(number, asker)
                is_own, is_trusted = family is is_v6, place < trusted
                found.append(_Found(family, is_own, is_trusted, leechers, leeching, seeds, seeding))
        return found

    def _plan(
        self, chosen: Choice, found: Sequence[_Found], count: int, ours: int
    ) -> tuple[list[_Step], list[_Step]]:
        """Return which seeds and which leechers to choose, `count` at most, with us."""
        count -= ours
        near = far = 0
        for each in found:
            if each.is_trusted:
                far += each.seeding[-1] + each.leeching[-1]
                if each.is_own:
                    near += sum(each.seeding[:-1]) + sum(each.leeching[:-1])
        kept = min(far, self._part(count, NEAR_FOR_ONE_FAR + 1))
        if not near:
            most_far = count
        elif near >= count - kept:
            # No other number than is kept for them, or a place would be nobody's.
            most_far = max(kept, ENOUGH - (count - kept))
        else:
            most_far = max(ENOUGH - near, self._part(near, NEAR_FOR_ONE_FAR))
        # Neighbours of the other family may take what is kept, but for these.
        most_near = count - min(kept, most_far)
        of_seeds: list[_Step] = []
        of_leechers: list[_Step] = []
        given_near = given_far = 0
        for family, _, is_trusted, leechers, leeching, seeds, seeding in found:
            last = len(leeching) - 1
            for ring in range(last + 1):
                given = given_near + given_far
                room = most_far - given_far if ring == last else most_near - given_near
                missing = min(count - given, room)
                if not is_trusted:
                    missing = min(missing, (given + ours) // PEERS_FOR_ONE_OTHER)
                if missing <= 0:
                    continue
                some = min(seeding[ring], max(missing // 2, missing - leeching[ring]))
                rest = min(leeching[ring], missing - some)
                if some:
                    of_seeds.append((chosen[family], seeds, ring, some))
                if rest:
                    of_leechers.append((chosen[family], leechers, ring, rest))
                if ring == last:
                    given_far += some + rest
                else:
                    given_near += some + rest
        self.left_out = max(0, far - given_far)
        return of_seeds, of_leechers

    def _part(self, count: int, parts: int) -> int:
        """Return one of so many equal parts; what isn't whole is a matter of chance."""
        return int(count / parts + self._rng.random())

    def _rows_for(self, asker: bytes, trust: Trust) -> list[list[_Row]]:
        """Return who may be chosen, the most trusted first."""
        rows = self._rows
        if len(rows) == 1:
            [((_, scope), row)] = rows.items()
            return [[row]] if not scope or scope is scope_of(asker[:-2]) else [[]]
        scopes = {Scope.EVERYWHERE, scope_of(asker[:-2])}
        stands = [
            [rows[stand, scope] for scope in scopes if (stand, scope) in rows]
            for stand in (Stand if self.are_deep else (Stand.FRONT,))
        ]
        if trust is Trust.MIDDLE_MIXED:
            front, middle, *rest = stands
            stands = [front + middle, *rest]
        return stands

    def _take(
        self,
        crowds: Sequence[GroupedCrowd],
        ring: int,
        wanted: int,
        *,
        home: int,
        asker: bytes,
        number: int,
    ) -> list[bytes | bytearray]:
        """Return `wanted` random peers of one ring, each with the same chance, as runs of them."""
        parts = [
            # The asker is in one of those next to it, and isn't to be had.
            (crowd, part, part.size - (not ring and number >= 0 and crowd.has(number, asker)))
            for crowd in crowds
            for part in crowd.around(home)[ring].parts
        ]
        total = sum([size for _, _, size in parts])
        runs = []
        for crowd, part, size in parts:
            # The last one makes up for rounding.
            some = wanted if size == total else min(size, self._part(wanted * size, total))
            total -= size
            run = crowd.sample(part, some, without=number)
            runs.append(run)
            wanted -= min(wanted, len(run) // crowd.stride)
        return runs


def _sizes(crowds: Sequence[GroupedCrowd], home: int, last: int) -> list[int]:
    """Return how many peers there are by ring."""
    sizes = [0] * (last + 1)
    for crowd in crowds:
        for number, ring in enumerate(crowd.around(home)):
            sizes[number] += ring.size
    return sizes
