"""How a node stands with the store: whatever goes wrong with a reply is noted, and ends nothing."""

import logging

import pytest

from seeder.cluster.health import Health
from seeder.errors import StoreAway


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreAway("is full"), "is full"),
        (ValueError("x"), "has under a key of ours what no node has written: x"),
        (KeyError("x"), "says what we fail with (internal error: KeyError('x'))"),
        (ExceptionGroup("of tasks", [ValueError("x")]), "says what we fail with (internal error: "),
    ],
)
async def test_a_step_that_fails_is_a_fault_until_it_works(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health("redis", lambda: 0.0)

    async def step(*errors: Exception) -> None:
        for each in errors:
            raise each

    assert await health.attempt("members", step())
    assert not await health.attempt("news", step(error))
    assert health.fault is not None
    assert health.fault.startswith(reason)
    unforeseen = not isinstance(error, StoreAway | ValueError)
    traced = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in traced] == unforeseen * [
        "news of the cluster: internal error"
    ]
    assert await health.attempt("news", step())
    assert health.up
