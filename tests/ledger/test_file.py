import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seeder.errors import StorageError
from seeder.ledger.counters import COUNTERS, AccountKey, Counters, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.node import FIGURES
from seeder.ledger.reading import read_ledger
from seeder.ledger.records import Entry
from seeder.ledger.schema import SCHEMA
from seeder.units import DAY, HOUR
from tests.ledger.support import NELSON, NOON, as_nobody, counted, make_older, write_lock


def write(file: LedgerFile, ledger: Ledger, now: float = NOON) -> None:
    accounts = (ledger.unattributed, *ledger.accounts)
    file.write([Entry.of(account) for account in accounts], now)


def make(path: Path, accounts: int = 0) -> Ledger:
    """Write a ledger with so many accounts, and close it."""
    ledger = Ledger()
    for number in range(accounts):
        ledger.account(AccountKey("default", "bucket", f"key-{number}", "v")).uploaded(number + 1)
    file = LedgerFile(path)
    write(file, ledger)
    file.close()
    return ledger


# -- what is written and read


def test_every_counter_has_its_column(path: Path) -> None:
    make(path)
    connection = sqlite3.connect(path)
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for table in ("minutes", "hours", "days", "node_minutes", "node_hours", "node_days")
    }
    strict = dict(connection.execute("SELECT name, strict FROM pragma_table_list"))
    journal = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    for table, found in columns.items():
        begin = ["at", *FIGURES] if table.startswith("node_") else ["account", "at"]
        assert found == [*begin, *COUNTERS]
    assert all(strict[table] for table in (*columns, "accounts", "flushes", "kept"))
    assert journal == ("wal",)


@pytest.mark.parametrize("version", range(1, SCHEMA))
def test_an_older_format_is_read_as_it_is_and_brought_up_by_the_daemon(
    path: Path, version: int
) -> None:
    begin, hour = NOON - 40 * DAY, NOON - HOUR
    make_older(path, version, {begin: 5, hour: 7, NOON: 11})
    assert counted(path) == Counters(uploaded_bytes=23)
    assert read_ledger(path, now=NOON, since=NOON).ledger.totals().uploaded_bytes == 11
    assert read_ledger(path, now=NOON, since=begin).since == begin - begin % DAY
    file = LedgerFile(path)
    known = Ledger()
    for entry in file.load():
        entry.add_to(known)
    assert known.totals() == Counters(uploaded_bytes=23)
    assert file.spent(NOON).today.uploaded_bytes == 18
    known.account(NELSON).protocol(5)
    write(file, known, NOON + HOUR)
    known.account(NELSON).protocol(6)
    write(file, known, NOON + HOUR + 120)
    file.close()
    assert counted(path) == Counters(uploaded_bytes=23, protocol_bytes=11)

    def since(at: float) -> tuple[Counters, float | None]:
        recorded = read_ledger(path, now=NOON + 2 * HOUR, since=at)
        return recorded.ledger.totals(), recorded.since

    # Hours stay what they were; minutes begin with the first hour that is counted by them.
    late = Counters(uploaded_bytes=11, protocol_bytes=11)
    assert since(NOON + 60) == (late, NOON)
    assert since(NOON + HOUR + 60) == (Counters(protocol_bytes=6), NOON + HOUR + 60)
    folded = Counters(uploaded_bytes=23, protocol_bytes=11)
    assert since(begin + HOUR) == (folded, begin - begin % DAY)


def test_every_field_of_an_account_comes_back(path: Path) -> None:
    ledger = Ledger()
    account = ledger.account(NELSON)
    account.add(Counters(*range(1, len(COUNTERS) + 1)))
    account.info_hash, account.size, account.pieces = "ab" * 20, 1000, 10
    account.state, account.peers, account.seeds = "serving", 5, 2
    ledger.account(AccountKey("other", "quotes", "Shäkespeare\n🖋", "version-1"))
    ledger.unattributed.origin_request("metainfo")
    file = LedgerFile(path)
    write(file, ledger)
    file.close()
    recorded = read_ledger(path, now=NOON)
    assert (recorded.at, recorded.since) == (NOON, None)
    written = [Entry.of(account) for account in ledger.accounts]
    assert [Entry.of(account) for account in recorded.ledger.accounts] == written
    assert recorded.ledger.unattributed.counters == Counters(origin_requests_metainfo=1)


