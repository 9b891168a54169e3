"""Signatures: those of botocore's own signers are taken, all others are refused."""

import contextlib
import hashlib
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seeder.gateway.s3errors import S3Error
from seeder.gateway.sigv4 import LARGEST_SKEW, LONGEST_EXPIRY, SignedRequest, verify
from tests.gateway.signing import KEY_ID, NOW, SECRET, Query, signed, url_of

PLAIN = url_of("quotes/Nelson", [("torrent", None)])

# What keys and queries may be made of: all of Unicode that UTF-8 can say.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = texts.filter(bool)
queries = st.lists(st.tuples(texts.filter(bool), texts | st.none()), max_size=5)


def signer_of(request: SignedRequest, *, now: float = NOW) -> str | None:
    return verify(request, {KEY_ID: SECRET}.get, now=now)


def code_of(request: SignedRequest, *, now: float = NOW) -> str:
    """Return the code of the error that a request is refused with."""
    with pytest.raises(S3Error) as caught:
        signer_of(request, now=now)
    return caught.value.code


@given(keys, queries, st.sampled_from(["http", "https"]), st.sampled_from(["GET", "HEAD"]))
@example("a b+c/../d//é~%2F(!)'*", [("torrent", None), ("b", "+ &="), ("a", "~"), ("B", "")],
         "http", "GET")  # fmt: skip
@example("k", [("a", None), ("a", ""), ("a", "1"), ("a-", "x"), ("A", "y")], "http", "GET")
def test_a_header_by_botocore_is_taken_for_any_key_and_query(
    key: str, query: Query, scheme: str, method: str
) -> None:
    query = [("torrent", None), *query]
    request = signed(url_of(f"quotes/{key}", query, scheme=scheme), method=method)
    assert signer_of(request) == KEY_ID


@given(keys, queries, st.integers(1, LONGEST_EXPIRY), st.sampled_from(["eu-west-1", "default"]))
def test_a_presigned_url_by_botocore_is_taken_for_any_key_and_query(
    key: str, query: Query, expires: int, region: str
) -> None:
    # botocore reads such a query into a dictionary: names are given once, values never empty.
    plain = {f"q{name}": value or "1" for name, value in query}
    url = url_of(f"quotes/{key}", [("torrent", "x"), *plain.items()])
    assert signer_of(signed(url, expires=expires, region=region)) == KEY_ID


def test_a_path_and_a_query_may_be_written_otherwise_than_they_were_signed() -> None:
    request = signed(url_of("quotes/(é) ~", [("torrent", None), ("a/b", "c d")]))
    written = replace(request, path=b"/%71uotes/(%c3%a9)%20%7E", query=b"&torrent=&a/b=c%20d&")
    assert signer_of(written) == KEY_ID


@given(st.data())
def test_whatever_is_changed_behind_the_signer_s_back_is_noticed(data: st.DataObject) -> None:
    expires = data.draw(st.sampled_from([None, 60]))
    request = signed(url_of("quotes/Nelson", [("torrent", ""), ("a", "b")]), expires=expires)
    headers = dict(request.headers)
    changed = data.draw(
        st.sampled_from(
            [
                replace(request, method=b"PUT"),
                replace(request, path=b"/quotes/Other"),
                replace(request, path=request.path + b"/"),
                replace(request, query=request.query + b"&c=d"),
                replace(request, query=request.query.replace(b"a=b", b"a=c")),
                replace(request, headers=list((headers | {b"host": b"elsewhere"}).items())),
                replace(request, headers=[*request.headers, (b"host", b"elsewhere")]),
            ]
        )
    )
    assert code_of(changed) == "SignatureDoesNotMatch"


@given(st.binary(max_size=300), st.binary(max_size=200))
def test_any_bytes_for_a_signature_are_refused_or_no_signature(header: bytes, query: bytes) -> None:
    for authorization in (header, b"AWS4-HMAC-SHA256 " + header):
        request = SignedRequest(b"GET", b"/", b"", [(b"authorization", authorization)])
        code_of(request)
    with contextlib.suppress(S3Error):
        assert signer_of(SignedRequest(b"GET", b"/", query, [])) is None


