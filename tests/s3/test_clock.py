"""Requests are signed for S3's time where the machine's clock is wrong, and one line says so."""

import logging
from datetime import UTC, datetime

import pytest
import trio

from seeder.errors import SignerRefused
from seeder.http.dates import format_date
from seeder.s3.clock import SigningClock
from seeder.units import DAY, HOUR, MINUTE
from tests.s3.fault_server import FaultServer, Seen, answer, error
from tests.s3.samples import BODY, GOOD, PIECE, REF, read
from tests.s3.support import CountingMeter, MakeOrigin

NOW = 1796014400
"""What time it is at S3."""


class Punctual:
    """Lets a FaultServer take what is signed for its own time, as S3 does; counts refusals."""

    def __init__(self, code: str = "RequestTimeTooSkewed", tells: int | None = NOW) -> None:
        self.refused = 0
        self._code = code
        self._date = {} if tells is None else {"date": format_date(tells)}

    async def __call__(self, seen: Seen, stream: trio.abc.Stream) -> None:
        signed = datetime.strptime(seen.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        if abs(signed.replace(tzinfo=UTC).timestamp() - NOW) <= 15 * MINUTE:
            good = answer(200, BODY, etag='"tag"', **self._date) if seen.method == "HEAD" else GOOD
            await good(seen, stream)
            return
        self.refused += 1
        await error(403, self._code, **self._date)(seen, stream)


class Wall:
    """The machine's clock."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("now", [NOW - 26 * 365 * DAY, NOW - HOUR, NOW + DAY, NOW + 3e9])
async def test_s3_takes_us_whatever_the_machines_clock_says(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    caplog: pytest.LogCaptureFixture,
    now: float,
) -> None:
    caplog.set_level(logging.INFO, "seeder.s3.clock")
    faults.default = punctual = Punctual()
    wall = Wall(now)
    origin = await make_origin(clock=wall)
    assert (await origin.head(REF, meter)).etag == '"tag"'
    for _ in range(3):
        assert await read(origin, meter) == PIECE
    assert punctual.refused == 2, "the HEAD, and the GET that tells why"
    told = origin.statistics()
    assert told.clock_ahead == NOW - now
    assert str(told.clock_fault).startswith("this machine's clock is ")
    assert told.last_error is None
    wall.now = NOW + 7  # it is set
    assert await read(origin, meter) == PIECE
    assert punctual.refused == 3
    assert (origin.statistics().clock_ahead, origin.statistics().clock_fault) == (0, None)
    texts = [each.getMessage() for each in caplog.records if each.name == "seeder.s3.clock"]
    assert [each.levelname for each in caplog.records if each.name == "seeder.s3.clock"] == [
        "WARNING",
        "INFO",
    ]
    assert texts[0].startswith("origin default: this machine's clock is ")


async def test_many_calls_that_meet_a_wrong_clock_are_one_line(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults.default = Punctual()
    wall = Wall(NOW - DAY)
    origin = await make_origin(clock=wall)
    for now in (NOW - DAY, NOW + DAY, NOW + DAY + MINUTE):
        wall.now = now
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(read, origin, meter)
    texts = [each.getMessage() for each in caplog.records if each.name == "seeder.s3.clock"]
    assert [" behind " in each for each in texts] == [True, False]


async def test_a_server_that_contradicts_itself_is_asked_no_more(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.default = error(403, "RequestTimeTooSkewed", date=format_date(NOW))
    origin = await make_origin(clock=Wall(NOW))
    with pytest.raises(SignerRefused, match="set it"):
        await read(origin, meter)
    assert meter.requests["pieces"] == 1
    days = (error(403, "RequestTimeTooSkewed", date=format_date(NOW - n * DAY)) for n in range(9))
    faults.script(*days)
    origin = await make_origin(clock=Wall(NOW + DAY))
    with pytest.raises(SignerRefused, match="set it"):
        await read(origin, meter)
    assert meter.requests["pieces"] == 3


@pytest.mark.parametrize(
    ("code", "tells", "asked"),
    [("RequestTimeTooSkewed", None, 1), ("AccessDenied", NOW, 1), ("RequestExpired", NOW, 2)],
    ids=["no date", "another refusal", "both"],
)
async def test_it_takes_a_refusal_of_the_time_and_a_date(
    make_origin: MakeOrigin, faults: FaultServer, code: str, tells: int | None, asked: int
) -> None:
    faults.default = Punctual(code, tells)
    origin, meter = await make_origin(clock=Wall(NOW - DAY)), CountingMeter()
    failed = False
    try:
        await read(origin, meter)
    except Exception:
        failed = True
    assert (meter.requests["pieces"], failed) == (asked, asked == 1)


async def test_a_wrong_signature_at_the_right_time_is_about_the_key(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.default = error(403, "SignatureDoesNotMatch", date=format_date(NOW))
    origin = await make_origin(clock=Wall(NOW - MINUTE))
    with pytest.raises(SignerRefused, match="check the secret key"):
        await read(origin, meter)
    assert origin.statistics().clock_fault is None


def test_a_clock_that_agrees_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wall = Wall(0.0)
    clock = SigningClock("origin default", wall)
    clock.follow(NOW)
    assert clock.now() == NOW
    wall.now = NOW - MINUTE
    clock.follow(NOW)
    assert (clock.now(), clock.fault) == (NOW - MINUTE, None)
    assert [each.message.rpartition(": ")[2] for each in caplog.records] == [
        "requests are signed for S3's time; set it (NTP); passkeys that are made until then end"
        " too early",
        "this machine's clock agrees with S3's again",
    ]
