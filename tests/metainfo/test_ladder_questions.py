"""No answer to a question that we can do without keeps an object from being published."""

import random
from pathlib import Path

import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import OriginUnreachable
from seeder.metainfo import questions as rungs
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.records import Record
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import KIB
from tests.metainfo.support import Nowhere
from tests.s3.fault_server import FaultServer, Reply, Seen, answer, error, head, raw, reset, silent
from tests.s3.parts_server import PartsServer
from tests.s3.support import CountingMeter, MakeOrigin

PART = 64 * KIB
QUESTIONS = ("torrent", "sidecar", "attributes", "part")

ANSWERS: dict[str, Reply] = {
    **{
        str(status): error(status, "Odd")
        for status in (
            *(201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308),
            *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 416, 418, 422, 429, 451),
            *(500, 501, 502, 503, 504, 505, 507, 520, 599),
        )
    },
    "slow down": error(503, "SlowDown", retry_after="1"),
    "come back in an hour": error(503, "SlowDown", retry_after="3600"),
    "a redirect to itself": error(307, "TemporaryRedirect", location="/bucket/key"),
    "another region": error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-9"),
    "expired token": error(400, "ExpiredToken"),
    "clock": error(403, "RequestTimeTooSkewed"),
    "no such key": error(404, "NoSuchKey"),
    "no such bucket": error(404, "NoSuchBucket"),
    "empty": answer(200),
    "text": answer(200, b"hello", content_type="text/html", etag='"tag"'),
    "almost a torrent": answer(200, b"d4:info", etag='"tag"'),
    "almost XML": answer(200, b"<a><b></a>", content_type="application/xml", etag='"tag"'),
    "another ETag": answer(206, b"", etag='"of-the-part"', content_range=f"bytes 0-0/{PART}"),
    "no ETag": answer(206, b"", content_range=f"bytes 0-0/{PART}"),
    "closed": raw(close=True),
    "reset": reset(),
    "reset in the head": reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": raw(b"\x16\x03\x01garbage\r\n\r\n", close=True),
    "cut off": raw(head(200, [("content-length", "900"), ("etag", '"tag"')]) + b"d", close=True),
    "bad chunk": raw(head(200, [("transfer-encoding", "chunked")]) + b"zz\r\n", close=True),
    "two lengths": raw(head(200, [("content-length", "1"), ("content-length", "2")]), close=True),
    "101": raw(head(101, [("upgrade", "x")]), close=True),
    "only 100": raw(head(100, []) * 3, close=True),
    "a long length": raw(head(200, [("content-length", "9" * 18)]), close=True),
    "silent": silent(),
}


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no minute for an answer, and ask for the parts of small objects too."""
    # A busy machine needs some of it for answers that do come.
    monkeypatch.setattr(rungs, "LONGEST_QUESTION", 5.0)
    monkeypatch.setattr(rungs, "SMALLEST_PART_LENGTH", PART)


def _asks(seen: Seen) -> str | None:
    """Return which question a request asks; None for what is needed."""
    if "partNumber" in seen.query:
        return "part"
    if seen.path.endswith(".torrent"):
        return "sidecar"
    return next((name for name in ("torrent", "attributes") if name in seen.query), None)


class Vetoes:
    """An object, and a server that answers one question badly, the others with 404."""

    def __init__(self, question: str, reply: Reply) -> None:
        self.parts = PartsServer([PART, PART])
        self.asked = 0
        self.question = question
        self._reply = reply

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        question = _asks(seen)
        if question is None:
            await self.parts.serve(seen, stream)
        elif question == self.question:
            self.asked += 1
            await self._reply(seen, stream)
        else:
            await error(404, "NoSuchKey")(seen, stream)

    def record(self) -> Record:
        ref = ObjectRef("default", "bucket", self.question)
        return Record(PinnedObject(ref, f'"{self.parts.etag}"', self.parts.size))


SETTINGS = ObjectSettings.model_validate(
    {"bucket": "bucket", "key": "key", "metainfo": ("origin", "sidecar", "checksums", "build")}
)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("bad", ANSWERS)
async def test_no_answer_to_an_optional_question_keeps_an_object_back(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
) -> None:
    if bad != "silent":
        monkeypatch.setattr(rungs, "LONGEST_QUESTION", 30.0)
    servers = {f"/bucket/{question}": Vetoes(question, ANSWERS[bad]) for question in QUESTIONS}

    async def serve(seen: Seen, stream: trio.abc.Stream) -> None:
        await servers[seen.path.removesuffix(".torrent")].serve(seen, stream)

    async def climb(server: Vetoes) -> None:
        origin = await make_origin(path_style=True)
        ladder = Ladder(origin, Nowhere(), tmp_path / server.question, random.Random(5))
        torrent = await ladder.climb(server.record(), SETTINGS, meter, lambda done, size: None)
        assert torrent.rung == "build", server.question
        assert 1 <= server.asked <= 6, server.question
        assert origin.statistics().reachable, server.question

    faults.default = serve
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            # Side by side: some answers take as long as a question may.
            for server in servers.values():
                nursery.start_soon(climb, server)


@pytest.mark.usefixtures("hurry")
async def test_what_was_left_is_asked_again_where_nothing_else_is_allowed(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, tmp_path: Path
) -> None:
    server = Vetoes("attributes", error(503, "SlowDown"))
    faults.default = server.serve
    ladder = Ladder(await make_origin(path_style=True), Nowhere(), tmp_path, random.Random(5))
    record = server.record()
    only = SETTINGS.model_copy(update={"metainfo": ("checksums",)})
    with pytest.raises(OriginUnreachable, match="metainfo from checksums is needed here"):
        await ladder.climb(record, only, meter, lambda done, size: None)
    assert not record.refused
    faults.default = server.parts.serve
    torrent = await ladder.climb(record, only, meter, lambda done, size: None)
    assert torrent.rung == "checksums"


@pytest.fixture
def haste(hurry: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait even less, where nothing comes."""
    monkeypatch.setattr(rungs, "LONGEST_QUESTION", 1.5)


