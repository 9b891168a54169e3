"""Which version and which part of an object the query of a GET names, as S3 has it. No I/O."""

from http import HTTPStatus

from seeder.gateway.s3errors import S3Error
from seeder.http.messages import Request, decoded_query
from seeder.units import ByteRange

UNVERSIONED = "null"
"""S3's version id of an object that has none."""
_MOST_PARTS = 10_000


def version_asked(request: Request) -> str | None:
    """Return the version id that a request names; None without one. S3Error InvalidArgument."""
    version = _last(request, b"versionId")
    if version == "":
        raise S3Error("InvalidArgument", "Version id cannot be the empty string")
    return version


def part_asked(request: Request, size: int) -> ByteRange | None:
    """Return the bytes of the part that a request names, of an object of `size` bytes; else None.

    Whatever was uploaded in parts is one part here: where they begin isn't known. S3Error
    InvalidArgument, InvalidPartNumber, and InvalidRequest beside a Range.
    """
    part = _last(request, b"partNumber")
    if part is None:
        return None
    number = int(part) if part.isascii() and part.isdigit() and len(part) < 9 else 0
    if not 1 <= number <= _MOST_PARTS:
        why = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
        raise S3Error("InvalidArgument", why)
    if request.header(b"range") is not None:
        why = "Cannot specify both Range header and partNumber query parameter"
        raise S3Error("InvalidRequest", why)
    if number > 1:
        length = (b"Content-Range", b"bytes */%d" % size)
        raise S3Error(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable: objects are one part here.",
            headers=(length,),
        )
    return ByteRange(0, size) if size else None


def applied(
    status: HTTPStatus, wanted: ByteRange | None, part: ByteRange | None
) -> tuple[HTTPStatus, ByteRange | None]:
    """Return the status of a reply and the range that it has, if a part of the object is asked for.

    `status` and `wanted` are what the request's headers ask for.
    """
    if status is HTTPStatus.OK and part is not None:
        return HTTPStatus.PARTIAL_CONTENT, part
    return status, wanted


def _last(request: Request, name: bytes) -> str | None:
    found = [value for each, value in decoded_query(request.query) if each == name]
    return found[-1].decode("utf-8", "replace") if found else None
