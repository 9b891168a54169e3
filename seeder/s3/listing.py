"""ListObjectsV2 and V1: what is asked of S3, and what its pages say. No I/O."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote_plus

from seeder.errors import OriginFault
from seeder.s3.answers import printable
from seeder.s3.signing import Query
from seeder.s3.xml import read_xml
from seeder.units import KIB, LARGEST_SIZE, MIB, whole_number

_KEYS_A_PAGE = 1000
"""S3's own limit."""
LARGEST_PAGE = 8 * MIB
"""Bytes; a thousand keys of 1024 bytes, each byte written as %XX, take less than half of it."""
SIDECAR = ".torrent"
_LONGEST_TEXT = 64 * KIB
"""Characters; a key has 1024 bytes, a continuation token is a key and little more."""
MOST_KEYS = 1_000_000
"""Keys below one prefix that may belong to others: they are all held until the listing ends."""
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")
_ONLY_IN_V2 = frozenset({"KeyCount", "ContinuationToken", "StartAfter"})
_FEWEST_A_PAGE = 100
MOST_SMALL_PAGES = 1_000
"""Pages that may bring fewer new keys than _FEWEST_A_PAGE: some servers tell few at once."""
MOST_EMPTY_PAGES = 10
"""Pages that may bring no new key: S3 sends some where it passes over what was deleted."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing describes it."""

    etag: str
    """In its quotes, as HEAD has it."""
    size: int
    modified: int | None = field(default=None, compare=False)
    """Unix seconds; None where the listing doesn't say it as S3 does."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing: objects by key in S3's order, and how to ask for the next page."""

    objects: tuple[tuple[str, Listed], ...]
    next_token: str | None
    """None after the last one."""
    by_marker: bool = False
    """Whether that is a marker of ListObjects V1, since the server doesn't know V2."""
    unclear: tuple[tuple[str, str], ...] = ()
    """Objects by key without a usable ETag or size, each with what is wrong; "" is no key."""

    @property
    def keys(self) -> Iterator[str]:
        """The keys that it has."""
        yield from (key for key, _ in self.objects)
        yield from (key for key, _ in self.unclear if key)


def page_query(prefix: str, token: str | None, *, by_marker: bool = False) -> Query:
    """Return the query that asks for the page after `token`, or for the first one.

    With `by_marker` it is one of ListObjects V1, and `token` a key.
    """
    query: list[tuple[str, str | None]] = [
        ("encoding-type", "url"),
        ("max-keys", str(_KEYS_A_PAGE)),
        ("prefix", prefix),
    ]
    if not by_marker:
        query.insert(0, ("list-type", "2"))
    if token is not None:
        query.append(("marker" if by_marker else "continuation-token", token))
    return query


def parse_page(body: bytes) -> Page:
    """Return what a page says; OriginFault when it is no page of a listing."""
    told: dict[str, str] = {}  # of the page
    entry: dict[str, str] = {}  # of the object that is being read
    entries: list[dict[str, str]] = []

    def take(path: list[str], text: str) -> None:
        nonlocal entry
        depth = len(path)
        if depth == 3 and path[1] == "Contents":
            entry[path[2]] = text
        elif depth == 2 and path[1] == "Contents":
            entries.append(entry)
            entry = {}
        elif depth == 2:
            told[path[1]] = text

    try:
        read_xml(body, take, is_root="ListBucketResult".__eq__, longest=_LONGEST_TEXT)
    except ValueError as error:
        raise OriginFault(f"its listing can't be read: {error}") from error
    encoded = told.get("EncodingType", "").strip() == "url"
    objects: list[tuple[str, Listed]] = []
    unclear: list[tuple[str, str]] = []
    last = ""
    for each in entries:
        last = key = unquote_plus(each.get("Key", "")) if encoded else each.get("Key", "")
        listed = _listed(key, each)
        if isinstance(listed, Listed):
            objects.append((key, listed))
        else:
            unclear.append((key, listed))
    token, by_marker = None, False
    truncated = told.get("IsTruncated", "").strip().lower()
    if truncated == "true" or (not truncated and told.get("NextContinuationToken")):
        token = told.get("NextContinuationToken")
        if not token and not told.keys() & _ONLY_IN_V2:
            # V1 tells the next marker only where there is a delimiter; else it is the last key.
            marker = told.get("NextMarker", "")
            token, by_marker = (unquote_plus(marker) if encoded else marker) or last, True
        if not token:
            raise OriginFault("its listing breaks off: there is no continuation token")
    return Page(tuple(objects), token, by_marker, tuple(unclear))


