"""What is true of an origin is said once, however many objects show it. No I/O."""

import logging

from seeder.torrent.objects import ObjectRef

_MOST_KINDS = 1000
"""Kinds that are told apart; a server that words each answer in another way makes more."""


class Remarks:
    """Logs the first remark of a kind about an origin, then the 10th, the 100th and so on."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._counts: dict[tuple[str, str], int] = {}

    def say(self, level: int, kind: str, ref: ObjectRef, text: str, advice: str = "") -> None:
        """Log `text` about an object at `level`, or only count it: then it is seen with debugging.

        The lines after the first say how often it has been met, and give the `advice`.
        """
        if len(self._counts) >= _MOST_KINDS:
            self._counts.clear()
        kept = (ref.origin, kind)
        count = self._counts[kept] = self._counts.get(kept, 0) + 1
        if count == 1:
            self._log.log(level, "%s", text)
        elif str(count).strip("0") == "1":
            more = f"; {advice}" if advice else ""
            self._log.log(
                level, "%s; the same was met %d times at origin %s%s", text, count, ref.origin, more
            )
        else:
            self._log.debug("%s", text)
