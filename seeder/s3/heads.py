"""What the head of an answer tells of an object: its state, its range, its description. No I/O."""

import base64
import re
from collections.abc import Mapping

from seeder.errors import ObjectChanged, OriginFault
from seeder.http.dates import parse_date
from seeder.s3.answers import label, printable
from seeder.s3.pages import hint_of_page, is_page
from seeder.torrent.objects import Description, ObjectRef, PinnedObject, opaque
from seeder.units import LARGEST_SIZE, ByteRange, whole_number

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_KEPT = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    }
)
"""The headers that S3 keeps with an object as its publisher gave them."""
_NO_CODING = frozenset({"", "aws-chunked", "identity"})
_METADATA = "x-amz-meta-"
_SHA256_LENGTH = 32
_MOST_KEPT = 8192
"""Characters of all of them; S3 itself takes requests with so much."""
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")


def check_range(
    status: int, headers: Mapping[str, str], pinned: PinnedObject, wanted: ByteRange
) -> None:
    """Check the head of an answer to a ranged GET, before any of its body is taken.

    ObjectChanged for another ETag; OriginFault for anything but the bytes that were asked for
    (RFC 9110, 15.3.7). A 200 will do when the range is the whole object.
    """
    name = label(pinned.ref)
    etag = headers.get("etag")
    if etag is not None and opaque(etag) != pinned.tag:
        raise ObjectChanged(
            f"{name}: the object was replaced (ETag {printable(etag)}, it was {pinned.etag})"
        )
    if status == 200 and etag is None and is_page(headers):
        raise OriginFault(f"{name}: asked for {wanted.header}, {hint_of_page()}")
    length = content_length(headers)
    if status == 200 and length not in (None, pinned.size):
        raise OriginFault(
            f"{name}: asked for {wanted.header}, S3 answers 200 with {length} bytes of"
            f" {printable(headers.get('content-type', '')) or 'something'}, and the object has"
            f" {pinned.size}{_packed(headers)}"
        )
    if status == 200:
        if wanted == ByteRange(0, pinned.size) and length == pinned.size:
            return
        raise OriginFault(
            f"{name}: asked for {wanted.header}, S3 answers 200 with the whole object;"
            f" this server (or a proxy before it) does not serve ranges{_packed(headers)}"
        )
    if status != 206:
        raise OriginFault(f"{name}: S3 answers {status} to a ranged GET")
    given = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None or (int(match[1]), int(match[2])) != (wanted.start, wanted.stop - 1):
        raise OriginFault(
            f"{name}: asked for {wanted.header}, S3 answers with Content-Range"
            f" {printable(given) or 'missing'}"
        )
    if match[3] != "*" and int(match[3]) <= int(match[2]):
        raise OriginFault(f"{name}: S3 answers with Content-Range {given}, which can't be")
    if match[3] != "*" and int(match[3]) != pinned.size:
        problem = f"{name}: the object has {match[3]} bytes, it had {pinned.size}{_packed(headers)}"
        raise (
            OriginFault(f"{problem}, yet its ETag is the same") if etag else ObjectChanged(problem)
        )
    packed = _packed(headers)
    if length is not None and (length > wanted.length or (length < wanted.length and packed)):
        raise OriginFault(f"{name}: asked for {wanted.length} bytes, S3 announces {length}{packed}")


def _packed(headers: Mapping[str, str]) -> str:
    """Return the likely cause where lengths don't agree, if the object is kept packed; else "".

    Some servers and proxies unpack what has Content-Encoding: gzip; Google's keeps the stored one
    in a header of its own.
    """
    stored = headers.get("x-goog-stored-content-encoding", "")
    coding = headers.get("content-encoding", "") or stored
    if coding.strip().lower() in _NO_CODING:
        return ""
    return (
        f"; maybe it packs or unpacks objects on the way (Content-Encoding {printable(coding)}):"
        " turn that off, or upload the object without one"
    )


def is_plain(headers: Mapping[str, str]) -> bool:
    """Tell whether the answer to a HEAD can be believed alone.

    Not without an ETag and a length, nor with a length of 0, which proxies make of a missing one,
    nor where the bytes may be coded on the way: then the length may be that of either form.
    """
    coded = any(name == "content-encoding" for name, _ in describe(headers).headers)
    return "etag" in headers and bool(content_length(headers)) and not coded


def whole_size(status: int, headers: Mapping[str, str]) -> int | None:
    """Return the object's bytes as the head of an answer to a ranged GET tells them, if it does."""
    if status == 200:
        return content_length(headers)
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    size = whole_number(match[3]) if status == 206 and match is not None else None
    return None if match is None or size is None or size <= int(match[2]) else size


def gives(status: int, headers: Mapping[str, str], wanted: ByteRange) -> bool:
    """Tell whether the head of an answer to a ranged GET announces just these bytes."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    given = None if match is None else (int(match[1]), int(match[2]))
    return status == 206 and given == (wanted.start, wanted.stop - 1)


def pin(
    ref: ObjectRef, headers: Mapping[str, str], size: int | None, by: str = "HEAD"
) -> PinnedObject:
    """Return the object that the head of an answer tells of; OriginFault if that isn't enough."""
    etag = headers.get("etag", "")
    hint = f"; {hint_of_page()}" if not etag and is_page(headers) else ""
    usable = etag != "" and etag.isascii() and etag.isprintable()
    if not usable or size is None:
        raise OriginFault(
            f"{label(ref)}: HEAD and a GET of its first byte give ETag"
            f" {printable(etag) or 'missing'}, size {'missing' if size is None else size}; without"
            f" an ETag and a size an object can't be published{hint}"
        )
    if size > LARGEST_SIZE:
        raise OriginFault(f"{label(ref)}: {by} says {size} bytes, which no object has")
    version = headers.get("x-amz-version-id")
    version = None if version == "null" else version
    return PinnedObject(ref, etag, size, version, describe(headers))


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length in bytes; None if it is missing or no number."""
    return whole_number(headers.get("content-length"))


def describe(headers: Mapping[str, str]) -> Description:
    """Return what the head of an answer tells of an object beside its bytes.

    What can't stand in a header, or is too long with all the others, is left out. A coding that is
    only of the transfer (`aws-chunked`, which some servers keep by mistake) is no coding of the
    object.
    """
    kept: list[tuple[str, str]] = []
    room = _MOST_KEPT
    for name in sorted(name for name in headers if name in _KEPT or name.startswith(_METADATA)):
        value = headers[name].strip()
        if name == "content-encoding":
            codings = [coding.strip() for coding in value.split(",")]
            value = ", ".join(each for each in codings if each.lower() not in _NO_CODING)
        room -= len(name) + len(value)
        plain = value.isascii() and value.isprintable() and _HEADER_NAME.fullmatch(name)
        if value and plain and room >= 0:
            kept.append((name, value))
    modified = parse_date(headers.get("last-modified", ""))
    return Description(modified, tuple(kept), _sha256(headers))


def _sha256(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that S3 keeps of a whole object; None of the hash of its parts' hashes."""
    try:
        digest = base64.b64decode(headers.get("x-amz-checksum-sha256", ""), validate=True)
    except ValueError:  # such as "-3" at the end, after which so many parts were hashed
        return None
    whole = headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    return digest.hex() if whole and len(digest) == _SHA256_LENGTH else None
