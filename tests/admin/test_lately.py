"""The sums of a span: of this moment, whatever is written yet."""

import time
from pathlib import Path

import pytest
import trio
import trio.testing

from seeder.admin.lately import FRESH, Lately
from seeder.ledger.counters import AccountKey, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.history import History
from seeder.ledger.records import Entry
from seeder.ledger.spans import Span
from seeder.units import DAY, HOUR

NELSON = AccountKey("default", "quotes", "Nelson", '"etag-1"')
EACH = {Span.HOUR: 1, Span.DAY: 20, Span.MONTH: 300, Span.ALL: 4000}
"""What was uploaded within each span, and not within the shorter one."""


@pytest.fixture
def lately(tmp_path: Path) -> Lately:
    path, ledger, now = tmp_path / "ledger.sqlite", Ledger(), time.time()
    account, file = ledger.account(NELSON), LedgerFile(path)
    for span, age in ((Span.ALL, 60 * DAY), (Span.MONTH, 5 * DAY), (Span.DAY, 3 * HOUR)):
        account.uploaded(EACH[span])
        file.write([Entry.of(account)], now - age)
    file.close()
    # It isn't in the file.
    account.uploaded(EACH[Span.HOUR])
    return Lately(ledger, History(path, ledger))


@pytest.mark.parametrize("span", Span)
async def test_a_span_has_what_was_counted_in_it_up_to_now(lately: Lately, span: Span) -> None:
    within = list(EACH)[: list(EACH).index(span) + 1]
    for further in (0, 7):
        lately.ledger.account(NELSON).uploaded(further)
        counted = await lately.counted(span)
        assert counted is not None
        assert counted.uploaded_bytes == sum(EACH[each] for each in within) + further


async def test_many_pages_read_the_file_once(
    lately: Lately, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, totals = 0, lately.history.totals

    async def count(begin: float | None, end: float | None = None) -> object:
        nonlocal reads
        reads += 1
        return await totals(begin, end)

    monkeypatch.setattr(lately.history, "totals", count)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lately.counted, Span.HOUR)
    assert reads == 1
    mock_clock.jump(FRESH)
    await lately.counted(Span.HOUR)
    assert reads == 2


async def test_what_a_damaged_ledger_has_lost_makes_nothing_negative(lately: Lately) -> None:
    lost = Lately(Ledger(), lately.history)
    counted = await lost.counted(Span.DAY)
    assert counted is not None
    assert counted.uploaded_bytes == 0


async def test_without_the_file_only_all_is_known(lately: Lately, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    assert await lately.counted(Span.DAY) is None
    everything = await lately.counted(Span.ALL)
    assert everything is not None
    assert everything.uploaded_bytes == sum(EACH.values())
