"""Log lines that come in thousands: a few of each kind are written, the rest is counted."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from seeder.units import counted

MOST = 20
"""Lines of one kind in a window."""
FLOOD_WINDOW = 10.0
"""Seconds that a window lasts."""
MOST_COMPLAINTS = 100
"""Warnings and errors of one kind about objects in a window: each names another object."""

_ROOMS = tuple(
    f"seeder.{room}."
    for room in ("cache", "gateway", "http", "net", "peer", "s3", "tracker", "upload")
)
"""What is logged there may follow from what a client does, as often as the client likes."""
_OBJECT_ROOMS = ("seeder.metainfo.", "seeder.publish.")
"""What is logged there is about an object, of which there may be ten thousand below a prefix."""


@dataclass(slots=True)
class _Window:
    """One kind of line in one window; `last` is the last line that was held back."""

    ends: float
    count: int = 0
    held: int = 0
    last: logging.LogRecord | None = None


class FloodGate:
    """Lets through the first lines of each kind in a window; a summary tells of the others.

    Lines are of one kind if one logger writes them from one template. Debug lines, and what other
    rooms log, always pass. Of warnings about objects more pass. `clock` is in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def lets_through(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is written; called in whichever thread logs it."""
        if record.levelno < logging.INFO:
            return True
        most = MOST
        if record.name.startswith(_OBJECT_ROOMS):
            if record.levelno > logging.INFO:
                most = MOST_COMPLAINTS
        elif not record.name.startswith(_ROOMS):
            return True
        kind, now = (record.name, str(record.msg)), self._clock()
        window = self._windows.get(kind)
        if window is None or now >= window.ends:
            self.summarise()
            window = self._windows[kind] = _Window(now + FLOOD_WINDOW)
        window.count += 1
        if window.count <= most:
            return True
        window.held += 1
        window.last = record
        return False

    def summarise(self, *, everything: bool = False) -> None:
        """Write a line for each window that is over and held lines back; `everything`: for all."""
        now = self._clock()
        for kind, window in tuple(self._windows.items()):
            if not everything and now < window.ends:
                continue
            self._windows.pop(kind, None)
            if window.last is not None:
                logging.getLogger(__name__).log(
                    window.last.levelno,
                    "%s like this one in %.0f s: %s: %s",
                    counted(window.held, "more line"),
                    FLOOD_WINDOW,
                    window.last.name,
                    _message_of(window.last),
                )


def _message_of(record: logging.LogRecord) -> str:
    """Return what a line said; it was held back, so that nobody has tried yet to make it up."""
    try:
        return record.getMessage()
    except Exception:  # of its values, or of their number: that mustn't fail whoever logs next
        return str(record.msg)
