"""ListObjects and ListObjectsV2: what is asked, which keys answer it, and the answer in XML.

A page looks at so many keys at most, whatever is among them: where few of them may be shown, it is
short and says where to go on. It is made in slices, so that others get their turn in between. No
I/O.
"""

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

from seeder.gateway.s3errors import S3Error, xml_text
from seeder.http.messages import Parameters
from seeder.torrent.names import KeyOrder, beyond
from seeder.torrent.objects import PinnedObject

T = TypeVar("T")

MOST_KEYS = 1000
"""Objects and common prefixes in a page: S3's own limit."""
MOST_LOOKED_AT = 2000
"""Keys that a page looks at, so that it takes milliseconds even where few may be shown."""
KEYS_AT_ONCE = 100
"""Keys that are looked at in a go: some milliseconds at most, also of a thousand bundles."""
_DIGITS = 10
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*")
OWNER = "<Owner><ID>seeder</ID></Owner>"
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
    owner: bool = False
    """Whether each object has its owner beside it."""
    start: tuple[tuple[str, str], ...] = ()
    """What the client said about where to begin, for the answer: element and text."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object that may be shown."""

    pinned: PinnedObject
    modified: int
    """Unix seconds at which it changed last, or was published if that isn't known."""


@dataclass(slots=True)
class ListPage:
    """A page of a listing, or what there is of it so far."""

    keys: list[str] = field(default_factory=list)
    """Of the objects on it."""
    entries: list[str] = field(default_factory=list)
    """The same in XML."""
    prefixes: list[str] = field(default_factory=list)
    """Common prefixes."""
    last: str | None = None
    """The name after which the next page begins; None without one."""
    looks: int = 0
    """Keys that were looked at."""
    whole: bool = False

    def __len__(self) -> int:
        return len(self.keys) + len(self.prefixes)


def read_query(parameters: Parameters) -> ListQuery:
    """Return what the decoded query of a GET of a bucket asks for; S3Error InvalidArgument."""
    told = {name.decode("latin-1"): _text(value) for name, value in parameters}
    version = told.get("list-type", "1")
    if version not in ("1", "2"):
        raise S3Error("InvalidArgument", "There is list-type 2, and 1 by leaving it out.")
    number = told.get("max-keys") or str(MOST_KEYS)
    if not (number.isascii() and number.isdecimal() and len(number) <= _DIGITS):
        why = "max-keys must be a whole number from 0 to 2147483647."
        raise S3Error("InvalidArgument", why)
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
        version == "1" or told.get("fetch-owner") == "true",
        start,
    )


def extend_page(
    page: ListPage,
    query: ListQuery,
    keys_from: Callable[[str], KeyOrder[T]],
    shown: Callable[[str], ListedObject | None],
) -> None:
    """Look at a slice of the keys for the page that a query asks for; see `page.whole`.

    `keys_from` gives those from a name on, in order; they may be others in each slice. Those go on
    the page that are `shown`.
    """
    prefix, delimiter = query.prefix, query.delimiter
    after = query.after if page.last is None else page.last
    first: str | None = max(prefix, after + "\0") if after else prefix
    if _is_common(query, after):
        first = beyond(after)
    last, stop = after, min(page.looks + KEYS_AT_ONCE, MOST_LOOKED_AT)
    order = keys_from(first) if first is not None else KeyOrder[T](())
    while (key := order.key) is not None and key.startswith(prefix):
        if len(page) >= query.most or page.looks >= stop:
            page.last = last if query.most else None
            page.whole = len(page) >= query.most or stop == MOST_LOOKED_AT
            return
        page.looks += 1
        found = shown(key)
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if found is not None and cut >= 0:
            last = key[: cut + len(delimiter)]
            page.prefixes.append(last)
            if (following := beyond(last)) is None:
                break
            order.seek(following)
            continue
        last = key
        if found is not None:
            page.keys.append(key)
            page.entries.append(_entry(query, key, found))
        order.step()
    page.last, page.whole = None, True


def list_page(bucket: str, query: ListQuery, page: ListPage) -> bytes:
    """Return a page as S3 words it."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ListBucketResult xmlns="{NAMESPACE}">'
        f"<Name>{xml_text(bucket)}</Name><Prefix>{_name(query, query.prefix)}</Prefix>"
    ]
    for element, text in query.start:
        shown = xml_text(text) if element == "ContinuationToken" else _name(query, text)
        parts.append(f"<{element}>{shown}</{element}>")
    if query.delimiter:
        parts.append(f"<Delimiter>{_name(query, query.delimiter)}</Delimiter>")
    parts.append(f"<MaxKeys>{query.most}</MaxKeys>")
    if query.encoded:
        parts.append("<EncodingType>url</EncodingType>")
    if query.version == 2:
        parts.append(f"<KeyCount>{len(page)}</KeyCount>")
    parts.append(f"<IsTruncated>{'false' if page.last is None else 'true'}</IsTruncated>")
    if page.last is not None and query.version == 2:
        parts.append(f"<NextContinuationToken>{_token(page.last)}</NextContinuationToken>")
    elif page.last is not None:
        parts.append(f"<NextMarker>{_name(query, page.last)}</NextMarker>")
    parts += page.entries
    parts += [
        f"<CommonPrefixes><Prefix>{_name(query, each)}</Prefix></CommonPrefixes>"
        for each in page.prefixes
    ]
    parts.append("</ListBucketResult>\n")
    return "".join(parts).encode()


def _entry(query: ListQuery, key: str, shown: ListedObject) -> str:
    pinned = shown.pinned
    tag = pinned.tag
    return (
        f"<Contents><Key>{_name(query, key)}</Key>"
        f"<LastModified>{time_text(shown.modified)}</LastModified>"
        f"<ETag>&quot;{tag if _PLAIN.fullmatch(tag) else xml_text(tag)}&quot;</ETag>"
        f"<Size>{pinned.size}</Size>{OWNER if query.owner else ''}"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _name(query: ListQuery, text: str) -> str:
    if _PLAIN.fullmatch(text):  # of most names; the other ways cost microseconds each
        return text
    return quote(text, safe="/*-._~") if query.encoded else xml_text(text)


def time_text(seconds: int) -> str:
    """Return Unix seconds as S3's answers have a time."""
    then = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
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
