"""One record is one line, whatever a peer put into it."""

import errno
import io
import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.config.node import LOG_ROOMS, LogSettings
from seeder.daemon.logs import (
    JsonFormatter,
    LineFormatter,
    escape_controls,
    goes_to_journal,
    log_to_stderr,
)
from seeder.net.scarcity import NO_DESCRIPTOR, NO_MEMORY, NO_THREAD
from tests.house import seeder_sources


def record(level: int, text: str, *, failed: bool = False) -> logging.LogRecord:
    error = None
    if failed:
        try:
            raise ValueError(text)
        except ValueError as raised:
            error = (type(raised), raised, raised.__traceback__)
    return logging.LogRecord("seeder.peer", level, __file__, 1, "%s", (text,), error)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.CRITICAL, "<2>"),
        (logging.ERROR, "<3>"),
        (logging.WARNING, "<4>"),
        (logging.INFO, "<6>"),
        (logging.DEBUG, "<7>"),
        (logging.INFO + 5, "<6>"),
    ],
)
def test_the_journal_gets_syslogs_priorities(level: int, prefix: str) -> None:
    line = LineFormatter(journal=True).format(record(level, "hello"))
    assert line == f"{prefix}seeder.peer: hello"


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whose TZ holds until the end of the test."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "at", "told"),
    [
        ("UTC", 1_790_000_000.25, "2026-09-21 14:13:20.250+00:00"),
        ("Europe/Berlin", 1_790_000_000.25, "2026-09-21 16:13:20.250+02:00"),
        ("America/St_Johns", 1_790_000_000.0, "2026-09-21 11:43:20.000-02:30"),
        # The hour that comes twice when summer time ends.
        ("Europe/Berlin", 1_792_888_200.0, "2026-10-25 02:30:00.000+02:00"),
        ("Europe/Berlin", 1_792_891_800.0, "2026-10-25 02:30:00.000+01:00"),
    ],
)
def test_people_get_time_zone_and_level(
    zone: pytest.MonkeyPatch, name: str, at: float, told: str
) -> None:
    zone.setenv("TZ", name)
    time.tzset()
    told_by = record(logging.WARNING, "hello")
    told_by.created = at
    line = LineFormatter(journal=False).format(told_by)
    assert line == f"{told} WARNING  seeder.peer: hello"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(), st.booleans(), st.booleans())
def test_json_is_one_object_a_line_with_the_same_members(
    text: str, failed: bool, journal: bool
) -> None:
    told_by = record(logging.ERROR, text, failed=failed)
    line = JsonFormatter(journal=journal).format(told_by)
    assert line.isascii()
    assert line.isprintable()
    assert line.startswith("<3>{" if journal else "{")
    told = json.loads(line.removeprefix("<3>"))
    members = ["time", "level", "logger", "message", *(["traceback"] if failed else [])]
    assert list(told) == members
    assert (told["level"], told["logger"], told["message"]) == ("error", "seeder.peer", text)
    assert datetime.fromisoformat(told["time"]).utcoffset() is not None
    if failed:
        assert told["traceback"].startswith("Traceback (most recent call last):\n")
        assert "ValueError" in told["traceback"]


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text draws read a big table
@given(st.text(), st.booleans())
def test_no_text_breaks_out_of_its_line(text: str, journal: bool) -> None:
    line = LineFormatter(journal=journal).format(record(logging.INFO, text))
    assert line.isprintable()


def test_escapes_are_readable() -> None:
    assert escape_controls("a\n<0>b\x1b[31m\x9b\u2028\u202e é\udcff") == (
        r"a\n<0>b\x1b[31m\x9b\u2028\u202e é\udcff"
    )


def test_a_traceback_stays_inside_its_record() -> None:
    forged = "x\n<0>kernel: on fire\n2026-01-01 00:00:00.000 ERROR    x\x1b[2J"
    journal = LineFormatter(journal=True).format(record(logging.ERROR, forged, failed=True))
    first, *rest = journal.split("\n")
    assert first.startswith("<3>seeder.peer: x\\n<0>kernel")
    assert len(rest) > 3
    assert all(line.startswith("<3>    ") for line in rest)
    for_people = LineFormatter(journal=False).format(record(logging.ERROR, forged, failed=True))
    assert all(line.startswith("    ") for line in for_people.split("\n")[1:])
    assert "\x1b" not in journal + for_people


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert goes_to_journal(stream, named)
        assert not goes_to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:1"})
        assert not goes_to_journal(stream, {})
    assert not goes_to_journal(stream, named)
    assert not goes_to_journal(io.StringIO(), named)


