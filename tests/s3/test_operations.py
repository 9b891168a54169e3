"""What S3 was asked is counted by operation and outcome, with the time that answers took."""

import pytest
import trio

from seeder.errors import SeederError
from seeder.s3.listing import Page
from seeder.s3.operations import OPERATIONS, OUTCOMES, Operation, Outcome
from seeder.s3.retry import RetryPolicy
from tests.s3.fault_server import FaultServer, Reply, answer, error, raw, reset, silent
from tests.s3.samples import GOOD, PIECE, PINNED, RANGE_HEAD, REF, read
from tests.s3.support import QUICK, CountingMeter, MakeOrigin, until

PAGE = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize(
    ("replies", "counted"),
    [
        ([GOOD], {"ok": 1}),
        ([error(403, "AccessDenied")], {"refused": 1}),
        ([error(503, "SlowDown"), GOOD], {"throttled": 1, "ok": 1}),
        ([error(500, "InternalError"), GOOD], {"failed": 1, "ok": 1}),
        ([reset(), GOOD], {"unreachable": 1, "ok": 1}),
        ([raw(RANGE_HEAD, PIECE[:9], close=True), GOOD], {"unreachable": 1, "ok": 1}),
        ([answer(200, b"all of it")], {"unfit": 1}),
    ],
    ids=["good", "denied", "slow-down", "error", "reset", "cut", "not-a-range"],
)
async def test_every_attempt_at_a_piece_is_counted_by_what_came_of_it(
    make_origin: MakeOrigin,
    faults: FaultServer,
    replies: list[Reply],
    counted: dict[Outcome, int],
) -> None:
    origin = await make_origin(policy=QUICK)
    faults.script(*replies)
    try:
        await read(origin, CountingMeter())
    except SeederError:
        assert "ok" not in counted
    told = origin.statistics()
    assert told.operations == {("GetObject", outcome): n for outcome, n in counted.items()}
    heads = sum(told.answer_times["GetObject"].counts)
    cut_body = len(faults.seen) - heads
    assert (
        0
        <= cut_body
        <= counted.get("unreachable", 0)
        + sum(counted.get(name, 0) for name in ("refused", "throttled", "failed"))
    )
    assert told.waiting == 0


async def test_each_call_has_s3s_name(make_origin: MakeOrigin, faults: FaultServer) -> None:
    origin = await make_origin(policy=QUICK)
    meter = CountingMeter()
    faults.script(
        GOOD,
        answer(200, PAGE),
        answer(200, b"d3:abc3:defe"),
    )
    await origin.head(REF, meter)
    assert isinstance(await origin.list_page(REF, None, meter), Page)
    await origin.get_torrent(PINNED, meter)
    names: list[Operation] = ["HeadObject", "ListObjects", "GetObjectTorrent"]
    told = origin.statistics()
    assert told.operations == {(name, "ok"): 1 for name in names}
    assert {name for name, _ in told.operations} <= set(OPERATIONS)
    assert {outcome for _, outcome in told.operations} <= set(OUTCOMES)
    assert [sum(told.answer_times[name].counts) for name in names] == [1, 1, 1]


async def test_a_call_that_is_given_up_is_counted_and_no_longer_awaited(
    make_origin: MakeOrigin, faults: FaultServer
) -> None:
    origin = await make_origin(policy=QUICK)
    faults.default = silent()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, origin, CountingMeter())
        await until(lambda: faults.seen != [])
        assert origin.statistics().waiting == 1
        nursery.cancel_scope.cancel()
    told = origin.statistics()
    assert (told.operations, told.waiting) == ({("GetObject", "cancelled"): 1}, 0)


WATCHED = RetryPolicy(
    patience=0,
    hopeless_wait=0,
    first_wait=0.01,
    longest_wait=0.05,
    read_timeout=60.0,
    tick=0.02,
    silence=0.3,
)


@pytest.mark.parametrize("begun", [(), (RANGE_HEAD,), (RANGE_HEAD, PIECE[:9000])])
async def test_an_object_of_which_nothing_comes_is_stalled_until_something_does(
    make_origin: MakeOrigin, faults: FaultServer, begun: tuple[bytes, ...]
) -> None:
    origin = await make_origin(policy=WATCHED)
    go_on = trio.Event()

    async def late(seen: object, stream: trio.abc.Stream) -> None:
        for part in begun:
            await stream.send_all(part)
        await go_on.wait()
        await stream.send_all((RANGE_HEAD + PIECE)[len(b"".join(begun)) :])

    faults.default = late
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, origin, CountingMeter())
        await until(lambda: any(stall.tries for _, _, stall in origin.stalls()))
        assert origin.statistics().stall is not None
        [(ref, question, stall)] = origin.stalls()
        assert (ref, question) == (REF, False)
        assert str(stall).startswith("S3 silent for ")
        go_on.set()
    assert list(origin.stalls()) == []
    assert origin.statistics().stall is None