def _listed(key: str, entry: Mapping[str, str]) -> Listed | str:
    """Return an entry of a page, or what is wrong with it."""
    etag, size = entry.get("ETag", "").strip(), entry.get("Size", "").strip()
    if not key:
        return "it has no key"
    length = whole_number(size)
    if key.endswith("/") and (length == 0 or not size):
        return Listed('""', 0)  # it marks a directory: whatever its ETag is, nobody needs it
    if etag.strip('"') == "" or not etag.isascii() or not etag.isprintable():
        return f"its ETag is {printable(etag) or 'missing'}"
    if length is None or length > LARGEST_SIZE:
        return f"its Size is {printable(size) or 'missing'}"
    modified = _seconds(entry.get("LastModified", ""))
    return Listed(etag if etag.endswith('"') else f'"{etag}"', length, modified)


def _seconds(text: str) -> int | None:
    """Return an ISO 8601 time in Unix seconds; None of any other text."""
    if not _TIME.fullmatch(text := text.strip()):
        return None
    try:
        seconds = int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def suspicion(key: str) -> str:
    """Return what may be wrong where S3 lists a key and then doesn't have it; begins with "; "."""
    if "\ufffd" in key:
        return "; the listing has it, but not in UTF-8: give the object another key"
    if _ENCODED.search(key):
        return (
            "; the listing has it: maybe this server encodes keys twice"
            f" ({printable(unquote_plus(key))} is meant)"
        )
    if " " in key:
        return (
            "; the listing has it: maybe this server doesn't encode keys although it says so"
            f" ({printable(key.replace(' ', '+'))} is meant)"
        )
    return "; the listing has it: it was deleted since, or the server writes keys in another way"


class Walk:
    """Checks that a listing of a prefix comes on, page by page. OriginFault where it doesn't.

    Not every server lists in S3's order, so it is new keys that count.
    """

    def __init__(self, prefix: str, max_objects: int) -> None:
        self._prefix = prefix
        self._most_keys = MOST_KEYS + max_objects
        self._most_small = max(MOST_SMALL_PAGES, max_objects // 10)
        self._tokens: set[str] = set()
        self._small = 0
        self._empty = 0
        self.seen: set[str] = set()
        """The keys of all pages so far."""

    def take(self, page: Page) -> None:
        """Take the next page."""
        before = len(self.seen)
        for key in page.keys:
            if not key.startswith(self._prefix):
                raise OriginFault(
                    f"its listing has {printable(key)}, which isn't below it: this server ignores"
                    " the prefix"
                )
            self.seen.add(key)
        if page.next_token is None:
            return
        new = len(self.seen) - before
        self._small += new < _FEWEST_A_PAGE
        self._empty += not new
        if page.next_token in self._tokens:
            raise OriginFault("its listing never ends: S3 gives a page again that it gave before")
        if self._empty > MOST_EMPTY_PAGES:
            raise OriginFault(
                f"its listing never ends: more than {MOST_EMPTY_PAGES} pages bring no new key"
            )
        if self._small > self._most_small:
            raise OriginFault(
                f"its listing takes too many requests: {self._most_small} pages have fewer than"
                f" {_FEWEST_A_PAGE} new keys; name longer prefixes"
            )
        if len(self.seen) > self._most_keys:
            raise OriginFault(
                f"its listing has more than {self._most_keys} keys; name longer prefixes"
            )
        self._tokens.add(page.next_token)


def publishable(
    objects: Iterable[tuple[str, Listed]], seen: Set[str], *, writes_sidecars: bool = False
) -> dict[str, Listed]:
    """Return the objects of a page that get a torrent; `seen` has the keys of all pages so far.

    It leaves out empty objects that mark a directory, and each KEY.torrent whose KEY exists: KEY
    comes first in S3's order. Where we write them, one without a KEY is what we left of one that
    was deleted.
    """
    found: dict[str, Listed] = {}
    for key, listed in objects:
        marker = key.endswith("/") and listed.size == 0
        sidecar = key.endswith(SIDECAR) and (writes_sidecars or key.removesuffix(SIDECAR) in seen)
        if not marker and not sidecar:
            found[key] = listed
    return found
