"""Whom the log tells of, and when again."""

from seeder.net.notices import QUIET, Notices


def test_each_is_told_of_once_an_hour() -> None:
    notices = Notices()
    assert notices.is_due("a", 0.0)
    assert notices.is_due("b", 1.0)
    assert not notices.is_due("a", QUIET - 1)
    assert notices.is_due("a", QUIET)
    assert not notices.is_due("b", QUIET)
    assert notices.is_due("b", QUIET + 1)
    assert not notices.is_due("a", QUIET + 2)


def test_many_are_told_of_no_more_often_than_the_bound() -> None:
    notices = Notices(most=3)
    told = [number for number in range(1000) if notices.is_due(number, 1.0 + number / 1000)]
    assert told == [0, 1, 2]
    # Each place is free again after its own hour.
    assert notices.is_due("other", QUIET + 1.0)
    assert not notices.is_due("another", QUIET + 1.0)
    assert notices.is_due("another", QUIET + 1.001)
