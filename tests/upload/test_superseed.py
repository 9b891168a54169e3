"""Super-seeding: pieces leave us once, everybody gets everything, nobody stalls."""

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.upload.superseed import LONELY, OVERDUE, Shown, SuperSeed


class World:
    """A swarm in the abstract: who was shown what, and who has what."""

    def __init__(self, pieces: int, window: int, seed: int = 1) -> None:
        self.pieces = pieces
        self.plan = SuperSeed[int](pieces, window, random.Random(seed), hand=())
        self.shown: dict[int, list[int]] = defaultdict(list)
        self.has: dict[int, set[int]] = {}
        self.sent = 0
        self.now = 0.0

    def take(self, shown: Shown[int]) -> None:
        for peer, indices in shown:
            assert not set(indices) & set(self.shown[peer])
            self.shown[peer] += indices

    def join(self, peer: int, pieces: set[int] | None = None) -> None:
        self.has[peer] = set(pieces or ())
        self.plan.join(peer, self.now)
        self.take(self.plan.arrived_with(peer, sorted(self.has[peer]), self.now))

    def gain(self, peer: int, index: int) -> None:
        self.has[peer].add(index)
        self.take(self.plan.gained(peer, index, self.now))

    def leave(self, peer: int) -> None:
        del self.has[peer]
        self.shown.pop(peer, None)
        self.take(self.plan.leave(peer, self.now))

    def download(self, peer: int) -> bool:
        """Let a peer get one piece that it was shown and lacks."""
        for index in self.shown[peer]:
            if index not in self.has[peer]:
                self.sent += 1
                self.gain(peer, index)
                return True
        return False

    def swap(self, peer: int, rng: random.Random) -> bool:
        """Let a peer get one piece from another peer."""
        held = set().union(*(pieces for other, pieces in self.has.items() if other != peer))
        lacking = sorted(held - self.has[peer])
        if not lacking:
            return False
        self.gain(peer, rng.choice(lacking))
        return True

    @property
    def complete(self) -> bool:
        return all(len(pieces) == self.pieces for pieces in self.has.values())


@settings(max_examples=40)
@given(
    pieces=st.integers(1, 60), peers=st.integers(2, 8), window=st.integers(1, 5), seed=st.integers()
)
def test_a_swarm_that_shares_gets_every_piece_from_us_once(
    pieces: int, peers: int, window: int, seed: int
) -> None:
    world, rng = World(pieces, window, seed), random.Random(seed)
    for peer in range(peers):
        world.join(peer)
    while not world.complete:
        moved = False
        for peer in range(peers):
            moved |= world.download(peer)
            moved |= world.swap(peer, rng)
        assert moved
    assert world.sent <= pieces
    assert world.plan.stands_alone


@given(pieces=st.integers(1, 60), window=st.integers(1, 5))
def test_a_peer_that_nobody_else_reaches_gets_everything_from_us(pieces: int, window: int) -> None:
    world = World(pieces, window)
    world.join(0)
    world.join(1)
    while world.download(1):
        pass
    world.now += LONELY + 0.1
    world.take(world.plan.tick(world.now))
    while world.download(0):
        pass
    assert world.has[0] == set(range(pieces))


def test_a_window_is_never_exceeded() -> None:
    world = World(20, 3)
    world.join(0)
    assert len(world.shown[0]) == 3
    world.download(0)
    assert len(world.shown[0]) == 4


@given(pieces=st.integers(2, 60), window=st.integers(1, 5))
def test_the_last_two_pieces_are_shown_together(pieces: int, window: int) -> None:
    # libtorrent hangs up when it has all that it was shown and hears that we have the rest.
    world = World(pieces, window)
    world.join(0)
    while not world.complete:
        assert len(world.shown[0]) != pieces - 1
        assert world.download(0)


def test_what_a_peer_takes_with_it_is_shown_to_another() -> None:
    world = World(4, 4)
    world.join(0)
    world.join(1)
    assert not world.shown[1]
    world.download(0)
    world.leave(0)
    assert sorted(world.shown[1]) == [0, 1, 2, 3]


def test_what_a_slow_peer_sits_on_is_shown_to_another() -> None:
    world = World(4, 2)
    for peer in range(3):
        world.join(peer)
    assert not world.shown[2]
    world.now += OVERDUE + 0.1
    world.take(world.plan.tick(world.now))
    assert len(world.shown[2]) == 2


def test_a_trickle_from_others_does_not_keep_a_peer_from_being_served() -> None:
    world = World(60, 4)
    slow = set(range(20))
    world.join(0, slow)
    world.join(1)
    while world.download(1):
        pass
    assert world.has[1] == set(range(20, 60)) - set(world.shown[0])
    world.now = 1.0
    # One piece in four seconds from the slow one: on its own that would take eighty.
    for index in range(3):
        world.now += 4.0
        world.gain(1, index)
        world.take(world.plan.tick(world.now))
    assert world.download(1)


