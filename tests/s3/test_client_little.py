"""An S3 that sends the beginning of a body, and no more: a read goes on with what it brings."""

from dataclasses import replace
from math import inf

import pytest
import trio

from seeder.errors import OriginUnreachable
from seeder.s3.retry import RetryPolicy
from tests.s3.fault_server import FaultServer, Seen, head, raw, stored
from tests.s3.samples import BODY, PIECE, read
from tests.s3.support import CountingMeter, MakeOrigin

LONG = 60.0
"""Seconds that no test lasts."""
POLICY = RetryPolicy(
    patience=LONG,
    first_wait=0.01,
    longest_wait=0.05,
    hopeless_wait=0.05,
    read_timeout=LONG,
    tick=0.02,
    quiet=0.2,
)
PROBED = "bytes=0-0"


class Scanty:
    """An S3 whose bodies stop after so few bytes, until it is well; a probe is answered."""

    def __init__(self, server: FaultServer, *, hangs: bool) -> None:
        self.asked = 0
        self.well_after: float = inf
        self._hangs = hangs
        server.default = self._reply

    async def _reply(self, seen: Seen, stream: trio.abc.Stream) -> None:
        whole = stored(BODY)
        if seen.headers["range"] == PROBED:
            await whole(seen, stream)
            return
        self.asked += 1
        if self.asked > self.well_after:
            await whole(seen, stream)
            return
        first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
        fields = {
            "etag": '"tag"',
            "content-range": f"bytes {first}-{last}/{len(BODY)}",
            "content-length": str(last + 1 - first),
        }
        part = BODY[first : first + 1000]
        await raw(head(206, fields.items()), part, close=not self._hangs)(seen, stream)
        await trio.sleep(LONG if self._hangs else 0)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_read_goes_on_that_gets_a_little_at_each_attempt(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, hangs: bool
) -> None:
    origin = await make_origin(policy=POLICY)
    s3 = Scanty(faults, hangs=hangs)
    s3.well_after = 9
    with trio.fail_after(60):
        assert await read(origin, meter) == PIECE
    assert s3.asked == 10
    assert meter.received["pieces"] - len(PIECE) <= len(faults.seen) - s3.asked  # the probes'
    assert origin.statistics().reachable


async def test_a_read_that_gets_little_for_ever_ends_with_its_patience(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=replace(POLICY, patience=0.3))
    s3 = Scanty(faults, hangs=False)
    with trio.fail_after(20), pytest.raises(OriginUnreachable, match="check endpoint"):
        await read(origin, meter)
    assert 5 < s3.asked < 50
