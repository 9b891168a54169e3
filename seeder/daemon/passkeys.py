"""Keeps what the tracker knows of passkeys at what the register on disk says, within seconds.

In a cluster the register on disk is that of all nodes, and so is what passkeys are signed with.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import trio

from seeder.cluster.register import SharedRegister
from seeder.config.objects import ObjectSettings
from seeder.config.sections import Config
from seeder.errors import SeederError, StorageError
from seeder.gateway.issuing import Issuer
from seeder.gateway.keys import (
    keep_shared_secrets,
    own_secrets,
    read_or_make_signer,
    read_signer,
)
from seeder.gateway.passkeys import revoke_at
from seeder.gateway.register_file import RegisterStore, Stamp
from seeder.net.guards import Lapses
from seeder.tracker.register import Made, Register
from seeder.tracker.swarms import Swarms

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the register has changed: one call of stat."""
SWEEP_EVERY = 60.0
"""Seconds between two looks for members whose passkeys have expired."""


class PasskeyWatch:
    """Follows the register in `store`, and writes there what `issuer` made, and what other nodes
    have `shared`.

    As long as a register can't be read for the first time, private swarms are closed to everybody.
    """

    def __init__(
        self,
        store: RegisterStore,
        issuer: Issuer,
        swarms: Swarms,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._swarms = swarms
        self._holders = swarms.holders
        self._config = config
        self._clock = clock
        self._shared: SharedRegister | None = None
        self._secrets: tuple[str, ...] = ()
        """Those of all nodes, as they were written last."""
        self._heard: Register | None = None
        """What other nodes have told, or we were, and isn't in the store yet."""
        self._makes = False
        """Whether a secret is made if there is none."""
        self._hurried = trio.Event()
        self._seen: Stamp = None
        self._knows = False
        """Whether the register was ever read."""
        self._fault: str | None = None
        self._swept_at = 0.0

    def share(self, shared: SharedRegister) -> None:
        """Share what is known of passkeys with the other nodes of a cluster from now on."""
        self._shared = shared
        shared.listeners.append(self._hurry)

    def _hurry(self) -> None:
        self._hurried.set()

    async def look(self, objects: Sequence[ObjectSettings] | None = None) -> None:
        """Take up what has changed; a fault is a line in the log, once.

        A secret is made, if there is none, where `objects` need one, which are then all that are
        published: so a torrent that a command makes is good at once.
        """
        if objects is not None:
            self._makes = any(entry.private and not entry.is_public for entry in objects)
        self._hear()
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
        if self._shared is not None:
            self._shared.hurry()
        now = trio.current_time()
        if self._swarms.sweep_due or now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            for _ in self._swarms.sweep(now):
                await trio.lowlevel.checkpoint()

    async def revoke(self, holder: str) -> str | None:
        """Revoke all passkeys that a holder has by now; return why that isn't on disk yet, if so.

        It is heeded at once, and written as soon as the disk takes it.
        """
        now, unwritten = self._clock(), None
        try:
            await trio.to_thread.run_sync(revoke_at, self._store, holder, now)
        except StorageError as error:
            register, unwritten, news = self._issuer.register, str(error), Register()
            register.revoke(holder, now)
            news.note_revoked(holder, register.revoked[holder])
            self._heed(register)
            if self._heard is not None:
                news.join(self._heard)
            self._heard = news
        await self.look()
        return unwritten

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        # Else those would be let in whose passkeys are revoked.
        lapses = Lapses(_LOG, "passkeys", vital=True)
        while True:
            with trio.move_on_after(LOOK_EVERY):
                await self._hurried.wait()
            self._hurried = trio.Event()
            async with lapses.spared():
                await self.look()

    def _hear(self) -> None:
        """Heed at once what other nodes have told, whether it can be written or not."""
        news = None if self._shared is None else self._shared.take_news()
        if news is not None:
            self._issuer.register.join(news)
            self._heed(self._issuer.register)
            if self._heard is not None:
                news.join(self._heard)
            self._heard = news

    def _follow(self) -> None:
        self._follow_secrets()
        stamp = self._store.stamp()
        if stamp != self._seen or not self._knows:
            self._take(self._store.load())
            self._seen, self._knows = stamp, True
        if self._issuer.news or self._heard is not None:
            self._write()

    def _follow_secrets(self) -> None:
        shared = self._shared
        if shared is not None and shared.secrets != self._secrets:
            secrets = shared.secrets
            keep_shared_secrets(self._config, secrets)
            self._secrets, self._holders.signer = secrets, read_signer(self._config)
        if self._holders.signer is None:
            read = read_or_make_signer if self._makes else read_signer
            self._holders.signer = read(self._config)
        if shared is not None:
            shared.offer_secrets(own_secrets(self._config))

    def _write(self) -> None:
        """Write the keys that were made here, and what others told; or later, if that fails."""
        news, heard = tuple(self._issuer.news), self._heard
        register = self._store.change(partial(_with, news, heard), self._clock())
        del self._issuer.news[: len(news)]
        self._heard = None
        self._seen = self._store.stamp()
        self._take(register)

    def _take(self, register: Register) -> None:
        for made in tuple(self._issuer.news):
            register.note(made)
        if self._heard is not None:
            register.join(self._heard)
        if self._shared is not None:
            self._shared.offer(register)
        self._issuer.register = register
        self._heed(register)

    def _heed(self, register: Register) -> None:
        before = self._holders.revoked
        self._holders.revoke(register.until())
        if self._holders.revoked != before:
            self._swarms.sweep_due = True
            if self._knows:
                _LOG.info(
                    "passkeys: those of %d holders are revoked now",
                    len(self._holders.revoked),
                )


def _with(news: tuple[Made, ...], heard: Register | None, register: Register) -> Register:
    for made in news:
        register.note(made)
    if heard is not None:
        register.join(heard)
    return register
