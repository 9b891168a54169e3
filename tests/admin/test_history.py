"""/history.json: queries that may be anything, and answers that are small."""

import gzip
import json
import time

import pytest

from seeder.admin.history import history_body, parse_query
from seeder.ledger.counters import Account, AccountKey, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.history import History
from seeder.ledger.node import NodeFigures
from seeder.ledger.records import Entry
from seeder.ledger.savings import Prices
from seeder.ledger.series import Selection
from seeder.ledger.spans import Span

PRICES = Prices(0.09, 0.0004)
NELSON = AccountKey("default", "quotes", "Nelson", '"etag-1"')


MINUTES = 600


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Counts of the last hours, about a megabyte a minute."""
    path, now = tmp_path_factory.mktemp("history") / "ledger.sqlite", time.time()
    file, account = LedgerFile(path), Account(key=NELSON)
    for minute in range(MINUTES - 1, -1, -1):
        account.uploaded(1_000_000 + 977 * minute)
        account.delivered_verified(3_000_000)
        at = now - 60 * minute
        file.write([Entry.of(account)], at, NodeFigures(milliseconds=minute, peers=minute % 50))
    file.close()
    return History(path, Ledger())


@pytest.mark.parametrize("span", Span)
async def test_columns_are_as_long_as_each_other_and_the_answer_is_small(
    history: History, span: Span
) -> None:
    body = await history_body(history, PRICES, span, None, compressed=True)
    assert len(body) < 20_000
    document = json.loads(gzip.decompress(body))
    [length] = {len(column) for column in document["columns"].values()}
    assert document["begin"] + length * document["step"] == pytest.approx(
        time.time(), abs=document["step"] + 5
    )
    assert document["totals"]["uploaded_bytes"] > 0
    assert document["totals"]["saved_verified_bytes"] >= 0
    assert sum(document["columns"]["uploaded_bytes"][index] or 0 for index in range(length)) > 0


async def test_one_object_and_a_prefix_have_their_own(history: History) -> None:
    for scope, count in (
        (Selection("quotes", "Nelson"), MINUTES),
        (Selection("quotes", "Nel", is_prefix=True), MINUTES),
        (Selection("quotes", "Shakespeare"), 0),
    ):
        body = await history_body(history, PRICES, Span.DAY, scope, compressed=False)
        document = json.loads(body)
        delivered = document["columns"]["delivered_verified_bytes"]
        assert sum(bool(value) for value in delivered) == count
        assert None not in delivered[-500:-1]  # it ran


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", (Span.HOUR, None)),
        (b"span=month", (Span.MONTH, None)),
        (b"span=all&torrent=b/a%20key/x", (Span.ALL, Selection("b", "a key/x"))),
        (b"prefix=b/&origin=eu", (Span.HOUR, Selection("b", "", True, "eu"))),
        (b"torrent=b/%C3%A4+b", (Span.HOUR, Selection("b", "ä b"))),
    ],
)
def test_a_query_names_a_span_and_accounts(query: bytes, found: tuple[Span, Selection]) -> None:
    assert parse_query(query) == found


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (b"span=week", "span: want one of hour, day, month, all"),
        (b"torrent=bucket", "torrent: want BUCKET/KEY"),
        (b"prefix=/a", "prefix: want BUCKET/PREFIX"),
    ],
)
def test_a_query_that_makes_no_sense_is_told_what_is_wanted(query: bytes, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        parse_query(query)
