"""Every command as a shell sees it: what goes to stdout, what to stderr, and the exit code."""

import json
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from seeder import __version__
from seeder.cli import main
from seeder.ledger.counters import FORMER, AccountKey, Ledger
from seeder.ledger.file import LedgerFile
from seeder.ledger.records import Entry
from tests.commands.support import (
    PROGRAM,
    Result,
    environment,
    seeder,
    with_budget,
    write_settings,
)
from tests.support.processes import Child

DAY = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration whose S3 server is never asked."""
    return write_settings(tmp_path / "seeder.toml", "http://127.0.0.1:1")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in this process, which is quicker."""
    for module in ("node", "torrents"):
        monkeypatch.setattr(f"seeder.commands.declared.{module}.log_to_stderr", lambda *_: None)

    def run(*words: str | Path) -> Result:
        done = CliRunner().invoke(main, [str(word) for word in words])
        return Result(done.exit_code, done.stdout_bytes, done.stderr)

    return run


ONE_ADDRESS = (
    "one address gets 3 whole downloads of an object in about a day, or 12 if 4 clients or more ask"
    " there at once, before it is slowed down (peer.copies_per_address = 4), and 20 connections at"
    " a time (peer.connections_per_address)"
)
LISTED = (
    "the tracker names up to 32 peers of an object at one address (tracker.peers_per_address); S3"
    " is read for one address 1.25 times (peer.origin_copies_per_address)"
)


# -- help, check ----------------------------------------------------------------------------------


async def test_the_version_is_the_package_s() -> None:
    result = await seeder("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().split()[-1] == __version__


async def test_the_version_needs_nothing_of_the_commands() -> None:
    ours = "[each for each in sys.modules if each.startswith('seeder.')]"
    program = f"import sys, seeder.cli; print({ours})"
    done = await trio.run_process(
        [sys.executable, "-c", program], capture_stdout=True, env=environment()
    )
    assert done.stdout.decode().strip() == "['seeder.cli']"


async def test_the_daemon_loads_nothing_that_only_another_command_needs() -> None:
    others = [f"seeder.commands.{name}" for name in ("demo", "diagnose", "estimate", "report")]
    loaded = f"[each for each in {others} if each in sys.modules]"
    program = f"import sys, seeder.commands.declared.node; print({loaded})"
    done = await trio.run_process(
        [sys.executable, "-c", program], capture_stdout=True, env=environment()
    )
    assert done.stdout.decode().strip() == "[]"


def test_help_names_every_command_and_wrong_usage_is_2(here: Callable[..., Result]) -> None:
    result = here("--help")
    assert result.code == 0
    for command in (
        *("run", "check", "report", "estimate", "torrent", "magnet", "demo"),
        *("init", "completion", "man", "health"),
    ):
        assert f"\n  {command} " in result.out.decode()
    commands = result.out.decode().partition("To begin:")[2]
    assert "...\n" not in commands, "each command's line is whole"
    for words in ((), ("sail",), ("check",), ("check", "-c"), ("demo", "--size", "0 B")):
        wrong = here(*words)
        assert (wrong.code, wrong.out) == (2, b""), words


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (("stauts",), "; did you mean status?"),
        (("rehash", "quotes/Nelson"), "; did you mean refresh --rehash?"),
        (("keys", "revok"), "; did you mean revoke?"),
        (("keys", "delete"), "."),
        (("xyzzy",), "."),
    ],
)
def test_a_command_that_is_none_is_told_with_what_may_be_meant(
    here: Callable[..., Result], words: tuple[str, ...], guess: str
) -> None:
    result = here(*words)
    assert result.code == 2
    *_, name = [each for each in words if "/" not in each]
    assert result.err.splitlines()[-1] == f"Error: No such command '{name}'{guess}"


