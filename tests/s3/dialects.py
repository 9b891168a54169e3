"""How S3 servers differ, by the vendor's name: what tests/s3/objects_server.py speaks.

A name says whose answer to ?torrent, ?attributes, If-Match or a listing a row has; in the rest a
row is the default, not a likeness of that server.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import quote, quote_plus

Refusal: TypeAlias = tuple[int, bytes]
"""A status and the body of the error."""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()


_NOT_IMPLEMENTED: Refusal = (501, _error("NotImplemented"))
_NOT_ALLOWED: Refusal = (405, _error("MethodNotAllowed"))
_NO_CHECKSUMS: Refusal = (
    200,
    b"<GetObjectAttributesResponse><StorageClass>STANDARD</StorageClass>"
    b"</GetObjectAttributesResponse>",
)
"""What is told of an object that was uploaded without checksums."""
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(frozen=True)
class Dialect:
    """A server's answers; the defaults are what AWS documents."""

    name: str
    torrent: Refusal | None = _NOT_IMPLEMENTED
    """What ?torrent answers; None is the object itself, with status 200."""
    attributes: Refusal | None = _NOT_IMPLEMENTED
    """What ?attributes answers; None is the object itself."""
    v2: bool = True
    """Whether it lists by ListObjectsV2; else `list-type` is passed over, or refused."""
    refuses_v2: Refusal | None = None
    next_marker: bool = False
    """Whether V1 names the next marker without a delimiter."""
    keys: Literal["plus", "percent", "plain", "twice", "claimed"] = "plus"
    """How a listing writes keys: encoded (a blank as + or %20), not encoded and not called so,
    encoded twice, or not encoded though called so."""
    quotes: bool = True
    """Whether ETags in a listing have their quotes."""
    namespace: str = _NAMESPACE
    if_match: bool = True
    """Whether If-Match is looked at."""


def encode_key(dialect: Dialect, key: str) -> str:
    """Return a key as a listing writes it."""
    match dialect.keys:
        case "plus":
            return quote_plus(key, safe="/")
        case "percent":
            return quote(key)
        case "twice":
            return quote(quote(key))
        case "plain" | "claimed":
            return key


DIALECTS = (
    Dialect("AWS S3", torrent=_NOT_ALLOWED, attributes=_NO_CHECKSUMS),
    Dialect("Ceph RGW 16", attributes=None),
    Dialect("OpenStack Swift s3api"),
    Dialect("moto 5", torrent=None),
    Dialect("s3rver", if_match=False),
    Dialect("RustFS", torrent=(404, _error("NoSuchKey"))),
    Dialect("an old server that passes over list-type", v2=False),
    Dialect("an old server that names markers", v2=False, next_marker=True, keys="percent"),
    Dialect("a server that refuses list-type (501)", v2=False, refuses_v2=_NOT_IMPLEMENTED),
    Dialect(
        "a server that refuses list-type (400)",
        v2=False,
        refuses_v2=(400, _error("InvalidArgument")),
    ),
    Dialect("a server without encoding-type", keys="plain", namespace=""),
    Dialect("a server whose listed ETags lack quotes", quotes=False),
)
