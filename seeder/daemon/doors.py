"""Who is let in by network at each of a node's doors: by the lists of the configuration, and by
the bans. Those that aren't any more are let go at once.
"""

import time
from collections.abc import Callable, Sequence
from operator import eq
from typing import TypeAlias

import trio

from seeder.config.sections import Config
from seeder.daemon.bans import BanKeeper
from seeder.gateway.downloads import Downloads
from seeder.net.doors import Door, Doors, NetworkRules
from seeder.peer.hub import Hub
from seeder.tracker.swarms import Swarms

_Rules: TypeAlias = Sequence[NetworkRules]


class Doorway:
    """The doors of a node."""

    def __init__(self, config: Config, keeper: BanKeeper) -> None:
        keeper.applied = self.follow
        self._bans = keeper.bans
        self._listed = _rules_of(config)
        self._rules = self._wanted()
        self.doors = Doors(*map(Door, self._rules))
        self._turn = trio.Lock()
        self._swarms: Swarms | None = None
        self._ended: Sequence[Callable[[], object]] = ()

    def guard(self, swarms: Swarms, hub: Hub, downloads: Downloads) -> None:
        """Let those go from now on that are in there and aren't let in any more."""
        self._swarms = swarms
        self._ended = (hub.end_denied, downloads.end_denied)

    async def follow(self, config: Config | None = None) -> None:
        """Let in by the lists of a configuration (None: those of the last one) and by the bans
        from now on, and let those go that aren't any more.
        """
        if config is not None:
            self._listed = _rules_of(config)
        async with self._turn:
            before, after = self._rules, self._wanted()
            # Long lists take a second.
            if await trio.to_thread.run_sync(eq, before, after):
                return
            made = await trio.to_thread.run_sync(lambda: [Door(rules) for rules in after])
            doors = self.doors
            for door, other in zip((doors.tracker, doors.peer, doors.gateway), made, strict=True):
                door.follow(other)
            self._rules = after
        for end in self._ended:
            end()
        await self.expel()

    async def expel(self) -> None:
        """Take the peers from the swarms that may not announce (any more)."""
        door = self.doors.tracker
        if not door.is_open and self._swarms is not None:
            for _ in self._swarms.expel(door.admits):
                await trio.lowlevel.checkpoint()

    def _wanted(self) -> _Rules:
        banned = tuple(each.network for each in self._bans.in_force(time.time()))
        return [NetworkRules(each.allow, (*each.deny, *banned)) for each in self._listed]


def _rules_of(config: Config) -> _Rules:
    """Return who may come to the tracker, as a peer, and to the gateway."""
    return config.tracker.rules, config.peer.rules, config.gateway.rules
