"""What becomes of a failed attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.s3.answers import Answer
from seeder.s3.retry import Move, Renew, RetryPolicy, Tries, Wait

POLICY = RetryPolicy(attempts=4, first_wait=1.0, longest_wait=3.0)


def tries() -> Tries:
    return Tries(POLICY, "us-east-1")


def refused(answer: Answer) -> object:
    return tries().refused(answer, roll=0.5)


def test_waits_double_up_to_the_longest_and_attempts_run_out() -> None:
    one = tries()
    steps = [one.broken(roll=1.0) for _ in range(4)]
    assert steps == [Wait(1.0), Wait(2.0), Wait(3.0), None]
    assert one.attempt == 4


@given(st.floats(0, 1), st.integers(1, 12))
def test_the_jitter_is_full(roll: float, failures: int) -> None:
    one = Tries(RetryPolicy(attempts=100), "r")
    for _ in range(failures):
        step = one.broken(roll=roll)
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(roll * min(1.0, 0.2 * 2 ** (failures - 1)))


def test_a_call_that_waited_because_s3_was_away_has_all_its_attempts_again() -> None:
    one = tries()
    for _ in range(3):
        one.broken(roll=1.0)
    one.line_up()
    assert [one.broken(roll=1.0) for _ in range(4)] == [Wait(1.0), Wait(2.0), Wait(3.0), None]


def test_s3_may_say_how_long_to_wait() -> None:
    assert refused(Answer(503, "SlowDown", pause=7.0)) == Wait(7.5)
    assert refused(Answer(429, pause=0.0)) == Wait(0.5)


def test_a_call_ends_that_s3_asks_to_wait_for_longer_than_it_does() -> None:
    assert refused(Answer(503, "SlowDown", pause=11.0)) is None
    patient = Tries(POLICY, "us-east-1", 120.0)
    assert patient.refused(Answer(503, pause=11.0), roll=0.5) == Wait(11.5)
    assert patient.refused(Answer(503, pause=121.0), roll=0.5) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507, 509, 520, 522, 524, 530])
def test_statuses_that_pass_are_tried_again(status: int) -> None:
    assert refused(Answer(status)) == Wait(0.5)


@pytest.mark.parametrize(
    "code", ["SlowDown", "InternalError", "RequestTimeout", "Throttling", "BandwidthLimitExceeded"]
)
def test_codes_that_pass_are_tried_again_whatever_the_status(code: str) -> None:
    assert refused(Answer(400, code)) == Wait(0.5)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 416, 501, 301])
def test_other_statuses_are_final(status: int) -> None:
    assert refused(Answer(status)) is None


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_credentials_that_s3_refuses_are_renewed_once(code: str) -> None:
    one = tries()
    answer = Answer(400, code)
    assert one.refused(answer, roll=1.0) == Renew()
    assert one.refused(answer, roll=1.0) is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(301, "PermanentRedirect", region="eu-west-1"),
        Answer(307, "TemporaryRedirect", region="eu-west-1"),
        Answer(400, "AuthorizationHeaderMalformed", region="eu-west-1"),
        Answer(400, region="eu-west-1"),
    ],
)
def test_a_bucket_elsewhere_is_asked_there(answer: Answer) -> None:
    assert refused(answer) == Move("eu-west-1")


@pytest.mark.parametrize("answer", [Answer(404, "NoSuchKey"), Answer(403, "AccessDenied")])
def test_an_answer_that_only_mentions_another_region_is_final(answer: Answer) -> None:
    assert refused(Answer(answer.status, answer.code, region="eu-west-1")) is None


def test_regions_that_point_at_each_other_end_the_call() -> None:
    one = tries()
    there, back = Answer(301, region="eu-west-1"), Answer(301, region="us-east-1")
    assert one.refused(there, roll=1.0) == Move("eu-west-1")
    assert one.refused(back, roll=1.0) == Move("us-east-1")
    assert one.refused(there, roll=1.0) is None


def test_a_redirect_to_the_region_that_was_asked_is_final() -> None:
    assert refused(Answer(307, region="us-east-1")) is None


def test_an_attempt_may_take_longer_the_more_it_reads() -> None:
    assert POLICY.attempt_timeout(64 * 1024 * 100) == POLICY.attempt_timeout(0) + 100


@pytest.mark.parametrize(("patience", "longest"), [(0.0, 10.0), (600.0, 120.0)])
def test_nobody_stays_away_for_ever_because_it_is_told_to(patience: float, longest: float) -> None:
    told = Tries(RetryPolicy(), "", patience).broken(roll=0.0, pause=longest)
    assert told == Wait(longest)
    assert Tries(RetryPolicy(), "", patience).broken(roll=0.0, pause=longest + 1) is None


def test_a_read_that_comes_on_does_not_end_and_asks_ever_more_seldom() -> None:
    policy = RetryPolicy()
    one = Tries(policy, "", policy.patience)
    waits = []
    for _ in range(60):
        step = one.come_on(one.broken(roll=0.5), roll=0.5)
        assert isinstance(step, Wait)
        waits.append(step.seconds)
    assert waits == sorted(waits)
    assert sum(waits) > 60  # so there are no sixty of its requests in a minute
    # Five failures after which it hasn't come on end it, as always.
    steps = [one.broken(roll=0.5) for _ in range(policy.attempts)]
    assert [step is None for step in steps] == [False] * 4 + [True]
    assert isinstance(one.come_on(steps[-1], roll=0.5), Wait)
