"""Whether what was asked for is over, by what the node tells."""

import pytest

from seeder.commands.control.following import AnswerBefore

BEFORE = {"asked_at": 1000.0, "looked_at": 990.0}


@pytest.mark.parametrize(
    ("asked_at", "looked_at", "is_over"),
    [
        (1000.0, 990.0, False),
        (1000.0, 1001.0, True),
        (1000.0, None, False),
        # The node's clock was set ahead: its last look is as old as it was.
        (9000.0, 8990.0, False),
        (9000.0, 9001.0, True),
        # It was set back.
        (10.0, 1.0, False),
        (10.0, 11.0, True),
        # The node was started again.
        (None, None, False),
        (None, 1002.0, True),
    ],
)
def test_a_look_is_over_that_began_after_it_was_asked_for_whatever_the_clock(
    asked_at: float | None, looked_at: float | None, *, is_over: bool
) -> None:
    found = {"asked_at": asked_at, "looked_at": looked_at}
    assert AnswerBefore(BEFORE).is_looked_at(found) is is_over


def test_what_nobody_has_asked_for_is_over() -> None:
    assert AnswerBefore({"asked_at": None}).is_looked_at({"asked_at": None, "looked_at": None})