def test_nothing_is_written_when_nothing_changed(path: Path) -> None:
    ledger = Ledger()
    ledger.account(NELSON).uploaded(1)
    file = LedgerFile(path)
    write(file, ledger, NOON)
    write(file, ledger, NOON + 100)
    assert read_ledger(path, now=NOON).at == NOON
    ledger.account(NELSON).peers = 1
    write(file, ledger, NOON + 200)
    assert read_ledger(path, now=NOON).at == NOON + 200
    file.close()


def test_since_counts_from_the_start_of_its_minute(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    for minute in range(4):
        ledger.account(NELSON).uploaded(10**minute)
        write(file, ledger, NOON + minute * 60 + 30)
    file.close()

    def since(at: float) -> int:
        recorded = read_ledger(path, now=NOON + 240, since=at)
        return recorded.ledger.totals().uploaded_bytes

    assert since(0) == 1111
    assert since(NOON + 59) == 1111
    assert since(NOON + 60) == 1110
    assert since(NOON + 239) == 1000
    assert since(NOON + 240) == 0
    recorded = read_ledger(path, now=NOON + 240, since=NOON + 270)
    assert [account.key for account in recorded.ledger.accounts] == [NELSON]
    assert recorded.since == NOON + 240


def test_minutes_and_hours_that_are_old_are_dropped_and_nothing_is_lost(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    now = NOON
    for day in range(100):
        for hour in (0, 5, 11):
            now = NOON + day * DAY + hour * HOUR
            ledger.account(NELSON).uploaded(1)
            write(file, ledger, now)
    file.close()
    connection = sqlite3.connect(path)
    oldest = {
        table: connection.execute(f"SELECT min(at), count(*) FROM {table}").fetchone()
        for table in ("days", "hours", "minutes", "node_hours", "node_minutes")
    }
    connection.close()
    midnight = NOON + 99 * DAY - 12 * HOUR
    assert oldest["days"] == (NOON - 12 * HOUR, 100)
    # On the last day, at 12, hours of 90 days ago begin; at 23, minutes of two days ago do.
    assert oldest["hours"] == oldest["node_hours"] == (midnight - 90 * DAY + 12 * HOUR, 273)
    assert oldest["minutes"] == oldest["node_minutes"] == (now - 2 * DAY, 7)
    assert counted(path) == Counters(uploaded_bytes=300)

    def since(at: float) -> tuple[int, float | None]:
        recorded = read_ledger(path, now=now, since=at)
        return recorded.ledger.totals().uploaded_bytes, recorded.since

    # Of day 4 no hours are left: whatever hour of it is asked for, the whole of it counts.
    assert since(NOON + 4 * DAY + 4 * HOUR) == (288, NOON + 4 * DAY - 12 * HOUR)
    # Of day 50 no minutes are left.
    assert since(NOON + 50 * DAY + 5 * HOUR + 119) == (149, NOON + 50 * DAY + 5 * HOUR)


def test_a_clock_that_is_wrong_for_a_while_drops_nothing(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    for now in (NOON, NOON + 1000 * DAY, NOON + 1000 * DAY + 1800, NOON + 60, NOON + 5 * HOUR):
        ledger.account(NELSON).uploaded(1)
        write(file, ledger, now)
    file.close()
    recorded = read_ledger(path, now=NOON + 5 * HOUR, since=NOON + 60)
    assert (recorded.since, recorded.ledger.totals().uploaded_bytes) == (NOON + 60, 4)


@pytest.mark.parametrize("wrong", [1000 * DAY, 3 * DAY])
def test_a_node_that_starts_by_a_wrong_clock_drops_nothing(path: Path, wrong: int) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    for now in (NOON, NOON + 60):
        ledger.account(NELSON).uploaded(1)
        write(file, ledger, now)
    file.close()
    file = LedgerFile(path)
    file.load()
    for now in (NOON + wrong, NOON + wrong + 1800, NOON + 2 * HOUR):
        ledger.account(NELSON).uploaded(1)
        write(file, ledger, now)
    file.close()
    recorded = read_ledger(path, now=NOON + 2 * HOUR, since=NOON + 60)
    assert (recorded.since, recorded.ledger.totals().uploaded_bytes) == (NOON + 60, 4)


def test_minutes_begin_anew_after_a_clock_that_dropped_them(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    wrong = NOON + 1000 * DAY
    clock = [NOON, wrong, wrong + 2 * HOUR, NOON + 60, NOON + 2 * HOUR, NOON + 4 * HOUR]
    for now in clock:
        ledger.account(NELSON).uploaded(1)
        write(file, ledger, now)
    file.close()
    assert counted(path) == Counters(uploaded_bytes=len(clock))
    recorded = read_ledger(path, now=NOON + 4 * HOUR, since=NOON + 4 * HOUR)
    assert recorded.since == NOON + 4 * HOUR


def test_what_waits_for_the_file_is_written_under_its_own_minutes(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path, busy=0)
    write(file, ledger, NOON)
    with write_lock(path):
        for minute in range(1, 4):
            ledger.account(NELSON).uploaded(10**minute)
            with pytest.raises(StorageError, match="lock"):
                write(file, ledger, NOON + minute * 60)
    write(file, ledger, NOON + 600)
    file.close()
    for minute, count in ((1, 1110), (2, 1100), (3, 1000), (4, 0)):
        recorded = read_ledger(path, now=NOON + 600, since=NOON + minute * 60)
        assert recorded.ledger.totals().uploaded_bytes == count


def test_what_waits_for_hours_keeps_its_sum_and_takes_bounded_room(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path, busy=0)
    write(file, ledger, NOON)
    with write_lock(path):
        for minute in range(400):
            ledger.account(NELSON).uploaded(1)
            with pytest.raises(StorageError, match="lock"):
                write(file, ledger, NOON + minute * 60)
    write(file, ledger, NOON + 400 * 60)
    file.close()
    assert counted(path) == Counters(uploaded_bytes=400)
    recorded = read_ledger(path, now=NOON + 400 * 60, since=NOON + 300 * 60)
    assert recorded.ledger.totals().uploaded_bytes == 100
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM minutes").fetchone()[0] < 200
    connection.close()


def test_looks_at_thousands_of_objects_take_a_row_a_day_each(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    now = NOON - 12 * HOUR
    for _ in range(10):
        for number in range(100):
            ledger.account(AccountKey("default", "b", f"key-{number}", "v")).origin_request(
                "metainfo"
            )
        write(file, ledger, now)
        now += 600
    file.close()
    connection = sqlite3.connect(path)
    rows = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("days", "hours", "minutes")
    ]
    connection.close()
    assert rows == [100, 2, 10]
    late = read_ledger(path, now=now, since=now - 700).ledger
    assert late.unattributed.counters == late.totals() == Counters(origin_requests_metainfo=100)


def test_a_write_that_fails_half_way_leaves_nothing_behind(path: Path) -> None:
    ledger, file = Ledger(), LedgerFile(path)
    ledger.account(NELSON).uploaded(1)
    ledger.account(AccountKey("default", "quotes", "Shakespeare", "v")).uploaded(2)
    saboteur = sqlite3.connect(path)
    saboteur.execute(
        "CREATE TRIGGER sabotage BEFORE INSERT ON accounts WHEN new.key = 'Shakespeare'"
        " BEGIN SELECT raise(ABORT, 'sabotage'); END"
    )
    for _ in range(2):
        with pytest.raises(StorageError, match=r"ledger\.sqlite: sabotage"):
            write(file, ledger)
    assert saboteur.execute("SELECT count(*) FROM accounts").fetchone() == (0,)
    assert saboteur.execute("SELECT count(*) FROM hours").fetchone() == (0,)
    saboteur.execute("DROP TRIGGER sabotage")
    saboteur.close()
    write(file, ledger)
    file.close()
    assert counted(path) == Counters(uploaded_bytes=3)


# -- files that can't be the ledger


def refusal(path: Path) -> str:
    """Return the one line that both the daemon and the report refuse the file with."""
    with pytest.raises(StorageError) as refused:
        LedgerFile(path, busy=0)
    with pytest.raises(StorageError) as unreadable:
        read_ledger(path, now=NOON)
    for error in (refused, unreadable):
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    return str(refused.value)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"quotes" * 1000)
    assert "not a SQLite file" in refusal(path)
    assert path.read_bytes() == b"quotes" * 1000


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE quotes (text)")
    connection.close()
    before = path.read_bytes()
    assert "another program's database" in refusal(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_newer_format_is_refused(path: Path) -> None:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    message = refusal(path)
    assert f"a newer seeder wrote it (format {SCHEMA + 1}, this one knows {SCHEMA})" in message


def test_a_damaged_file_is_refused(path: Path) -> None:
    ledger = make(path, accounts=200)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        pages = [
            root
            for (root,) in connection.execute("SELECT rootpage FROM sqlite_schema WHERE rootpage")
        ]
    with path.open("r+b") as data:
        for page in pages:
            data.seek((page - 1) * 4096)
            data.write(bytes(4096))
    file = LedgerFile(path)
    with pytest.raises(StorageError, match="the file is damaged"):
        file.load()
    with pytest.raises(StorageError, match="the file is damaged"):
        write(file, ledger)
    file.close()
    with pytest.raises(StorageError, match="the file is damaged"):
        read_ledger(path, now=NOON)


@pytest.mark.parametrize("text", [b"hourshours", b"key-7v"])
def test_text_that_is_not_utf_8_is_damage(path: Path, text: bytes) -> None:
    make(path, accounts=20)
    whole = path.read_bytes()
    assert text in whole
    path.write_bytes(whole.replace(text, b"\xff" + text[1:]))
    with pytest.raises(StorageError, match="the file is damaged"):
        read_ledger(path, now=NOON)
    with pytest.raises(StorageError, match="the file is damaged"):  # noqa: PT012
        file = LedgerFile(path)
        try:
            file.load()
        finally:
            file.close()


def test_a_directory_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    assert "give this user access" in refusal(path)


def test_a_place_where_no_directory_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/state: can't be made"):
        LedgerFile(tmp_path / "file" / "state" / "ledger.sqlite")


def test_a_sqlite_without_strict_tables_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StorageError, match=r"needs SQLite 3\.37"):
        LedgerFile(path)


def test_a_locked_file_is_refused_after_a_while(path: Path) -> None:
    make(path)
    with write_lock(path), pytest.raises(StorageError, match="another program holds its lock"):
        LedgerFile(path, busy=0.01)


def test_missing_directories_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "c?d#e%20" / "ledger.sqlite"
    make(path, accounts=1)
    assert path.is_file()
    assert counted(path) == Counters(uploaded_bytes=1)


def test_a_report_before_the_first_run_says_so(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no ledger yet"):
        read_ledger(path, now=NOON)
    assert list(path.parent.iterdir()) == []


def test_an_empty_file_becomes_the_ledger(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(StorageError, match="nothing is in it yet"):
        read_ledger(path, now=NOON)
    make(path, accounts=1)
    assert counted(path) == Counters(uploaded_bytes=1)


# -- who may read, who may write


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can read and only root can write to."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_who_may_only_read_can_report(public: Path) -> None:
    path = public / "ledger.sqlite"
    ledger, file = Ledger(), LedgerFile(path)
    ledger.account(NELSON).uploaded(1)
    write(file, ledger)
    with as_nobody():
        assert counted(path) == Counters(uploaded_bytes=1)  # while the daemon runs
    file.close()
    assert list(public.iterdir()) == [path]
    with as_nobody():
        assert counted(path) == Counters(uploaded_bytes=1)  # and after it
    assert list(public.iterdir()) == [path]


def test_who_may_only_read_can_not_write(public: Path) -> None:
    path = public / "ledger.sqlite"
    make(path)
    with as_nobody():
        with pytest.raises(StorageError, match="can't be written; give this user access"):
            LedgerFile(path)
        with pytest.raises(StorageError, match="can't be written; give this user access"):
            LedgerFile(public / "another.sqlite")


def test_who_may_not_read_is_told_so(public: Path) -> None:
    path = public / "ledger.sqlite"
    make(path)
    path.chmod(0o600)
    with as_nobody(), pytest.raises(StorageError, match="can't be read; give this user access"):
        read_ledger(path, now=NOON)
    public.chmod(0o700)
    with as_nobody(), pytest.raises(StorageError, match="can't be read: Permission denied"):
        read_ledger(path, now=NOON)
