"""Super-seeding against a model of the swarm: what each peer has, was shown, and may be shown."""

import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from seeder.upload.superseed import LONELY, OVERDUE, TRICKLE, Shown, SuperSeed

PIECES = 6
pieces = st.integers(0, PIECES - 1)


@dataclass
class Leecher:
    """What one peer has and was shown."""

    gained_at: float
    has: set[int] = field(default_factory=set)
    shown: dict[int, float] = field(default_factory=dict)
    """Piece -> when."""
    lonely: bool = False
    """Whether the others have ever left it alone: from then on it may be shown anything."""
    counted_at: float = 0.0
    gains: int = 0
    pace: int = 0

    @property
    def open(self) -> set[int]:
        """What it was shown and hasn't got."""
        return self.shown.keys() - self.has

    def is_left_alone(self, now: float) -> bool:
        alone = now - self.gained_at > LONELY
        if not alone and now - self.counted_at >= LONELY:
            alone = not self.open and self.gains * TRICKLE < self.pace
            self.pace, self.gains = max(self.pace, self.gains), 0
            self.counted_at = now
        return alone

    @property
    def missing(self) -> set[int]:
        return set(range(PIECES)) - self.has


class SuperSeedMachine(RuleBasedStateMachine):
    """Peers come with something or nothing, get pieces from us or each other, stall and leave."""

    peers = Bundle("peers")

    @initialize(window=st.integers(1, 3), seed=st.integers(0, 2**32))
    def start(self, window: int, seed: int) -> None:
        self.plan = SuperSeed[int](PIECES, window, random.Random(seed), hand=())
        self.swarm: dict[int, Leecher] = {}
        self.now = 0.0
        self.revealed = False
        self.again: Counter[int] = Counter()
        """How often a piece may be shown although somebody else was shown it: it took too long, or
        whoever had it has left."""

    # -- what happens

    @rule(target=peers, has=st.sets(pieces))
    def join(self, has: set[int]) -> int:
        number = 1 + max(self.swarm, default=0)
        self.swarm[number] = Leecher(self.now, counted_at=self.now)
        self.plan.join(number, self.now)
        self.swarm[number].has |= has
        self.take(self.plan.arrived_with(number, sorted(has), self.now), refilled={number})
        return number

    @rule(peer=peers, has=st.sets(pieces))
    def bring_along(self, peer: int, has: set[int]) -> None:
        """A bitfield comes late, or once more: what is in it is no gain."""
        if peer in self.swarm:
            self.swarm[peer].has |= has
            self.take(self.plan.arrived_with(peer, sorted(has), self.now), refilled={peer})

    @rule(peer=peers, index=pieces)
    def announce(self, peer: int, index: int) -> None:
        """A piece came, from wherever, perhaps not for the first time."""
        if peer in self.swarm:
            self.gain(peer, index)

    def gain(self, peer: int, index: int) -> None:
        leecher = self.swarm[peer]
        before = index in leecher.has
        leecher.has.add(index)
        shown = self.plan.gained(peer, index, self.now)
        if before:
            assert shown == []
            return
        leecher.gained_at = self.now
        leecher.gains += 1
        self.take(shown, refilled={peer})

    @rule(peer=peers, data=st.data())
    def download(self, peer: int, data: st.DataObject) -> None:
        """A peer gets something that it was shown."""
        if peer in self.swarm and self.swarm[peer].open:
            self.gain(peer, data.draw(st.sampled_from(sorted(self.swarm[peer].open))))

    @rule(peer=consumes(peers))
    def leave(self, peer: int) -> None:
        if peer not in self.swarm:
            return
        gone = self.swarm.pop(peer)
        # What only it had is nobody's again, though others may have been shown it.
        self.again.update(gone.has - self.held())
        self.take(self.plan.leave(peer, self.now), refilled=set(self.swarm))

    @rule(seconds=st.sampled_from([0.0, 1.0, LONELY, LONELY + 1, OVERDUE, OVERDUE + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tick()

    def tick(self) -> None:
        held, overdue = self.held(), set[int]()
        for leecher in self.swarm.values():
            if leecher.missing and not leecher.lonely:
                leecher.lonely = leecher.is_left_alone(self.now)
            for index in leecher.open - held:
                if self.now - leecher.shown[index] > OVERDUE:
                    self.again[index] += 1
                    leecher.shown[index] = self.now
                    overdue.add(index)
        shown = self.plan.tick(self.now)
        self.take(shown, refilled=set(self.swarm))
        fresh = {index for _, indices in shown for index in indices}
        for leecher in self.swarm.values():
            unshown = leecher.missing - leecher.shown.keys()
            if len(leecher.open) < self.plan.window and not self.revealed:
                assert not unshown & overdue - fresh, "nobody else was asked to get it"
                assert not unshown or self.now - leecher.gained_at <= LONELY, "left alone"

    @rule(window=st.integers(1, 3))
    def resize(self, window: int) -> None:
        self.plan.window = window
        self.tick()

    @rule(whim=st.integers(0, 7))
    def reveal(self, whim: int) -> None:
        """Super-seeding gives up: everybody is shown everything."""
        if whim:
            return
        for peer, indices in self.plan.show(range(PIECES)):
            leecher = self.swarm[peer]
            assert len(set(indices)) == len(indices)
            assert not leecher.shown.keys() & set(indices)
            assert leecher.missing >= set(indices)
            leecher.shown.update(dict.fromkeys(indices, self.now))
        for leecher in self.swarm.values():
            assert leecher.shown.keys() >= leecher.missing
        self.again.update(dict.fromkeys(range(PIECES), 1000))
        self.revealed = True

    @precondition(lambda self: self.swarm)
    @rule(data=st.data())
    def go_alone(self, data: st.DataObject) -> None:
        """The others fall silent: whoever is left gets everything from us in little time."""
        peer = data.draw(st.sampled_from(sorted(self.swarm)))
        leecher = self.swarm[peer]
        waited = 0
        while leecher.missing:
            if leecher.open:
                self.gain(peer, min(leecher.open))
                continue
            waited += 1
            assert waited <= 2, f"stalled, lacking {leecher.missing}"
            self.now += LONELY + 0.1
            self.tick()

    # -- what may be shown

    def held(self) -> set[int]:
        """Return what any peer has."""
        return set().union(*(leecher.has for leecher in self.swarm.values()))

    def take(self, shown: Shown[int], *, refilled: set[int]) -> None:
        """Take note of what is shown to whom, and check that it may be."""
        assert len({peer for peer, _ in shown}) == len(shown)
        for peer, indices in shown:
            assert peer in refilled
            assert indices
            for index in indices:
                self.show(peer, index)
            leecher = self.swarm[peer]
            # The very last one goes beyond the window, with the last but one.
            last = len(leecher.shown) == PIECES
            assert len(leecher.open) <= self.plan.window + last
            assert len(leecher.shown) != PIECES - 1 or not self.lacks_only_ours(peer)
        for peer in refilled:
            self.check_busy(peer)

    def lacks_only_ours(self, peer: int) -> bool:
        """Tell whether the one piece that a peer wasn't shown is one that only we can give it."""
        leecher = self.swarm[peer]
        [index] = set(range(PIECES)) - leecher.shown.keys()
        others = [each for number, each in self.swarm.items() if number != peer]
        elsewhere = any(index in each.has or index in each.open for each in others)
        return index in leecher.missing and not elsewhere

    def show(self, peer: int, index: int) -> None:
        leecher = self.swarm[peer]
        assert 0 <= index < PIECES
        assert index not in leecher.shown, "shown once before"
        assert index not in leecher.has, "it has that one"
        elsewhere = index in self.held()
        offered = any(index in other.open for other in self.swarm.values())
        if (elsewhere or offered) and not leecher.lonely:
            assert not elsewhere, "others can give it that one"
            assert self.again[index], "somebody else was shown that one and has it soon"
            self.again[index] -= 1
        leecher.shown[index] = self.now

    def check_busy(self, peer: int) -> None:
        """Check that a peer whose window has room is shown what nobody has and nobody awaits."""
        leecher = self.swarm[peer]
        if len(leecher.open) < self.plan.window:
            offered = set().union(*(other.open for other in self.swarm.values()))
            assert not set(range(PIECES)) - self.held() - offered

    # -- what holds

    @invariant()
    def it_stands_alone_when_the_peers_together_have_everything(self) -> None:
        if hasattr(self, "plan"):
            assert self.plan.stands_alone == (len(self.held()) == PIECES)
            assert len(self.plan) == len(self.swarm)

    def teardown(self) -> None:
        if hasattr(self, "plan"):
            for peer in sorted(self.swarm):
                while self.swarm[peer].missing:
                    for index in sorted(self.swarm[peer].open):
                        self.gain(peer, index)
                    before = len(self.swarm[peer].missing)
                    self.now += LONELY + 0.1
                    self.tick()
                    assert self.swarm[peer].open or before == 0, "stalled"


TestSuperSeed = SuperSeedMachine.TestCase
TestSuperSeed.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