def test_what_is_at_hand_is_shown_first() -> None:
    hand = {3, 11, 12, 19}
    plan = SuperSeed[int](20, 2, random.Random(1), hand=hand)
    shown: list[int] = []
    for peer in range(3):
        plan.join(peer, 0.0)
        shown += [index for _, some in plan.arrived_with(peer, (), 0.0) for index in some]
    assert set(shown[:4]) == hand
    assert not hand & set(shown[4:])


def test_what_is_shown_beside_the_windows_is_shown_once_and_only_to_who_lacks_it() -> None:
    world = World(20, 3)
    world.join(0)
    world.join(1, {17})
    world.plan.window = 0
    world.take(world.plan.show(range(10, 20), 0))
    assert set(world.shown[0]) >= set(range(10, 20))
    assert len(world.shown[1]) <= 3
    world.take(world.plan.show(range(10, 20)))
    assert set(range(10, 20)) - set(world.shown[1]) == {17}
    before = {peer: list(indices) for peer, indices in world.shown.items()}
    world.download(0)
    world.now += LONELY + OVERDUE + 1
    world.take(world.plan.tick(world.now))
    assert world.shown == before
    world.plan.window = 3
    while not world.complete:
        world.now += LONELY + 1
        world.take(world.plan.tick(world.now))
        assert world.download(0) | world.download(1)


def test_what_slow_peers_sit_on_is_shown_to_one_that_is_not_cut_off() -> None:
    world = World(6, 2)
    for peer in range(3):
        world.join(peer)
    world.now = 4.0
    world.download(2)
    world.now = 8.0
    world.download(2)
    world.download(0)  # and there is room in its own window for what it doesn't get
    awaited = {index for peer in (0, 1) for index in world.shown[peer]} - world.has[0]
    slow = set(world.shown[0]) - world.has[0]
    assert len(world.shown[2]) == 2
    world.now = OVERDUE + 0.1
    world.take(world.plan.tick(world.now))
    assert len(world.shown[2]) == 4
    assert set(world.shown[2]) - world.has[2] <= awaited
    while world.download(2):
        pass
    assert slow <= set(world.shown[2])


def test_to_announce_the_same_piece_again_is_no_gain() -> None:
    world = World(4, 1)
    world.join(0)
    world.join(1)
    world.gain(1, world.shown[1][0])
    for _ in range(3):
        world.now += LONELY / 2
        world.gain(1, world.shown[1][0])
    world.take(world.plan.tick(world.now))
    while world.download(1):
        pass
    assert world.has[1] == set(range(4))


def test_a_last_piece_that_another_is_about_to_get_is_not_shown() -> None:
    world = World(3, 1)
    world.join(0)
    world.join(1)
    world.download(1)
    assert len(world.shown[1]) == 2
    assert not set(world.shown[0]) & set(world.shown[1])


def test_a_last_piece_that_was_shown_is_shown_to_nobody_else() -> None:
    world = World(3, 1)
    world.join(0)
    world.download(0)
    assert len(world.shown[0]) == 3
    world.join(1)
    assert not world.shown[1]


def send(world: World, peer: int) -> list[int]:
    """Send a peer every piece that it was shown, as long as that has it shown more."""
    sent: list[int] = []
    while len(sent) < len(world.shown[peer]):
        sent.append(world.shown[peer][len(sent)])
        world.take([(peer, list(world.plan.sent(peer, sent[-1], world.now)))])
    return sent


@given(pieces=st.integers(1, 60), window=st.integers(1, 5))
def test_a_peer_that_is_alone_gets_everything_without_a_word(pieces: int, window: int) -> None:
    world = World(pieces, window)
    world.join(0)
    assert sorted(send(world, 0)) == list(range(pieces))
    assert not world.plan.stands_alone


def test_what_a_silent_peer_was_sent_is_shown_to_others_after_a_while() -> None:
    world = World(6, 2)
    world.join(0)
    send(world, 0)
    world.join(1)
    assert not world.shown[1]
    world.now = OVERDUE + 0.1
    world.take(world.plan.tick(world.now))
    while world.download(1):
        pass
    assert world.has[1] == set(range(6))
    for _ in range(100):
        world.now += OVERDUE + 0.1
        world.take(world.plan.tick(world.now))
    assert len(world.plan._hidden) <= 6


def test_among_others_a_silent_peer_gets_everything_once_it_is_lonely() -> None:
    world = World(30, 2)
    world.join(0)
    world.join(1)
    assert len(send(world, 0)) == 2
    world.now = LONELY + 0.1
    world.take(world.plan.tick(world.now))
    assert sorted(send(world, 0)) == list(range(30))
