"""The last hour in memory."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from seeder.ledger.counters import Account, AccountKey, Ledger
from seeder.ledger.node import NodeFigures
from seeder.ledger.recent import RECENT_STEP, SHOWN_COUNTERS, SLICE, STEPS, TRACKS, Recent
from tests.ledger.support import DEBIAN, NELSON, NOON

UPLOADED = SHOWN_COUNTERS.index("uploaded_bytes")


class Watched:
    """A ledger that is looked at, with a wall clock and time that passes."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.recent = Recent()
        self.now = float(NOON)
        self.passed = 0
        self.recent.begin(self.accounts, self.now)

    @property
    def accounts(self) -> tuple[Account, ...]:
        return (self.ledger.unattributed, *self.ledger.accounts)

    def look(
        self, seconds: float = RECENT_STEP, *, clock: float | None = None, peers: int = 0
    ) -> int:
        self.now += seconds if clock is None else clock
        self.passed += int(seconds * 1000)
        figures = NodeFigures(self.passed, misses=self.passed, peers=peers)
        return len(list(self.recent.look(self.accounts, figures, self.now)))

    def node(self, first: int = 0) -> dict[int, int]:
        found: dict[int, int] = defaultdict(int)
        for number, _, counts in self.recent.snapshot(None).node(first):
            found[number * RECENT_STEP - NOON] += counts[UPLOADED]
        return found

    def track(self, key: AccountKey) -> dict[int, int]:
        steps = self.recent.snapshot(lambda each: each == key)
        found: dict[int, int] = defaultdict(int)
        if key not in steps.tracked:
            return found
        for number, counts in steps.track(key, 0):
            found[number * RECENT_STEP - NOON] += counts[UPLOADED]
        return found


def test_a_step_has_what_was_counted_since_the_last_look() -> None:
    watched = Watched()
    account = watched.ledger.account(NELSON)
    for count in (5, 0, 7):
        account.uploaded(count)
        watched.look()
    assert watched.node() == {2: 5, 4: 0, 6: 7}
    assert watched.track(NELSON) == {2: 5, 6: 7}


def test_what_was_there_before_is_no_step() -> None:
    watched = Watched()
    watched.ledger.account(NELSON).uploaded(1000)
    watched.recent.begin(watched.accounts, watched.now)
    watched.ledger.account(NELSON).uploaded(1)
    watched.look()
    assert watched.node() == {2: 1}


def test_a_late_look_is_spread_over_the_steps_that_it_missed() -> None:
    watched = Watched()
    watched.look(peers=3)
    watched.ledger.account(NELSON).uploaded(10)
    watched.look(8)
    assert watched.node() == {2: 0, 4: 2, 6: 3, 8: 2, 10: 3}
    figures = [figures for _, figures, _ in watched.recent.snapshot(None).node(0)]
    assert [each[-2] for each in figures] == [2000, 2000, 2000, 2000, 2000]  # misses


def test_steps_in_which_nothing_ran_stay_empty() -> None:
    watched = Watched()
    watched.look()
    watched.ledger.account(NELSON).uploaded(10)
    watched.look(2, clock=600)  # asleep meanwhile
    assert watched.node() == {2: 0, 602: 10}


def test_a_clock_that_is_set_back_makes_no_step_negative_or_twice() -> None:
    watched = Watched()
    for _ in range(5):
        watched.ledger.account(NELSON).uploaded(10)
        watched.look()
    watched.ledger.account(NELSON).uploaded(10)
    watched.look(clock=-2)
    # A little: it is added up.
    assert watched.node() == {2: 10, 4: 10, 6: 10, 8: 20, 10: 10}
    watched.look(clock=3600)
    watched.ledger.account(NELSON).uploaded(1)
    watched.look(clock=-3600)
    # An hour: what it has seen ahead of its time is forgotten.
    found = watched.node()
    assert max(found) == 8
    assert found[8] == 1


def test_an_hour_is_kept_and_room_is_bounded() -> None:
    watched = Watched()
    for _ in range(2 * STEPS + 10):
        watched.ledger.account(NELSON).uploaded(1)
        watched.look()
    assert len(watched.node()) == STEPS
    assert STEPS <= len(watched.track(NELSON)) <= 2 * STEPS + 1


def test_busy_accounts_have_steps_and_idle_ones_make_room() -> None:
    watched = Watched()
    keys = [AccountKey("default", "b", f"key-{number}", "v") for number in range(TRACKS + 2)]
    for key in keys[:-2]:
        watched.ledger.account(key).uploaded(1)
    watched.look()
    watched.ledger.account(keys[-2]).uploaded(1)
    watched.look()
    assert set(watched.recent.snapshot(lambda _: True).tracked) == set(keys[:-2])
    watched.ledger.account(keys[0]).uploaded(1)
    watched.look(60)
    watched.ledger.account(keys[-1]).uploaded(1)
    watched.look()
    tracked = set(watched.recent.snapshot(lambda _: True).tracked)
    assert tracked == set(keys) - {keys[1], keys[-2]}


def test_thousands_of_accounts_are_looked_at_in_slices() -> None:
    watched = Watched()
    for number in range(10 * SLICE):
        watched.ledger.account(AccountKey("default", "b", f"key-{number}", "v"))
    assert watched.look() == 10


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**12),
            st.sampled_from([NELSON, DEBIAN]),
            st.floats(0.1, 30),
            st.sampled_from([0.0, 0.0, 0.0, -1.0, -5.0, 100.0]),
        )
    )
)
def test_sums_stay_whatever_the_clock_does(
    looks: list[tuple[int, AccountKey, float, float]],
) -> None:
    watched = Watched()
    for count, key, seconds, jump in looks:
        watched.ledger.account(key).uploaded(count)
        watched.look(seconds, clock=seconds + jump)
    assert all(value >= 0 for value in watched.node().values())
    if not any(jump == -5.0 for *_, jump in looks):
        assert sum(watched.node().values()) == watched.ledger.totals().uploaded_bytes
        tracks = watched.track(NELSON), watched.track(DEBIAN)
        counted = watched.ledger.account(NELSON), watched.ledger.account(DEBIAN)
        for track, account in zip(tracks, counted, strict=True):
            assert sum(track.values()) == account.counters.uploaded_bytes
