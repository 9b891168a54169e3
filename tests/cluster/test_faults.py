"""What Redis and Valkey answer is told in a line that says what to do."""

import pytest

from seeder.cluster.faults import explain


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "AuthorizationError",
            "User seeder has no permissions to run the 'hset' command"
            " script: 0123abcd, on @user_script:1.",
        ),
        (
            "ResponseError",
            "ACL failure in script: User seeder has no permissions to run the 'hset' command"
            " script: on @user_script:1.",
        ),
    ],
    ids=["Redis 7.0", "Valkey 9.1"],
)
def test_a_permission_that_lacks_within_a_script_is_named(kind: str, text: str) -> None:
    told = explain(kind, text)
    assert told.startswith("doesn't let its user do that (")
    assert "'hset' command): " in told


@pytest.mark.parametrize(
    ("refused", "start"),
    [
        ("The user executing the script can't run this command or subcommand", "doesn't let its"),
        (
            "The user executing the script can't access at least one of the keys mentioned in the"
            " command arguments",
            "doesn't let its",
        ),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "has something else"),
    ],
)
def test_what_redis_6_2_refuses_within_a_script_is_told_likewise(refused: str, start: str) -> None:
    where = "Error running script (call to f_4804765cb65e7d23a4608ed6d883c91ad1694392)"
    assert explain(
        "ResponseError", f"{where}: @user_script:1: @user_script: 1: {refused}"
    ).startswith(start)
    assert explain("ResponseError", f"{where}: @user_script:1: {refused}").startswith(start)
