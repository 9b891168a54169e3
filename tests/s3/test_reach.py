"""When an origin counts as away, since when, and what it says when it is back."""

from seeder.s3.reach import Reach


def test_a_call_that_is_given_up_means_away_until_the_next_answer() -> None:
    reach = Reach(15)
    assert reach.heard(100) is None
    for at in (200, 201, 203):
        reach.failed(at, "refused", 10)
    assert not reach.away
    assert reach.gave_up(199, "refused")
    assert (reach.away, reach.since, reach.reason) == (True, 200, "refused")
    assert not reach.gave_up(199, "refused")  # one line is enough
    reach.failed(230, "503", 0)
    assert reach.heard(262) == "after 62 s: 4 attempts failed and brought 30 bytes"
    assert (reach.away, reach.since, reach.reason, reach.last_answer) == (False, None, None, 262)
    assert reach.heard(263) is None


def test_a_call_that_fails_while_others_are_answered_says_nothing_of_the_origin() -> None:
    reach = Reach(15)
    reach.failed(10, "503", 0)
    reach.heard(11)
    assert not reach.gave_up(9, "503")
    assert not reach.away


def test_silence_counts_only_while_something_is_wanted() -> None:
    reach = Reach(15)
    reach.heard(0)
    assert not reach.silent(1000, "host")
    reach.want(1000)
    assert not reach.silent(1014, "host")
    reach.want(1014)
    assert reach.silent(1015, "host")
    assert not reach.silent(1016, "host")
    assert reach.since == 1000
    assert reach.reason == "nothing has come from host for 15 s"
    assert reach.heard(1060) == "after 60 s: 0 attempts failed and brought nothing"


def test_a_part_of_a_body_breaks_the_silence() -> None:
    reach = Reach(15)
    reach.want(0)
    reach.heard(10)
    assert not reach.silent(24, "host")
    assert reach.silent(25, "host")
    assert reach.since == 10


def test_what_is_wanted_no_more_is_not_missed() -> None:
    reach = Reach(15)
    reach.want(0)
    reach.want(5)
    reach.unwant()
    assert reach.silent(15, "host")
    reach = Reach(15)
    reach.want(0)
    reach.unwant()
    assert not reach.silent(15, "host")
    reach.want(100)
    assert not reach.silent(114, "host")