def test_a_request_without_a_signature_has_no_signer() -> None:
    assert signer_of(SignedRequest(b"GET", b"/quotes/Nelson", b"torrent", [])) is None


@pytest.mark.parametrize("expires", [None, 60])
def test_an_unknown_key_and_a_wrong_secret_are_told_apart(expires: int | None) -> None:
    assert code_of(signed(PLAIN, expires=expires, key_id="STRANGER")) == "InvalidAccessKeyId"
    assert code_of(signed(PLAIN, expires=expires, secret="another")) == "SignatureDoesNotMatch"


def test_a_wrong_signature_comes_with_what_should_have_been_signed() -> None:
    request = signed(PLAIN, secret="another")
    with pytest.raises(S3Error) as caught:
        signer_of(request)
    details = caught.value.details
    canonical = details["CanonicalRequest"]
    assert canonical.startswith("GET\n/quotes/Nelson\ntorrent=\nhost:torrents.example.org:6969\n")
    assert details["StringToSign"].endswith(hashlib.sha256(canonical.encode()).hexdigest())
    assert SECRET not in str(details)


@pytest.mark.parametrize(("late", "taken"), [(0, True), (1, False)])
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_header_is_good_for_a_quarter_of_an_hour(late: int, taken: bool, direction: int) -> None:
    request = signed(PLAIN)
    now = NOW + direction * (LARGEST_SKEW + late)
    if taken:
        assert signer_of(request, now=now) == KEY_ID
    else:
        assert code_of(request, now=now) == "RequestTimeTooSkewed"


def test_a_presigned_url_is_good_until_it_expires() -> None:
    request = signed(PLAIN, expires=LONGEST_EXPIRY)
    assert signer_of(request, now=NOW - LARGEST_SKEW) == KEY_ID
    assert signer_of(request, now=NOW + LONGEST_EXPIRY) == KEY_ID
    assert code_of(request, now=NOW - LARGEST_SKEW - 1) == "AccessDenied"
    assert code_of(request, now=NOW + LONGEST_EXPIRY + 1) == "AccessDenied"


@pytest.mark.parametrize("expires", [0, -1, LONGEST_EXPIRY + 1])
def test_an_expiry_of_no_time_or_more_than_a_week_is_refused(expires: int) -> None:
    assert code_of(signed(PLAIN, expires=expires)) == "AuthorizationQueryParametersError"


def test_temporary_credentials_headers_and_payers_are_signed_along() -> None:
    headers = {
        "x-amz-request-payer": "requester",
        "x-amz-expected-bucket-owner": "111122223333",
        "x-custom": "  a   b ",
    }
    for expires in (None, 60):
        request = signed(PLAIN, headers=headers, expires=expires, token="a/token+=")
        assert signer_of(request) == KEY_ID


@pytest.mark.parametrize("expires", [None, 60])
def test_a_header_of_amazon_s_is_not_slipped_in(expires: int | None) -> None:
    request = signed(PLAIN, expires=expires)
    slipped = [*request.headers, (b"x-amz-request-payer", b"requester")]
    assert code_of(replace(request, headers=slipped)) == "AccessDenied"
    added = [*request.headers, (b"x-amz-cf-id", b"abc"), (b"x-forwarded-for", b"192.0.2.1")]
    assert signer_of(replace(request, headers=added)) == KEY_ID


def test_the_host_is_signed_whatever_else_is() -> None:
    request = signed(PLAIN)
    authorization = dict(request.headers)[b"authorization"].replace(b"host;", b"")
    headers = dict(request.headers) | {b"authorization": authorization}
    assert code_of(replace(request, headers=list(headers.items()))) == "AccessDenied"


