"""Commands that wait for S3 say so, once an outage, and end when they have waited long enough."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TypeVar

import trio

from seeder.errors import OriginUnreachable
from seeder.s3.client import S3Origin
from seeder.s3.operations import Unanswered
from seeder.units import counted

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

SAID_AFTER = 3.0
"""Seconds without an answer after which it is said that S3 is waited for."""
FOR_A_QUESTION = 30.0
"""Seconds without an answer after which a question is given up."""
FOR_A_BUILD = 120.0
"""The same for reading an object, in which much may have been done already."""
_LOOK = 0.25


class Patience:
    """Waits for the answers of one origin; `run` has to run meanwhile."""

    def __init__(self, origin: S3Origin) -> None:
        self._origin = origin
        self._waits: dict[trio.CancelScope, float] = {}
        """The seconds that each wait may last."""
        self._late: Unanswered | None = None
        """What was waited for when the last wait was ended."""
        self._gave_up = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Say once when S3 has to be waited for, and end what waits for too long."""
        task_status.started()
        said = False
        while True:
            await trio.sleep(_LOOK)
            waits = self._origin.waits_for()
            if waits is None:
                said = False
                continue
            longest = max(self._waits.values(), default=inf)
            for scope, seconds in self._waits.items():
                if waits.seconds >= seconds:
                    self._late = waits
                    scope.cancel()
            if SAID_AFTER <= waits.seconds < longest < inf and not said:
                said = True
                _LOG.warning("%s", _line(waits, longest))

    async def wait(self, name: str, seconds: float, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `ask` does; OriginUnreachable if S3 is silent for so many `seconds`.

        `name` is what is asked for. Several may wait at a time. Where S3 was silent a moment ago,
        nobody waits for long.
        """
        with trio.CancelScope() as scope:
            self._waits[scope] = SAID_AFTER if self._gave_up else seconds
            try:
                got = await ask()
            finally:
                del self._waits[scope]
            self._gave_up = False
            return got
        self._gave_up = True
        waits = self._late
        assert waits is not None
        raise OriginUnreachable(
            f"{name}: S3 at {waits.host} has given no answer for {waits.seconds:.0f} s:"
            f" {waits.why or 'nothing has come; check endpoint and the network'}"
        )


def _line(waits: Unanswered, longest: float) -> str:
    until = datetime.now(UTC) + timedelta(seconds=longest - waits.seconds)
    tries = counted(waits.tries, "try", "tries")
    why = "" if waits.why is None else f": {waits.why}"
    return (
        f"S3 at {waits.host} gives no answer{why} ({tries} so far);"
        f" it is waited for until {until:%H:%M:%S} UTC"
    )
