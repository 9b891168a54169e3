"""The bans of a node: kept in the state directory, in force at its doors, and shared with the other
nodes of its cluster.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path

import trio

from seeder.cluster.bans import SharedBans
from seeder.errors import StorageError
from seeder.files import read_file, replace_file, set_aside, storage_errors
from seeder.net.addresses import IPNetwork
from seeder.net.bans import Ban, Bans, read_bans
from seeder.net.epoch import Epoch
from seeder.net.guards import Lapses
from seeder.plain_json import dump_json, parse_json
from seeder.units import MIB, rounded_time

_LOG = logging.getLogger(__name__)

BANS = "bans.json"
"""Below the state directory."""
_LARGEST = 16 * MIB
TRY_EVERY = 10.0
"""Seconds until bans are written again, where the disk didn't take them."""
_STOP_SECONDS = 2.0
"""For the last try of it, at the end."""
LOOK_EVERY = 1.0
"""Seconds between two looks for bans that are over, and for what other nodes have said."""


class BanKeeper:
    """Keeps what was said of networks; `applied` has the doors go by it.

    It is in force at once, and written as soon as the disk takes it.
    """

    def __init__(self, directory: Path) -> None:
        """A file that can't be read is a line in the log, and one that is damaged set aside."""
        self._path = directory / BANS
        self._epoch = Epoch()
        self.bans = self._read()
        self.shared: SharedBans | None = None
        self._turn = trio.Lock()
        self._is_written = True
        self.unwritten: str | None = None
        """Why what was said isn't on disk yet, if it isn't."""
        self._tries_at = -inf
        self._held = self._networks()
        self.applied: Callable[[], Awaitable[None]] | None = None

    async def ban(self, network: IPNetwork, until: float | None, note: str) -> Ban:
        """Keep a network out until a moment (Unix s; None: until it is lifted).

        What was said of it before counts no more.
        """
        ban = Ban(network, time.time(), until, note)
        return await self._say(ban)

    async def lift(self, network: IPNetwork) -> None:
        """Let a network in again, as far as the lists do."""
        await self._say(Ban(network, time.time(), lifted=True))

    async def _say(self, ban: Ban) -> Ban:
        ban = self.bans.after(ban)
        self.bans.hear(ban)
        self._is_written = False
        if self.shared is not None:
            self.shared.offer([ban])
        _LOG.info("%s is %s", ban.network, "let in again" if ban.lifted else _told(ban))
        await self._apply()
        await self._keep()
        return ban

    def hear(self, bans: Iterable[Ban]) -> None:
        """Take in what other nodes have said."""
        for ban in bans:
            if self.bans.hear(ban):
                self._is_written = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what others say, and let in whose bans are over, until cancelled."""
        task_status.started()
        lapses = Lapses(_LOG, "bans")
        try:
            while True:
                await trio.sleep(LOOK_EVERY)
                async with lapses.spared():
                    await self._look()
        finally:
            if not self._is_written:
                with trio.move_on_after(_STOP_SECONDS, shield=True):
                    async with lapses.spared():
                        await self._keep()

    async def _look(self) -> None:
        if self._networks() != self._held:
            await self._apply()
        if not self._is_written and trio.current_time() >= self._tries_at:
            await self._keep()

    async def _keep(self) -> None:
        """Write what was said, or have it written later."""
        async with self._turn:
            self._is_written = True  # but for what is said meanwhile
            try:
                await self._write(self.bans)
            except BaseException as error:
                self._is_written = False
                if not isinstance(error, StorageError):
                    raise
                self._tries_at = trio.current_time() + TRY_EVERY
                if self.unwritten is None:
                    _LOG.error("%s; bans are in force, and written as soon as that works", error)
                self.unwritten = str(error)
            else:
                if self.unwritten is not None:
                    _LOG.info("bans are written again")
                self.unwritten = None

    async def _apply(self) -> None:
        held = self._networks()
        if self.applied is not None:
            await self.applied()
        # Not before: whoever asked may have given up, and it is to be tried again.
        self._held = held

    def _networks(self) -> frozenset[IPNetwork]:
        return frozenset(each.network for each in self.bans.in_force(time.time()))

    async def _write(self, bans: Bans) -> None:
        bans.trim(self._epoch.least())
        data = dump_json(bans.document())
        await trio.to_thread.run_sync(self._replace, data)

    def _replace(self, data: bytes) -> None:
        with storage_errors(self._path, "written"):
            replace_file(self._path, data, durable=True, mode=0o600)

    def _read(self) -> Bans:
        try:
            data = read_file(self._path, _LARGEST)
            return Bans() if data is None else read_bans(parse_json(data))
        except ValueError as error:
            fault = f"it is damaged ({error})"
        except OSError as error:
            _LOG.error(
                "%s: can't be read: %s; nobody is banned any more", self._path, error.strerror
            )
            return Bans()
        with suppress(OSError):
            set_aside(self._path, f"{fault}, so nobody is banned any more")
        return Bans()


def _told(ban: Ban) -> str:
    until = "until it is lifted" if ban.until is None else f"for {rounded_time(ban.until - ban.at)}"
    return f"banned {until}{f': {ban.note}' if ban.note else ''}"
