"""How a node holds back as its budget is spent, part by part."""

import logging
import time
from contextlib import suppress

from seeder.config.sections import Config
from seeder.daemon.foundation import Foundation
from seeder.errors import StorageError
from seeder.gateway.downloads import Downloads
from seeder.ledger.budget import Spent
from seeder.ledger.limits import Level
from seeder.ledger.spending import change_budget, explain_level, name_level
from seeder.peer.hub import Hub
from seeder.publish.publisher import Publisher
from seeder.tracker.handout import OwnPlace
from seeder.tracker.swarms import Swarms
from seeder.upload.uploads import Uploads

_LOG = logging.getLogger(__name__)

_OWN_PLACE = {
    Level.LAST_IN_HANDOUT: OwnPlace.SPARE,
    Level.CACHE_ONLY: OwnPlace.SPARE,
    Level.TRACKER_ONLY: OwnPlace.ALONE,
}


class Restraint:
    """Has every part of a node do as much as the budget's level allows."""

    def __init__(
        self,
        foundation: Foundation,
        *,
        swarms: Swarms,
        uploads: Uploads,
        downloads: Downloads,
        hub: Hub,
        publisher: Publisher,
    ) -> None:
        self._ledger = foundation.ledger
        self._budget = foundation.budget
        self._database = foundation.database
        self._swarms = swarms
        self._uploads = uploads
        self._downloads = downloads
        self._hub = hub
        self._publisher = publisher
        self._level = Level.NORMAL
        self._percents: tuple[int, ...] = ()

    def update(self) -> bool:
        """Count what was spent, and hold back as far as the budget's level says.

        Return whether a limit has reached another percent: write the ledger then, so that a crash
        doesn't forget it.
        """
        level = self._budget.update(self._ledger.totals(), time.time())
        if level is not self._level:
            self._level = level
            _LOG.warning("%s", explain_level(self._budget))
            if level < Level.CACHE_ONLY:
                self._hub.regain()
            self._uploads.hold_back(level, name_level(self._budget))
            self._downloads.allow(allowed=level < Level.TRACKER_ONLY)
            self._swarms.own_place = _OWN_PLACE.get(level, OwnPlace.ALWAYS)
        if level < Level.CACHE_ONLY:
            self._publisher.wake_waiting()
        before, self._percents = self._percents, self._budget.percents()
        return self._percents != before

    async def recount(self) -> None:
        """When the date has changed, ask the ledger what was spent in the new day and month.

        A clock without a battery begins in the past, and one that was set wrong goes back.
        """
        if not self._budget.has_moved:
            return
        totals = self._ledger.totals()
        spent = Spent()
        if await self._database.flush(self._ledger):
            with suppress(StorageError):
                spent = await self._database.spent()
        self._budget.recount(spent, totals, time.time())
        self.update()

    def change(self, config: Config) -> None:
        """From now on, keep to the budget and the prices of another configuration."""
        change_budget(self._budget, config, totals=self._ledger.totals(), now=time.time())
        self.update()
