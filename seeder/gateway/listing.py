"""ListObjects and ListObjectsV2: what is asked, which keys answer it, and the answer in XML.

A page looks at so many keys at most, whatever is among them: where few of them may be shown, it is
short and says where to go on. No I/O.
"""

import re
from base64 import b64decode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from seeder.gateway.s3errors import S3Error, xml_text
from seeder.http.messages import Parameters
from seeder.torrent.catalog import Publication

MOST_KEYS = 1000
"""Objects and common prefixes in a page: S3's own limit."""
MOST_LOOKED_AT = 2000
"""Keys that a page looks at, so that it takes milliseconds even where few may be shown."""
_DIGITS = 10
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
_LAST = "\U0010ffff"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a client asks to be listed."""

    version: int
    """2, or 1 for ListObjects."""
    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    """The key, or common prefix, after which to begin."""
    most: int = MOST_KEYS
    encoded: bool = False
    """Whether the names are percent-encoded in the answer."""
    start: tuple[tuple[str, str], ...] = ()
    """What the client said about where to begin, for the answer: element and text."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A page of a listing."""

    objects: Sequence[tuple[str, Publication]]
    prefixes: Sequence[str]
    """Common prefixes."""
    last: str | None
    """The name after which the next page begins; None without one."""


def read_query(parameters: Parameters) -> ListQuery:
    """Return what the decoded query of a GET of a bucket asks for; S3Error InvalidArgument."""
    told = {name.decode("latin-1"): _text(value) for name, value in parameters}
    version = told.get("list-type", "1")
    if version not in ("1", "2"):
        raise S3Error("InvalidArgument", "There is list-type 2, and 1 by leaving it out.")
    number = told.get("max-keys") or str(MOST_KEYS)
    if not (number.isascii() and number.isdecimal() and len(number) <= _DIGITS):
        raise S3Error("InvalidArgument", "max-keys is not a number.")
    encoding = told.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    after = told.get("marker", "")
    start: tuple[tuple[str, str], ...] = (("Marker", after),)
    if version == "2":
        after = told.get("start-after", "")
        start = (("StartAfter", after),) if after else ()
        if (token := told.get("continuation-token")) is not None:
            after = _name_in(token)
            start += (("ContinuationToken", token),)
    return ListQuery(
        int(version),
        told.get("prefix", ""),
        told.get("delimiter", ""),
        after,
        min(int(number), MOST_KEYS),
        encoding == "url",
        start,
    )


def find_keys(
    query: ListQuery, keys: Sequence[str], shown: Callable[[str], Publication | None]
) -> Keys:
    """Return the page of sorted `keys` that a query asks for, of those that are `shown`."""
    prefix, delimiter = query.prefix, query.delimiter
    objects: list[tuple[str, Publication]] = []
    prefixes: list[str] = []
    at = max(bisect_left(keys, prefix), bisect_right(keys, query.after))
    if _is_common(query, query.after):
        at = max(at, bisect_left(keys, query.after + _LAST))
    looks, last = 0, query.after
    while at < len(keys) and (key := keys[at]).startswith(prefix):
        if len(objects) + len(prefixes) >= query.most or looks >= MOST_LOOKED_AT:
            return Keys(objects, prefixes, last if query.most else None)
        looks += 1
        publication = shown(key)
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if publication is None:
            last = key
        elif cut >= 0:
            common = last = key[: cut + len(delimiter)]
            prefixes.append(common)
            at = bisect_left(keys, common + _LAST, at)
            continue
        else:
            last = key
            objects.append((key, publication))
        at += 1
    return Keys(objects, prefixes, None)


def list_page(bucket: str, query: ListQuery, page: Keys) -> bytes:
    """Return a page as S3 words it."""

    def name(text: str) -> str:
        if _PLAIN.fullmatch(text):  # of most names; the other ways cost microseconds each
            return text
        return quote(text, safe="/*-._~") if query.encoded else xml_text(text)

    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ListBucketResult xmlns="{NAMESPACE}">'
        f"<Name>{xml_text(bucket)}</Name><Prefix>{name(query.prefix)}</Prefix>"
    ]
    for element, text in query.start:
        shown = xml_text(text) if element == "ContinuationToken" else name(text)
        parts.append(f"<{element}>{shown}</{element}>")
    if query.delimiter:
        parts.append(f"<Delimiter>{name(query.delimiter)}</Delimiter>")
    parts.append(f"<MaxKeys>{query.most}</MaxKeys>")
    if query.encoded:
        parts.append("<EncodingType>url</EncodingType>")
    if query.version == 2:
        parts.append(f"<KeyCount>{len(page.objects) + len(page.prefixes)}</KeyCount>")
    parts.append(f"<IsTruncated>{'false' if page.last is None else 'true'}</IsTruncated>")
    if page.last is not None and query.version == 2:
        parts.append(f"<NextContinuationToken>{_token(page.last)}</NextContinuationToken>")
    elif page.last is not None:
        parts.append(f"<NextMarker>{name(page.last)}</NextMarker>")
    parts += [_entry(name(key), publication) for key, publication in page.objects]
    parts += [
        f"<CommonPrefixes><Prefix>{name(each)}</Prefix></CommonPrefixes>" for each in page.prefixes
    ]
    parts.append("</ListBucketResult>\n")
    return "".join(parts).encode()


def _entry(name: str, publication: Publication) -> str:
    pinned = publication.pinned
    assert pinned is not None
    told = pinned.description
    tag = pinned.tag
    return (
        f"<Contents><Key>{name}</Key>"
        f"<LastModified>{_time(told.modified if told is not None else None)}</LastModified>"
        f"<ETag>&quot;{tag if _PLAIN.fullmatch(tag) else xml_text(tag)}&quot;</ETag>"
        f"<Size>{pinned.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _time(seconds: int | None) -> str:
    """Return a time as listings have it; tools stumble where there is none."""
    then = datetime.fromtimestamp(seconds or 0, UTC).replace(tzinfo=None)
    return f"{then.isoformat()}.000Z"


def _is_common(query: ListQuery, name: str) -> bool:
    """Tell whether a page before this one had a name as a common prefix."""
    delimiter, prefix = query.delimiter, query.prefix
    if not delimiter or not name.startswith(prefix):
        return False
    cut = name.find(delimiter, len(prefix))
    return cut >= 0 and cut + len(delimiter) == len(name)


def _token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


def _name_in(token: str) -> str:
    try:
        return b64decode(token.encode(), b"-_", validate=True).decode()
    except ValueError:
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidArgument", "The query is not UTF-8.") from None
