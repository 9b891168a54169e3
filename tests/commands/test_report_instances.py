"""`seeder report` adds up the ledgers of several nodes: those of one file, or those named."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from seeder.cli import main
from seeder.ledger.counters import AccountKey, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.records import Entry

NELSON = AccountKey("default", "quotes", "Nelson", '"etag"')


def write_ledger(directory: Path, uploaded: int) -> None:
    """Write the ledger of a node that has uploaded so much."""
    ledger = Ledger()
    ledger.account(NELSON).uploaded(uploaded)
    file = LedgerFile(directory / "ledger.sqlite")
    file.write([Entry.of(account) for account in ledger.accounts], 1_795_400_000.0)
    file.close()


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def uploaded(*arguments: str | Path) -> int:
    """Return what a report says of the uploads of the one object."""
    document = json.loads(report("--json", *arguments).stdout)
    [torrent] = document["torrents"]
    assert torrent["uploaded_bytes"] == document["totals"]["uploaded_bytes"]
    count: int = torrent["uploaded_bytes"]
    return count


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seeder.toml"
    path.write_text(
        'state_directory = "state/%i"\n'
        '[[objects]]\nbucket = "quotes"\nkey = "Nelson"\n'
        '[tracker]\nannounce_url = "http://tracker.example.org/announce"\n'
    )
    return path


def test_a_report_is_of_all_instances_or_of_the_named_one(file: Path, tmp_path: Path) -> None:
    for name, count in (("1", 5), ("2", 70), ("10", 600)):
        write_ledger(tmp_path / "state" / name, count)
    assert uploaded("-c", file) == 675
    assert uploaded("-c", file, "--instance", "2") == 70
    assert "quotes/Nelson" in report("-c", file).stdout


def test_ledgers_of_other_machines_are_named(file: Path, tmp_path: Path) -> None:
    write_ledger(tmp_path / "state" / "1", 5)
    for name, count in (("there", 70), ("elsewhere", 600)):
        write_ledger(tmp_path / name, count)
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere" / "ledger.sqlite"
    assert uploaded("-c", file, "--ledger", there, "--ledger", elsewhere) == 670
    assert uploaded("-c", file, "--ledger", there) == 70


def test_before_a_node_has_run_the_missing_ledger_is_named(file: Path, tmp_path: Path) -> None:
    found = report("-c", file)
    assert found.exit_code == 1
    assert f"{tmp_path}/state/1/ledger.sqlite: there is no ledger yet" in found.stderr
    named = report("-c", file, "--ledger", tmp_path / "nowhere")
    assert named.exit_code == 1
    assert f"{tmp_path}/nowhere: there is no ledger yet" in named.stderr
