import pytest

from seeder.net.timings import TIMING_BOUNDS, Timings


def test_each_time_is_in_the_first_bucket_that_reaches_it() -> None:
    timings = Timings()
    for seconds in (
        0.0,
        TIMING_BOUNDS[0],
        TIMING_BOUNDS[0] + 0.001,
        TIMING_BOUNDS[-1],
        TIMING_BOUNDS[-1] + 1,
    ):
        timings.add(seconds)
    assert timings.counts == [2, 1, *[0] * (len(TIMING_BOUNDS) - 3), 1, 1]
    assert timings.seconds == pytest.approx(
        2 * TIMING_BOUNDS[0] + 0.001 + 2 * TIMING_BOUNDS[-1] + 1
    )


def test_a_snapshot_stays_as_it_was() -> None:
    timings = Timings()
    timings.add(1.0)
    before = timings.copy()
    timings.add(2.0)
    assert (sum(before.counts), before.seconds) == (1, 1.0)
    assert (sum(timings.counts), timings.seconds) == (2, 3.0)
