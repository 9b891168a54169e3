"""Whose key exchange (MSE) is answered next: each costs two exponentiations, half a millisecond.

While more come than that is worth, networks take turns; a flood from one delays nobody else, and
one from a hundred delays an honest peer by a hundred turns.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from seeder.net.addresses import Networks
from seeder.net.turns import Turns

BURST, PER_SECOND = 200, 100
"""Key exchanges of all peers together: so many at once, then so many per second."""
PATIENCE = 10.0
"""Seconds that a peer waits for its turn; most have given up by then."""


class Turn:
    """One who waits: `scope` is cancelled when its turn has come, or took too long."""

    def __init__(self, deadline: float) -> None:
        self.has_come = False
        self.scope = trio.CancelScope(deadline=deadline)


class KeyExchanges:
    """The key exchanges of all peers; `run` has to run for those to go on that wait.

    They are counted by when all of them are paid for (the virtual scheduling form of the leaky
    bucket, ITU-T I.371).
    """

    def __init__(self) -> None:
        self._cost = 1 / PER_SECOND
        self._depth = BURST / PER_SECOND
        self._paid_at = trio.current_time()
        self._line: Turns[Turn] = Turns()
        self._came = trio.Event()
        """Set when somebody waits."""

    def take(self) -> bool:
        """Tell whether a key exchange may be answered at once, and count it if so."""
        if self._line or self._next_at > trio.current_time():
            return False
        self._count()
        return True

    @property
    def _next_at(self) -> float:
        return self._paid_at + self._cost - self._depth

    def _count(self) -> None:
        self._paid_at = max(self._paid_at, trio.current_time()) + self._cost

    @contextmanager
    def wait_turn(self, networks: Networks) -> Iterator[Turn]:
        """Stand in line while the block runs, which is cancelled when the turn has come.

        It is, too, when that takes too long.
        """
        turn = Turn(trio.current_time() + PATIENCE)
        self._line.add(turn, networks)
        self._came.set()
        try:
            with turn.scope:
                yield turn
        finally:
            self._line.discard(turn, networks)

    async def run(self) -> None:
        """Give those in line their turns, until cancelled."""
        while True:
            self._came = trio.Event()
            if not self._line:
                await self._came.wait()
            await trio.sleep_until(self._next_at)
            while self._line and self._next_at <= trio.current_time():
                self._count()
                turn = self._line.next()
                turn.has_come = True
                turn.scope.cancel()
