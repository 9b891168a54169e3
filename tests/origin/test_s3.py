"""The client against a server that misbehaves on demand."""

import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seeder.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
)
from seeder.origin.retry import RetryPolicy
from seeder.origin.s3 import LARGEST_TORRENT, S3Origin, TorrentUnsupported
from seeder.torrent.catalog import ObjectRef, PinnedObject
from seeder.torrent.layout import ByteRange
from tests.origin.conftest import QUICK, CountingMeter, MakeOrigin
from tests.origin.fault_server import (
    FaultServer,
    Reply,
    Seen,
    answer,
    endless,
    error,
    error_body,
    head,
    raw,
    reset,
    signature_is_valid,
    silent,
    stored,
)

BODY = random.Random(3).randbytes(300_000)
REF = ObjectRef("default", "quotes", "Nelson")
PINNED = PinnedObject(REF, '"tag"', len(BODY))
WANTED = ByteRange(1000, 50_000)
PIECE = BODY[1000:51_000]
GOOD = stored(BODY)
RANGE_HEAD = head(
    206,
    [
        ("content-range", f"bytes 1000-50999/{len(BODY)}"),
        ("content-length", "50000"),
        ("etag", '"tag"'),
    ],
)


async def read(origin: S3Origin, meter: CountingMeter) -> bytearray:
    return await origin.read_range(PINNED, WANTED, meter, "pieces")


# -- what is asked, and what is made of it


async def test_a_head_pins_the_object(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, BODY, etag='"tag"', x_amz_version_id="v1"))
    assert await origin.head(REF, meter) == PinnedObject(REF, '"tag"', len(BODY), "v1")
    assert (meter.requests, meter.received) == ({"metainfo": 1}, {})


async def test_the_version_called_null_is_none(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, BODY, etag='"tag"', x_amz_version_id="null"))
    assert (await origin.head(REF, meter)).version_id is None


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, BODY),
        answer(206, BODY, etag='"tag"'),
        raw(head(200, [("etag", '"tag"'), ("transfer-encoding", "chunked")])),
    ],
    ids=["no ETag", "206", "no size"],
)
async def test_a_head_that_names_no_state_is_a_fault(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, reply: Reply
) -> None:
    faults.script(reply)
    with pytest.raises(OriginFault, match="quotes/Nelson: HEAD"):
        await origin.head(REF, meter)


