"""A fault of ours ends one of many things; a task that does nothing any more ends the daemon."""

import logging

import pytest
import trio
from trio.testing import MockClock

from seeder.net.guards import MOST_LAPSES, PAUSE, Lapses, sparing_others

LOG = logging.getLogger(__name__)


def test_what_follows_a_fault_goes_on_and_the_log_tells_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = []
    for number in range(3):
        with sparing_others(LOG, "number %d", number):
            done.append(1 // (number - 1))
    assert done == [-1, 1]
    [record] = caplog.records
    assert record.getMessage() == "number 1: internal error"
    assert record.exc_info is not None


async def test_a_cancel_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with sparing_others(LOG, "this"):
            async with Lapses(LOG, "that").spared():
                await trio.lowlevel.checkpoint()
            raise AssertionError
    assert scope.cancelled_caught
    assert not caplog.records


async def rounds(lapses: Lapses, *failing: bool) -> int:
    """Go so many rounds, of which some fail; return how many were begun."""
    begun = 0
    for fails in failing:
        async with lapses.spared():
            begun += 1
            if fails:
                raise KeyError(begun)
    return begun


async def test_a_task_goes_on_after_a_pause(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    assert await rounds(Lapses(LOG, "the task"), *[True] * 50, False) == 51
    assert trio.current_time() - began == pytest.approx(50 * PAUSE)
    assert {record.getMessage() for record in caplog.records} == {"the task: internal error"}


async def test_a_task_without_which_nothing_works_ends_the_daemon_when_it_fails_all_the_time(
    autojump_clock: MockClock,
) -> None:
    vital = Lapses(LOG, "the task", vital=True)
    almost = [True] * (MOST_LAPSES - 1)
    assert await rounds(vital, *almost, False, *almost, False) == 2 * MOST_LAPSES
    with pytest.raises(KeyError, match=str(MOST_LAPSES)):
        await rounds(vital, *almost, True, False)
