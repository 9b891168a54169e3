"""A question without an answer is asked again while the object is read, where that may gain."""

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.config.objects import ObjectSettings
from seeder.metainfo import ladder, questions
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.records import Record
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import KIB
from tests.metainfo.support import Nowhere, make_torrent
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, error, raw, silent
from tests.s3.parts_server import PartsServer
from tests.s3.support import CountingMeter, MakeOrigin

PART = 64 * KIB
PARTS = 20
BODY = bytes(PARTS * PART)
QUESTIONS = {"torrent": "origin", "sidecar": "sidecar", "attributes": "checksums"}
TIMES = 3

MAY_COME: dict[str, Reply] = {
    "503": error(503, "SlowDown"),
    "502": error(502, "Odd"),
    "412": error(412, "PreconditionFailed"),
    "closed": raw(close=True),
    "silent": silent(),
}
FINAL: dict[str, Reply] = {
    "403": error(403, "AccessDenied"),
    "501": error(501, "NotImplemented"),
    "something else": answer(200, b"d4:info", etag='"tag"'),
}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "LONGEST_QUESTION", 5.0)
    monkeypatch.setattr(questions, "SMALLEST_PART_LENGTH", PART)
    monkeypatch.setattr(ladder, "AGAIN_AFTER", (0.05,) * TIMES)
    monkeypatch.setattr(ladder, "WORTH_ASKING", 1)


class Stand:
    """An object; one question about it is answered badly `until` so many times."""

    def __init__(self, question: str, bad: Reply, good: bytes | None) -> None:
        self.parts = PartsServer([PART] * PARTS)
        self.question = question
        self.asked = 0
        self.readable = trio.Event()
        """Ranged GETs wait for it, but those by which a good answer is checked."""
        self.begun = trio.Event()
        """Whether the object is being read."""
        self.bad: Reply | None = bad
        """None once the answer is a good one."""
        self._good = good
        self._answered = False

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        found = "sidecar" if seen.path.endswith(".torrent") else None
        found = found or next((each for each in QUESTIONS if each in seen.query), None)
        if "partNumber" in seen.query:
            told = {"etag": f'"{self.parts.etag}"', "content_range": f"bytes 0-0/{len(BODY)}"}
            await answer(206, b"", **told)(seen, stream)
        elif found is None:
            self.begun.set()
            if not self._answered:
                await self.readable.wait()
            await self.parts.serve(seen, stream)
        elif found != self.question:
            await error(404, "NoSuchKey")(seen, stream)
        else:
            self.asked += 1
            if self.bad is not None:
                await self.bad(seen, stream)
                return
            self._answered = True
            if self._good is None:
                await self.parts.serve(seen, stream)
            else:
                await answer(200, self._good, etag=f'"{self.parts.etag}"')(seen, stream)


class World:
    """Climbs for the object of a stand."""

    def __init__(self, stand: Stand, scale: Ladder, meter: CountingMeter) -> None:
        self.stand = stand
        self._ladder = scale
        self._meter = meter

    async def climb(self, **more: object) -> Torrent:
        ref, size = ObjectRef("default", "bucket", "key"), self.stand.parts.size
        record = Record(PinnedObject(ref, f'"{self.stand.parts.etag}"', size))
        wanted = {"bucket": "bucket", "key": "key", "metainfo": (*QUESTIONS.values(), "build")}
        settings = ObjectSettings.model_validate(wanted | more)
        with trio.fail_after(60):
            return await self._ladder.climb(record, settings, self._meter, lambda done, size: None)


async def stand_up(
    stand: Stand, faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, path: Path
) -> World:
    faults.default = stand.serve
    origin = await make_origin(path_style=True)
    return World(stand, Ladder(origin, Nowhere(), path, random.Random(5)), meter)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("bad", MAY_COME)
async def test_an_answer_that_comes_later_spares_the_rest_of_the_reading(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    *,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    bad: str,
) -> None:
    caplog.set_level("INFO")
    # A busy machine may take seconds to begin with the reading, which mends the answer.
    monkeypatch.setattr(ladder, "AGAIN_AFTER", (0.05, 0.5, 20.0))
    if bad == "silent":
        monkeypatch.setattr(questions, "LONGEST_QUESTION", 1.5)
    good = None if question == "attributes" else make_torrent(BODY, piece_length=PART)
    stand = Stand(question, MAY_COME[bad], good)
    world = await stand_up(stand, faults, make_origin, meter, tmp_path)

    async def mend() -> None:
        await stand.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)  # all that is read at once waits
        monkeypatch.setattr(questions, "LONGEST_QUESTION", 30.0)
        stand.bad = None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mend)
        torrent = await world.climb()
    rung = QUESTIONS[question]
    assert torrent.rung == rung
    assert caplog.text.count("has come after all") == 1
    assert f"metainfo from {rung} has come after all; 1.25 MiB of it" in caplog.text


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("bad", FINAL)
async def test_a_final_answer_is_not_asked_for_again(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    tmp_path: Path,
    *,
    question: str,
    bad: str,
) -> None:
    stand = Stand(question, FINAL[bad], None)
    world = await stand_up(stand, faults, make_origin, meter, tmp_path)

    async def look() -> None:
        await stand.begun.wait()
        asked = stand.asked
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert stand.asked == asked
        stand.readable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        assert (await world.climb()).rung == "build"


async def until_asked(stand: Stand, times: int) -> None:
    with trio.fail_after(30):
        while stand.asked < times:  # noqa: ASYNC110  (the server has no event for it)
            await trio.sleep(0.01)


async def test_it_is_asked_a_few_times_and_vetoes_nothing(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, tmp_path: Path
) -> None:
    stand = Stand("torrent", error(412, "PreconditionFailed"), None)
    world = await stand_up(stand, faults, make_origin, meter, tmp_path)

    async def read() -> None:
        await until_asked(stand, 1 + TIMES)
        await trio.testing.wait_all_tasks_blocked(0.1)
        stand.readable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        assert (await world.climb()).rung == "build"
    assert stand.asked == 1 + TIMES


@pytest.mark.parametrize("why", ["little is left", "all is read anyway"])
async def test_what_gains_nothing_is_not_asked(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    why: str,
) -> None:
    if why == "little is left":
        monkeypatch.setattr(ladder, "WORTH_ASKING", len(BODY) + 1)
    stand = Stand("torrent", error(412, "PreconditionFailed"), None)
    world = await stand_up(stand, faults, make_origin, meter, tmp_path)

    async def read() -> None:
        await stand.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.1)
        stand.readable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        verify = "all" if why == "all is read anyway" else "sample"
        assert (await world.climb(verify=verify)).rung == "build"
    assert stand.asked == 1


async def test_a_wrong_answer_that_comes_later_is_refused_and_the_reading_goes_on(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = make_torrent(BODY, piece_length=PART, spoil=0)
    stand = Stand("torrent", error(412, "PreconditionFailed"), wrong)
    world = await stand_up(stand, faults, make_origin, meter, tmp_path)

    async def mend() -> None:
        await stand.begun.wait()
        stand.bad = None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mend)
        assert (await world.climb()).rung == "build"
    assert "metainfo from origin refused" in caplog.text
    assert stand.asked == 2
