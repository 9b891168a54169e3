"""All nodes go by the store's clock, however far their own are apart."""

from seeder.cluster.clock import SharedClock

MICRO = 1_000_000


def test_nodes_with_clocks_of_their_own_agree() -> None:
    one = SharedClock(lambda: 50.0, wall=1.7e9)
    other = SharedClock(lambda: 9000.0, wall=1.6e9)
    one.note(49.99, 50.01, 1_700_000_100 * MICRO)
    other.note(8999.9, 9000.1, 1_700_000_100 * MICRO)
    assert one.now() == other.now() == 1_700_000_100 * MICRO


def test_the_fastest_answer_says_what_the_time_is() -> None:
    clock = SharedClock(lambda: 0.0, wall=0.0)
    clock.note(0.0, 0.002, 100 * MICRO)
    exact = clock.now()
    for number in range(10):
        clock.note(0.0, 0.3, 100 * MICRO + number * 10_000)
    assert clock.now() == exact


def test_a_store_whose_clock_was_set_is_believed_at_once() -> None:
    clock = SharedClock(lambda: 0.0, wall=0.0)
    clock.note(0.0, 0.002, 100 * MICRO)
    clock.note(0.0, 0.3, 7300 * MICRO)
    assert abs(clock.now() - 7300 * MICRO) < MICRO


def test_a_moment_comes_back_as_it_was() -> None:
    clock = SharedClock(lambda: 0.0, wall=1.7e9 + 1 / 3)
    for moment in (0.0, 1.234567, 86_400.000001, 1e6 + 0.25):
        assert abs(clock.moment(clock.at(moment)) - moment) < 1e-6
        assert clock.at(clock.moment(clock.at(moment))) == clock.at(moment)
