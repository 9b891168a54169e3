"""Commands that wait for S3: what they say, how long they wait, and how they end."""

import pytest
import trio
from bencode2 import bdecode

from seeder.commands import waiting
from seeder.commands.waiting import Patience
from seeder.daemon.tasks import running
from seeder.errors import ObjectMissing, OriginUnreachable
from tests.commands.support import PROGRAM, Site, environment, seeder
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, error
from tests.s3.samples import BODY, REF
from tests.s3.support import CountingMeter, MakeOrigin, until

AT_ONCE = 0.3
"""Seconds; in which that is said and done here that takes longer else."""
HEAD = answer(200, BODY, etag='"tag"')


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SAID_AFTER", AT_ONCE)
    monkeypatch.setattr(waiting, "_LOOK", 0.01)


def silent_until(event: trio.Event, then: Reply) -> Reply:
    async def reply(seen: Seen, stream: trio.abc.Stream) -> None:
        await event.wait()
        await then(seen, stream)

    return reply


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == waiting.__name__]


@pytest.mark.usefixtures("hasty")
async def test_that_s3_is_waited_for_is_said_once_and_the_answer_counts(
    make_origin: MakeOrigin, faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    origin, back = await make_origin(), trio.Event()
    faults.default = silent_until(back, HEAD)
    patience = Patience(origin)
    async with running(patience.run), trio.open_nursery() as nursery:

        async def end_it() -> None:
            await until(lambda: bool(said(caplog)))
            await trio.sleep(AT_ONCE)
            back.set()

        nursery.start_soon(end_it)
        found = await patience.wait("it", 60, lambda: origin.head(REF, CountingMeter()))
    assert found.size == len(BODY)
    [line] = said(caplog)
    assert line.startswith("S3 at 127.0.0.1:")
    assert " gives no answer (1 try so far); it is waited for until " in line
    assert line.endswith(" UTC")


@pytest.mark.usefixtures("hasty")
async def test_an_s3_that_stays_silent_ends_the_wait_and_is_said_once(
    make_origin: MakeOrigin, faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    origin, back = await make_origin(), trio.Event()
    faults.default = silent_until(back, HEAD)
    patience = Patience(origin)

    async with running(patience.run):
        for _ in range(3):
            with pytest.raises(OriginUnreachable) as caught:
                await patience.wait("it", 3 * AT_ONCE, lambda: origin.head(REF, CountingMeter()))
            assert str(caught.value).startswith("it: S3 at 127.0.0.1:")
            assert str(caught.value).endswith("nothing has come; check endpoint and the network")
        assert len(said(caplog)) == 1
        back.set()
        await patience.wait("it", 60, lambda: origin.head(REF, CountingMeter()))


@pytest.mark.usefixtures("hasty")
async def test_what_s3_answers_is_nobodys_patience(
    make_origin: MakeOrigin, faults: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    origin = await make_origin()
    faults.default = error(404, "NoSuchKey")
    patience = Patience(origin)
    async with running(patience.run):
        with pytest.raises(ObjectMissing):
            await patience.wait("it", AT_ONCE, lambda: origin.head(REF, CountingMeter()))
        await trio.sleep(2 * AT_ONCE)
    assert said(caplog) == []


async def test_torrent_says_on_stderr_that_it_waits_for_s3_and_is_made_when_s3_is_back(
    site: Site,
) -> None:
    back = trio.Event()
    site.server.default = silent_until(back, site.store.serve)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                [*PROGRAM, "torrent", "-c", site.path, "quotes/Hardy"],
                stdout=-1,
                stderr=-1,
                env=environment(),
            )
            assert process.stderr is not None
            told = bytes(await process.stderr.receive_some())
            assert b"S3 at 127.0.0.1:" in told
            assert b" gives no answer (1 try so far); it is waited for until " in told
            back.set()
            assert process.stdout is not None
            made = b"".join([part async for part in process.stdout])
            assert await process.wait() == 0
            nursery.cancel_scope.cancel()
    assert bdecode(made)[b"info"][b"name"] == b"Hardy"


@pytest.mark.parametrize("words", [("torrent",), ("check", "--online")])
async def test_commands_end_with_a_line_and_fail_where_no_s3_is(
    site: Site, words: tuple[str, ...]
) -> None:
    site.path.write_text(site.path.read_text().replace(site.server.url, "http://127.0.0.1:1"))
    name = () if words[0] == "check" else ("quotes/Hardy",)
    result = await seeder(*words, "-c", site.path, *name)
    assert result.code == 1
    told = result.out.decode() + result.err
    assert ("origin default: 2 entries" if words[0] == "check" else "quotes/Hardy: ") in told
    about = [line for line in told.splitlines() if "quotes/" in line and "refused" in line]
    assert len(about) == 1
    assert "Traceback" not in told
    assert len(result.err.splitlines()) == 1
