"""/history.json: what was counted over a span, as columns; made and compressed in a thread."""

import gzip
import json
from collections.abc import Mapping

import trio

from seeder.http.messages import decoded_query
from seeder.ledger.counters import Counters
from seeder.ledger.history import History
from seeder.ledger.report import counts_document
from seeder.ledger.savings import Prices, savings
from seeder.ledger.series import Selection, Series
from seeder.ledger.spans import Span

_LEVEL = 5
"""Of gzip: a fifth of the columns' text is left, in a few milliseconds."""


def parse_query(query: bytes) -> tuple[Span, Selection | None]:
    """Return the span and the accounts that a raw query names; ValueError says what is wanted.

    `span` is hour (the default), day, month or all. `torrent` is BUCKET/KEY, `prefix` is
    BUCKET/START-OF-KEYS, `origin` the name of one; without them it is the whole node.
    """
    # As browsers write forms: a plus is a space.
    pairs = decoded_query(query.replace(b"+", b" "))
    said = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in pairs}
    try:
        span = Span(said.get("span", Span.HOUR.value))
    except ValueError:
        raise ValueError(f"span: want one of {', '.join(each.value for each in Span)}") from None
    for name in ("torrent", "prefix"):
        if name in said:
            bucket, slash, key = said[name].partition("/")
            if not bucket or not slash:
                raise ValueError(f"{name}: want BUCKET/{'KEY' if name == 'torrent' else 'PREFIX'}")
            return span, Selection(bucket, key, name == "prefix", said.get("origin"))
    return span, None


async def history_body(
    history: History, prices: Prices, span: Span, scope: Selection | None, *, compressed: bool
) -> bytes:
    """Return the answer as JSON, with gzip if it may be compressed; StorageError.

    `columns` are as long as each other, a step each from `begin` on; null is a gap, or before
    `since`. `totals` are what the span came to, in the names of /status.json.
    """
    series = await history.series(span, scope)
    begin = None if span.seconds is None else series.begin
    counted, _ = await history.totals(begin, scope=scope)
    return await trio.to_thread.run_sync(_encode, series, span, counted, prices, compressed)


def _encode(
    series: Series, span: Span, counted: Counters, prices: Prices, compressed: bool
) -> bytes:
    saved = savings(counted, size=None, prices=prices)
    document: Mapping[str, object] = {
        "span": span.value,
        "begin": series.begin,
        "step": series.step,
        "since": series.since,
        "columns": series.columns,
        "totals": counts_document(counted)
        | {name: getattr(saved, name) for name in saved.__dataclass_fields__},
    }
    body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return gzip.compress(body, _LEVEL, mtime=0) if compressed else body