def test_a_payload_that_is_not_there_is_not_claimed() -> None:
    request = signed(PLAIN)
    for payload, code in (
        (hashlib.sha256(b"x").hexdigest().encode(), "XAmzContentSHA256Mismatch"),
        (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "XAmzContentSHA256Mismatch"),
        (b"UNSIGNED-PAYLOAD", "SignatureDoesNotMatch"),
    ):
        headers = dict(request.headers) | {b"x-amz-content-sha256": payload}
        assert code_of(replace(request, headers=list(headers.items()))) == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256", "InvalidRequest"),
        (b"AWS4-HMAC-SHA256 Credential", b"AWS READER:c2lnbmF0dXJl", "InvalidRequest"),
        (b"/s3/", b"/sts/", "AuthorizationHeaderMalformed"),
        (b"READER/20", b"READER/19", "AuthorizationHeaderMalformed"),
        (b"READER/", b"", "AuthorizationHeaderMalformed"),
        (b"Signature=", b"Signature=0", "AuthorizationHeaderMalformed"),
        (b"SignedHeaders=", b"Headers=", "AuthorizationHeaderMalformed"),
        (b"Signature=", b"Signature=1, Signature=", "AuthorizationHeaderMalformed"),
        (b"SignedHeaders=host", b"SignedHeaders=host;host", "AuthorizationHeaderMalformed"),
    ],
)
def test_a_malformed_header_is_told_from_a_wrong_one(old: bytes, new: bytes, code: str) -> None:
    request = signed(PLAIN)
    headers = dict(request.headers)
    assert old in headers[b"authorization"]
    headers[b"authorization"] = headers[b"authorization"].replace(old, new, 1)
    assert code_of(replace(request, headers=list(headers.items()))) == code


@pytest.mark.parametrize(
    ("missing", "code"),
    [(b"x-amz-date", "AccessDenied"), (b"x-amz-content-sha256", "InvalidRequest")],
)
def test_a_header_that_has_to_be_there_is_named(missing: bytes, code: str) -> None:
    request = signed(PLAIN)
    headers = [each for each in request.headers if each[0] != missing]
    assert code_of(replace(request, headers=headers)) == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"X-Amz-Expires=60", b"X-Amz-Expires=", "AuthorizationQueryParametersError"),
        (b"X-Amz-Expires=60", b"X-Amz-Expires=9e9", "AuthorizationQueryParametersError"),
        (b"&X-Amz-Date=", b"&X-Amz-Day=", "AuthorizationQueryParametersError"),
        (b"X-Amz-Date=2026", b"X-Amz-Date=2O26", "AuthorizationQueryParametersError"),
        (b"X-Amz-Expires", b"X-Amz-Expires=1&X-Amz-Expires", "AuthorizationQueryParametersError"),
        (b"AWS4-HMAC-SHA256", b"AWS4", "InvalidRequest"),
        (b"SignedHeaders=host", b"SignedHeaders=host%3Bhost", "AuthorizationQueryParametersError"),
    ],
)
def test_a_malformed_presigned_url_is_told_from_a_wrong_one(
    old: bytes, new: bytes, code: str
) -> None:
    request = signed(PLAIN, expires=60)
    assert old in request.query
    assert code_of(replace(request, query=request.query.replace(old, new, 1))) == code


def test_what_was_signed_is_no_longer_than_the_request() -> None:
    """An answer that is quadratic in the request costs a known key's guesser nothing, and us a lot.

    The canonical request stands in the answer.
    """
    request = signed(PLAIN)
    headers = dict(request.headers)
    names = b"".join(b";a%d" % number for number in range(1000))
    headers[b"authorization"] = headers[b"authorization"].replace(
        b"SignedHeaders=host", b"SignedHeaders=host" + names
    )
    many = [*headers.items(), *((b"a1", b"x") for _ in range(3000))]
    with pytest.raises(S3Error) as caught:
        signer_of(replace(request, headers=many))
    assert caught.value.code == "SignatureDoesNotMatch"
    shown = caught.value.details["CanonicalRequest"]
    assert shown.count("x,") == 2999
    assert len(shown) < 3 * sum(len(name) + len(value) for name, value in many)


def test_only_one_way_to_sign_is_used_and_the_old_one_is_not() -> None:
    both = replace(signed(PLAIN), query=signed(PLAIN, expires=60).query)
    assert code_of(both) == "InvalidRequest"
    version_2 = SignedRequest(
        b"GET", b"/quotes/Nelson", b"torrent&AWSAccessKeyId=READER&Signature=x&Expires=9", []
    )
    assert code_of(version_2) == "InvalidRequest"
