"""What HEAD doesn't tell, or may tell wrong, a ranged GET tells."""

import pytest

from seeder.errors import (
    AccessDenied,
    ObjectChanged,
    OriginError,
    OriginFault,
    OriginUnreachable,
)
from seeder.s3.listing import Listed
from seeder.torrent.objects import ObjectRef, PinnedObject
from seeder.units import ByteRange
from tests.s3.fault_server import FaultServer, Reply, answer, error, head, raw
from tests.s3.support import CountingMeter, MakeOrigin

REF = ObjectRef("default", "bucket", "key")
TAG = '"tag"'
FIRST = answer(206, b"x", etag=TAG, content_range="bytes 0-0/300")


def _head(*headers: tuple[str, str]) -> Reply:
    return raw(head(200, headers), close=True)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(_head(("etag", TAG)), id="R2: no length"),
        pytest.param(_head(("etag", TAG), ("transfer-encoding", "chunked")), id="chunked"),
        pytest.param(_head(("etag", TAG), ("content-length", "0")), id="length 0"),
        pytest.param(_head(("content-length", "300")), id="no ETag"),
        pytest.param(
            _head(("etag", TAG), ("content-length", "44"), ("content-encoding", "gzip")), id="gzip"
        ),
        pytest.param(answer(204, etag=TAG), id="204"),
        pytest.param(answer(206, etag=TAG, content_range="bytes 0-0/300"), id="206"),
    ],
)
async def test_a_ranged_get_is_the_second_witness(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, told: Reply
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(told, FIRST)
    pinned = await origin.head(REF, meter)
    assert (pinned.etag, pinned.size) == (TAG, 300)
    assert [seen.headers.get("range") for seen in faults.seen] == [None, "bytes=0-0"]


BAD_LENGTHS = {
    "negative": b"Content-Length: -1\r\n",
    "no number": b"Content-Length: abc\r\n",
    "with a sign": b"Content-Length: +300\r\n",
    "a fraction": b"Content-Length: 3e2\r\n",
    "empty": b"Content-Length:\r\n",
    "two that differ": b"Content-Length: 300\r\nContent-Length: 5\r\n",
    "two in one": b"content-length: 5, 300\r\n",
    "another coding": b"Transfer-Encoding: gzip\r\n",
    "a length and a coding": b"Content-Length: 300\r\nTransfer-Encoding: gzip\r\n",
}


@pytest.mark.parametrize("bad", BAD_LENGTHS)
async def test_a_length_that_is_none_in_the_answer_to_a_head_counts_as_missing(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, bad: str
) -> None:
    origin = await make_origin(path_style=True)
    told = b'HTTP/1.1 200 OK\r\nETag: "tag"\r\n' + BAD_LENGTHS[bad] + b"x-amz-meta-a: b\r\n\r\n"
    halves = (told[:60], told[60:])
    faults.script(raw(head(100, []), *halves), FIRST)
    pinned = await origin.head(REF, meter)
    assert (pinned.etag, pinned.size) == (TAG, 300)
    assert pinned.description is not None
    assert ("x-amz-meta-a", "b") in pinned.description.headers
    # Whoever frames an answer so is asked over another connection.
    assert [seen.connection for seen in faults.seen] == [1, 2]
    assert origin.statistics().reachable


@pytest.mark.parametrize("length", [b" 300 ", b"300\r\nContent-Length: 300", b"300, 300"])
async def test_a_length_that_is_said_twice_alike_is_believed(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, length: bytes
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(raw(b'HTTP/1.1 200 OK\r\nETag: "tag"\r\nContent-Length: ' + length + b"\r\n\r\n"))
    assert (await origin.head(REF, meter)).size == 300
    assert len(faults.seen) == 1


@pytest.mark.parametrize("bad", ["negative", "two that differ"])
async def test_the_length_of_a_body_is_never_guessed(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, bad: str
) -> None:
    origin = await make_origin(path_style=True)
    faults.default = raw(b"HTTP/1.1 206 OK\r\n" + BAD_LENGTHS[bad] + b"\r\nx", close=True)
    with pytest.raises(OriginUnreachable, match="Content-Length"):
        await origin.read_range(PinnedObject(REF, TAG, 300), ByteRange(0, 1), meter, "pieces")


async def test_a_listed_size_that_head_contradicts_is_settled_by_a_get(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    origin = await make_origin(path_style=True)
    for size, listed, lines in ((300, 5, 1), (5, 300, 1), (300, 5, 1)):
        faults.script(_head(("etag", TAG), ("content-length", str(size))), FIRST)
        assert (await origin.head(REF, meter, Listed(TAG, listed))).size == 300
        assert caplog.text.count("S3 lists it with 5 bytes, but it has 300") == lines
    # Another state has another size: nothing is odd about that.
    faults.script(_head(("etag", TAG), ("content-length", "300")))
    assert (await origin.head(REF, meter, Listed('"other"', 5))).size == 300
    assert faults.finished


async def test_a_size_that_a_read_contradicts_is_asked_of_a_get_the_next_time(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    small = _head(("etag", TAG), ("content-length", "5"))
    faults.script(small, answer(206, b"abcde", etag=TAG, content_range="bytes 0-4/300"))
    pinned = await origin.head(REF, meter)
    with pytest.raises(OriginFault, match="has 300 bytes, it had 5, yet its ETag is the same"):
        await origin.read_range(pinned, ByteRange(0, 5), meter, "pieces")
    faults.script(small, FIRST)
    assert (await origin.head(REF, meter)).size == 300


@pytest.mark.parametrize(("last", "size"), [(206, 300), (416, 5), (200, 5)])
async def test_a_get_that_tells_less_than_head_is_asked_for_the_last_byte(
    *, faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, last: int, size: int
) -> None:
    """Some servers tell the length of a range for that of the object."""
    origin = await make_origin(path_style=True)
    coded = _head(("etag", TAG), ("content-length", "300"), ("content-encoding", "gzip"))
    first = answer(206, b"x", etag=TAG, content_range="bytes 0-0/5")
    faults.script(coded, first, answer(last, b"x", content_range="bytes 299-299/300"))
    assert (await origin.head(REF, meter)).size == size
    asked = [seen.headers.get("range") for seen in faults.seen]
    assert asked == [None, "bytes=0-0", "bytes=299-299"]


@pytest.mark.parametrize("told", ["bytes 0-0/0", "bytes 5-6/6"])
async def test_a_range_beyond_the_end_tells_no_size(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, told: str
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(_head(("etag", TAG)), answer(206, b"x", etag=TAG, content_range=told))
    with pytest.raises(OriginFault, match="size missing"):
        await origin.head(REF, meter)
    faults.script(answer(206, b"xy", etag=TAG, content_range="bytes 5-6/6"))
    with pytest.raises(OriginFault, match="which can't be"):
        await origin.read_range(PinnedObject(REF, TAG, 300), ByteRange(5, 2), meter, "pieces")


PINNED = PinnedObject(REF, TAG, 300)
GIVEN = answer(206, b"x" * 10, etag=TAG, content_range="bytes 0-9/300")
OTHER = '"other"'


async def test_an_etag_that_if_match_never_matches_is_compared_with_that_of_the_answer(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    told = _head(("etag", TAG), ("content-length", "300"))
    faults.script(error(412, "PreconditionFailed"), told, FIRST, GIVEN, GIVEN)
    for _ in range(2):
        assert await origin.read_range(PINNED, ByteRange(0, 10), meter, "pieces") == b"x" * 10
    assert faults.finished
    assert ["if-match" in seen.headers for seen in faults.seen] == [True, *[False] * 4]
    # Another state is another question.
    faults.script(answer(206, b"x", etag=OTHER, content_range="bytes 0-0/300"))
    await origin.read_range(PinnedObject(REF, OTHER, 300), ByteRange(0, 1), meter, "pieces")
    assert faults.seen[-1].headers["if-match"] == OTHER


@pytest.mark.parametrize(
    "refused", [error(412, "PreconditionFailed"), answer(206, etag=OTHER)], ids=["412", "206"]
)
async def test_where_head_alone_tells_an_etag_that_of_a_get_is_believed(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, refused: Reply
) -> None:
    origin = await make_origin(path_style=True)
    told = _head(("etag", TAG), ("content-length", "300"))
    first = answer(206, b"x", etag=OTHER, content_range="bytes 0-0/300")
    faults.script(refused, told, first)
    with pytest.raises(ObjectChanged):
        await origin.read_range(PINNED, ByteRange(0, 10), meter, "pieces")
    faults.script(told, first)
    assert (await origin.head(REF, meter)).etag == OTHER
    assert faults.finished


@pytest.mark.parametrize("size", [300, 5])
async def test_a_range_that_is_refused_is_a_fault_where_the_object_is_as_it_was(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, size: int
) -> None:
    origin = await make_origin(path_style=True)
    told = _head(("etag", TAG), ("content-length", str(size)))
    first = answer(206, b"x", etag=TAG, content_range=f"bytes 0-0/{size}")
    faults.script(error(416, "InvalidRange"), told, first)
    kind = OriginFault if size == 300 else ObjectChanged
    with pytest.raises(kind) as caught:
        await origin.read_range(PINNED, ByteRange(10, 10), meter, "pieces")
    assert ("bytes=10-19, S3 answers 416" in str(caught.value)) is (size == 300)
    assert faults.finished


async def test_an_object_that_was_replaced_costs_one_request_more(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    told = _head(("etag", OTHER), ("content-length", "300"))
    faults.script(error(412, "PreconditionFailed"), told, told)
    with pytest.raises(ObjectChanged, match="412"):
        await origin.read_range(PINNED, ByteRange(0, 10), meter, "pieces")
    assert (await origin.head(REF, meter)).etag == OTHER
    assert faults.finished
    # No more is known of an object that can't be asked about.
    faults.script(error(412, "PreconditionFailed"), error(403, "AccessDenied"))
    with pytest.raises(ObjectChanged, match="412"):
        await origin.read_range(PINNED, ByteRange(0, 10), meter, "pieces")


@pytest.mark.parametrize("status", [401, 403, 405, 501])
async def test_a_head_that_is_refused_is_no_refusal_of_the_object(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, status: int
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(answer(status))
    faults.default = FIRST
    pinned = await origin.head(REF, meter)
    assert (pinned.etag, pinned.size) == (TAG, 300)


@pytest.mark.parametrize(
    ("encryption", "is_md5"),
    [({}, True), ({"x_amz_server_side_encryption": "aws:kms"}, False)],
    ids=["plain", "KMS"],
)
async def test_nor_does_it_keep_back_an_object_whose_etag_is_in_doubt(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    encryption: dict[str, str],
    is_md5: bool,
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(answer(405))
    faults.default = answer(206, b"x", etag=TAG, content_range="bytes 0-0/300", **encryption)
    assert await origin.is_md5(PinnedObject(REF, TAG, 300), meter) is is_md5
    assert origin.statistics().last_error is None


@pytest.mark.parametrize(
    "first",
    [error(416, "InvalidRange"), answer(200, etag=TAG)],
)
async def test_an_empty_object_is_one_where_a_get_says_so_too(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter, first: Reply
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(answer(200, etag=TAG), first)
    assert (await origin.head(REF, meter)).size == 0


async def test_a_server_without_ranges_tells_the_size_all_the_same(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(_head(("etag", TAG)), answer(200, b"x" * 300, etag=TAG))
    assert (await origin.head(REF, meter)).size == 300


async def test_a_whole_head_is_believed_alone(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    origin = await make_origin(path_style=True)
    faults.script(answer(200, b"x" * 300, etag=TAG))
    await origin.head(REF, meter)
    assert len(faults.seen) == 1


@pytest.mark.parametrize(
    "case",
    [
        (
            _head(("etag", TAG)),
            answer(206, b"x", etag=TAG, content_range="bytes 0-0/*"),
            OriginFault,
        ),
        (_head(), answer(206, b"x", content_range="bytes 0-0/300"), OriginFault),
        (_head(), error(416, "InvalidRange"), OriginFault),
        (_head(("etag", TAG)), error(412, "PreconditionFailed"), ObjectChanged),
        (
            _head(("etag", TAG), ("content-length", "44"), ("content-encoding", "gzip")),
            error(416, "InvalidRange"),
            OriginFault,
        ),
        (error(403, "AccessDenied"), error(403, "AccessDenied"), AccessDenied),
    ],
)
async def test_what_neither_tells_is_not_guessed(
    faults: FaultServer,
    make_origin: MakeOrigin,
    meter: CountingMeter,
    case: tuple[Reply, Reply, type[OriginError]],
) -> None:
    told, first, kind = case
    origin = await make_origin(path_style=True)
    faults.script(told)
    faults.default = first
    with pytest.raises(kind):
        await origin.head(REF, meter)
