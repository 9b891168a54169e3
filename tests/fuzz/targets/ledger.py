"""The ledger's file: bytes of it damaged, or any values in it."""

import contextlib
import io
import json
import sqlite3
from struct import unpack

import trio
from rich.console import Console

from seeder.commands.report_table import render
from seeder.errors import LedgerRefused, StorageError
from seeder.ledger.counters import COUNTERS, AccountKey, Counters, Ledger
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.file import LedgerFile
from seeder.ledger.node import NodeFigures
from seeder.ledger.reading import Recorded, read_ledger, records_of
from seeder.ledger.recent import Recent
from seeder.ledger.records import Entry
from seeder.ledger.report import Report
from seeder.ledger.series import Selection, read_series, recent_series
from seeder.ledger.spans import Span
from seeder.units import DAY
from tests.fuzz.inputs import Choices, damaged, scratch, target
from tests.ledger.support import AT, PRICES, a_swarm

_DIRECTORY = scratch()
_PATH = _DIRECTORY / "ledger.sqlite"
_SCOPE = Selection("quotes", "", is_prefix=True)
_OURS = AccountKey("default", "bucket", "fuzz", '"e"')


def _entries(ledger: Ledger) -> list[Entry]:
    return [Entry.of(account) for account in (ledger.unattributed, *ledger.accounts)]


def _ledger() -> bytes:
    """Return a file with accounts, and counts of several hours, some of them folded."""
    file = LedgerFile(_PATH)
    ledger, _ = a_swarm()
    for at in (AT - 40 * DAY, AT - DAY, AT):
        for account in ledger.accounts:
            account.add(Counters(uploaded_bytes=1000, completed=1))
        figures = NodeFigures(milliseconds=int(1000 * (at - AT + 50 * DAY)), peers=3)
        file.write(_entries(ledger), at, figures)
    file.close()
    return _PATH.read_bytes()


_LEDGER = _ledger()
_MANY = (2**63 - 1).to_bytes(8, "big")
_SQL = 1
"""The flag of an input that is values in the tables; any other is damages to the file."""
_LATE = 2
"""The flag of an input of which only the last day is reported."""


@target(
    b"\0",
    b"\2\x00\x10\xff",
    b"\0\xff\xff\x10\0",
    b"\0\xff\xff\0\x40",
    b"\0" + b"".join(place.to_bytes(2, "big") + b"\x41" for place in range(4100, 4200, 9)),
    b"\1\0\1\4fuzz\1\0\3a\0b\2\1\2\xff\xfe",
    b"\1\3\1" + bytes(7) + b"\5\6\0" + _MANY,
    *(b"\1" + bytes((column, row)) + _MANY for column in (9, 10, 16, 22) for row in (0, 1)),
    b"\1" + b"".join(bytes((16, row)) + _MANY for row in range(4)),
    b"\3\x10\2" + b"\xff" * 8,
    b"\1\x17\0\x7f\xf0" + bytes(6),
    blown_up=16 * 1024,
)
def ledger_file(data: bytes) -> None:
    """Whatever is in the ledger, the daemon has one to go on with, or says why it hasn't."""
    flags, told = data[0] if data else 0, data[1:]
    for leftover in _DIRECTORY.iterdir():
        leftover.unlink()
    _PATH.write_bytes(_LEDGER if flags & _SQL else damaged(_LEDGER, told))
    if flags & _SQL:
        _put_values(Choices(told))
    with contextlib.suppress(StorageError), records_of(_PATH) as records:
        scope = _SCOPE if flags & _LATE else None
        recent_series(records, Recent().snapshot(None), AT, scope)
        for span in (Span.DAY, Span.MONTH, Span.ALL):
            read_series(records, span, AT, scope)
    with contextlib.suppress(StorageError):
        _report(read_ledger(_PATH, now=AT, since=AT - DAY if flags & _LATE else None))
    with contextlib.suppress(LedgerRefused):
        trio.run(_go_on)


def _report(recorded: Recorded) -> None:
    """Show a ledger as `seeder report` does."""
    report = Report.of(recorded.ledger, PRICES, at=recorded.at or AT, since=recorded.since)
    json.dumps(report.document(), allow_nan=False)
    render(report, Console(file=io.StringIO(), width=100))


_COLUMNS = [
    *(("accounts", name) for name in ("origin", "key", "info_hash", "size", "pieces", "state")),
    *(("accounts", name) for name in ("peers", "seeds")),
    *(("hours", name) for name in ("account", "at", *COUNTERS)),
    ("flushes", "at"),
    *(
        (table, name)
        for table in ("days", "minutes")
        for name in ("account", "at", "uploaded_bytes", "peers_seen")
    ),
    *(
        (f"node_{table}", name)
        for table in ("days", "hours", "minutes")
        for name in ("at", "peers", "uploaded_bytes")
    ),
    ("kept", "step"),
    ("kept", "since"),
]
_TEXTS = frozenset({"origin", "key", "info_hash", "state"})


def _put_values(choices: Choices) -> None:
    """Change values in the tables, as far as SQLite takes them."""
    with contextlib.closing(sqlite3.connect(_PATH, isolation_level=None)) as connection:
        for _ in range(20):
            if not choices:
                break
            table, column = _COLUMNS[choices.number() % len(_COLUMNS)]
            row = choices.number()
            value: object
            if column in _TEXTS:
                value = choices.text()
            elif (table, column) == ("flushes", "at"):
                value = unpack(">d", choices.take(8).rjust(8, b"\0"))[0]
            else:
                value = int.from_bytes(choices.take(8), "big", signed=True)
            set_to = "CAST(? AS TEXT)" if column in _TEXTS else "?"
            nth = f"(SELECT count(*) FROM {table} AS other WHERE {_BEFORE[table]})"
            statement = f"UPDATE {table} AS one SET {column} = {set_to} WHERE {nth} = ?"
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(statement, (value, row % 8))


_BEFORE = {
    "accounts": "other.id < one.id",
    **dict.fromkeys(
        ("days", "hours", "minutes"), "(other.account, other.at) < (one.account, one.at)"
    ),
    **{f"node_{table}": "other.at < one.at" for table in ("days", "hours", "minutes")},
    "kept": "other.step < one.step",
    "flushes": "other.last < one.last",
}
"""What tells that a row comes before another one."""


async def _go_on() -> None:
    """Open the ledger as the daemon does, count something, and find it in the next run."""
    database = await LedgerDatabase.open(_PATH, busy=0.0, clock=lambda: AT)
    ledger = Ledger()
    await database.load(ledger)
    await database.spent()
    before = ledger.totals()
    ledger.account(_OURS).uploaded(5)
    written = await database.flush(ledger)
    await database.aclose()
    if not written:
        assert database.statistics().fault
        return
    again = Ledger()
    database = await LedgerDatabase.open(_PATH, busy=0.0, clock=lambda: AT)
    await database.load(again)
    await database.aclose()
    assert again.totals() == ledger.totals()
    assert again.totals().uploaded_bytes == before.uploaded_bytes + 5
