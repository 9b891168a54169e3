import pytest

from seeder.torrent.work import WINDOW, Work


def test_the_rate_is_that_of_the_last_seconds_and_the_rest_is_told_by_it() -> None:
    work = Work(100.0)
    assert (work.rate(100.0), work.left(100.0)) == (None, None)
    work.advance(5_000, 1_000_000, 100.0)  # known from an earlier run
    assert work.rate(100.5) is None
    for second in range(1, 101):
        work.advance(5_000 + 1_000 * second, 1_000_000, 100.0 + second)
    assert work.rate(200.0) == pytest.approx(1_000)
    assert work.left(200.0) == pytest.approx(895)
    # Faster of late.
    for second in range(1, 61):
        work.advance(105_000 + 5_000 * second, 1_000_000, 200.0 + second)
    assert work.rate(260.0) == pytest.approx(5_000)


def test_what_stands_still_has_no_time_left() -> None:
    work = Work(0.0)
    for second in range(10):
        work.advance(1_000 * second, 100_000, float(second))
    assert work.rate(19.0) == pytest.approx(9_000 / 19)
    assert work.rate(9.0 + WINDOW) == 0
    assert work.left(9.0 + WINDOW) is None


def test_reading_again_begins_anew() -> None:
    work = Work(0.0)
    work.advance(50_000, 50_000, 10.0)
    work.advance(0, 50_000, 20.0)
    work.advance(3_000, 50_000, 23.0)
    assert work.rate(23.0) == pytest.approx(1_000)
    assert work.left(23.0) == pytest.approx(47)
