"""What one status page shows: its query, which may be anything, as a value. No I/O."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from seeder.http.messages import decoded_query
from seeder.ledger.spans import Span
from seeder.torrent.objects import ObjectRef

MOST_ROWS = 100
LONGEST_FILTER = 200
"""Characters."""
ORDERS = (
    "attention",
    "name",
    "size",
    "origin_bytes",
    "uploaded_bytes",
    "delivered_verified_bytes",
    "saved_verified_bytes",
    "peers",
    "completed",
)
"""What the objects may be sorted by; the first is the order of those that matter most."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class View:
    """What a page shows of the objects and peers; by default the first objects that matter most."""

    search: str = ""
    """What name or info hash contain, in lower case."""
    state: str | None = None
    order: str = ORDERS[0]
    reverse: bool = False
    first: int = 0
    """How many objects stand before the first one shown."""
    rows: int = 50
    opened: ObjectRef | None = None
    """The object that is shown whole."""
    span: Span = Span.DAY
    """What the sums are of."""

    @classmethod
    def of(cls, query: bytes) -> "View":
        """Return the view of a raw query; what it says wrongly is as if it didn't say it."""
        # As browsers write forms: a plus is a space.
        pairs = decoded_query(query.replace(b"+", b" "))
        said = {name.decode("latin-1"): value for name, value in pairs}
        none = cls()
        order = said.get("order", b"").decode("latin-1")
        return cls(
            search=_text(said, "search")[:LONGEST_FILTER].lower(),
            state=_text(said, "state") or None,
            order=order if order in ORDERS else none.order,
            reverse=said.get("reverse") == b"1",
            first=_number(said, "first", none.first, most=10**9),
            rows=max(1, _number(said, "rows", none.rows, most=MOST_ROWS)),
            opened=_or_none(_ref, _text(said, "opened")),
            span=_or_none(Span, _text(said, "span")) or none.span,
        )


def name_of(ref: ObjectRef) -> list[str | None]:
    """Return how a page names an object: a list for JSON, which `View.of` reads as `opened`."""
    return [ref.origin, ref.bucket, ref.key, ref.version_id]


def _ref(text: str) -> ObjectRef:
    origin, bucket, key, version = json.loads(text)
    if not all(isinstance(part, str) for part in (origin, bucket, key, version or "")):
        raise ValueError("not the name of an object")
    return ObjectRef(origin, bucket, key, version)


def _or_none(read: Callable[[str], _T], text: str) -> _T | None:
    try:
        return read(text)
    except (ValueError, TypeError, RecursionError):
        return None


def _text(said: Mapping[str, bytes], name: str) -> str:
    return said.get(name, b"").decode("utf-8", "replace")


def _number(said: Mapping[str, bytes], name: str, default: int, *, most: int) -> int:
    digits = said.get(name, b"")
    return min(int(digits), most) if digits.isdigit() and len(digits) < 12 else default
