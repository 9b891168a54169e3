"""Headers that several handlers need: preconditions, ranges, Accept, tokens, dispositions.

A GET may want all of a resource, a range of it, or only to hear whether it changed. Preconditions
come first, in the order of RFC 9110, 13.2.2. Those with dates are ignored where it isn't known when
the resource changed. A request for several ranges gets the whole (14.2). No I/O.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote

from seeder.http.dates import parse_date
from seeder.http.messages import Request
from seeder.units import ByteRange

_TAG = re.compile(rb'(W/)?("[^"]*")|\*')
_RANGE = re.compile(rb"bytes=(.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(rb"(\d*)-(\d*)")
_MOST_DIGITS = 20
"""Digits of a number; a longer one lies beyond the end of every resource."""
_QUALITY = re.compile(rb"0(\.[0-9]{0,9})?|1(\.0{0,9})?")
_OUTSIDE = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
_BEARER = b"bearer "
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")
"""A token (RFC 9110, 5.6.2) without `%`, of which RFC 6266, D, warns, and without `'` and `*`."""
_UNQUOTABLE = re.compile(r'[^ -~]|["\\%]')


def evaluate(
    request: Request, etag: bytes, size: int, modified: int | None = None
) -> tuple[HTTPStatus, ByteRange | None]:
    """Return the status of a reply about `size` bytes, and for 206 which of them it has.

    One of 200, 206, 304, 412 and 416. `etag` has its quotes and is a strong one; `modified` is
    Last-Modified in Unix seconds.
    """
    if_match = request.all_headers(b"if-match")
    if if_match and not tags_match(if_match, etag, weakly=False):
        return HTTPStatus.PRECONDITION_FAILED, None
    if not if_match and _changed_since(request, b"if-unmodified-since", modified) is True:
        return HTTPStatus.PRECONDITION_FAILED, None
    if_none_match = request.all_headers(b"if-none-match")
    if tags_match(if_none_match, etag, weakly=True):
        return HTTPStatus.NOT_MODIFIED, None
    if not if_none_match and _changed_since(request, b"if-modified-since", modified) is False:
        return HTTPStatus.NOT_MODIFIED, None
    asked = request.all_headers(b"range")
    if request.method != b"GET" or len(asked) != 1 or not _range_holds(request, etag, modified):
        return HTTPStatus.OK, None
    found = parse_range(asked[0], size)
    if isinstance(found, HTTPStatus):
        return found, None
    return HTTPStatus.PARTIAL_CONTENT, found


def parse_range(header: bytes, size: int) -> ByteRange | HTTPStatus:
    """Return the range of `size` bytes that the value of a Range header selects.

    200 where the header is to be ignored (several ranges, another unit, no range at all), 416
    where the range lies outside (RFC 9110, 14.1.2).
    """
    found = _RANGE.fullmatch(header.strip())
    specs = [spec.strip(b" \t") for spec in found[1].split(b",")] if found else []
    single = [spec for spec in specs if spec]
    spec = _SPEC.fullmatch(single[0]) if len(single) == 1 else None
    if spec is None or not any(spec.groups()):
        return HTTPStatus.OK
    first, last = (_number(digits) for digits in spec.groups())
    if first is None:
        assert last is not None
        length = min(last, size)
        return ByteRange(size - length, length) if length else _OUTSIDE
    if last is not None and _order(spec[2]) < _order(spec[1]):
        return HTTPStatus.OK
    if first >= size:
        return _OUTSIDE
    stop = size if last is None else min(last + 1, size)
    return ByteRange(first, stop - first)


def tags_match(headers: Sequence[bytes], etag: bytes, *, weakly: bool) -> bool:
    """Tell whether the values of If-Match or If-None-Match name `etag`, or any (`*`)."""
    found = [match for header in headers for match in _TAG.finditer(header)]
    return any(
        match[0] == b"*" or (match[2] == etag and (weakly or not match[1])) for match in found
    )


def _changed_since(request: Request, name: bytes, modified: int | None) -> bool | None:
    """Tell whether the resource changed after the date in a header; None where that isn't known."""
    dates = request.all_headers(name)
    since = parse_date(dates[0].decode("latin-1")) if len(dates) == 1 else None
    return None if since is None or modified is None else modified > since


def _range_holds(request: Request, etag: bytes, modified: int | None) -> bool:
    """Tell whether If-Range allows a range of the resource as it is now."""
    if_range = request.all_headers(b"if-range")
    if not if_range:
        return True
    if len(if_range) != 1:
        return False
    # A date has to be the same one, not a later one (RFC 9110, 13.1.5).
    date = parse_date(if_range[0].decode("latin-1"))
    return if_range[0].strip() == etag or (date is not None and date == modified)


def _number(digits: bytes) -> int | None:
    if not digits:
        return None
    return int(digits[-_MOST_DIGITS:]) if len(digits.lstrip(b"0")) <= _MOST_DIGITS else 10**20


def _order(digits: bytes) -> tuple[int, bytes]:
    """Return what numbers of any length are compared by."""
    plain = digits.lstrip(b"0")
    return len(plain), plain


def bearer_token(value: bytes) -> bytes:
    """Return the token of an Authorization header (RFC 6750, 2.1); b"" if it is of another kind."""
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else b""


def content_disposition(filename: str) -> bytes:
    """Return a Content-Disposition that saves under `filename` (RFC 6266).

    A plain name stands as it is. Any other name is given twice: quoted for old clients, with `_`
    for what can't be quoted, and percent-encoded in UTF-8 for all others.
    """
    if _PLAIN_NAME.fullmatch(filename):
        return f"attachment; filename={filename}".encode()
    fallback = _UNQUOTABLE.sub("_", filename)
    spelt = quote(filename, safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{spelt}".encode()


def takes_gzip(request: Request) -> bool:
    """Tell whether a client unpacks a reply in gzip."""
    return accepted(request.all_headers(b"accept-encoding")).get(b"gzip", 0) > 0


def accepted(accept: Sequence[bytes]) -> dict[bytes, float]:
    """Return the media types of Accept headers with their qualities (RFC 9110, 12.5.1)."""
    found = {}
    for part in b",".join(accept).split(b","):
        kind, *parameters = (piece.strip() for piece in part.lower().split(b";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition(b"=")
            if name == b"q":
                quality = float(value) if _QUALITY.fullmatch(value) else 0.0
        found[kind] = quality
    return found
