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
