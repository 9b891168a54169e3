"""The rung `checksums`: what S3 is asked about parts, and what isn't read for it."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from seeder.config.objects import ObjectSettings
from seeder.errors import MetainfoError, ObjectChanged
from seeder.metainfo import checksums as parts
from seeder.metainfo.ladder import Ladder
from seeder.metainfo.records import Record
from seeder.s3.network import Stream
from seeder.torrent.layout import Layout
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.torrent.torrent import Torrent
from seeder.units import KIB, MIB
from tests.metainfo.support import Nowhere
from tests.s3.fault_server import (
    FaultServer,
    Reply,
    Seen,
    answer,
    endless,
    error,
    head,
    signature_is_valid,
)
from tests.s3.parts_server import PartsServer, sha1_of_zeros
from tests.s3.support import QUICK, CountingMeter, MakeOrigin

GIB = 1024 * MIB
PART = 64 * KIB
EVEN = [*[PART] * 30, 7]
ONLY = ("checksums",)
"""Nothing to fall to: what is refused is an error with the reason."""


@dataclass
class Stand:
    faults: FaultServer
    ladder: Ladder
    meter: CountingMeter
    server: PartsServer

    def publish(self, server: PartsServer) -> None:
        self.server, self.faults.default = server, server.serve

    async def climb(self, key: str = "key", version: str | None = None, **wish: object) -> Torrent:
        ref = ObjectRef("default", "bucket", key, version)
        settings = ObjectSettings.model_validate({"bucket": "bucket", "key": key, **wish})
        record = Record(PinnedObject(ref, f'"{self.server.etag}"', self.server.size))
        return await self.ladder.climb(record, settings, self.meter, lambda done, size: None)

    @property
    def asked(self) -> dict[str, int]:
        """The requests so far, but those of the rungs before."""
        return {
            kind: count
            for kind, count in self.server.requests.items()
            if kind in ("page", "part", "range")
        }


@pytest.fixture
async def stand(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, tmp_path: Path
) -> Stand:
    origin = await make_origin(path_style=True)
    ladder = Ladder(origin, Nowhere(), tmp_path, random.Random(5))
    stand = Stand(faults, ladder, meter, PartsServer(EVEN))
    stand.publish(stand.server)
    return stand


def denied() -> Reply:
    return error(403, "AccessDenied")


async def test_a_tebibyte_takes_a_page_for_a_thousand_parts_and_the_bytes_of_the_sample(
    stand: Stand,
) -> None:
    part = 128 * MIB
    stand.publish(PartsServer([part] * 8192))
    with trio.fail_after(60):
        torrent = await stand.climb()
    assert (torrent.rung, torrent.layout) == ("checksums", Layout(1024 * GIB, part))
    assert torrent.info.pieces == sha1_of_zeros(part) * 8192
    assert stand.asked == {"page": 9, "range": 10}
    assert sum(stand.server.requests.values()) < 25
    assert stand.server.body_bytes == 10 * part
    assert stand.meter.received["metainfo"] < 10 * part + 3 * MIB
    assert stand.meter.received["hashing"] == 0


async def test_where_a_hybrid_is_wished_for_no_checksums_are_asked_for(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "seeder")
    with pytest.raises(MetainfoError, match="no metainfo from checksums; add"):
        await stand.climb(metainfo=ONLY, format="hybrid")
    assert not stand.server.requests
    text = "bucket/key: its checksums are not asked for: they can't make a hybrid"
    assert caplog.messages.count(text) == 1


async def test_a_thousand_parts_take_a_head_each_where_attributes_are_denied(stand: Stand) -> None:
    stand.publish(PartsServer([*[PART] * 999, 5], attributes=denied()))
    torrent = await stand.climb()
    assert (torrent.rung, torrent.layout.piece_count) == ("checksums", 1000)
    assert torrent.info.pieces == sha1_of_zeros(PART) * 999 + sha1_of_zeros(5)
    assert stand.asked == {"page": 1, "part": 1000, "range": 10}
    assert stand.server.body_bytes == 9 * PART + 5


async def test_more_than_a_thousand_heads_are_not_sent(stand: Stand) -> None:
    stand.publish(PartsServer([PART] * 1001, attributes=denied()))
    with pytest.raises(MetainfoError, match=r"1001 parts.*allow s3:GetObjectAttributes"):
        await stand.climb(metainfo=ONLY)
    assert stand.asked == {"page": 1, "part": 1}


async def test_what_is_asked_is_pinned_to_the_version_and_the_etag(
    stand: Stand,
) -> None:
    await stand.climb(version="v+1", metainfo=ONLY)
    page = stand.faults.seen[0]
    assert page.target == "/bucket/key?attributes&versionId=v%2B1"
    assert page.headers["if-match"] == f'"{stand.server.etag}"'
    assert signature_is_valid(page, "secrettest")
    stand.publish(PartsServer(EVEN, attributes=denied()))
    stand.faults.seen.clear()
    await stand.climb(version="v+1", metainfo=ONLY)
    part = stand.faults.seen[1]
    assert (part.method, part.target) == ("HEAD", "/bucket/key?partNumber=1&versionId=v%2B1")
    assert part.headers["if-match"] == f'"{stand.server.etag}"'
    assert part.headers["x-amz-checksum-mode"] == "ENABLED"
    assert signature_is_valid(part, "secrettest")


@pytest.mark.parametrize("attributes", [None, denied()], ids=["pages", "heads"])
async def test_another_objects_parts_are_not_taken(stand: Stand, attributes: Reply | None) -> None:
    """Not by the word of a server that pays no heed to If-Match either."""
    stand.server.attributes = attributes

    async def careless(seen: Seen, stream: trio.abc.Stream) -> None:
        seen.headers.pop("if-match", None)
        await other.serve(seen, stream)

    other = PartsServer(EVEN, etag="other-2", attributes=attributes)
    stand.faults.default = careless
    with pytest.raises(ObjectChanged, match="replaced"):
        await stand.climb(metainfo=ONLY)
    assert "range" not in other.requests


async def test_parts_of_an_object_of_another_size_are_not_taken(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    other = PartsServer([*EVEN, 7])
    stand.faults.default = other.serve
    with pytest.raises(MetainfoError, match="no metainfo"):
        await stand.climb(metainfo=ONLY)
    assert f"S3 says {other.size} bytes where HEAD said {stand.server.size}" in caplog.text


async def test_an_object_that_changes_on_the_way_is_noticed(stand: Stand) -> None:
    stand.faults.script(error(412, "PreconditionFailed"))
    with pytest.raises(ObjectChanged):
        await stand.climb(metainfo=ONLY)


BESIDE_THE_HEAD = 8 * 1024
"""Bytes that may come with the head."""


def the_object_itself(**headers: str) -> Reply:
    """Answer as Ceph 16 does; the body has no end, so whoever reads it to there never stops."""
    return endless(b"<" if "content_type" not in headers else b"\0", b"x" * 65536, **headers)


@pytest.mark.parametrize(
    ("reply", "bytes_read"),
    [
        (the_object_itself(content_type="binary/octet-stream"), BESIDE_THE_HEAD),
        (the_object_itself(content_type="application/xml"), 100_000),
        (endless(b"\0", b"x" * 65536), 100_000),
        (endless(b"<", b"x" * 65536), 1_200_000),
        (answer(200, b"<a/>" * 300_000, content_type="application/xml"), BESIDE_THE_HEAD),
        (answer(200, b"<a><b></b></a>", content_type="text/xml"), 100),
        (answer(200, b""), 0),
    ],
    ids=["other type", "no XML", "no type", "endless XML", "long XML", "other XML", "nothing"],
)
async def test_an_origin_that_answers_with_the_object_is_left_at_once_and_asked_once(
    stand: Stand,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    bytes_read: int,
) -> None:
    # What the kernel has got meanwhile is counted as well; here it is about what we take.
    monkeypatch.setattr(Stream, "unread", 0)
    caplog.set_level("INFO")
    stand.server.attributes = reply
    stand.server.heads = answer(200, b"x" * stand.server.size, etag=f'"{stand.server.etag}"')
    for key in ("one", "two", "three", "four"):
        with pytest.raises(MetainfoError, match="no metainfo from checksums"):
            await stand.climb(key, metainfo=ONLY)
    # HEAD may say 200 of a single object; three of them are a server that knows no parts.
    assert stand.asked == {"page": 1, "part": 3}
    assert stand.meter.received["metainfo"] <= bytes_read
    assert "does not know GetObjectAttributes" in caplog.text
    assert "answers 200 to a HEAD of part 1" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("reply", "pages"),
    [
        (error(501, "NotImplemented"), 1),
        (error(405, "MethodNotAllowed"), 1),
        (error(400, "InvalidArgument"), 3),
        (error(404, "NoSuchKey"), 3),
        (error(500, "InternalError"), 3 * QUICK.optional_attempts),
        (denied(), 3),
    ],
)
async def test_an_origin_without_attributes_is_not_asked_for_every_key(
    stand: Stand, reply: Reply, pages: int
) -> None:
    stand.server.attributes = reply
    for key in ("one", "two", "three", "four"):
        assert (await stand.climb(key, metainfo=ONLY)).rung == "checksums"
    assert stand.asked["page"] == pages


async def test_an_origin_that_has_answered_once_is_asked_again_whatever_follows(
    stand: Stand,
) -> None:
    await stand.climb(metainfo=ONLY)
    stand.server.attributes = error(501, "NotImplemented")
    for key in ("one", "two"):
        await stand.climb(key, metainfo=ONLY)
    assert stand.asked["page"] == 3


async def test_one_key_without_a_sha1_says_nothing_of_the_others(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bare = PartsServer(EVEN, hashes=dict.fromkeys(range(1, 32)))
    stand.publish(bare)
    for key in ("one", "two", "three", "four"):
        with pytest.raises(MetainfoError, match="no metainfo"):
            await stand.climb(key, metainfo=ONLY)
    assert caplog.text.count("S3 keeps no SHA-1 of its parts") == 1  # it is true of many
    assert stand.asked == {"page": 4}
    stand.publish(PartsServer(EVEN))
    assert (await stand.climb(metainfo=ONLY)).rung == "checksums"


async def test_an_object_without_a_sha1_is_not_asked_for_part_by_part(stand: Stand) -> None:
    stand.publish(PartsServer(EVEN, hashes=dict.fromkeys(range(1, 32)), attributes=denied()))
    with pytest.raises(MetainfoError, match="no metainfo"):
        await stand.climb(metainfo=ONLY)
    assert stand.asked == {"page": 1, "part": 1}


@pytest.mark.parametrize("attributes", [None, denied()], ids=["pages", "heads"])
async def test_parts_that_do_not_fit_fall_to_build_with_a_line(
    stand: Stand, caplog: pytest.LogCaptureFixture, attributes: Reply | None
) -> None:
    sizes = [4 * MIB, 3 * MIB, 4 * MIB]
    stand.publish(PartsServer(sizes, attributes=attributes))
    assert (await stand.climb()).rung == "build"
    assert "metainfo from checksums refused: its parts are of uneven size" in caplog.text
    assert stand.server.body_bytes == sum(sizes)


async def test_uneven_parts_are_known_from_the_first_page(stand: Stand) -> None:
    stand.publish(PartsServer([PART, 2 * PART, *[PART] * 5000]))
    with pytest.raises(MetainfoError, match="uneven"):
        await stand.climb(metainfo=ONLY)
    assert stand.asked == {"page": 1}


@pytest.mark.parametrize("wrong", [1, 31])
async def test_checksums_that_are_not_the_objects_are_found_by_the_sample(
    stand: Stand, caplog: pytest.LogCaptureFixture, wrong: int
) -> None:
    sizes = [*[PART] * 200, 7]
    stand.publish(PartsServer(sizes, hashes={1 if wrong == 1 else len(sizes): bytes(20)}))
    torrent = await stand.climb()
    assert torrent.rung == "build"
    assert "metainfo from checksums refused: the hash of its piece" in caplog.text


async def test_a_configured_piece_length_has_to_be_that_of_the_parts(stand: Stand) -> None:
    assert (await stand.climb(metainfo=ONLY, piece_length=PART)).layout.piece_length == PART
    with pytest.raises(MetainfoError, match="piece_length = 131072"):
        await stand.climb(metainfo=ONLY, piece_length=2 * PART)


async def test_private_is_granted(stand: Stand) -> None:
    assert (await stand.climb(metainfo=ONLY, private=True)).info.private


async def test_the_checksum_of_all_of_an_object_is_one_piece_where_nothing_is_built(
    stand: Stand,
) -> None:
    for attributes in (None, denied()):
        stand.publish(PartsServer([9 * MIB], etag="whole", attributes=attributes))
        torrent = await stand.climb(metainfo=ONLY)
        assert torrent.layout == Layout(9 * MIB, 16 * MIB)
        assert torrent.info.pieces == sha1_of_zeros(9 * MIB)


async def test_a_build_comes_before_one_piece_that_would_be_read_as_well(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stand.publish(PartsServer([9 * MIB], etag="whole"))
    torrent = await stand.climb()
    assert (torrent.rung, torrent.layout.piece_length) == ("build", 64 * KIB)
    assert "of no use before build" in caplog.text
    assert stand.server.body_bytes == 9 * MIB


async def test_what_is_smaller_than_a_part_is_built_without_a_question(stand: Stand) -> None:
    stand.publish(PartsServer([8 * MIB], etag="whole"))
    assert (await stand.climb()).rung == "build"
    assert "page" not in stand.asked


async def test_an_empty_object_has_no_parts(stand: Stand) -> None:
    stand.publish(PartsServer([0], etag="empty"))
    with pytest.raises(MetainfoError, match="no metainfo"):
        await stand.climb(metainfo=ONLY)
    assert stand.asked == {}


async def test_pages_that_come_to_no_end_are_left(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that pays no heed to the marker sends the first page again and again."""
    page = (
        f"<GetObjectAttributesResponse><ETag>{stand.server.etag}</ETag><ObjectParts><PartsCount>31"
        "</PartsCount><IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"
        f"<Part><PartNumber>%d</PartNumber><Size>{PART}</Size><ChecksumSHA1>HruE1s5ijLbhrgTQglTf"
        "Aw8X3KU=</ChecksumSHA1></Part></ObjectParts></GetObjectAttributesResponse>"
    )
    stand.faults.script(*(answer(200, (page % number).encode()) for number in (1, 2)))
    with pytest.raises(MetainfoError, match="no metainfo"):
        await stand.climb(metainfo=ONLY)
    assert stand.faults.finished
    assert "without coming to an end" in caplog.text


