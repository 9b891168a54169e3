"""What the log says while something takes long: builds that go on, and what stands still."""

import logging
from collections.abc import Iterable

import trio

from seeder.admin.overview import Overview, describe_work
from seeder.net.guards import Lapses
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import Publication
from seeder.units import counted

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks."""
TELL_EVERY = 30.0
"""Seconds between two lines about a build."""
MOST_TOLD = 5
"""Of more builds, or objects that are stalled, the others are counted in one line."""


class ProgressLog:
    """Tells of builds every half a minute, and once of each object that stalls or goes on."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._stalled: dict[ObjectRef, float] = {}
        """Since when (trio's clock), of what was told of."""
        self._due: dict[ObjectRef, float] = {}
        """When the log tells of a build next."""

    def look(self, now: float) -> None:
        """Log what there is to tell."""
        self._tell_builds(now)
        self._tell_stalls(now)

    def _tell_builds(self, now: float) -> None:
        due: list[Publication] = []
        building: dict[ObjectRef, float] = {}
        for publication in self._overview.accounts.catalog:
            if publication.work is None:
                continue
            ref = publication.ref
            building[ref] = self._due.get(ref, publication.work.began + TELL_EVERY)
            if now >= building[ref]:
                building[ref] = now + TELL_EVERY
                due.append(publication)
        self._due = building
        stalled = self._overview.stalled()
        for publication in due[:MOST_TOLD]:
            work, stall = publication.work, stalled.find(publication)
            assert work is not None
            done = f"{work.done} of {work.size} bytes hashed" if work.size else "no byte hashed yet"
            how = describe_work(publication) if stall is None else f"stalled: {stall}"
            _LOG.info("%s: %s: %s", publication.ref, done, how)
        if len(due) > MOST_TOLD:
            _LOG.info(
                "%s being made",
                counted(len(due) - MOST_TOLD, "more torrent is", "more torrents are"),
            )

    def _tell_stalls(self, now: float) -> None:
        stalled = self._overview.stalled()
        present = {**stalled.questions, **stalled.bytes}
        began = [ref for ref in present if ref not in self._stalled]
        for ref in began[:MOST_TOLD]:
            _LOG.warning("%s is stalled: %s", ref, present[ref])
        if len(began) > MOST_TOLD:
            _LOG.warning("%s are stalled, too", _others(began[MOST_TOLD:]))
        gone = [ref for ref in self._stalled if ref not in present]
        for ref in gone[:MOST_TOLD]:
            _LOG.info("%s is no longer stalled, after %.0f s", ref, now - self._stalled[ref])
        if len(gone) > MOST_TOLD:
            _LOG.info("%s aren't stalled any more either", _others(gone[MOST_TOLD:]))
        self._stalled = {
            ref: self._stalled.get(ref, now - stall.seconds) for ref, stall in present.items()
        }


def _others(refs: Iterable[ObjectRef]) -> str:
    return counted(len(list(refs)), "other object")


async def tell_progress(overview: Overview) -> None:
    """Keep telling until cancelled."""
    told, lapses = ProgressLog(overview), Lapses(_LOG, "what takes long")
    while True:
        await trio.sleep(LOOK_EVERY)
        async with lapses.spared():
            told.look(trio.current_time())
