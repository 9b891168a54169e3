"""Signature Version 4 from the server's side: which access key signed a request.

As in S3, path and query are decoded and encoded anew before they are compared, and the path is
encoded once and not normalised. A request has no body here.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html

No I/O.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_from_bytes, unquote_to_bytes

from seeder.gateway.s3errors import ErrorCode, S3Error
from seeder.http.messages import Header, Parameters, decoded_query

ALGORITHM = b"AWS4-HMAC-SHA256"
LARGEST_SKEW = 15 * 60
"""Seconds between the signer's clock and ours."""
LONGEST_EXPIRY = 7 * 86400
"""Seconds that a presigned URL may be valid."""
UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"
EMPTY_PAYLOAD = hashlib.sha256().hexdigest().encode()

_TIMESTAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_HEX_SHA256 = re.compile(rb"[0-9a-f]{64}")
_EXPIRES = re.compile(rb"[0-9]{1,7}")
_SCOPE = (b"s3", b"aws4_request")
_PRESIGNED = frozenset({b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature"})
_ADDED_ON_THE_WAY = frozenset({b"x-amz-cf-id"})
"""By CloudFront, after the request was signed."""
_OTHER_WAYS = (
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256;"
    " the AWS CLI and boto presign with it where signature_version is s3v4."
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your"
    " secret access key and signing method; a proxy on the way must leave the Host header as it is."
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The signed parts of a request; `path` and `query` are raw, header names in lower case."""

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[Header]

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of a header, in order."""
        return [value for candidate, value in self.headers if candidate == name]


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a client says about its signature."""

    access_key_id: str
    date: bytes
    """YYYYMMDD, of the scope."""
    region: bytes
    timestamp: bytes
    signed_headers: tuple[bytes, ...]
    signature: bytes
    payload: bytes
    query: Parameters
    """The decoded query without the signature in it."""

    @property
    def scope(self) -> bytes:
        return b"/".join((self.date, self.region, *_SCOPE))


def verify(
    request: SignedRequest, secret_of: Callable[[str], str | None], *, now: float
) -> str | None:
    """Return the id of the access key that signed a request; None for an unsigned request.

    S3Error for a signature that is malformed, wrong, by an unknown key, or that doesn't hold at
    `now` (Unix seconds).
    """
    query = decoded_query(request.query)
    authorization = request.values(b"authorization")
    names = {name for name, _ in query}
    presigned = not names.isdisjoint(_PRESIGNED)
    if authorization and presigned:
        raise S3Error("InvalidRequest", "Sign either by a header or in the query, not both.")
    if authorization:
        claim = _from_header(request, authorization, query, now)
    elif presigned:
        claim = _from_query(request, query, now)
    elif {b"AWSAccessKeyId", b"Signature"} <= names:
        raise S3Error("InvalidRequest", _OTHER_WAYS)
    else:
        return None
    _check_headers(request, claim)
    secret = secret_of(claim.access_key_id)
    if secret is None:
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            {"AWSAccessKeyId": claim.access_key_id},
        )
    canonical = _canonical_request(request, claim)
    to_sign = b"\n".join(
        (ALGORITHM, claim.timestamp, claim.scope, hashlib.sha256(canonical).hexdigest().encode())
    )
    expected = hmac.new(_signing_key(secret, claim), to_sign, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature):
        raise S3Error("SignatureDoesNotMatch", _MISMATCH, _for_comparing(claim, canonical, to_sign))
    return claim.access_key_id


def _from_header(
    request: SignedRequest, authorization: Sequence[bytes], query: Parameters, now: float
) -> _Signature:
    """Read a signature from the Authorization header; S3Error."""
    code: ErrorCode = "AuthorizationHeaderMalformed"
    if len(authorization) > 1:
        raise S3Error(code, "There is more than one Authorization header.")
    algorithm, _, rest = authorization[0].strip().partition(b" ")
    if algorithm != ALGORITHM:
        raise S3Error("InvalidRequest", _OTHER_WAYS)
    parts = [part.strip().partition(b"=") for part in rest.split(b",")]
    fields = {name: value for name, _, value in parts}
    if len(parts) != 3 or fields.keys() != {b"Credential", b"SignedHeaders", b"Signature"}:
        raise S3Error(code, "Want Credential=..., SignedHeaders=..., Signature=..., each once.")
    dates = request.values(b"x-amz-date")
    if len(dates) != 1:
        raise S3Error("AccessDenied", "AWS authentication requires a valid x-amz-date header.")
    payloads = request.values(b"x-amz-content-sha256")
    if len(payloads) != 1:
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    claim = _claim(code, fields, timestamp=dates[0], payload=payloads[0], query=query)
    signed_at = _seconds(claim.timestamp, code)
    if abs(now - signed_at) > LARGEST_SKEW:
        raise S3Error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the server's time is too large.",
            {
                "RequestTime": _iso(signed_at),
                "ServerTime": _iso(now),
                "MaxAllowedSkewMilliseconds": str(LARGEST_SKEW * 1000),
            },
        )
    return claim


def _from_query(request: SignedRequest, query: Parameters, now: float) -> _Signature:
    """Read a signature from the query of a presigned URL; S3Error."""
    code: ErrorCode = "AuthorizationQueryParametersError"
    fields: dict[bytes, bytes] = {}
    for name, value in query:
        if not name.startswith(b"X-Amz-"):
            continue
        short = name.removeprefix(b"X-Amz-")
        if short in fields:
            raise S3Error(code, f"{_shown(name)} is there more than once.")
        fields[short] = value
    for short in (b"Algorithm", b"Credential", b"Date", b"Expires", b"SignedHeaders", b"Signature"):
        if short not in fields:
            raise S3Error(
                code,
                "Query-string authentication version 4 requires the X-Amz-Algorithm,"
                " X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and"
                " X-Amz-Expires parameters.",
            )
    if fields[b"Algorithm"] != ALGORITHM:
        raise S3Error("InvalidRequest", _OTHER_WAYS)
    expires = int(fields[b"Expires"]) if _EXPIRES.fullmatch(fields[b"Expires"]) else 0
    if not 1 <= expires <= LONGEST_EXPIRY:
        raise S3Error(code, f"X-Amz-Expires must be from 1 to {LONGEST_EXPIRY} seconds.")
    payloads = request.values(b"x-amz-content-sha256") or [UNSIGNED_PAYLOAD]
    rest = [(name, value) for name, value in query if name != b"X-Amz-Signature"]
    claim = _claim(code, fields, timestamp=fields[b"Date"], payload=payloads[0], query=rest)
    signed_at = _seconds(claim.timestamp, code)
    if signed_at - now > LARGEST_SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet", {"ServerTime": _iso(now)})
    if now > signed_at + expires:
        times = {"Expires": _iso(signed_at + expires), "ServerTime": _iso(now)}
        raise S3Error("AccessDenied", "Request has expired", times)
    return claim


def _claim(
    code: ErrorCode,
    fields: Mapping[bytes, bytes],
    *,
    timestamp: bytes,
    payload: bytes,
    query: Parameters,
) -> _Signature:
    """Check the form of a signature's parts; S3Error with `code` where it is wrong."""
    scope = fields[b"Credential"].split(b"/")
    if len(scope) != 5 or tuple(scope[3:]) != _SCOPE or not all(scope):
        raise S3Error(code, "The credential must be ACCESS-KEY-ID/YYYYMMDD/REGION/s3/aws4_request.")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise S3Error(code, "X-Amz-Date must be in the ISO8601 form YYYYMMDDTHHMMSSZ.")
    if scope[1] != timestamp[:8]:
        raise S3Error(code, "The date of the credential is not that of X-Amz-Date.")
    if not _HEX_SHA256.fullmatch(fields[b"Signature"]):
        raise S3Error(code, "The signature must be 64 hexadecimal digits in lower case.")
    signed_headers = tuple(fields[b"SignedHeaders"].split(b";"))
    if len(set(signed_headers)) < len(signed_headers):
        # Each would stand in the canonical request with all its values, as often as it is named.
        raise S3Error(code, "SignedHeaders must name each header once.")
    if payload not in (UNSIGNED_PAYLOAD, EMPTY_PAYLOAD):
        raise S3Error(
            "XAmzContentSHA256Mismatch",
            "There is no body: x-amz-content-sha256 must be that of nothing, or UNSIGNED-PAYLOAD.",
        )
    return _Signature(
        access_key_id=_shown(scope[0]),
        date=scope[1],
        region=scope[2],
        timestamp=timestamp,
        signed_headers=signed_headers,
        signature=fields[b"Signature"],
        payload=payload,
        query=query,
    )


def _check_headers(request: SignedRequest, claim: _Signature) -> None:
    """Check that the Host header and all of Amazon's headers are signed; S3Error."""
    signed = set(claim.signed_headers)
    there = {name for name, _ in request.headers}
    if b"host" not in signed:
        raise S3Error("AccessDenied", "The Host header must be signed.")
    unsigned = sorted(
        name for name in there - signed - _ADDED_ON_THE_WAY if name.startswith(b"x-amz-")
    )
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            {"HeadersNotSigned": ", ".join(map(_shown, unsigned))},
        )


def _canonical_request(request: SignedRequest, claim: _Signature) -> bytes:
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in claim.query)
    # One pass: a client may send thousands of headers, and sign thousands of names.
    values: dict[bytes, list[bytes]] = {name: [] for name in claim.signed_headers}
    for name, value in request.headers:
        if name in values:
            values[name].append(b" ".join(value.split()))
    headers = [name + b":" + b",".join(values[name]) + b"\n" for name in claim.signed_headers]
    return b"\n".join(
        (
            request.method,
            _encoded(unquote_to_bytes(request.path), safe="/"),
            b"&".join(name + b"=" + value for name, value in pairs),
            b"".join(headers),
            b";".join(claim.signed_headers),
            claim.payload,
        )
    )


def _signing_key(secret: str, claim: _Signature) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (claim.date, claim.region, *_SCOPE):
        key = hmac.digest(key, part, "sha256")
    return key


def _for_comparing(claim: _Signature, canonical: bytes, to_sign: bytes) -> dict[str, str]:
    """Return what S3 sends for a client's author to compare with what that client signed."""
    return {
        "AWSAccessKeyId": claim.access_key_id,
        "StringToSign": _shown(to_sign),
        "SignatureProvided": _shown(claim.signature),
        "CanonicalRequest": _shown(canonical),
    }


def _encoded(text: bytes, safe: str = "") -> bytes:
    """Percent-encode all but unreserved characters (RFC 3986) and `safe`."""
    return quote_from_bytes(text, safe=safe).encode()


def _seconds(timestamp: bytes, code: ErrorCode) -> float:
    """Return the Unix time of a YYYYMMDDTHHMMSSZ; S3Error for a day or time that can't be."""
    try:
        moment = datetime.strptime(timestamp.decode(), "%Y%m%dT%H%M%SZ")
    except ValueError:
        raise S3Error(code, "X-Amz-Date is no date and time.") from None
    return moment.replace(tzinfo=UTC).timestamp()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