def test_libraries_are_heard_from_warnings_up(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    log_to_stderr(logging.DEBUG, stream=stream)
    log_to_stderr(logging.DEBUG, stream=stream)
    logging.getLogger("seeder.s3").debug("asking")
    logging.getLogger("botocore.auth").debug("Signature: secret")
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("httpx").warning("odd")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("DEBUG    seeder.s3: asking")
    assert second.endswith("WARNING  httpx: odd")
    log_to_stderr(stream=stream)
    logging.getLogger("seeder.s3").debug("asking again")
    assert "asking again" not in stream.getvalue()


def test_levels_are_taken_up_by_room_and_let_go_of(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    log = log_to_stderr(stream=stream)
    for settings_of, told in (
        (LogSettings(), ["s3 warning", "peer info", "peer warning"]),
        (LogSettings(levels={"peer": "warning"}), ["s3 warning", "peer warning"]),
        (LogSettings(level="error"), []),
        (LogSettings(level="error", levels={"peer": "info"}), ["peer info", "peer warning"]),
        (
            LogSettings(level="debug"),
            ["s3 debug", "s3 warning", "peer info", "peer warning", "httpx warning"],
        ),
    ):
        log.apply(settings_of)
        stream.seek(0)
        stream.truncate()
        logging.getLogger("seeder.s3.client").debug("s3 debug")
        logging.getLogger("seeder.s3.client").warning("s3 warning")
        logging.getLogger("seeder.peer.session").info("peer info")
        logging.getLogger("seeder.peer.session").warning("peer warning")
        logging.getLogger("httpx").debug("httpx debug")
        if "httpx warning" in told:
            logging.getLogger("httpx").warning("httpx warning")
        assert [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()] == told


def test_who_asks_for_all_lines_gets_them_whatever_the_file_says(
    root_logger: logging.Logger,
) -> None:
    log = log_to_stderr(logging.DEBUG)
    log.apply(LogSettings(level="error"))
    assert root_logger.level == logging.DEBUG


def test_every_part_of_the_program_has_a_level() -> None:
    logging_rooms = {
        name.split(".")[1]
        for name, source in seeder_sources().items()
        if "logging.getLogger(" in source and name.count(".") > 1
    }
    assert logging_rooms - {"commands"} <= set(LOG_ROOMS)


@pytest.mark.parametrize("siblings", [0, 1])
def test_a_fault_is_shown_however_many_nurseries_are_around_it(siblings: int) -> None:
    error: Exception = ValueError("the cause")
    for _ in range(30):
        others = [OSError("another") for _ in range(siblings)]
        error = ExceptionGroup("of a nursery", [error, *others])
    told = logging.LogRecord(
        "seeder.peer", logging.ERROR, __file__, 1, "hello", (), (type(error), error, None)
    )
    for formatter in (LineFormatter(journal=False), JsonFormatter(journal=False)):
        assert "ValueError: the cause" in formatter.format(told)


def test_what_ends_the_daemon_has_its_priority_in_the_journal(
    root_logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        log = log_to_stderr(stream=stream)
        assert not log.plain
        log.complain("no such file")
        assert (tmp_path / "log").read_text() == "<2>seeder.daemon.logs: no such file\n"


LACKING = {
    MemoryError(): NO_MEMORY,
    OSError(errno.ENOMEM, "Cannot allocate memory"): NO_MEMORY,
    RuntimeError("can't start new thread"): NO_THREAD,
    OSError(errno.EMFILE, "Too many open files"): NO_DESCRIPTOR,
    ExceptionGroup("", [ExceptionGroup("", [MemoryError()]), MemoryError()]): NO_MEMORY,
}


@pytest.mark.parametrize("error", LACKING, ids=repr)
def test_what_the_machine_lacks_is_a_line_that_says_what_to_do(error: Exception) -> None:
    raised = (type(error), error, None)
    made = logging.LogRecord("seeder.peer", logging.ERROR, __file__, 1, "it failed", (), raised)
    line = LineFormatter(journal=False).format(made)
    assert line.endswith(f"it failed: {LACKING[error]}")
    told = json.loads(JsonFormatter(journal=False).format(made))
    assert (told["message"], "traceback" in told) == (f"it failed: {LACKING[error]}", False)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("it can't start new threads"),
        OSError(errno.ENOENT, "No such file or directory"),
        ExceptionGroup("", [MemoryError(), ValueError()]),
    ],
    ids=repr,
)
def test_a_fault_beside_that_keeps_its_traceback(error: Exception) -> None:
    raised = (type(error), error, None)
    made = logging.LogRecord("seeder.peer", logging.ERROR, __file__, 1, "it failed", (), raised)
    assert "\n" in LineFormatter(journal=False).format(made)
