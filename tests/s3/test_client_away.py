"""One slow connection among fast ones, and an origin that is away: what is done and said."""

import logging
import socket
import ssl
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from seeder.errors import OriginError, OriginUnreachable
from seeder.s3.client import S3Origin
from seeder.s3.retry import RetryPolicy
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, error, head, raw
from tests.s3.samples import BODY, GOOD, PIECE, RANGE_HEAD, REF, read
from tests.s3.support import CountingMeter, MakeOrigin, until
from tests.support.ports import free_port

LONG = 60.0
"""Seconds that no test lasts."""
WATCHED = RetryPolicy(
    patience=0,
    hopeless_wait=0,
    first_wait=0.01,
    longest_wait=0.05,
    read_timeout=LONG,
    tick=0.02,
    silence=0.3,
)


def hang(*parts: bytes) -> Reply:
    """Send these bytes, then nothing more, for as long as the connection lasts."""

    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        for part in parts:
            await stream.send_all(part)
        await trio.sleep(LONG)

    return reply


async def keep_reading(origin: S3Origin) -> None:
    while True:
        await read(origin, CountingMeter())


@pytest.mark.parametrize(
    "begun", [(RANGE_HEAD, PIECE[:20_000]), (RANGE_HEAD,), ()], ids=["body", "head", "nothing"]
)
async def test_a_connection_that_is_far_slower_than_others_is_left_and_no_byte_comes_twice(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, begun: tuple[bytes, ...]
) -> None:
    # A busy machine may keep all reads waiting for longer than the silence that others here mean.
    origin = await make_origin(policy=replace(WATCHED, silence=LONG))
    faults.default = GOOD
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(keep_reading, origin)
        await until(lambda: len(faults.seen) > 3)
        faults.script(hang(*begun))
        await until(lambda: origin.statistics().switched > 0)
        nursery.cancel_scope.cancel()
    told = origin.statistics()
    assert (told.switched, told.retries, told.errors["unreachable"]) == (1, 0, 0)
    assert told.reachable


async def test_a_read_goes_on_where_the_slow_connection_was_left(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=WATCHED)
    faults.script(hang(RANGE_HEAD, PIECE[:20_000]))
    faults.default = GOOD
    async with trio.open_nursery() as nursery:

        async def slow() -> None:
            assert await read(origin, meter) == PIECE
            nursery.cancel_scope.cancel()

        nursery.start_soon(slow)
        await until(lambda: faults.finished)
        nursery.start_soon(keep_reading, origin)
    assert (meter.requests, meter.received) == ({"pieces": 2}, {"pieces": len(PIECE)})
    assert any(seen.headers["range"] == "bytes=21000-50999" for seen in faults.seen)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "seeder.s3.presence" and record.levelno >= logging.INFO
    ]


@pytest.mark.parametrize(
    "begun", [(RANGE_HEAD, PIECE[:20_000]), (RANGE_HEAD,), ()], ids=["body", "head", "nothing"]
)
async def test_an_origin_that_falls_silent_is_away_and_says_so_once(
    make_origin: MakeOrigin,
    faults: FaultServer,
    caplog: pytest.LogCaptureFixture,
    begun: tuple[bytes, ...],
) -> None:
    caplog.set_level("INFO", "seeder.s3.presence")
    origin = await make_origin(policy=WATCHED)
    faults.script(GOOD)
    faults.default = hang(*begun)
    await read(origin, CountingMeter())
    before = origin.statistics()
    assert before.reachable
    assert (before.since, before.reason) == (None, None)
    assert before.last_success is not None
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read, origin, CountingMeter())
        await until(lambda: not origin.statistics().reachable)
        told = origin.statistics()
        assert told.reason is not None
        assert told.reason.startswith("nothing has come from 127.0.0.1")
        assert told.since is not None
        [line] = lines(caplog)
        assert "origin default: S3 at 127.0.0.1" in line
        assert "is away since" in line
        assert line.endswith("; 5 requests wait")
        nursery.cancel_scope.cancel()
    faults.default = GOOD
    await read(origin, CountingMeter())
    assert origin.statistics().reachable
    [_, line] = lines(caplog)
    assert "is back after" in line