async def test_a_range_is_pinned_and_counted_by_purpose(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(GOOD)
    assert await read(origin, meter) == PIECE
    (seen,) = faults.seen
    assert (seen.method, seen.target) == ("GET", "/quotes/Nelson")
    assert seen.headers["range"] == "bytes=1000-50999"
    assert seen.headers["if-match"] == '"tag"'
    assert seen.headers["accept-encoding"] == "identity"
    assert signature_is_valid(seen, "secrettest")
    assert (meter.requests, meter.received) == ({"pieces": 1}, {"pieces": 50_000})


async def test_a_configured_version_is_asked_for(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(GOOD, GOOD, answer(200, b"de"))
    ref = ObjectRef("default", "quotes", "Nelson", "a+b")
    pinned = await origin.head(ref, meter)
    await origin.read_range(pinned, WANTED, meter, "hashing")
    await origin.get_torrent(pinned, meter)
    queries = [seen.query for seen in faults.seen]
    assert queries == ["versionId=a%2Bb", "versionId=a%2Bb", "torrent&versionId=a%2Bb"]


async def test_payer_and_owner_go_with_every_request(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(request_payer=True, expected_bucket_owner="111122223333")
    paid = {"x_amz_request_charged": "requester"}
    faults.script(GOOD, GOOD, answer(200, b"de", **paid), answer(200, b"x", **paid))
    await origin.head(REF, meter)
    await read(origin, meter)
    await origin.get_torrent(PINNED, meter)
    await origin.read_small(REF, 10, meter)
    for seen in faults.seen:
        assert seen.headers["x-amz-request-payer"] == "requester"
        assert seen.headers["x-amz-expected-bucket-owner"] == "111122223333"
        assert signature_is_valid(seen, "secrettest")
    assert meter.charged == 2


async def test_an_anonymous_origin_signs_nothing(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(anonymous=True)
    faults.script(GOOD)
    assert await read(origin, meter) == PIECE
    assert "authorization" not in faults.seen[0].headers


async def test_the_whole_object_may_come_as_a_200(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, BODY))
    whole = ByteRange(0, len(BODY))
    assert await origin.read_range(PINNED, whole, meter, "hashing") == BODY


async def test_a_content_encoding_is_left_alone(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """An object may be stored compressed: its bytes are what the torrent describes."""
    faults.script(answer(200, b"\x1f\x8bnot really", content_encoding="gzip"))
    assert await origin.read_small(REF, 100, meter) == b"\x1f\x8bnot really"


async def test_a_range_outside_the_object_is_a_mistake_of_ours(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    with pytest.raises(ValueError, match="not inside"):
        await origin.read_range(PINNED, ByteRange(1, len(BODY)), meter, "pieces")
    assert faults.seen == []


async def test_a_small_object_comes_whole_up_to_the_limit(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, b"12345"), answer(200, b""), answer(200, b"123456"))
    assert await origin.read_small(REF, 5, meter) == b"12345"
    assert await origin.read_small(REF, 5, meter) == b""
    with pytest.raises(OriginFault, match="more than 5 bytes"):
        await origin.read_small(REF, 5, meter)
    assert meter.received["metainfo"] == 5


async def test_a_small_object_without_an_end_is_not_read_for_ever(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(endless(b"x", b"x" * 1000))
    with pytest.raises(OriginFault, match="more than 5000 bytes"):
        await origin.read_small(REF, 5000, meter)


# -- faults that pass


ANNOUNCED_SHORT = {"etag": '"tag"', "content_range": f"bytes 1000-50999/{len(BODY)}"}


@pytest.mark.parametrize(
    ("reply", "waste"),
    [
        pytest.param(error(503, "SlowDown"), len(error_body("SlowDown")), id="503"),
        pytest.param(error(500, "Internal"), len(error_body("Internal")), id="500"),
        pytest.param(answer(502, b"<html>"), 6, id="502"),
        pytest.param(answer(504), 0, id="504"),
        pytest.param(answer(429, b"later"), 5, id="429"),
        pytest.param(error(400, "RequestTimeout"), len(error_body("RequestTimeout")), id="timeout"),
        pytest.param(reset(), 0, id="reset"),
        pytest.param(raw(RANGE_HEAD, PIECE[:49_999], close=True), 49_999, id="short body"),
        pytest.param(answer(206, PIECE[:-1], **ANNOUNCED_SHORT), 49_999, id="short by its head"),
        pytest.param(raw(b"not HTTP at all\r\n\r\n", close=True), 0, id="not HTTP"),
        pytest.param(raw(close=True), 0, id="closed"),
    ],
)
async def test_a_passing_fault_is_tried_again_and_its_waste_counted(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, reply: Reply, waste: int
) -> None:
    faults.script(reply, reply, GOOD)
    assert await read(origin, meter) == PIECE
    assert meter.requests == {"pieces": 3}
    assert meter.received == {"pieces": 50_000 + 2 * waste}
    assert origin.statistics().retries == 2
    assert origin.statistics().reachable


async def test_a_reset_within_the_body_is_tried_again(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(reset(RANGE_HEAD, PIECE[:700]), GOOD)
    assert await read(origin, meter) == PIECE
    assert 50_000 <= meter.received["pieces"] <= 50_700  # what comes before a reset may be lost


async def test_after_the_last_attempt_the_origin_counts_as_unreachable(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(*[error(503, "SlowDown", "Please reduce your request rate.")] * 5, GOOD)
    with pytest.raises(OriginUnreachable, match=r"quotes/Nelson: .* 503 SlowDown: Please"):
        await read(origin, meter)
    told = origin.statistics()
    assert (told.requests, told.retries, told.errors["unreachable"]) == (5, 4, 1)
    assert not told.reachable
    assert told.last_error is not None
    await read(origin, meter)
    assert origin.statistics().reachable


async def test_a_server_that_is_not_there_is_unreachable_and_costs_no_request(
    make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        origin = await make_origin(endpoint=f"http://127.0.0.1:{port}")
        with pytest.raises(OriginUnreachable, match=r"can't connect .*refused.*attempt 5"):
            await read(origin, meter)
    assert meter.requests == {}
    assert origin.statistics().requests == 0


@pytest.mark.parametrize("reply", [silent(), raw(RANGE_HEAD, PIECE[:5]), raw(b"HTTP/1.1 206 ")])
async def test_a_silent_server_is_left_after_the_read_timeout(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter, reply: Reply
) -> None:
    origin = await make_origin(policy=RetryPolicy(first_wait=0.001, read_timeout=0.1))
    faults.script(reply)
    faults.default = GOOD
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen][:2] == [1, 2]


async def test_a_trickle_does_not_hold_a_slot_for_ever(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    policy = RetryPolicy(attempts=1, connect_timeout=0.2, read_timeout=0.2, slowest=10**7)

    async def trickle(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(RANGE_HEAD)
        while True:
            await trio.sleep(0.005)
            await stream.send_all(b"x")

    origin = await make_origin(policy=policy)
    faults.script(trickle)
    with pytest.raises(OriginUnreachable, match="too slow"):
        await read(origin, meter)


# -- faults that stay


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(412, "PreconditionFailed"), ObjectChanged),
        (error(416, "InvalidRange"), ObjectChanged),
        (stored(BODY, '"other"'), ObjectChanged),
        (stored(BODY + b"x", '"other"'), ObjectChanged),
        (error(404, "NoSuchKey"), ObjectMissing),
        (error(404, "NoSuchBucket"), ObjectMissing),
        (error(403, "AccessDenied"), AccessDenied),
        (answer(401), AccessDenied),
        (error(400, "InvalidRequest", "Server Side Encryption with a key"), AccessDenied),
        (error(403, "RequestTimeTooSkewed"), AccessDenied),
        (error(501, "NotImplemented"), OriginFault),
        (answer(200, BODY, etag='"tag"'), OriginFault),
        (answer(206, PIECE, etag='"tag"', content_range="bytes 0-49999/300000"), OriginFault),
        (answer(206, PIECE, etag='"tag"', content_range="bytes 1000-50999/9"), OriginFault),
        (answer(206, BODY, content_range="bytes 1000-50999/300000"), OriginFault),
        (answer(206, PIECE), OriginFault),
        (answer(304), OriginFault),
    ],
)
async def test_a_lasting_fault_is_not_tried_again(
    origin: S3Origin,
    faults: FaultServer,
    meter: CountingMeter,
    reply: Reply,
    kind: type[OriginError],
) -> None:
    faults.script(reply)
    with pytest.raises(kind) as caught:
        await read(origin, meter)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("quotes/Nelson: ")
    assert "\n" not in str(caught.value)
    assert meter.requests == {"pieces": 1}
    assert origin.statistics().last_error == str(caught.value)


async def test_a_200_instead_of_a_part_is_left_without_its_body(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(endless(b"x", b"x" * 65536, etag='"tag"'), GOOD)
    with pytest.raises(OriginFault, match="does not serve ranges"):
        await read(origin, meter)
    assert meter.received["pieces"] == 0
    assert await read(origin, meter) == PIECE


async def test_more_body_than_asked_for_is_a_fault(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    chunked = head(
        206,
        [
            ("content-range", f"bytes 1000-50999/{len(BODY)}"),
            ("transfer-encoding", "chunked"),
        ],
    )
    body = PIECE + b"!"
    faults.script(raw(chunked, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)), GOOD)
    with pytest.raises(OriginFault, match="sends more"):
        await read(origin, meter)
    assert await read(origin, meter) == PIECE


# -- HEAD has no body to say why


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchBucket", "no such bucket"),
        (404, "NoSuchKey", "no such key"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "InvalidAccessKeyId", "access key"),
    ],
)
async def test_the_reason_of_a_failed_head_is_fetched_with_a_get(
    make_origin: MakeOrigin, faults: FaultServer, status: int, code: str, words: str
) -> None:
    origin, meter = await make_origin(), CountingMeter()
    faults.script(answer(status), error(status, code))
    with pytest.raises(ObjectMissing if status == 404 else AccessDenied, match=words):
        await origin.head(REF, meter)
    assert [seen.method for seen in faults.seen] == ["HEAD", "GET"]
    assert faults.seen[1].headers["range"] == "bytes=0-0"
    assert meter.requests == {"metainfo": 2}
    assert faults.finished


@pytest.mark.parametrize("second", [GOOD, answer(503), reset()], ids=["works", "503", "reset"])
async def test_a_head_without_a_reason_is_told_by_its_status(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, second: Reply
) -> None:
    faults.script(answer(404), second)
    with pytest.raises(ObjectMissing, match="404; check bucket and key"):
        await origin.head(REF, meter)
    assert meter.received["metainfo"] == 0


async def test_an_object_under_sse_c_can_not_be_published(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    said = "The object was stored using a form of Server Side Encryption."
    faults.script(answer(400), error(400, "InvalidRequest", said))
    with pytest.raises(AccessDenied, match=r"SSE-C\) and can't be published"):
        await origin.head(REF, meter)


# -- regions


@pytest.mark.parametrize(
    "elsewhere",
    [
        error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"),
        error(301, "PermanentRedirect", extra="<Endpoint>q.s3-eu-west-1.amazonaws.com</Endpoint>"),
        error(307, "TemporaryRedirect", location="http://q.s3.eu-west-1.amazonaws.com/Nelson"),
        error(400, "AuthorizationHeaderMalformed", extra="<Region>eu-west-1</Region>"),
    ],
)
async def test_a_bucket_in_another_region_is_signed_for_that_and_remembered(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, elsewhere: Reply
) -> None:
    faults.script(elsewhere, GOOD, GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert [seen.region for seen in faults.seen] == ["us-east-1", "eu-west-1", "eu-west-1"]
    assert all(signature_is_valid(seen, "secrettest") for seen in faults.seen)
    assert origin.statistics().retries == 0


async def test_a_head_in_the_wrong_region_needs_no_get(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(400, x_amz_bucket_region="eu-west-1"), GOOD)
    await origin.head(REF, meter)
    assert [seen.region for seen in faults.seen] == ["us-east-1", "eu-west-1"]


async def test_a_redirect_to_a_foreign_host_is_not_followed(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, nursery: trio.Nursery
) -> None:
    foreign = FaultServer(default=GOOD)
    await nursery.start(foreign.run)
    for status in (301, 302, 307, 308):
        faults.script(answer(status, location=f"{foreign.url}/quotes/Nelson"))
        with pytest.raises(OriginFault, match=r"points to 127\.0\.0\.1"):
            await read(origin, meter)
    assert foreign.connections == 0


async def test_redirects_in_a_circle_end(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    there = answer(301, x_amz_bucket_region="eu-west-1")
    back = answer(301, x_amz_bucket_region="us-east-1")
    faults.script(there, back, there)
    with pytest.raises(OriginFault, match="301"):
        await read(origin, meter)
    assert faults.finished


# -- credentials


async def test_an_expired_token_is_renewed_and_the_request_repeated(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    origin = await make_origin()
    faults.script(GOOD, error(400, "ExpiredToken"), GOOD)
    await read(origin, meter)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    assert await read(origin, meter) == PIECE
    assert [seen.access_key for seen in faults.seen] == ["AKIATEST", "AKIATEST", "AKIANEW"]


async def test_a_token_that_stays_expired_is_told(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(error(400, "ExpiredToken"), error(400, "ExpiredToken"))
    with pytest.raises(AccessDenied, match="renew the credentials"):
        await read(origin, meter)
    assert faults.finished


async def test_without_credentials_no_request_is_made(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    origin = await make_origin(name="archive")
    with pytest.raises(AccessDenied, match="origin archive: no credentials found; set AWS_"):
        await read(origin, meter)
    assert faults.seen == []


async def test_requests_are_signed_by_the_clock_that_is_given(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(clock=lambda: 1_790_000_000.0)
    faults.script(GOOD)
    await read(origin, meter)
    assert faults.seen[0].headers["x-amz-date"] == "20260921T141320Z"


# -- GetObjectTorrent


async def test_a_torrent_is_handed_on_as_it_came(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, b"d4:infod" + bytes(1000)))
    assert await origin.get_torrent(PINNED, meter) == b"d4:infod" + bytes(1000)
    assert faults.seen[0].target == "/quotes/Nelson?torrent"
    assert signature_is_valid(faults.seen[0], "secrettest")
    assert meter.received == {"metainfo": 1008}


async def test_a_torrent_never_leaves_its_connection_for_others(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    """Ceph 20 announces no body and sends one: on a kept connection it is the next answer."""

    async def lying(seen: Seen, stream: trio.abc.Stream) -> None:
        stolen = head(200, [("content-length", "3"), ("etag", '"x"')]) + b"bad"
        await stream.send_all(head(200, [("content-length", "0")]) + stolen)
        await stream.receive_some(1)  # keeps it open, whatever the client wished

    faults.script(GOOD, lying, GOOD)
    await read(origin, meter)
    with pytest.raises(OriginFault, match="empty"):
        await origin.get_torrent(PINNED, meter)
    assert await read(origin, meter) == PIECE
    first, torrent, after = faults.seen
    assert torrent.headers["connection"] == "close"
    assert after.connection > max(first.connection, torrent.connection)


async def test_an_object_instead_of_a_torrent_is_left_at_its_first_byte(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(endless(b"not bencoded", b"x" * 65536))
    with pytest.raises(OriginFault, match="the object itself"):
        await origin.get_torrent(PINNED, meter)
    assert meter.received["metainfo"] < 2_000_000


async def test_a_torrent_that_announces_too_much_is_not_read(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    announced = head(200, [("content-length", str(LARGEST_TORRENT + 1))])
    faults.script(raw(announced, b"d" * 5))
    with pytest.raises(OriginFault, match="longer than any torrent"):
        await origin.get_torrent(PINNED, meter)
    assert meter.received["metainfo"] == 0


async def test_a_torrent_without_an_end_is_left_at_the_cap(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(endless(b"d", b"x" * 65536))
    with pytest.raises(OriginFault, match="longer than any torrent"):
        await origin.get_torrent(PINNED, meter)
    assert LARGEST_TORRENT < meter.received["metainfo"] < LARGEST_TORRENT + 2_000_000


@pytest.mark.parametrize(
    ("reply", "for_every_key"),
    [
        (error(405, "MethodNotAllowed"), True),
        (error(501, "NotImplemented"), True),
        (error(400, "InvalidRequest"), False),
        (error(404, "NoSuchKey"), False),
    ],
)
async def test_an_origin_without_torrents_is_told_from_one_that_fails(
    origin: S3Origin,
    faults: FaultServer,
    meter: CountingMeter,
    reply: Reply,
    for_every_key: bool,
) -> None:
    faults.script(reply)
    with pytest.raises(TorrentUnsupported) as caught:
        await origin.get_torrent(PINNED, meter)
    assert caught.value.for_every_key is for_every_key
    told = origin.statistics()
    assert (told.errors["unsupported"], told.last_error) == (1, None)


async def test_a_torrent_that_is_denied_names_its_own_permission(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(error(403, "AccessDenied"))
    with pytest.raises(AccessDenied, match="s3:GetObjectTorrent"):
        await origin.get_torrent(PINNED, meter)


async def test_a_torrent_is_tried_again_like_the_rest(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    short = raw(head(200, [("content-length", "9")]), b"d4:", close=True)
    faults.script(error(503, "SlowDown"), short, answer(200, b"de"))
    assert await origin.get_torrent(PINNED, meter) == b"de"


# -- slots, connections, cancels


async def all_at_once(
    count: int, ask: Callable[[], Awaitable[object]], faults: FaultServer
) -> None:
    """Pass only if `count` requests are under way at the same moment."""
    arrived = 0
    everybody = trio.Event()

    async def gather(seen: Seen, stream: trio.abc.Stream) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == count:
            everybody.set()
        await everybody.wait()
        await GOOD(seen, stream)

    faults.script(*[gather] * count)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(ask)


async def test_connections_are_kept_and_bounded(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(connections=4)
    faults.default = GOOD
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(read, origin, meter)
    assert meter.received["pieces"] == 40 * 50_000
    assert faults.connections <= 4
    await all_at_once(4, partial(read, origin, meter), faults)
    assert faults.connections == 4


async def test_no_slot_is_lost_to_cancelled_requests(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(connections=4)
    rng = random.Random(5)

    async def moody(seen: Seen, stream: trio.abc.Stream) -> None:
        await trio.sleep(rng.random() * 0.004)
        await rng.choice([GOOD, GOOD, answer(503), reset(RANGE_HEAD, b"x")])(seen, stream)

    faults.default = moody
    done = 0

    async def impatient() -> None:
        nonlocal done
        with trio.move_on_after(rng.random() * 0.01):
            assert await read(origin, meter) == PIECE
            done += 1

    for _ in range(40):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(impatient)
    assert 0 < done < 40 * 12
    assert origin.statistics().in_use == 0
    assert origin.statistics().waiting == 0
    await all_at_once(4, partial(read, origin, meter), faults)


async def test_a_cancel_in_the_moment_of_connecting_costs_no_slot(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    origin = await make_origin(connections=1)
    connect = trio.open_tcp_stream

    async def connect_and_cancel(host: str, port: int) -> trio.SocketStream:
        stream = await connect(host, port)
        scope.cancel()
        return stream

    with monkeypatch.context() as patch, trio.CancelScope() as scope:
        patch.setattr(trio, "open_tcp_stream", connect_and_cancel)
        await read(origin, meter)
    assert scope.cancelled_caught
    await all_at_once(1, partial(read, origin, meter), faults)


async def test_stopping_the_origin_closes_its_connections(
    faults: FaultServer, make_origin: MakeOrigin, meter: CountingMeter
) -> None:
    closed = trio.Event()

    async def watch(seen: Seen, stream: trio.abc.Stream) -> None:
        await GOOD(seen, stream)
        assert await stream.receive_some(1) == b""
        closed.set()

    faults.script(watch)
    async with trio.open_nursery() as nursery:
        origin = await make_origin(nursery=nursery)
        await read(origin, meter)
        nursery.cancel_scope.cancel()
    await closed.wait()


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3.example.org")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def secure(nursery: trio.Nursery, certificate: Path) -> FaultServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = FaultServer()
    await nursery.start(server.run, context)
    return server


async def test_ranges_come_over_tls_by_a_private_ca(
    make_origin: MakeOrigin, secure: FaultServer, meter: CountingMeter, certificate: Path
) -> None:
    origin = await make_origin(endpoint=secure.url, ca_file=certificate)
    secure.script(GOOD, raw(RANGE_HEAD, PIECE[:9], close=True), GOOD)
    assert await read(origin, meter) == PIECE
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in secure.seen] == [1, 1, 2]


async def test_an_untrusted_certificate_is_not_tried_again(
    make_origin: MakeOrigin, secure: FaultServer, meter: CountingMeter
) -> None:
    origin = await make_origin(endpoint=secure.url)
    with pytest.raises(OriginUnreachable, match=r"not trusted.*attempt 1.*ca_file"):
        await read(origin, meter)
    assert meter.requests == {}


async def test_a_cancelled_handshake_costs_no_slot(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    """The server speaks no TLS and waits for a request: the handshake hangs."""
    policy = RetryPolicy(attempts=1, connect_timeout=0.05)
    origin = await make_origin(
        endpoint=faults.url.replace("http:", "https:"), connections=1, policy=policy
    )
    for _ in range(3):
        with pytest.raises(OriginUnreachable):
            await read(origin, meter)
    assert origin.statistics().in_use == 0


def test_the_quick_policy_of_these_tests_keeps_the_number_of_attempts() -> None:
    assert QUICK.attempts == RetryPolicy().attempts == 5
