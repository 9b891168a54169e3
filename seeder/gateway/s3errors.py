"""The errors that S3's API answers with: a code, a status and a document in XML. No I/O."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

from seeder.http.messages import Header, Response

ErrorCode: TypeAlias = Literal[
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidPartNumber",
    "InvalidRange",
    "InvalidRequest",
    "InvalidURI",
    "MethodNotAllowed",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchVersion",
    "NotImplemented",
    "PreconditionFailed",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
]

_STATUS: dict[ErrorCode, HTTPStatus] = {
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "AuthorizationHeaderMalformed": HTTPStatus.BAD_REQUEST,
    "AuthorizationQueryParametersError": HTTPStatus.BAD_REQUEST,
    "InvalidAccessKeyId": HTTPStatus.FORBIDDEN,
    "InvalidArgument": HTTPStatus.BAD_REQUEST,
    "InvalidPartNumber": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "InvalidRange": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "InvalidRequest": HTTPStatus.BAD_REQUEST,
    "InvalidURI": HTTPStatus.BAD_REQUEST,
    "MethodNotAllowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "NoSuchBucket": HTTPStatus.NOT_FOUND,
    "NoSuchKey": HTTPStatus.NOT_FOUND,
    "NoSuchVersion": HTTPStatus.NOT_FOUND,
    "NotImplemented": HTTPStatus.NOT_IMPLEMENTED,
    "PreconditionFailed": HTTPStatus.PRECONDITION_FAILED,
    "RequestTimeTooSkewed": HTTPStatus.FORBIDDEN,
    "ServiceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "SignatureDoesNotMatch": HTTPStatus.FORBIDDEN,
    "SlowDown": HTTPStatus.SERVICE_UNAVAILABLE,
    "XAmzContentSHA256Mismatch": HTTPStatus.BAD_REQUEST,
}
_ABOUT_ACCESS = frozenset[ErrorCode](
    {
        "AccessDenied",
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "InvalidAccessKeyId",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "XAmzContentSHA256Mismatch",
    }
)
_RETRY_AFTER = 60
"""Seconds; how long it takes to make a torrent isn't known here."""
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class S3Error(Exception):
    """A request that is refused as S3 refuses it; all of it is shown to the client."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        details: Mapping[str, str] | None = None,
        headers: tuple[Header, ...] = (),
        *,
        retry_in: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code: ErrorCode = code
        self.message = message
        self.details = details or {}
        """Further elements of the document, such as StringToSign."""
        self.headers = headers
        """Headers of the answer beside the usual ones."""
        self.retry_in = retry_in
        """Seconds after which the client may ask again, if that is known."""

    @property
    def status(self) -> HTTPStatus:
        return _STATUS[self.code]

    @property
    def is_about_access(self) -> bool:
        """Whether it is about who asks, not about what is asked for."""
        return self.code in _ABOUT_ACCESS


def error_response(error: S3Error, *, resource: bytes, request_id: str) -> Response:
    """Return S3's answer with an error; `resource` is the path as it was requested."""
    elements = {
        "Code": error.code,
        "Message": error.message,
        **error.details,
        "Resource": resource.decode("latin-1"),
        "RequestId": request_id,
    }
    inside = "".join(f"<{name}>{xml_text(text)}</{name}>" for name, text in elements.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>\n'
    headers: tuple[Header, ...] = (
        (b"x-amz-request-id", request_id.encode()),
        (b"Content-Type", b"application/xml"),
        *error.headers,
        *_retry_after(error),
    )
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers += ((b"Allow", b"GET, HEAD"),)
    return Response(error.status, body.encode(), headers)


def error_text(error: S3Error) -> Response:
    """Return the answer with an error as a line of text, for pages that S3 doesn't have."""
    headers: tuple[Header, ...] = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        *error.headers,
        *_retry_after(error),
    )
    return Response(error.status, f"{error.message}\n".encode(), headers)


def _retry_after(error: S3Error) -> tuple[Header, ...]:
    if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return ()
    seconds = _RETRY_AFTER if error.retry_in is None else max(1, ceil(error.retry_in))
    return ((b"Retry-After", b"%d" % min(seconds, _RETRY_AFTER)),)


def xml_text(text: str) -> str:
    """Return a text escaped for XML or a quoted attribute; `?` for what XML can't hold."""
    # Parsers take a carriage return that stands as it is for the end of a line.
    return escape(_NOT_XML.sub("?", text), {'"': "&quot;", "\r": "&#13;"})
