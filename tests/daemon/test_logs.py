"""One record is one line, whatever a peer put into it."""

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seeder.daemon.logs import LineFormatter, escape_controls, goes_to_journal, log_to_stderr


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


def test_people_get_time_and_level() -> None:
    line = LineFormatter(journal=False).format(record(logging.WARNING, "hello"))
    assert line[23:] == " WARNING  seeder.peer: hello"
    assert line[:23].translate(dict.fromkeys(map(ord, "0123456789"), "9")) == (
        "9999-99-99 99:99:99.999"
    )


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


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name).level for name in ("botocore", "httpx")}
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)


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