async def test_an_optional_question_that_hangs_says_nothing_of_the_origin(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=WATCHED)
    faults.default = hang()
    with trio.move_on_after(4 * WATCHED.silence) as waiting:
        await origin.read_small(REF, 1000, meter)
    assert waiting.cancelled_caught
    assert faults.seen
    assert origin.statistics().reachable


@pytest.mark.parametrize(
    "reply", [error(503, "SlowDown"), answer(500), raw(close=True)], ids=["503", "500", "closed"]
)
async def test_an_origin_that_fails_every_call_is_away_in_one_line(
    make_origin: MakeOrigin, faults: FaultServer, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    caplog.set_level("INFO", "seeder.s3.presence")
    origin = await make_origin(policy=WATCHED)
    faults.default = reply
    failed: list[OriginUnreachable] = []

    async def ask() -> None:
        with pytest.raises(OriginUnreachable) as caught:
            await read(origin, CountingMeter())
        failed.append(caught.value)

    with trio.fail_after(60):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask)
        faults.default = GOOD
        await read(origin, CountingMeter())
    assert len(failed) == 60
    assert all(error.away for error in failed)
    away, back = lines(caplog)
    assert "is away since" in away
    assert "attempts failed and brought" in back
    # One at a time has asked for all of them, beside those that were under way at first.
    asked = len(faults.seen) - 1
    assert f": {asked} attempts failed" in back
    assert asked < 60 * WATCHED.attempts / 3


async def test_a_server_that_is_gone_is_away_until_it_is_there_again(
    make_origin: MakeOrigin, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "seeder.s3.presence")
    port = free_port("127.0.0.1")
    origin = await make_origin(endpoint=f"http://127.0.0.1:{port}", policy=WATCHED)
    with pytest.raises(OriginUnreachable):
        await read(origin, CountingMeter())
    assert not origin.statistics().reachable
    assert "refused" in (origin.statistics().reason or "")
    assert origin.statistics().last_success is None
    server = FaultServer(default=GOOD)
    await nursery.start(lambda **given: server.run(port=port, **given))
    await read(origin, CountingMeter())
    assert origin.statistics().reachable
    assert [("away" in line, "back" in line) for line in lines(caplog)] == [
        (True, False),
        (False, True),
    ]


async def test_one_object_that_always_fails_does_not_mean_that_all_is_away(
    make_origin: MakeOrigin, faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    # Longer than a busy machine keeps the reader waiting.
    origin = await make_origin(policy=replace(WATCHED, silence=LONG))

    async def only_heads_fail(seen: Seen, stream: trio.abc.Stream) -> None:
        await (answer(500) if seen.method == "HEAD" else GOOD)(seen, stream)

    faults.default = only_heads_fail
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_reading, origin)
        with trio.fail_after(60), pytest.raises(OriginUnreachable) as caught:
            await origin.head(REF, CountingMeter())
        nursery.cancel_scope.cancel()
    assert not caught.value.away
    assert origin.statistics().reachable
    assert lines(caplog) == []


PROBED = "bytes=0-0"
PATIENT = RetryPolicy(
    patience=60, first_wait=0.01, longest_wait=0.05, read_timeout=LONG, tick=0.02, quiet=0.2
)


@pytest.mark.parametrize(
    "reply", [error(503, "SlowDown"), answer(429), answer(500), raw(close=True)]
)
async def test_reads_wait_for_s3_and_a_head_is_given_up_soon(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, reply: Reply
) -> None:
    origin = await make_origin(policy=PATIENT)
    faults.default = reply
    got: list[bytes] = []

    async def ask() -> None:
        got.append(bytes(await read(origin, CountingMeter())))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await until(lambda: not origin.statistics().reachable)
        assert origin.hopes()
        with pytest.raises(OriginUnreachable) as caught:
            await origin.head(REF, meter)
        assert caught.value.away
        assert got == []
        faults.default = GOOD
        await until(lambda: len(got) == 10)
    assert got == [PIECE] * 10
    assert not origin.hopes()
    assert origin.statistics().reachable


