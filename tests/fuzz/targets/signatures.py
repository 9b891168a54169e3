"""Signature Version 4: any claim is refused in S3's words; what botocore signs is accepted."""

import re
from contextlib import suppress

from seeder.gateway.s3errors import S3Error, error_response
from seeder.gateway.sigv4 import SignedRequest, verify
from tests.fuzz.inputs import Choices, target
from tests.gateway.signing import HOST, KEY_ID, NOW, SECRET, signed, url_of

_SECRETS = {KEY_ID: SECRET}
_CREDENTIAL = b"READER/20260921/us-east-1/s3/aws4_request"
_HEADER = (
    b"AWS4-HMAC-SHA256 Credential=%b, SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
    b" Signature=%b" % (_CREDENTIAL, b"0" * 64)
)
_QUERY = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%b&X-Amz-Date=20260921T141320Z"
    b"&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=%b"
    % (_CREDENTIAL.replace(b"/", b"%2F"), b"0" * 64)
)


def _lines(*lines: bytes) -> bytes:
    return b"\n".join(lines)


@target(
    _lines(b"GET", b"/b/k", b"torrent", b"host:t", b"authorization:" + _HEADER)
    + b"\nx-amz-date:20260921T141320Z\nx-amz-content-sha256:UNSIGNED-PAYLOAD",
    _lines(b"GET", b"/b/k", b"torrent&" + _QUERY, b"host:t"),
    _lines(b"GET", b"/b/k", b"AWSAccessKeyId=a&Signature=b", b"host:t"),
    _lines(b"GET", b"/b/%zz/%2f?", b"a=%zz&a=%&=&a", b"authorization:AWS a:b"),
)
def sigv4_claims(data: bytes) -> None:
    """Method, path, query and headers, a line each: an S3Error, an unsigned request, or a key."""
    method, path, query, *headers = (*data.split(b"\n"), b"", b"", b"")[: data.count(b"\n") + 3]
    fields = [line.partition(b":") for line in headers]
    request = SignedRequest(
        method, path, query, [(name.lower(), value) for name, _, value in fields]
    )
    try:
        assert verify(request, _SECRETS.get, now=NOW) is None
    except S3Error as error:
        response = error_response(error, resource=path, request_id="R")
        assert 400 <= response.status < 500
        assert isinstance(response.body, bytes)


_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")


@target(
    b"\0\3a/b\7torrent\0\0",
    b"\1\x06a b+c~\1x\2/=\1x\1\0",
    b"\2\4%2F.\1a\0\1b\2\xc3\xa9",
    b"\5\3//.\x08response\0",
)
def sigv4_signed(data: bytes) -> None:
    """What botocore's signers sign is accepted, and refused with anything changed."""
    choices = Choices(data)
    flags = choices.number()
    key = choices.text().decode(errors="ignore")
    query: list[tuple[str, str | None]] = []
    while choices and len(query) < 8:
        name, value = choices.text().decode(errors="ignore"), choices.text().decode(errors="ignore")
        query.append((name, value if flags & 4 else value or None))
    if not all(_TEXT.fullmatch(text or "") for text in (key, *(t for pair in query for t in pair))):
        return
    names = {name.lower() for name, _ in query}
    if "" in names or any(name.startswith(("x-amz-", "awsaccess", "signature")) for name in names):
        return
    url = url_of("bucket/" + key, query)
    if flags & 1:
        request = signed(url, expires=600)
    else:
        request = signed(url, headers={"x-amz-request-payer": "requester"} if flags & 2 else None)
    assert verify(request, _SECRETS.get, now=NOW) == KEY_ID
    for other in (
        SignedRequest(b"PUT", request.path, request.query, request.headers),
        SignedRequest(request.method, request.path + b"x", request.query, request.headers),
        SignedRequest(request.method, request.path, request.query + b"&x=y", request.headers),
        SignedRequest(
            request.method,
            request.path,
            request.query,
            [(name, value.replace(HOST.encode(), b"h")) for name, value in request.headers],
        ),
    ):
        with suppress(S3Error):
            verify(other, _SECRETS.get, now=NOW)
            raise AssertionError(f"accepted: {other}")