def test_a_file_that_lies_here_is_offered_and_not_taken(
    here: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "SEEDER_SECTION__KEY" in here("report").err
    (tmp_path / "seeder.toml").touch()
    result = here("report")
    assert result.code == 2
    assert result.err.endswith("There is seeder.toml: -c seeder.toml\n")


def test_a_directory_that_is_closed_to_whoever_asks_ends_no_command(
    here: Callable[..., Result], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, looked = str(tmp_path / "closed"), os.stat
    settings = path.read_text()
    path.write_text(settings.replace('= "cache"', '= "closed/cache"'))
    assert path.read_text() != settings

    def refuse(place: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if not isinstance(place, int) and str(place).startswith(f"{closed}/"):
            raise PermissionError(13, "Permission denied", place)
        return looked(place, *arguments, **named)

    monkeypatch.setattr(os, "stat", refuse)
    checked = here("check", "-c", path)
    assert (checked.code, checked.err) == (0, "")
    ledger = f"{closed}/node"
    told = here("report", "-c", path, "--ledger", ledger)
    assert (told.code, told.line) == (1, f"{ledger}: it can't be read: Permission denied")
    monkeypatch.setattr("seeder.commands.which._LIKELY", (Path(closed, "seeder.toml"),))
    assert "SEEDER_SECTION__KEY" in here("check").err


def test_check_counts_the_objects(here: Callable[..., Result], path: Path) -> None:
    assert here("check", "-c", path) == Result(
        0, f"{path}: ok, 2 objects\n{LISTED}\n{ONE_ADDRESS}\n".encode(), ""
    )
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


def test_check_looks_at_the_secrets_that_it_can_reach(
    here: Callable[..., Result], path: Path
) -> None:
    keys = (
        '[[gateway.keys]]\naccess_key_id = "A-1"\nsecret_file = "a"\nobjects = ["quotes/*"]\n'
        '[[gateway.keys]]\naccess_key_id = "B-2"\nsecret_credential = "b"\nobjects = ["quotes/*"]\n'
    )
    path.write_text(path.read_text() + keys)
    refused = here("check", "-c", path)
    assert refused.code == 1
    secret = path.parent / "a"
    assert refused.line == (
        f"gateway.keys[0]: the secret of A-1: {secret} can't be read: No such file or directory"
    )
    secret.write_text("x" * 16)
    secret.chmod(0o600)
    result = here("check", "-c", path)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().splitlines()[1:] == [
        LISTED,
        ONE_ADDRESS,
        "gateway.keys: B-2: not checked: only the service reads its secret",
    ]


def test_check_says_what_the_limits_come_to(here: Callable[..., Result], path: Path) -> None:
    with_budget(
        path,
        'origin_bytes_per_day = "2 TiB"\norigin_bytes_per_month = "1 TiB"\n'
        "origin_requests_per_day = 1000000\norigin_money_per_day = 9\n"
        'uploaded_bytes_per_day = "100 MiB"\nuploaded_money_per_month = 0.045',
    )
    result = here("check", "-c", path)
    assert (result.code, result.err) == (0, "")
    assert result.out.decode().splitlines()[1:] == [
        'budget.origin_bytes_per_day = "2 TiB": costs 184.32; '
        "never reached, for origin_bytes_per_month is less",
        'budget.origin_bytes_per_month = "1 TiB": costs 92.16',
        "budget.origin_requests_per_day = 1000000: costs 0.4000",
        "budget.origin_money_per_day = 9.0: buys 100 GiB, less the requests",
        'budget.uploaded_bytes_per_day = "100 MiB": costs 0.0088',
        "budget.uploaded_money_per_month = 0.045: buys 512 MiB",
        LISTED,
        ONE_ADDRESS,
    ]


def test_check_says_who_is_near_whom(here: Callable[..., Result], path: Path) -> None:
    groups = '\n[tracker.groups]\n"eu/a" = ["10.1.0.0/16"]\n"eu/b" = ["10.2.0.0/16"]\n'
    path.write_text(path.read_text() + groups)
    result = here("check", "-c", path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert "tracker.groups: eu/a: 10.1.0.0/16; near: eu/b" in lines
    path.write_text(path.read_text() + 'us = ["10.1.0.0/16"]\n')
    refused = here("check", "-c", path)
    assert refused.code == 2
    assert 'tracker.groups.us[0] = "10.1.0.0/16": is in group "eu/a" already' in refused.err


def test_check_says_how_many_whole_downloads_an_address_gets(
    here: Callable[..., Result], path: Path
) -> None:
    before, peer = path.read_text(), '["peer"]\n'
    path.write_text(
        before.replace(peer, f"{peer}copies_per_address = 60\nconnections_per_address = 120\n")
    )
    line = here("check", "-c", path).out.decode().splitlines()[-1]
    assert line.startswith(
        "one address gets 45 whole downloads of an object in about a day, or 180"
    )
    assert line.endswith("and 120 connections at a time (peer.connections_per_address)")
    path.write_text(before.replace(peer, f'{peer}copies_per_address = "unlimited"\n'))
    line = here("check", "-c", path).out.decode().splitlines()[-1]
    assert line.startswith("one address gets as many downloads as it asks for, by 20 connections")


# -- report ---------------------------------------------------------------------------------------


def test_a_report_before_the_first_run_says_what_is_missing(
    here: Callable[..., Result], path: Path
) -> None:
    result = here("report", "-c", path)
    assert (result.code, result.out) == (1, b"")
    assert result.line.startswith(f"{path.parent}/state/ledger.sqlite: there is no ledger yet")
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


def fill_ledger(state: Path) -> None:
    """Book three days ago and now: 100 MB and 10 MB from S3, ten times that uploaded."""
    state.mkdir()
    ledger = Ledger()
    account = ledger.account(AccountKey("default", "quotes", "Nelson", '"tag"'))
    account.size = 110_000_000
    file = LedgerFile(state / "ledger.sqlite")
    for at, count in ((time.time() - 3 * DAY, 100_000_000), (time.time(), 10_000_000)):
        account.origin_request("hashing")
        account.origin_received("hashing", count)
        account.uploaded(10 * count)
        account.delivered_verified(20 * count)
        file.write([Entry.of(account)], at)
    file.close()


def test_a_report_is_a_table_or_json_of_all_or_of_late(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    everything = here("report", "-c", path, "--json")
    assert (everything.code, everything.err) == (0, "")
    document = json.loads(everything.out)
    assert document["totals"]["origin_bytes"] == 110_000_000
    assert document["totals"]["saved_verified_bytes"] == 2_090_000_000
    [torrent] = document["torrents"]
    assert (torrent["bucket"], torrent["key"]) == ("quotes", "Nelson")
    assert document["since"] is None

    late = here("report", "-c", path, "--json", "--since", "1d")
    document = json.loads(late.out)
    assert document["totals"]["uploaded_bytes"] == 100_000_000
    assert document["since"] == pytest.approx(time.time() - DAY, abs=70)

    table = here("report", "-c", path)
    assert (table.code, table.err) == (0, "")
    text = table.out.decode()
    assert "quotes/Nelson" in text
    assert "105 MiB" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_a_report_tells_what_is_left_of_the_budget_whatever_its_span(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    with_budget(path, 'origin_bytes_per_day = "20 MB"\norigin_requests_per_day = 1')
    for span in ((), ("--since", "1h"), ("--since", "30d")):
        document = json.loads(here("report", "-c", path, "--json", *span).out)
        of_bytes, of_requests = document["budget"]
        assert (of_bytes["spent"], of_bytes["left"]) == (10_000_000, 10_000_000)
        assert (of_bytes["level"], of_requests["level"]) == ("normal", "cache only")
    assert "origin requests a day" in here("report", "-c", path).out.decode()


def test_a_report_for_finance_is_lines_csv_json_and_a_page(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    path.write_text(
        path.read_text()
        + '[savings]\ncurrency = "EUR"\nprice_per_gb = { "0 B" = 1, "1 GB" = 0.5 }\n'
    )
    for by, names in (
        ("torrent", {"quotes/Nelson"}),
        ("prefix", {"quotes/"}),
        ("purpose", {"metainfo", "hashing", "pieces"}),
    ):
        document = json.loads(here("report", "-c", path, "--by", by, "--json").out)["bill"]
        assert {line["name"] for line in document["lines"]} == names
    rows = here("report", "-c", path, "--by", "day", "--csv").out.decode().splitlines()
    assert rows[0].startswith("day,origin_bytes,")
    assert (len(rows), rows[-1].split(",")[1]) == (4, "110000000")
    text = here("report", "-c", path, "--by", "day").out.decode()
    assert "What S3 would have billed without us, and what it billed (EUR):" in text
    assert " GB x 1 + " in text
    assert max(map(len, text.splitlines())) <= 100
    page = path.parent / "page.html"
    written = here("report", "-c", path, "--html", page)
    assert (written.code, written.out.decode()) == (0, f"{page}: written\n")
    assert page.read_text().startswith("<!doctype html>")
    unwritable = here("report", "-c", path, "--html", path.parent)
    assert unwritable.code == 1
    assert unwritable.line == f"{path.parent}: can't be written: Is a directory"


def test_a_report_up_to_a_moment_has_what_came_before_it(
    here: Callable[..., Result], path: Path
) -> None:
    fill_ledger(path.parent / "state")
    document = json.loads(here("report", "-c", path, "--json", "--until", "1d").out)
    assert document["totals"]["origin_bytes"] == 100_000_000
    assert document["bill"]["total"]["origin_bytes"] == 100_000_000
    assert document["bill"]["until"] == pytest.approx(time.time() - DAY, abs=70)


def test_all_money_of_a_report_is_that_of_its_months(
    here: Callable[..., Result], path: Path
) -> None:
    state = path.parent / "state"
    state.mkdir()
    file, account = (
        LedgerFile(state / "ledger.sqlite"),
        Ledger().account(AccountKey("default", "b", "k", "v")),
    )
    # Two months: each has the first GB at the first price.
    for days in (45, 0):
        account.origin_received("pieces", 2 * 2**30)
        account.delivered_verified(5 * 2**30)
        file.write([Entry.of(account)], time.time() - days * DAY)
    file.close()
    prices = '[savings]\nprice_per_1000_requests = 0\nprice_per_gb = { "0 B" = 1, "1 GiB" = 0.5 }\n'
    path.write_text(path.read_text() + prices)
    document = json.loads(here("report", "-c", path, "--json").out)
    assert document["bill"]["total"]["billed_money"] == document["totals"]["origin_money"] == 3
    assert document["totals"]["saved_verified_money"] == 3
    text = here("report", "-c", path).out.decode()
    assert re.search(r"^Money to S3 +3\.00", text, re.M)
    assert re.search(r"^Money saved +3\.00", text, re.M)


@pytest.mark.parametrize(
    "kind", ["truncated", "zeros", "no database", "newer", "directory", "history"]
)
def test_a_report_on_what_is_no_sound_ledger_is_one_line(
    here: Callable[..., Result], path: Path, kind: str
) -> None:
    state = path.parent / "state"
    fill_ledger(state)
    ledger = state / "ledger.sqlite"
    data = bytearray(ledger.read_bytes())
    if kind == "truncated":
        ledger.write_bytes(data[: len(data) // 2])
    elif kind == "zeros":
        data[4096 : len(data) - 4096] = bytes(len(data) - 8192)
        ledger.write_bytes(data)
    elif kind == "no database":
        ledger.write_bytes(b"what is this " * 1000)
    elif kind == "directory":
        ledger.unlink()
        ledger.mkdir()
    else:
        statement = {
            "newer": "PRAGMA user_version = 99",
            "history": "DROP TABLE node_days",
        }[kind]
        with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            connection.execute(statement)
    for words in ((), ("--json",), ("--csv", "--by", "day"), ("--html", "page.html")):
        found = here("report", "-c", path, *words)
        assert found.code == 1
        assert found.line.startswith(f"{ledger}: ")


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--csv"),
        ("--since", "1d", "--until", "2d"),
        ("--by", "moon"),
        ("--since", "2999-01-01"),
        ("--since", "9999999d"),
        ("--until", "0001-01-01"),
        ("--until", "9999-12-31T23:59-14:00"),
    ],
)
def test_a_report_that_makes_no_sense_is_wrong_usage(
    here: Callable[..., Result], path: Path, words: tuple[str, ...]
) -> None:
    result = here("report", "-c", path, *words)
    assert (result.code, result.out) == (2, b"")


# -- estimate


def test_an_estimate_takes_the_sizes_that_the_ledger_knows(
    here: Callable[..., Result], path: Path
) -> None:
    unknown = here("estimate", "-c", path, "--downloads", "10")
    assert (unknown.code, unknown.out) == (1, b"")
    assert "there is no ledger yet; `seeder run` writes it; or say --size" in unknown.line
    fill_ledger(path.parent / "state")
    before = Ledger().account(AccountKey("default", "quotes", "Nelson", '"of another state"'))
    before.size, before.state = 1_000_000, FORMER
    with closing(LedgerFile(path.parent / "state" / "ledger.sqlite")) as file:
        file.write([Entry.of(before)], time.time())
    told = here("estimate", "-c", path, "--downloads", "10", "--at-once", "4")
    assert (told.code, told.err) == (0, "")
    lines = told.out.decode().splitlines()
    assert lines[0] == "10 downloads of 1 object, 4 at once (3 waves), in one month:"
    assert lines[1].startswith("without us: 1.02 GiB, 10 requests: 1.024455 GB x 0.09 + 10 x")
    assert lines[2].startswith("with us: 105 MiB, 14 requests: 0.102445 GB x 0.09 + 14 x")
    assert lines[3].endswith("S3 sends 1.00 copies at most")
    wanted = json.loads(here("estimate", "-c", path, "--downloads", "10", "--json").out)
    assert (wanted["delivered_bytes"], wanted["origin_requests"]) == (1_100_000_000, 14)
    assert wanted["saved_money"] == wanted["without_money"] - wanted["billed_money"] > 0


def test_an_estimate_of_a_size_needs_no_ledger(here: Callable[..., Result], path: Path) -> None:
    told = here("estimate", "-c", path, "--downloads", "1000", "--size", "2 TiB")
    assert told.code == 0
    assert "each wave is counted as read from S3" in told.out.decode()
    for words in (("--downloads", "0"), ("--downloads", "5", "--size", "big"), ()):
        assert here("estimate", "-c", path, *words).code == 2


@pytest.mark.parametrize("since", ["yesterday", "0s", "-1d", "7", "1000000d"])
def test_a_report_since_no_time_is_wrong_usage(
    here: Callable[..., Result], path: Path, since: str
) -> None:
    result = here("report", "-c", path, "--since", since)
    assert (result.code, result.out) == (2, b"")
    assert since in result.err.splitlines()[-1]


@pytest.mark.parametrize("command", ["torrent", "magnet"])
def test_names_that_are_not_configured_are_wrong_usage(
    here: Callable[..., Result], path: Path, command: str
) -> None:
    unknown = here(command, "-c", path, "quotes/nelson")
    assert (unknown.code, unknown.out) == (2, b"")
    assert unknown.line == (
        'quotes/nelson: is not among the configured objects; did you mean "quotes/Nelson"?'
    )
    # The bundle of a whole bucket would be named so.
    assert here(command, "-c", path, "quotes/").line == (
        "quotes/: is not among the configured objects"
    )
    for name in ("Nelson", "/"):
        wrong = here(command, "-c", path, name)
        assert wrong.code == 2
        assert repr(name) in wrong.err.splitlines()[-1]
    assert [each.name for each in path.parent.iterdir()] == ["seeder.toml"]


# -- the form of the log ---------------------------------------------------------------------------


def _objects(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_of_a_json_log_is_an_object_to_the_end(path: Path, tmp_path: Path) -> None:
    env = environment()
    with Child(
        [*PROGRAM, "run", "--log-format", "json", "-c", path], log=tmp_path / "run.log", env=env
    ) as daemon:
        daemon.wait_until(lambda: '"ready: ' in daemon.output(), timeout=60, what="ready")
        path.write_text(path.read_text() + "nonsense\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_until(lambda: "not reloaded" in daemon.output(), timeout=60, what="reload")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        told = _objects(daemon.output())
    assert [list(each) for each in told] == [["time", "level", "logger", "message"]] * len(told)
    assert told[-1]["message"] == "stopped"


async def test_what_ends_the_daemon_has_the_form_of_its_log(path: Path) -> None:
    plain = await seeder("run", "-c", path.parent / "none.toml")
    told = await seeder("run", "--log-format", "json", "-c", path.parent / "none.toml")
    assert plain.code == told.code == 2
    [only] = _objects(told.err)
    assert (only["level"], only["message"]) == ("critical", plain.line)


@pytest.fixture
def taken(path: Path) -> Path:
    """A configuration whose state directory can't be made."""
    path.write_text(path.read_text().replace('"state"', '"/proc/nowhere"'))
    return path


async def test_what_can_t_be_used_is_told_in_the_form_of_the_log(taken: Path) -> None:
    path = taken
    plain = await seeder("run", "-c", path)
    told = await seeder("run", "--log-format", "json", "-c", path)
    assert plain.code == told.code != 0
    assert _objects(told.err)[-1]["message"] == plain.err.splitlines()[-1]