@pytest.mark.parametrize("status", [403, 404, 412, 416])
async def test_a_final_answer_ends_a_read_at_once_however_long_s3_was_away(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, status: int
) -> None:
    origin = await make_origin(policy=PATIENT)
    faults.script(*[error(503, "SlowDown")] * 7)
    faults.default = answer(status)
    with trio.fail_after(20), pytest.raises(OriginError) as caught:
        await read(origin, meter)
    assert not isinstance(caught.value, OriginUnreachable)
    # Beside it, how the object is now may be asked.
    wanted = faults.seen[0].headers["range"]
    assert sum(seen.headers.get("range") == wanted for seen in faults.seen) == 8


async def test_a_read_is_not_given_up_in_the_first_second_of_an_outage(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=PATIENT)
    faults.script(raw(RANGE_HEAD, PIECE[:20_000], close=True), *[raw(close=True)] * 15)
    faults.default = GOOD
    with trio.fail_after(20):
        assert await read(origin, meter) == PIECE
    assert meter.received == {"pieces": len(PIECE)}


async def test_a_read_goes_on_where_it_was_however_often_s3_goes_and_comes(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(policy=PATIENT)
    spell = 0

    async def flap(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal spell
        spell += 1
        if spell % 4:
            await raw(close=True)(seen, stream)
        else:
            first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
            fields = {
                "etag": '"tag"',
                "content-range": f"bytes {first}-{last}/{len(BODY)}",
                "content-length": str(last + 1 - first),
            }
            await raw(head(206, fields.items()), BODY[first:last][:5000], close=True)(seen, stream)

    faults.default = flap
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await until(lambda: meter.received["pieces"] > 40_000)
                faults.default = GOOD

            nursery.start_soon(end)
            assert await read(origin, meter) == PIECE
    assert meter.received == {"pieces": len(PIECE)}


@pytest.mark.parametrize(
    "begun", [(RANGE_HEAD, PIECE[:20_000]), (RANGE_HEAD,), ()], ids=["body", "head", "nothing"]
)
async def test_when_nothing_comes_over_any_connection_another_one_is_tried(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, begun: tuple[bytes, ...]
) -> None:
    origin = await make_origin(policy=PATIENT)
    faults.script(*[hang(*begun)] * 4)
    faults.default = GOOD
    got: list[bytes] = []

    async def ask() -> None:
        got.append(bytes(await read(origin, meter)))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
    # All of them begin anew once a probe is answered: what they hang on is no use.
    assert got == [PIECE] * 4
    probes = sum(seen.headers["range"] == PROBED for seen in faults.seen)
    assert meter.received == {"pieces": 4 * len(PIECE) + probes}


async def test_a_tls_handshake_that_hangs_is_made_anew(
    make_origin: MakeOrigin,
    nursery: trio.Nursery,
    certificate: Path,
    meter: CountingMeter,
) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    taken: list[trio.SocketStream] = []
    async with listener:
        origin = await make_origin(
            endpoint=f"https://127.0.0.1:{port}", ca_file=certificate, policy=PATIENT
        )
        got: list[bytes] = []

        async def ask() -> None:
            got.append(bytes(await read(origin, meter)))

        nursery.start_soon(ask)
        with trio.fail_after(60):
            while len(taken) < 2:  # the read's own, and a probe's
                taken.append(await listener.accept())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await nursery.start(partial(FaultServer(default=GOOD).run, context, port=port))
    await until(lambda: got == [PIECE])
    for stream in taken:
        await trio.aclose_forcefully(stream)


async def test_a_name_that_is_not_found_for_a_while_is_looked_up_again(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up, asked = socket.getaddrinfo, 0

    def fail_at_first(host: Any, *rest: Any, **more: Any) -> Any:
        nonlocal asked
        if host not in ("s3.example.org", b"s3.example.org"):
            return look_up(host, *rest, **more)
        asked += 1
        if asked <= 12:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fail_at_first)
    origin = await make_origin(
        endpoint=f"http://s3.example.org:{faults.port}", path_style=True, policy=PATIENT
    )
    faults.default = GOOD
    with trio.fail_after(20):
        assert await read(origin, meter) == PIECE
    assert meter.received == {"pieces": len(PIECE)}
