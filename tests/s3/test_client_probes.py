"""An S3 that falls silent is probed beside what hangs on it; one that is slow isn't hurt."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from seeder.s3.attempts import Attempts
from seeder.s3.client import S3Origin
from seeder.s3.presence import MOST_PROBES, Presence
from seeder.s3.retry import RetryPolicy
from seeder.torrent.objects import ObjectRef
from tests.s3.fault_server import FaultServer, Reply, Seen, error
from tests.s3.samples import GOOD, PIECE, RANGE_HEAD, REF, read
from tests.s3.support import CountingMeter, MakeOrigin, until

LONG = 60.0
"""Seconds that no test lasts."""
POLICY = RetryPolicy(
    patience=LONG,
    first_wait=0.01,
    longest_wait=0.05,
    connect_timeout=LONG,
    read_timeout=LONG,
    tick=0.02,
    quiet=0.2,
)
PROBED = "bytes=0-0"


class Silent:
    """An S3 that says nothing until it is back, and nothing ever of what it was asked till then."""

    def __init__(self, server: FaultServer, begun: bytes = b"") -> None:
        self.probes = self.asked = 0
        self.back = False
        self._begun = begun
        server.default = self._reply

    async def _reply(self, seen: Seen, stream: trio.abc.Stream) -> None:
        if seen.headers.get("range") == PROBED:
            self.probes += 1
        else:
            self.asked += 1
        if not self.back:
            if seen.headers.get("range") == "bytes=1000-50999":
                await stream.send_all(self._begun)
            await trio.sleep(LONG)
        await GOOD(seen, stream)


def after(seconds: Callable[[Seen], float]) -> Reply:
    """Answer as an S3 does that takes so long until it begins to answer."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        await trio.sleep(seconds(seen))
        await GOOD(seen, stream)

    return reply


def is_probe(seen: Seen) -> bool:
    return seen.headers.get("range") == PROBED


@pytest.mark.parametrize("begun", [RANGE_HEAD + PIECE[:20_000], b""], ids=["body", "nothing"])
async def test_all_that_hangs_goes_on_once_a_probe_is_answered(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, begun: bytes
) -> None:
    origin = await make_origin(policy=POLICY, connections=3)
    s3 = Silent(faults, begun)
    got: list[bytes] = []

    async def ask() -> None:
        got.append(bytes(await read(origin, meter)))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            # All connections hang, and two reads wait for one.
            for _ in range(5):
                nursery.start_soon(ask)
            await until(lambda: s3.probes >= 2)
            s3.back = True
    assert got == [PIECE] * 5
    # No byte twice.
    assert 0 < meter.received["pieces"] - 5 * len(PIECE) <= s3.probes


async def test_while_s3_is_silent_few_probes_hang_on_it_and_no_read_is_begun_again(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=POLICY)
    s3 = Silent(faults)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(read, origin, meter)
        await until(lambda: s3.probes == MOST_PROBES)
        await trio.sleep(10 * POLICY.tick)
        assert (s3.probes, s3.asked) == (MOST_PROBES, 4)
        # The requests of peers stay, though no read has failed yet.
        assert origin.hopes()
        nursery.cancel_scope.cancel()


async def test_a_read_that_s3_begins_late_by_nature_is_begun_again_a_few_times_at_most(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    # As proxies do that fetch a range before they answer, while a byte comes at once.
    origin = await make_origin(policy=POLICY)
    faults.default = after(lambda seen: 0.0 if is_probe(seen) else 1.8 * POLICY.quiet)
    with trio.fail_after(20):
        assert await read(origin, meter) == PIECE
    assert sum(not is_probe(seen) for seen in faults.seen) <= 3


async def test_no_read_is_begun_again_at_an_s3_that_is_slow_with_everything(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=POLICY)
    faults.default = after(lambda _: 5 * POLICY.quiet)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read, origin, meter)
    assert sum(not is_probe(seen) for seen in faults.seen) == 4
    assert origin.statistics().reachable


async def test_a_listing_that_hangs_is_probed_by_itself(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=POLICY)
    s3 = Silent(faults)

    async def listing(origin: S3Origin) -> None:
        with pytest.raises(Exception, match="NoSuchBucket"):
            await origin.list_page(ObjectRef("default", "quotes", ""), None, meter)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listing, origin)
        await until(lambda: s3.asked >= 2)
        assert all("list-type=2" in seen.query for seen in faults.seen)
        faults.default = error(404, "NoSuchBucket")


async def test_a_head_that_hangs_is_probed_by_a_head(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=POLICY)
    s3 = Silent(faults)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(origin.head, REF, meter)
        await until(lambda: s3.asked >= 2)
        s3.back = True
    assert {seen.method for seen in faults.seen} == {"HEAD"}


async def test_a_probe_and_a_look_that_fail_by_a_fault_of_ours_end_no_read(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("seeder.net.guards.PAUSE", 0)
    bugs = ["ask", "look"]

    def fail_once(owner: type, name: str, bug: str) -> None:
        sound = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if bug in bugs and (bug == "look" or options.get("probes")):
                bugs.remove(bug)
                raise KeyError(f"a bug in {bug}")
            return sound(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    fail_once(Attempts, "_ask", "ask")
    fail_once(Presence, "_is_probe_due", "look")
    origin = await make_origin(policy=POLICY)
    s3 = Silent(faults)

    async def come_back() -> None:
        await until(lambda: not bugs and s3.probes > 0)
        s3.back = True

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            assert bytes(await read(origin, meter)) == PIECE
    assert caplog.text.count("origin default: internal error") == 2