@pytest.mark.usefixtures("haste")
@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_that_hangs_is_not_asked_for_every_object(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    tmp_path: Path,
    question: str,
) -> None:
    server = Vetoes(question, silent())
    faults.default = server.serve
    ladder = Ladder(await make_origin(path_style=True), Nowhere(), tmp_path, random.Random(5))

    async def climb() -> None:
        torrent = await ladder.climb(server.record(), SETTINGS, meter, lambda done, size: None)
        assert torrent.rung == "build"

    for _ in range(3):
        await climb()
    asked = server.asked
    assert asked
    for _ in range(5):
        await climb()
    assert server.asked == asked


class Crowd:
    """Many objects, and a server that answers each optional question in the same way."""

    def __init__(self, answers: dict[str, Reply]) -> None:
        self.parts = PartsServer([PART, PART])
        self._answers = answers

    async def serve(self, seen: Seen, stream: trio.abc.Stream) -> None:
        question = _asks(seen)
        reply = self.parts.serve if question is None else self._answers.get(question)
        await (reply or error(404, "NoSuchKey"))(seen, stream)


TORRENT = b"d4:infod6:lengthi131072e4:name3:key12:piece lengthi65536e6:pieces40:%see" % bytes(40)
CROWDS: dict[str, dict[str, Reply]] = {
    "Ceph's ?torrent": {"torrent": answer(200, TORRENT)},
    "the object for a torrent": {"torrent": answer(200, bytes(2 * PART))},
    "no torrent, each time for another reason": {"torrent": error(400, "InvalidArgument")},
    "attributes without SHA-1": {
        "attributes": answer(
            200,
            b"<GetObjectAttributesResponse><ETag>0f343b0931126a20f133d67c2b018a3b-2</ETag>"
            b"</GetObjectAttributesResponse>",
            content_type="application/xml",
        )
    },
    "attributes denied": {"attributes": error(403, "AccessDenied")},
    "parts of another state": {
        "part": answer(206, etag='"other"', content_range=f"bytes 0-0/{PART}")
    },
    "a sidecar for every key": {"sidecar": error(500, "InternalError")},
    "a busy server": {"torrent": error(503, "SlowDown"), "sidecar": error(503, "SlowDown")},
}


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("crowd", CROWDS)
async def test_what_is_true_of_an_origin_is_said_once_not_of_each_object(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    crowd: str,
) -> None:
    server = Crowd(CROWDS[crowd])
    faults.default = server.serve
    ladder = Ladder(await make_origin(path_style=True), Nowhere(), tmp_path, random.Random(5))
    caplog.set_level("INFO", "seeder")
    for number in range(12):
        ref = ObjectRef("default", "bucket", f"object-{number}")
        record = Record(PinnedObject(ref, f'"{server.parts.etag}"', server.parts.size))
        torrent = await ladder.climb(record, SETTINGS, meter, lambda done, size: None)
        assert torrent.rung == "build"
    # Four questions: the first time, and the tenth.
    assert 1 <= len(caplog.records) <= 8, caplog.text
