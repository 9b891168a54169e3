"""ListObjectsV2: what is asked of S3, and what its pages say.

The XML comes from outside: a document type, which is where entities are declared, is refused, and
what isn't a listing says so in one line. No I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus
from xml.parsers import expat

from seeder.errors import OriginFault
from seeder.s3.signing import Query

PAGE = 1000
"""Keys in a page, S3's own limit."""
LARGEST_PAGE = 8 * 1024 * 1024
"""Bytes; a thousand keys of 1024 bytes, each spelt out in three, come to less than half of it."""
SIDECAR = ".torrent"

_LIST, _CONTENTS = "ListBucketResult", "Contents"
_OF_PAGE = frozenset({"IsTruncated", "NextContinuationToken", "EncodingType"})
_OF_OBJECT = frozenset({"Key", "ETag", "Size"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing describes it."""

    etag: str
    """In its quotes, as HEAD has it."""
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing: objects by key in S3's order, and how to ask for the next page."""

    objects: tuple[tuple[str, Listed], ...]
    next_token: str | None
    """None after the last one."""


def page_query(prefix: str, token: str | None) -> Query:
    """Return the query that asks for the page behind `token`, or for the first one."""
    query: list[tuple[str, str | None]] = [
        ("list-type", "2"),
        ("encoding-type", "url"),
        ("max-keys", str(PAGE)),
        ("prefix", prefix),
    ]
    return query if token is None else [*query, ("continuation-token", token)]


def parse_page(body: bytes) -> Page:
    """Return what a page says; OriginFault when it is no page of a listing."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError) as error:
        raise OriginFault(f"its listing can't be read: {error}") from error
    return reader.page()


@dataclass(slots=True)
class _Reader:
    """Collects the elements that matter; ValueError for what no listing has."""

    path: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    """Of the page."""
    entry: dict[str, str] = field(default_factory=dict)
    """Of the object that is being read."""
    found: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, *_: object) -> None:
        raise ValueError("it has a document type")

    def start(self, name: str, _: object) -> None:
        name = name.rpartition(" ")[2]  # without its namespace, which servers write differently
        if not self.path and name != _LIST:
            raise ValueError(f"it is a {name[:40]}")
        self.path.append(name)
        self.words.clear()

    def text(self, data: str) -> None:
        self.words.append(data)

    def end(self, _: str) -> None:
        name = self.path.pop()
        match self.path:
            case [_] if name == _CONTENTS:
                self.found.append(self.entry)
                self.entry = {}
            case [_] if name in _OF_PAGE:
                self.told[name] = "".join(self.words)
            case [_, "Contents"] if name in _OF_OBJECT:
                self.entry[name] = "".join(self.words)
        self.words.clear()

    def page(self) -> Page:
        truncated = self.told.get("IsTruncated", "false").strip() == "true"
        token = self.told.get("NextContinuationToken") if truncated else None
        if truncated and not token:
            raise OriginFault("its listing breaks off: there is no continuation token")
        encoded = self.told.get("EncodingType", "").strip() == "url"
        return Page(tuple(_object(entry, encoded=encoded) for entry in self.found), token)


def _object(entry: dict[str, str], *, encoded: bool) -> tuple[str, Listed]:
    key, etag, size = (entry.get(name, "") for name in ("Key", "ETag", "Size"))
    if encoded:
        key = unquote_plus(key)
    etag, size = etag.strip(), size.strip()
    usable = etag.isascii() and etag.isprintable() and etag != ""
    if not key or not usable or not (size.isascii() and size.isdigit() and len(size) < 20):
        raise OriginFault(f"its listing has an object without key, ETag or size: {key[:80]!r}")
    return key, Listed(etag if etag.endswith('"') else f'"{etag}"', int(size))


def publishable(objects: Iterable[tuple[str, Listed]], seen: set[str]) -> dict[str, Listed]:
    """Return the objects of a page that get a torrent; `seen` are the keys before, and grows.

    What only marks a directory is left out, and a KEY.torrent whose object is there: in S3's
    order that comes before it.
    """
    found: dict[str, Listed] = {}
    for key, listed in objects:
        seen.add(key)
        marker = key.endswith("/") and listed.size == 0
        sidecar = key.endswith(SIDECAR) and key.removesuffix(SIDECAR) in seen
        if not marker and not sidecar:
            found[key] = listed
    return found
