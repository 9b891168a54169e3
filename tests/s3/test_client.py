"""What the client asks, and what it makes of right, passing and lasting faults."""

import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.errors import (
    AccessDenied,
    BucketMissing,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SignerRefused,
)
from seeder.s3.client import S3Origin
from seeder.s3.network import Stream
from seeder.s3.retry import RetryPolicy
from seeder.torrent.objects import Description, ObjectRef, PinnedObject
from seeder.units import ByteRange
from tests.s3.fault_server import (
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
from tests.s3.samples import BODY, GOOD, PIECE, PINNED, RANGE_HEAD, RANGE_HEADERS, REF, WANTED, read
from tests.s3.support import QUICK, CountingMeter, MakeOrigin

# -- what is asked, and what is made of it


async def test_a_head_pins_the_object(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(answer(200, BODY, etag='"tag"', x_amz_version_id="v1"))
    assert await origin.head(REF, meter) == PinnedObject(REF, '"tag"', len(BODY), "v1")
    assert (meter.requests, meter.received) == ({"metainfo": 1}, {})


async def test_a_head_tells_what_the_publisher_gave_with_the_object(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    told = {
        "cache_control": "max-age=60",
        "content_disposition": "inline",
        "content_encoding": "aws-chunked, gzip",
        "content_language": "en",
        "content_type": "text/csv",
        "last_modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "x_amz_meta_by": "Nelson",
        # Not for others: what S3 says of itself, what no header of ours can hold, too much.
        "server": "S3",
        "x_amz_server_side_encryption": "AES256",
        "x_amz_meta_strange": "caf\xc3\xa9",
        "x_amz_meta_zeal": "z" * 9000,
    }
    # What is coded may have another length than HEAD says, so a GET is asked as well.
    first = answer(206, BODY[:1], etag='"tag"', content_range=f"bytes 0-0/{len(BODY)}", **told)
    faults.script(answer(200, BODY, etag='"tag"', **told), first)
    pinned = await origin.head(REF, meter)
    assert pinned == PINNED
    assert pinned.description == Description(
        784111777,
        (
            ("cache-control", "max-age=60"),
            ("content-disposition", "inline"),
            ("content-encoding", "gzip"),
            ("content-language", "en"),
            ("content-type", "text/csv"),
            ("x-amz-meta-by", "Nelson"),
        ),
    )


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
        answer(200, BODY, etag='"täg"'),
    ],
    ids=["no ETag", "206", "no size", "no header's ETag"],
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


async def test_a_weak_etag_is_pinned_by_the_strong_one_behind_it(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(stored(BODY, 'W/"tag"'), GOOD)
    pinned = await origin.head(REF, meter)
    assert await origin.read_range(pinned, WANTED, meter, "pieces") == PIECE
    assert faults.seen[1].headers["if-match"] == '"tag"'


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
    assert meter.received["metainfo"] == 5 + 6  # what was refused was sent all the same


async def test_a_small_object_without_an_end_is_not_read_for_ever(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    faults.script(endless(b"x", b"x" * 1000))
    with pytest.raises(OriginFault, match="more than 5000 bytes"):
        await origin.read_small(REF, 5000, meter)


def resolve_only(known: str, patch: pytest.MonkeyPatch) -> None:
    """Let one host name exist, as this machine."""
    connect = trio.open_tcp_stream

    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        if host != known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await connect("127.0.0.1", port)

    patch.setattr(trio, "open_tcp_stream", open_tcp_stream)


async def test_a_virtual_host_leaves_the_bucket_out_of_the_path(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_only("quotes.s3.example.org", monkeypatch)
    origin = await make_origin(endpoint=f"http://s3.example.org:{faults.port}")
    faults.script(GOOD)
    assert await read(origin, meter) == PIECE
    (seen,) = faults.seen
    assert seen.target == "/Nelson"
    assert seen.headers["host"] == f"quotes.s3.example.org:{faults.port}"
    assert signature_is_valid(seen, "secrettest")


async def test_a_virtual_host_that_is_not_known_hints_at_path_style(
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_only("s3.example.org", monkeypatch)
    endpoint = f"http://s3.example.org:{faults.port}"
    origin = await make_origin(endpoint=endpoint)
    with pytest.raises(OriginUnreachable, match=r"not known.*path_style = true"):
        await read(origin, meter)
    by_path = await make_origin(endpoint=endpoint, path_style=True)
    faults.script(GOOD)
    assert await read(by_path, meter) == PIECE


# -- faults that pass


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
        pytest.param(answer(206, b"", **RANGE_HEADERS), 0, id="empty"),
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


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(raw(RANGE_HEAD, PIECE[:700], close=True), id="closed"),
        pytest.param(answer(206, PIECE[:700], **RANGE_HEADERS), id="short by its head"),
        pytest.param(reset(RANGE_HEAD, PIECE[:700]), id="reset"),
    ],
)
async def test_after_a_body_that_broke_off_only_the_rest_is_asked_for(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, reply: Reply
) -> None:
    faults.script(reply, GOOD)
    assert await read(origin, meter) == PIECE
    assert meter.requests == {"pieces": 2}
    assert meter.received == {"pieces": 50_000}
    first, last = faults.seen[1].headers["range"].removeprefix("bytes=").split("-")
    assert int(first) in {1000, 1700}  # what comes before a reset may be lost
    assert int(last) == 50_999


async def test_parts_are_handed_on_while_the_next_ones_are_still_to_come(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    came: list[bytes] = []
    enough = trio.Event()

    def take(part: bytearray) -> None:
        came.append(bytes(part))
        if len(came) == 2:
            enough.set()

    async def halting(seen: Seen, stream: trio.abc.Stream) -> None:
        await stream.send_all(RANGE_HEAD + PIECE[:40_123])
        await enough.wait()
        await stream.send_all(PIECE[40_123:])

    faults.script(halting)
    with trio.fail_after(60):
        await origin.read_parts(PINNED, WANTED, meter, "pieces", part_length=20_000, take=take)
    assert came == [PIECE[:20_000], PIECE[20_000:40_000], PIECE[40_000:]]


async def test_a_part_is_handed_on_once_though_the_body_breaks_off(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter
) -> None:
    came: list[bytearray] = []
    faults.script(raw(RANGE_HEAD, PIECE[:20_001], close=True), GOOD)
    await origin.read_parts(PINNED, WANTED, meter, "pieces", part_length=20_000, take=came.append)
    assert came == [PIECE[:20_000], PIECE[20_000:40_000], PIECE[40_000:]]


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
    origin = await make_origin(
        policy=RetryPolicy(patience=0, hopeless_wait=0, first_wait=0.001, read_timeout=0.1)
    )
    faults.script(reply)
    faults.default = GOOD
    assert await read(origin, meter) == PIECE
    assert [seen.connection for seen in faults.seen][:2] == [1, 2]


async def test_a_trickle_does_not_hold_a_slot_for_ever(
    make_origin: MakeOrigin, faults: FaultServer, meter: CountingMeter
) -> None:
    policy = RetryPolicy(
        patience=0,
        hopeless_wait=0,
        attempts=1,
        connect_timeout=0.2,
        read_timeout=0.2,
        slowest=10**7,
    )

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
        (error(404, "NoSuchBucket"), BucketMissing),
        (error(403, "AccessDenied"), AccessDenied),
        (answer(401), AccessDenied),
        (error(400, "InvalidRequest", "Server Side Encryption with a key"), AccessDenied),
        (error(403, "RequestTimeTooSkewed"), SignerRefused),
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
    faults.default = stored(BODY, '"other"')  # what is asked after a change
    with pytest.raises(kind) as caught:
        await read(origin, meter)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("quotes/Nelson: ")
    assert "\n" not in str(caught.value)
    assert meter.requests["pieces"] == 1
    assert meter.requests["metainfo"] <= (kind is ObjectChanged)
    assert origin.statistics().last_error == str(caught.value)


async def test_a_200_instead_of_a_part_is_left_without_its_body(
    origin: S3Origin, faults: FaultServer, meter: CountingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the kernel has got meanwhile is counted as well; here it is about what we take.
    monkeypatch.setattr(Stream, "unread", 0)
    faults.script(endless(b"x", b"x" * 65536, etag='"tag"'), GOOD)
    with pytest.raises(OriginFault, match="does not serve ranges"):
        await read(origin, meter)
    assert meter.received["pieces"] <= 8 * 1024  # what came with the head
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
    faults.script(answer(404))
    faults.default = second
    with pytest.raises(ObjectMissing, match="404; check bucket and key"):
        await origin.head(REF, meter)
    assert meter.received["metainfo"] <= 1  # of the GET of a byte


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
    faults.default = error(400, "ExpiredToken")
    for _ in range(3):
        with pytest.raises(AccessDenied, match="renew the credentials"):
            await read(origin, meter)
    assert len(faults.seen) == 3, "one was tried again with the same token"


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"])
async def test_keys_that_were_replaced_in_their_file_are_read_when_s3_refuses_the_old_ones(
    *,
    make_origin: MakeOrigin,
    faults: FaultServer,
    meter: CountingMeter,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str,
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    origin = await make_origin()
    faults.script(GOOD, error(403, code), GOOD)
    await read(origin, meter)
    path.write_text("[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = s\n")
    assert await read(origin, meter) == PIECE
    assert [seen.access_key for seen in faults.seen] == ["AKIAOLD", "AKIAOLD", "AKIANEW"]


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


def test_the_quick_policy_of_these_tests_keeps_the_number_of_attempts() -> None:
    assert QUICK.attempts == RetryPolicy().attempts == 5
