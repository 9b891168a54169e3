"""When something counts as stalled, and what is said of it."""

from seeder.s3.stalls import Stalls
from seeder.torrent.objects import ObjectRef

ONE, OTHER = ObjectRef("default", "quotes", "one"), ObjectRef("default", "quotes", "other")


def stalled(stalls: Stalls, now: float) -> dict[str, str]:
    return {ref.key: str(stall) for ref, _, stall in stalls.stalls(now)}


def test_what_is_wanted_and_brings_nothing_is_stalled_after_a_while() -> None:
    stalls = Stalls(15.0)
    waits = stalls.begin(ONE, 100.0, question=False)
    for wait in waits:
        wait.tried()
    assert (stalled(stalls, 114.9), stalls.stall(114.9)) == ({}, None)
    for _ in range(7):
        for wait in waits:
            wait.ended()
            wait.tried()
    text = "S3 silent for 40 s, 8 tries"
    assert (stalled(stalls, 140.0), str(stalls.stall(140.0))) == ({"one": text}, text)
    stalls.end(ONE, waits, question=False)
    assert (stalled(stalls, 200.0), stalls.stall(200.0)) == ({}, None)


def test_one_object_stalls_while_the_origin_gives_others() -> None:
    stalls = Stalls(15.0)
    for wait in stalls.begin(ONE, 0.0, question=False):
        wait.tried()
    others = stalls.begin(OTHER, 0.0, question=False)
    for wait in others:
        wait.tried()
        wait.heard(20.0)
    assert stalled(stalls, 30.0) == {"one": "S3 silent for 30 s, 1 try"}
    assert stalls.stall(30.0) is None


def test_a_request_that_goes_on_is_a_try_of_the_next_silence_too() -> None:
    stalls = Stalls(15.0)
    waits = stalls.begin(ONE, 0.0, question=False)
    for wait in waits:
        wait.tried()
        wait.heard(10.0)
    assert stalled(stalls, 26.0) == {"one": "S3 silent for 16 s, 1 try"}


def test_errors_alone_are_no_answer_and_a_wait_for_a_connection_is_no_silence() -> None:
    stalls = Stalls(15.0)
    waits = stalls.begin(ONE, 0.0, question=False)
    unsent = "no request to S3 sent for 15 s: its connections or credentials are waited for"
    assert stalled(stalls, 15.0) == {"one": unsent}
    for wait in waits:
        wait.tried()
        wait.why = "it answers 503 SlowDown"
    text = "S3 gives only errors for 20 s, 1 try: it answers 503 SlowDown"
    assert stalled(stalls, 20.0) == {"one": text}
    for wait in waits:
        wait.heard(21.0)
    assert stalled(stalls, 40.0) == {"one": "S3 silent for 19 s, 1 try"}


def test_what_is_wanted_anew_was_not_wanted_in_vain_before() -> None:
    stalls = Stalls(15.0)
    waits = stalls.begin(ONE, 0.0, question=False)
    stalls.end(ONE, waits, question=False)
    stalls.begin(ONE, 100.0, question=False)
    assert (stalled(stalls, 110.0), stalls.stall(110.0)) == ({}, None)


def test_a_question_that_we_can_do_without_says_nothing_of_the_origin() -> None:
    stalls = Stalls(15.0)
    waits = stalls.begin(ONE, 0.0, question=True, optional=True)
    needed = stalls.begin(ONE, 10.0, question=False)
    found = [(ref.key, question) for ref, question, _ in stalls.stalls(16.0)]
    assert found == [("one", True)]
    assert stalls.stall(16.0) is None
    stalls.end(ONE, waits, question=True)
    stalls.end(ONE, needed, question=False)
    assert list(stalls.stalls(99.0)) == []
