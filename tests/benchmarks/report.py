"""How long a report over a year takes, of a thousand torrents that were busy in every hour of it.

    python -m tests.benchmarks.report [--torrents 1000] [--days 365]

The ledger is filled by SQL as the daemon would have: minutes of two days, hours of 90, days of all.
Each figure is the best of three, and what it takes to start Python comes first.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seeder.ledger.counters import COUNTERS, Account, AccountKey
from seeder.ledger.file import LedgerFile
from seeder.ledger.records import Entry
from seeder.ledger.retention import KEPT_FOR
from seeder.ledger.schema import LEVELS
from seeder.units import DAY, HOUR, MINUTE
from tests.benchmarks.setup import machine
from tests.support.processes import python_environment
from tests.support.toml import toml

TIERS = {"0 B": 0.09, "10 TiB": 0.085, "50 TiB": 0.07, "150 TiB": 0.05}
_FILL = """
WITH RECURSIVE steps(at) AS (SELECT ? UNION ALL SELECT at + ? FROM steps WHERE at + ? < ?)
INSERT INTO {table} ({key}at, {names}) SELECT {number}at, {values} FROM steps{accounts}"""


def fill(path: Path, torrents: int, days: int, now: int) -> None:
    """Write what so many torrents would have counted in so many days."""
    file = LedgerFile(path)
    accounts = [
        Account(key=AccountKey("default", "bucket", f"folder-{n % 20}/object-{n}", f'"{n}"'))
        for n in range(torrents)
    ]
    file.write([Entry.of(account) for account in accounts], now)
    connection = file._connection
    for step, table in LEVELS.items():
        begin = now - min(KEPT_FOR.get(step, days * DAY), days * DAY)
        begin, end = begin // step * step, now // step * step
        values = ", ".join(f"{1000 + place} * {step}" for place in range(len(COUNTERS)))
        names = ", ".join(COUNTERS)
        for node in ("", "node_"):
            statement = _FILL.format(
                table=f"{node}{table}",
                names=names,
                values=values,
                key="" if node else "account, ",
                number="" if node else "accounts.id, ",
                accounts="" if node else ", accounts",
            )
            connection.execute("BEGIN")
            connection.execute(statement, (begin, step, step, end))
            connection.execute("COMMIT")
    kept = [(HOUR, now - 90 * DAY), (MINUTE, now - 2 * DAY)]
    for step, since in kept:
        connection.execute(
            "UPDATE kept SET since = ? WHERE step = ?", (since // DAY * DAY + DAY, step)
        )
    file.close()


def best(words: list[str], rounds: int = 3) -> float:
    """Return the seconds of a command, the best of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            env=python_environment(),
        )
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    """Fill two ledgers, one price and tiers, and print the table."""
    parser = argparse.ArgumentParser(prog="report", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--torrents", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    chosen = parser.parse_args()
    table = Table("report", "one price (s)", "four tiers (s)")
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        directory = Path(name)
        state = directory / "state"
        state.mkdir()
        fill(state / "ledger.sqlite", chosen.torrents, chosen.days, int(time.time()))
        size = (state / "ledger.sqlite").stat().st_size
        for file, price in (("flat", 0.09), ("tiers", TIERS)):
            settings = {
                "state_directory": "state",
                "origin": {"region": "us-east-1", "anonymous": True},
                "objects": [{"bucket": "bucket", "prefix": "folder-1/"}],
                "savings": {"price_per_gb": price, "currency": "USD"},
                "peer": {"public_address": "192.0.2.1:6881"},
                "tracker": {"announce_url": "http://192.0.2.1:6969/announce"},
            }
            (directory / f"{file}.toml").write_text(toml(settings))
        started = best(["-c", "import seeder.cli"])
        forms = {
            "by torrent": [],
            "by prefix": ["--by", "prefix"],
            "by day": ["--by", "day"],
            "by purpose": ["--by", "purpose"],
            "by torrent, --csv": ["--csv"],
            "by torrent, --html": ["--html", str(directory / "page.html")],
            "by torrent, --since 300d": ["--since", "300d", "--csv"],
        }
        for title, words in forms.items():
            seconds = [
                best(["-m", "seeder.cli", "report", "-c", str(directory / f"{file}.toml"), *words])
                for file in ("flat", "tiers")
            ]
            table.add_row(title, *(f"{each - started:.2f}" for each in seconds))
    print(f"{chosen.torrents} torrents, {chosen.days} days, {size >> 20} MiB, {machine()}")
    print(f"to start Python and import the seeder: {started:.2f} s, taken off below")
    Console().print(table)


if __name__ == "__main__":
    main()
