"""Records on their way to a stream whose reader may stop reading.

A pipe or a socket that is full holds up whoever writes, here the event loop and so all that the
daemon serves. So a line waits for a moment; then lines are lost until the reader goes on, and one
tells how many they were.
"""

import logging
import os
import select
import stat
from typing import TextIO

_LOG = logging.getLogger(__name__)

PATIENCE = 100
"""Milliseconds that the first line waits for the reader."""
CHUNK = 1024
"""Characters written at a time: 4 KiB at most, for which a pipe has room once poll(2) says so."""


class PatientHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, and loses those that nobody reads."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        """Lines since the reader stopped."""
        self._cut = False
        """Whether the last line that was written has no end."""
        self._poll = _poll_of(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what goes wrong with it is told as by any handler."""
        try:
            text = self.format(record)
            if self._lost and self._writes(self.format(_told(self._lost))):
                self._lost = 0
            if self._lost or not self._writes(text):
                self._lost += 1
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _writes(self, text: str) -> bool:
        """Write a line as far as there is room; tell whether that was all of it."""
        line = ("\n" if self._cut else "") + text + self.terminator
        for at in range(0, len(line), CHUNK):
            if not self._has_room():
                self._cut = self._cut or at > 0
                return False
            self.stream.write(line[at : at + CHUNK])
            self.stream.flush()
        self._cut = False
        return True

    def _has_room(self) -> bool:
        # One whose reader has gone has an error to tell, and holds up nobody.
        return self._poll is None or bool(self._poll.poll(0 if self._lost else PATIENCE))


def _told(lost: int) -> logging.LogRecord:
    """Return the record that tells of lines that are lost."""
    text = "%d lines are lost: nobody read the log"
    return _LOG.makeRecord(_LOG.name, logging.WARNING, __file__, 0, text, (lost,), None)


def _poll_of(stream: TextIO) -> "select.poll | None":
    """Return what tells whether a stream takes more; None for one that always does."""
    try:
        descriptor = stream.fileno()
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
    except (OSError, ValueError):
        return None  # closed, or no file at all
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
