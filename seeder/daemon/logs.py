"""Logging to stderr: for people, for the journal with its priorities, or as JSON."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from traceback import TracebackException
from types import TracebackType
from typing import Literal, TextIO, TypeAlias, get_args

from seeder.config.node import LOG_ROOMS, LogSettings
from seeder.daemon.floods import FloodGate
from seeder.daemon.writing import PatientHandler
from seeder.net.scarcity import scarcity_of
from seeder.tracker.passkeys import hide_passkeys

Form: TypeAlias = Literal["text", "json"]
FORMS: tuple[Form, ...] = get_args(Form)
# sd-daemon(3): syslog's numbers.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
# They are chatty below warnings, and botocore's debug lines hold signatures.
_LIBRARIES = ("botocore", "httpx", "urllib3")
_OWN = "seeder"
_Raised: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)
_LOG = logging.getLogger(__name__)


class Log:
    """Where records go: a stream, in one form, from levels up that may change.

    `plain` tells whether it is text for people, where complaints of the command line stand beside
    records and need no form of their own.
    """

    def __init__(self, stream: TextIO, form: Form, *, verbose: bool = False) -> None:
        self.gate = FloodGate()
        journal = goes_to_journal(stream)
        self.plain = form == "text" and not journal
        self._verbose = verbose
        lines = LineFormatter(journal=journal) if form == "text" else JsonFormatter(journal=journal)
        self.handler = PatientHandler(stream)
        self.handler.setFormatter(lines)
        self.handler.addFilter(self.gate.lets_through)

    def apply(self, settings: LogSettings) -> None:
        """Log from the levels of [log] up from now on; what was asked for verbosely stays so."""
        level = logging.DEBUG if self._verbose else _number(settings.level)
        _set_level(level)
        for room in LOG_ROOMS:
            own = settings.levels.get(room)
            number = logging.NOTSET if own is None else _number(own)
            logging.getLogger(f"{_OWN}.{room}").setLevel(number)

    def complain(self, text: str) -> None:
        """Log what ends the program."""
        _LOG.critical("%s", text)


def log_to_stderr(
    level: int = logging.INFO, *, stream: TextIO | None = None, form: Form = "text"
) -> Log:
    """Send every logger's records to stderr, in the journal's form when it ends there.

    Ours from `level` up, those of libraries from warnings up.
    """
    log = Log(stream if stream is not None else sys.stderr, form, verbose=level <= logging.DEBUG)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(log.handler)
    _set_level(level)
    # We log a failed refresh in one line; botocore would add a traceback.
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
    # A command says itself what S3 didn't give it; that S3 is away is for whoever runs the daemon.
    lasting = level <= logging.INFO
    for name in ("caller", "presence"):
        level = logging.NOTSET if lasting else logging.ERROR
        logging.getLogger(f"{_OWN}.s3.{name}").setLevel(level)
    return log


def _set_level(level: int) -> None:
    logging.getLogger().setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def goes_to_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether `stream` is the one that $JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # closed, or no file at all
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _told(record: logging.LogRecord) -> tuple[str, str]:
    """Return the text of a record, and a traceback where there is one; no passkey is told.

    Where nothing but memory, threads or descriptors were lacking, that is said in place of it.
    """
    text, raised = record.getMessage(), record.exc_info
    if not raised:
        return hide_passkeys(text), ""
    lacking = scarcity_of(raised[1])
    if lacking is not None:
        return hide_passkeys(f"{text}: {lacking}"), ""
    return hide_passkeys(text), hide_passkeys(_trace(raised))


def _trace(raised: _Raised) -> str:
    """Return the traceback of what was raised.

    Each nursery around a fault makes a group of it, and Python shows no more than ten within each
    other: a group of one is shown as that one, and others to their end.
    """
    error = raised[1]
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    if error is None:
        return ""
    return "".join(TracebackException.from_exception(error, max_group_depth=100).format()).rstrip()


class LineFormatter(logging.Formatter):
    """Formats a record so that no text in it, a peer's for instance, can pass for another record,
    and no passkey is told.

    Control characters are escaped; the lines of a traceback are indented and, in the journal,
    each carries the record's priority. The journal has times of its own; for people it is the
    local time and how far it is from UTC.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text, trace = _told(record)
        lines = [escape_controls(f"{record.name}: {text}")]
        if trace:
            lines += trace.split("\n")
        if record.stack_info:
            lines += record.stack_info.split("\n")
        if self._journal:
            prefix = f"<{_priority(record.levelno)}>"
        else:
            prefix = f"{_time(record, ' ')} {record.levelname:<8} "
        indent = prefix if self._journal else ""
        head, *rest = lines
        return "\n".join([prefix + head, *(f"{indent}    {escape_controls(x)}" for x in rest)])


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in ASCII: an object whose members never change.

    `time` (ISO 8601, local with its distance from UTC), `level` (debug to critical), `logger`,
    `message`, and `traceback` if there is one; no passkey is told. In the journal its
    priority stands before it.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text, trace = _told(record)
        told = {
            "time": _time(record, "T"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": text,
        }
        traces = [trace] if trace else []
        if record.stack_info:
            traces.append(hide_passkeys(record.stack_info))
        if traces:
            told["traceback"] = "\n".join(traces)
        line = json.dumps(told)
        return f"<{_priority(record.levelno)}>{line}" if self._journal else line


def _time(record: logging.LogRecord, separator: str) -> str:
    when = datetime.fromtimestamp(record.created).astimezone()
    return when.isoformat(sep=separator, timespec="milliseconds")


def escape_controls(text: str) -> str:
    """Return `text` with every character that can't be printed as its escape, such as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG_PRIORITY)
