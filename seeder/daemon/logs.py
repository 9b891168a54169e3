"""Logging to stderr: for the journal with its priorities, for people with time and level."""

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from seeder.daemon.floods import FloodGate

# sd-daemon(3): syslog's numbers.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
# They are chatty below warnings, and botocore's debug lines hold signatures.
_LIBRARIES = ("botocore", "httpx", "urllib3")


def log_to_stderr(level: int = logging.INFO, *, stream: TextIO | None = None) -> FloodGate:
    """Send every logger's records to stderr, in the journal's form when it ends there.

    Ours from `level` up, those of libraries from warnings up; return what holds floods back.
    """
    stream = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(journal=goes_to_journal(stream)))
    gate = FloodGate()
    handler.addFilter(gate.lets_through)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # We log a failed refresh in one line; botocore would add a traceback.
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
    # A command says itself what S3 didn't give it; that S3 is away is for whoever runs the daemon.
    lasting = level <= logging.INFO
    for name in ("calls", "presence"):
        level = logging.NOTSET if lasting else logging.ERROR
        logging.getLogger(f"seeder.s3.{name}").setLevel(level)
    return gate


def goes_to_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether `stream` is the one that $JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # closed, or no file at all
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineFormatter(logging.Formatter):
    """Formats a record so that no text in it, a peer's for instance, can pass for another record.

    Control characters are escaped; the lines of a traceback are indented and, in the journal,
    each carries the record's priority.
    """

    default_time_format = "%Y-%m-%d %H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        lines = [escape_controls(f"{record.name}: {record.getMessage()}")]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        if record.stack_info:
            lines += record.stack_info.split("\n")
        if self._journal:
            prefix = f"<{_priority(record.levelno)}>"
        else:
            prefix = f"{self.formatTime(record)} {record.levelname:<8} "
        indent = prefix if self._journal else ""
        head, *rest = lines
        return "\n".join([prefix + head, *(f"{indent}    {escape_controls(x)}" for x in rest)])


def escape_controls(text: str) -> str:
    """Return `text` with every character that can't be printed as its escape, such as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG_PRIORITY)
