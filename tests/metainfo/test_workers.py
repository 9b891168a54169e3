"""Jobs shared by workers: how many at a time, and whose error ends what."""

import pytest
import trio
import trio.testing

from seeder.errors import BudgetSpent, ObjectChanged, ObjectMissing
from seeder.metainfo.workers import do_all


async def test_each_job_is_done_once_by_as_many_at_a_time_as_asked() -> None:
    running, most, done = 0, 0, []

    async def work(job: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.testing.wait_all_tasks_blocked()
        running -= 1
        done.append(job)

    await do_all(iter(range(10)), work, workers=3)
    assert sorted(done) == list(range(10))
    assert most == 3
    await do_all(iter(()), work, workers=3)


async def test_an_error_cancels_the_others_and_is_raised() -> None:
    begun = []

    async def work(job: int) -> None:
        begun.append(job)
        if job == 1:
            raise ObjectChanged("412")
        await trio.sleep_forever()

    with pytest.raises(ObjectChanged, match="412"):
        await do_all(iter(range(10)), work, workers=3)
    assert sorted(begun) == [0, 1, 2]


async def test_a_harmless_error_ends_one_worker_and_is_raised_when_all_is_done() -> None:
    done = []

    async def work(job: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        if job in (1, 4):
            raise BudgetSpent(f"spent at {job}")
        done.append(job)

    with pytest.raises(BudgetSpent, match=r"spent at [14]"):
        await do_all(iter(range(8)), work, workers=3, harmless=(BudgetSpent,))
    assert sorted(done) == [0, 2, 3, 5, 6, 7]


async def test_the_error_that_cancelled_the_others_is_the_one_that_is_raised() -> None:
    async def work(job: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise (BudgetSpent("spent"), ObjectMissing("404"), BudgetSpent("spent"))[job]

    with pytest.raises(ObjectMissing):
        await do_all(iter(range(3)), work, workers=3, harmless=(BudgetSpent,))


async def test_a_bug_is_no_failure_of_a_job() -> None:
    async def work(job: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await do_all(iter(range(3)), work, workers=1)