async def test_pages_of_few_parts_are_read_up_to_a_limit(
    stand: Stand, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.server.page = 4
    assert (await stand.climb(metainfo=ONLY)).rung == "checksums"
    assert stand.asked["page"] == 8
    monkeypatch.setattr(parts, "MOST_REQUESTS", 7)
    with pytest.raises(MetainfoError, match="so few parts at once that 7 requests don't do"):
        await stand.climb(metainfo=ONLY)


async def test_a_head_that_fails_on_the_way_ends_the_others(stand: Stand) -> None:
    stand.publish(PartsServer([PART] * 900, attributes=denied()))

    async def failing(seen: Seen, stream: trio.abc.Stream) -> None:
        reply = answer(404) if "partNumber=20" in seen.query else stand.server.serve
        await reply(seen, stream)

    stand.faults.default = failing
    with pytest.raises(MetainfoError, match="no metainfo"):
        await stand.climb(metainfo=ONLY)
    assert stand.asked["part"] < 100


async def test_a_page_is_tried_again_like_the_rest(stand: Stand) -> None:
    short = head(200, [("content-type", "application/xml"), ("content-length", "90")]) + b"<a"

    async def broken(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(short)
        await trio.aclose_forcefully(stream)

    stand.faults.script(error(503, "SlowDown"), broken)
    assert (await stand.climb(metainfo=ONLY)).rung == "checksums"
