"""Keeps what the tracker knows of passkeys at what the register on disk says, within seconds."""

import logging
import time
from collections.abc import Callable
from functools import partial

import trio

from seeder.errors import SeederError
from seeder.gateway.issuing import Issuer
from seeder.gateway.register_file import RegisterStore, Stamp
from seeder.tracker.passkeys import PasskeySigner
from seeder.tracker.register import Made, Register
from seeder.tracker.swarms import Swarms

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the register has changed: one call of stat."""
SWEEP_EVERY = 60.0
"""Seconds between two looks for members whose passkeys have expired."""


class PasskeyWatch:
    """Follows the register in `store`, and writes there what `issuer` made.

    `signer` returns what signs passkeys, if there is a secret by now (SeederError). As long as a
    register can't be read for the first time, private swarms are closed to everybody.
    """

    def __init__(
        self,
        store: RegisterStore,
        issuer: Issuer,
        swarms: Swarms,
        signer: Callable[[], PasskeySigner | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._swarms = swarms
        self._holders = swarms.holders
        self._signer = signer
        self._clock = clock
        self._seen: Stamp = None
        self._knows = False
        """Whether the register was ever read."""
        self._fault: str | None = None
        self._swept_at = 0.0

    async def look(self) -> None:
        """Take up what has changed; a fault is a line in the log, once."""
        try:
            await trio.to_thread.run_sync(self._follow)
        except SeederError as error:
            if self._fault != str(error):
                self._fault = str(error)
                _LOG.error(
                    "%s%s",
                    error,
                    "" if self._knows else "; until then, private torrents are closed to everybody",
                )
            self._holders.closed = not self._knows
        else:
            if self._fault is not None:
                _LOG.info("passkeys: the register can be used again")
            self._fault, self._holders.closed = None, False
        now = trio.current_time()
        if self._swarms.sweep_due or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            for _ in self._swarms.sweep(now):
                await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            await self.look()

    def _follow(self) -> None:
        if self._holders.signer is None:
            self._holders.signer = self._signer()
        stamp = self._store.stamp()
        if stamp != self._seen or not self._knows:
            self._take(self._store.load())
            self._seen, self._knows = stamp, True
        if self._issuer.news:
            self._write()

    def _write(self) -> None:
        """Write the keys that were made here; what can't be written now comes later."""
        news = tuple(self._issuer.news)
        register = self._store.change(partial(_with, news), self._clock())
        del self._issuer.news[: len(news)]
        self._seen = self._store.stamp()
        self._take(register)

    def _take(self, register: Register) -> None:
        for made in tuple(self._issuer.news):
            register.note(made)
        before = self._holders.revoked
        self._issuer.register = register
        self._holders.revoke(register.until())
        if self._holders.revoked != before:
            self._swarms.sweep_due = True
            if self._knows:
                _LOG.info(
                    "passkeys: those of %d holders are revoked now",
                    len(self._holders.revoked),
                )


def _with(news: tuple[Made, ...], register: Register) -> Register:
    for made in news:
        register.note(made)
    return register
