"""Calls of an origin: what is left of one that failed."""

import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from seeder.errors import OriginError
from seeder.s3.client import S3Origin
from tests.s3.fault_server import FaultServer, Reply, error
from tests.s3.samples import REF, read
from tests.s3.support import CountingMeter, MakeOrigin

Ask = Callable[[S3Origin], Awaitable[object]]


async def _head(origin: S3Origin) -> object:
    return await origin.head(REF, CountingMeter())


async def _read(origin: S3Origin) -> object:
    return await read(origin, CountingMeter())


async def _look_for_a_sidecar(origin: S3Origin) -> object:
    return await origin.read_small(REF, 1000, CountingMeter())


@pytest.mark.parametrize("ask", [_head, _read, _look_for_a_sidecar])
@pytest.mark.parametrize(
    "reply",
    [
        error(404, "NoSuchKey"),
        error(403, "AccessDenied"),
        error(400, "ExpiredToken"),
        error(503, "SlowDown"),
    ],
    ids=["missing", "refused", "expired", "away"],
)
async def test_what_waited_for_a_call_that_failed_is_let_go_of_though_no_garbage_is_looked_for(
    make_origin: MakeOrigin, faults: FaultServer, ask: Ask, reply: Reply
) -> None:
    faults.default = reply
    origin = await make_origin()

    class Waiting:
        """Stands for an object whose metainfo is asked for."""

    async def wait(_: Waiting) -> OriginError:
        try:
            await ask(origin)
        except OriginError as failed:
            return failed
        raise AssertionError("it was answered")

    gc.collect()
    gc.disable()
    try:
        waiting = Waiting()
        kept = weakref.ref(waiting)
        failed = await wait(waiting)
        error_kept = weakref.ref(failed)
        del waiting, failed
        assert (kept(), error_kept()) == (None, None)
    finally:
        gc.enable()
