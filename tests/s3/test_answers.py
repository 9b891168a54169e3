"""S3's error answers, and what they become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seeder.errors import (
    AccessDenied,
    AttributesUnsupported,
    BucketMissing,
    ObjectChanged,
    ObjectMissing,
    OriginError,
    OriginFault,
    OriginUnreachable,
    SignerRefused,
    TorrentUnsupported,
)
from seeder.s3.answers import (
    Answer,
    Asked,
    label,
    printable,
    refusal,
)
from seeder.torrent.objects import ObjectRef

ASKED = Asked("quotes/Nelson", "s3.example.org")


def test_an_error_document_is_read() -> None:
    body = (
        b'<?xml version="1.0"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>the'
        b" region &apos;us-east-1&apos; is wrong;\nexpecting &quot;eu-west-1&quot;.</Message>"
        b"<Region>eu-west-1</Region><RequestId>7</RequestId></Error>"
    )
    answer = Answer.read(400, {}, body)
    assert answer == Answer(
        400,
        "AuthorizationHeaderMalformed",
        "the region 'us-east-1' is wrong;\\nexpecting \"eu-west-1\"",
        "eu-west-1",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"\n<Error><Code>SlowDown</Code><Message>wait</Message></Error>",
        b"<Error><Code>SlowDown</Code><Message>wait</Message><Key>a&b</Key></Error>",
        b"<Error><Code>SlowDown</Code><Code>Other</Code><Message>wait</Message><Key>cut o",
        b'<a:Error xmlns:a="b"><a:Code>SlowDown</a:Code><a:Message>wait</a:Message></a:Error>',
        b"<Error><Resource>/k?a&b</Resource><Code>SlowDown</Code><Message>wait</Message></Error>",
        b"<Error><Key>\xff\x01</Key><Code>SlowDown</Code><Message>wait</Message></Error>",
        b"<Error><Key>"
        + 3000 * b"k"
        + b"</Key><Code>SlowDown</Code><Message>wait</Message></Error>",
        b"<!DOCTYPE Error><Error><Code>SlowDown</Code><Message>wait</Message></Error>",
        b'<?xml version="1.0" encoding="odd"?><Error><Code>SlowDown</Code><Message>wait</Message>',
        b"<a>" * 9 + b"<Code>SlowDown</Code><Message>wait</Message>",
    ],
    ids=[
        *("a line before it", "an ampersand", "cut off, a second code", "prefixed"),
        *("an ampersand first", "bytes that are no text", "a long text first", "a document type"),
        *("an unknown encoding", "too deep"),
    ],
)
def test_an_error_document_is_read_although_it_is_broken(body: bytes) -> None:
    assert Answer.read(503, {}, body) == Answer(503, "SlowDown", "wait")


@given(st.integers(300, 599), st.binary(max_size=300), st.text(max_size=50), st.text(max_size=50))
def test_garbage_gives_an_answer_and_an_error_in_one_line(
    status: int, body: bytes, region: str, location: str
) -> None:
    headers = {"x-amz-bucket-region": region, "location": location}
    answer = Answer.read(status, headers, b"<Error><Code>" + body + b"</Code>")
    for torrent in (False, True):
        text = str(refusal(answer, Asked("b/k", "h", torrent=torrent)))
        assert text.isprintable()
        assert len(text) < 1500


@pytest.mark.parametrize(
    ("headers", "body", "region"),
    [
        ({"x-amz-bucket-region": "eu-west-1"}, b"<Region>other</Region>", "eu-west-1"),
        ({}, b"<Endpoint>quotes.s3-eu-west-1.amazonaws.com</Endpoint>", "eu-west-1"),
        ({}, b"<Endpoint>quotes.s3.amazonaws.com</Endpoint>", None),
        ({"location": "https://q.s3.eu-west-2.amazonaws.com/k"}, b"", "eu-west-2"),
        ({"location": "https://s3.dualstack.eu-west-2.amazonaws.com/q/k"}, b"", "eu-west-2"),
        ({"location": "https://q.s3-external-1.amazonaws.com/k"}, b"", "us-east-1"),
        ({"location": "https://s3.eu-west-2.amazonaws.com.evil.example/"}, b"", None),
        ({"x-amz-bucket-region": "evil.example/path"}, b"", None),
        ({"location": "http://[bad"}, b"", None),
    ],
)
def test_the_region_of_a_bucket_is_found(
    headers: dict[str, str], body: bytes, region: str | None
) -> None:
    assert Answer.read(301, headers, body).region == region


@pytest.mark.parametrize(
    ("answer", "error", "advice"),
    [
        (Answer(403, "AccessDenied"), AccessDenied, "allow s3:GetObject on it"),
        (Answer(401), AccessDenied, "request_payer = true"),
        (Answer(403, "RequestTimeTooSkewed"), SignerRefused, "clock"),
        (Answer(403, "SignatureDoesNotMatch"), SignerRefused, "secret key"),
        (Answer(403, "InvalidAccessKeyId"), SignerRefused, "not known there"),
        (Answer(400, "ExpiredToken"), SignerRefused, "renew the credentials"),
        (Answer(400, "InvalidToken"), SignerRefused, "not taken there; renew"),
        (Answer(403, "InvalidObjectState"), AccessDenied, "archived"),
        (Answer(400, "AuthorizationHeaderMalformed"), AccessDenied, "check region"),
        (
            Answer(400, "InvalidRequest", "stored using a form of Server Side Encryption"),
            AccessDenied,
            "SSE-C",
        ),
        (Answer(400), OriginFault, "SSE-C"),
        (Answer(403, "AccessDenied", "not authorized to perform: KMS"), AccessDenied, "kms:Dec"),
        (Answer(400, "KMS.DisabledException"), AccessDenied, "kms:Decrypt"),
        (Answer(404, "NoSuchBucket"), BucketMissing, "no such bucket"),
        (Answer(404, "NoSuchKey"), ObjectMissing, "no such key"),
        (Answer(404, "NoSuchVersion"), ObjectMissing, "version_id"),
        (Answer(404), ObjectMissing, "check bucket and key"),
        (Answer(405, delete_marker=True), ObjectMissing, "delete marker"),
        (Answer(404, "NoSuchKey", delete_marker=True), ObjectMissing, "newest version is a delete"),
        (Answer(404, delete_marker=True), ObjectMissing, "it was deleted"),
        (Answer(405), OriginFault, "405"),
        (Answer(412, "PreconditionFailed"), ObjectChanged, "replaced"),
        (Answer(416), ObjectChanged, "shorter"),
        (Answer(503, "SlowDown"), OriginUnreachable, "503 SlowDown at attempt 5"),
        (Answer(301, host="evil.example"), OriginFault, "points to evil.example"),
        (Answer(307, region="eu-west-1"), OriginFault, "points to eu-west-1"),
        (Answer(501, "NotImplemented"), OriginFault, "501 NotImplemented"),
        (Answer(521), OriginUnreachable, "521 at attempt 5"),
        (Answer(403, "RequestLimitExceeded"), OriginUnreachable, "RequestLimitExceeded"),
    ],
)
def test_each_answer_has_its_error_and_advice(
    answer: Answer, error: type[OriginError], advice: str
) -> None:
    failure = refusal(answer, ASKED, attempts=5)
    assert type(failure) is error
    assert str(failure).startswith("quotes/Nelson: ")
    assert advice in str(failure)


@pytest.mark.parametrize(
    ("answer", "for_every_key"),
    [
        (Answer(405, "MethodNotAllowed"), True),
        (Answer(501, "NotImplemented"), True),
        (Answer(400, "InvalidRequest"), False),
        (Answer(400, "InvalidArgument", "needs encryption headers"), False),
        (Answer(404, "NoSuchKey"), False),
        (Answer(500, "InternalError"), False),
    ],
)
def test_a_torrent_that_s3_does_not_make_is_told_apart(answer: Answer, for_every_key: bool) -> None:
    failure = refusal(answer, Asked("b/k", "h", torrent=True))
    assert isinstance(failure, TorrentUnsupported)
    assert failure.for_every_key is for_every_key
    failure = refusal(answer, Asked("b/k", "h", attributes=True))
    assert isinstance(failure, AttributesUnsupported)
    assert failure.for_every_key is for_every_key


def test_a_torrent_from_a_busy_server_may_come_later() -> None:
    failure = refusal(Answer(503, "SlowDown"), Asked("b/k", "h", torrent=True))
    assert type(failure) is OriginUnreachable


@pytest.mark.parametrize("code", ["ExpiredToken", "AuthorizationHeaderMalformed"])
def test_a_bad_signature_says_nothing_about_torrents(code: str) -> None:
    failure = refusal(Answer(400, code), Asked("b/k", "h", torrent=True))
    assert isinstance(failure, AccessDenied)


def test_a_torrent_that_is_denied_names_the_permission_of_its_own() -> None:
    failure = refusal(Answer(403, "AccessDenied"), Asked("b/k", "h", torrent=True))
    assert type(failure) is AccessDenied
    assert "s3:GetObjectTorrent" in str(failure)


@pytest.mark.parametrize(
    ("version", "action"),
    [(False, "s3:GetObjectAttributes "), (True, "s3:GetObjectVersionAttributes ")],
)
def test_attributes_that_are_denied_name_the_permission_of_their_own(
    version: bool, action: str
) -> None:
    asked = Asked("b/k", "h", attributes=True, version=version)
    failure = refusal(Answer(403, "AccessDenied"), asked)
    assert type(failure) is AccessDenied
    assert action in str(failure)


def test_the_advice_knows_the_configuration() -> None:
    denied = Answer(403, "AccessDenied")
    anonymous = str(refusal(denied, Asked("b/k", "h", anonymous=True)))
    assert "not public" in anonymous
    assert "request_payer" not in anonymous
    paying = Asked("b/k", "h", request_payer=True, bucket_owner="111122223333", version=True)
    text = str(refusal(denied, paying))
    assert "request_payer" not in text
    assert "111122223333 owns the bucket" in text
    assert "s3:GetObjectVersion" in text


def test_names_in_errors_stay_on_their_line() -> None:
    ref = ObjectRef("default", "b", "a\nb\x1b[31m\u202e", "v\n1")
    assert label(ref) == "b/a\\nb\\x1b[31m\\u202e (version v\\n1)"
    assert printable("x" * 300) == "x" * 200 + "..."


@pytest.mark.parametrize("page", [b"", b"<html><title>301 Moved Permanently</title></html>"])
def test_a_server_that_wants_tls_is_told_so(page: bytes) -> None:
    headers = {"location": "https://s3.example:9000/b/k", "content-type": "text/html"}
    answer = Answer.read(301, headers, page)
    plain, safe = (str(refusal(answer, Asked("b/k", "h", tls=tls))) for tls in (False, True))
    assert plain == (
        "b/k: S3 answers 301 and points to https://s3.example; begin endpoint with https://"
    )
    assert safe.endswith("and points to s3.example; check endpoint and region")


NOW = "Sun, 29 Nov 2026 07:00:00 GMT"


@pytest.mark.parametrize(
    ("told", "date", "pause"),
    [
        ("7", "", 7),
        (" 0 ", "", 0),
        ("Sun, 29 Nov 2026 07:00:12 GMT", NOW, 12),
        ("Sunday, 29-Nov-26 07:00:12 GMT", NOW, 12),
        # By which clock, and what of the past?
        ("Sun, 29 Nov 2026 07:00:12 GMT", "", None),
        ("Sun, 29 Nov 2026 07:00:12 GMT", "soon", None),
        ("Sun, 29 Nov 2026 06:59:59 GMT", NOW, None),
        ("soon", NOW, None),
        ("-1", NOW, None),
        ("1.5", NOW, None),
        ("99999999999999999999", NOW, None),
        ("٣", NOW, None),
        ("", NOW, None),
    ],
)
def test_when_s3_wants_to_be_asked_again_is_told_in_seconds_or_by_a_date(
    told: str, date: str, pause: float | None
) -> None:
    assert Answer.read(503, {"retry-after": told, "date": date}).pause == pause
