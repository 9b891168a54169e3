"""Reading from S3 within a budget: what isn't allowed isn't asked, and nothing else changes."""

from datetime import UTC, datetime

import pytest
import trio

from seeder.errors import AccessDenied, BudgetSpent
from seeder.ledger.budget import Budget, Spent
from seeder.ledger.counters import Counters
from seeder.ledger.limits import Limit, Period, Resource
from seeder.ledger.savings import Prices
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import KIB, ByteRange
from tests.s3.fault_server import FaultServer, answer, error, error_body
from tests.s3.objects_server import ObjectsServer
from tests.s3.samples import BODY, GOOD, PINNED, REF, WANTED, read
from tests.s3.support import CountingMeter, MakeOrigin

NOON = datetime(2026, 7, 20, 12, tzinfo=UTC).timestamp()
PRICES = Prices(0.09, 0.0004)


def budget_of(resource: Resource, amount: float) -> Budget:
    limit = Limit(resource, Period.DAY, amount)
    return Budget([limit], PRICES, totals=Counters(), spent=Spent(), now=NOON)


async def test_a_spent_budget_of_bytes_lets_nothing_out_but_heads(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(allowance=budget_of(Resource.ORIGIN_BYTES, 0))
    for call in (
        origin.read_range(PINNED, WANTED, meter, "pieces"),
        origin.read_small(REF, 100, meter),
        origin.get_torrent(PINNED, meter),
    ):
        with pytest.raises(BudgetSpent, match="origin_bytes_per_day"):
            await call
    with pytest.raises(BudgetSpent):
        origin.check_allowance()
    assert faults.seen == []
    faults.script(answer(200, BODY, etag='"tag"'))
    assert (await origin.head(REF, meter)).size == len(BODY)
    told = origin.statistics()
    assert (told.requests, told.last_error, sum(told.errors.values())) == (1, None, 0)


async def test_a_spent_budget_of_requests_lets_nothing_out(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(allowance=budget_of(Resource.ORIGIN_REQUESTS, 1))
    faults.script(answer(200, BODY, etag='"tag"'))
    await origin.head(REF, meter)
    with pytest.raises(BudgetSpent, match="origin_requests_per_day = 1 is spent"):
        await origin.head(REF, meter)
    assert (len(faults.seen), meter.requests) == (1, {"metainfo": 1})


async def test_a_retry_has_to_fit_the_budget_too(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(allowance=budget_of(Resource.ORIGIN_REQUESTS, 2))
    faults.script(error(503, "SlowDown"), error(503, "SlowDown"), GOOD)
    with pytest.raises(BudgetSpent):
        await read(origin, meter)
    assert len(faults.seen) == 2


async def test_a_head_is_told_by_its_status_when_the_reason_can_not_be_asked_for(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(allowance=budget_of(Resource.ORIGIN_REQUESTS, 1))
    faults.script(answer(403, b""), answer(403, error_body("AccessDenied")))
    with pytest.raises(AccessDenied):
        await origin.head(REF, meter)
    assert len(faults.seen) == 1


async def test_reads_side_by_side_end_within_one_read_of_the_limit(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    part, parts, allowed = 64 * KIB, 64, 10
    store = ObjectsServer(objects={"key": bytes(part * parts)})
    faults.default = store.serve
    budget = budget_of(Resource.ORIGIN_BYTES, allowed * part - 1)
    origin = await make_origin(path_style=True, allowance=budget)
    pinned = PinnedObject(
        ObjectRef("default", "bucket", "key"), store.etag(store.objects["key"]), part * parts
    )
    outcomes: list[type[Exception] | None] = []

    async def get(index: int) -> None:
        wanted = ByteRange(index * part, part)
        try:
            await origin.read_range(pinned, wanted, meter, "pieces")
        except BudgetSpent as spent:
            outcomes.append(type(spent))
        else:
            outcomes.append(None)

    async with trio.open_nursery() as nursery:
        for index in range(parts):
            nursery.start_soon(get, index)
    assert outcomes.count(None) == allowed
    assert outcomes.count(BudgetSpent) == parts - allowed
    assert store.body_bytes["key"] == meter.received["pieces"] == allowed * part
