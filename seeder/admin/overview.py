"""How everything stands: the documents of the admin pages, put together when they are asked for.

What grows with the number of objects is made in slices, so that other tasks run in between.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from seeder import __version__
from seeder.admin.accounts import ROWS_AT_ONCE, Accounts
from seeder.admin.exposition import slices
from seeder.admin.figures import figures
from seeder.admin.metrics import NodeState, ProcessMetrics, node_metrics
from seeder.admin.pulse import Pulse
from seeder.admin.reloads import Reloads
from seeder.admin.stalls import StalledObjects, pace, stall_document
from seeder.admin.sums import add_up
from seeder.cache.pieces import PieceCache
from seeder.gateway.downloads import Downloads
from seeder.ledger.budget import Budget
from seeder.ledger.database import LedgerDatabase, LedgerStatistics
from seeder.ledger.history import History
from seeder.ledger.limits import Level
from seeder.ledger.report import Report
from seeder.ledger.savings import Prices
from seeder.net.addresses import HostPort
from seeder.peer.hub import CONNECTION_STATES, Hub
from seeder.publish.prefixes import Prefixes
from seeder.publish.rounds import Rounds
from seeder.s3.origins import Origins
from seeder.s3.stalls import Stall
from seeder.torrent.catalog import Publication, State, Torrent
from seeder.torrent.objects import ObjectRef
from seeder.units import counted, rounded_size, rounded_time
from seeder.upload.uploads import Uploads

_Outer = TypeVar("_Outer", bound=str)
_Inner = TypeVar("_Inner", bound=str)


@dataclass(slots=True, kw_only=True, eq=False)
class Overview:
    """What a node tells about itself."""

    accounts: Accounts
    database: LedgerDatabase
    history: History
    budget: Budget
    origins: Origins
    cache: PieceCache[Torrent]
    hub: Hub
    uploads: Uploads
    downloads: Downloads
    prefixes: Prefixes
    rounds_of: Callable[[ObjectRef], Rounds | None]
    """Finds the rounds in which a published object is looked at."""
    listeners: Mapping[str, Sequence[HostPort]]
    """Where the tracker, the peers and these pages listen."""
    prices: Prices
    """What the origin charges; a reload may change it."""
    metrics_objects: int
    """The most objects that have series of their own in /metrics."""
    unready: str | None = "starting"
    """Why the node isn't ready; None once everything is open and loaded."""
    reloads: Reloads = field(default_factory=lambda: Reloads(time.time()))
    pulse: Pulse = field(default_factory=Pulse)
    _process: ProcessMetrics = field(default_factory=ProcessMetrics)

    async def report(self) -> Report:
        """Return the ledger and the publications as they are now."""
        accounts = self.accounts
        stalled = self.stalled()
        rows = [accounts.row(each, stalled) async for each in accounts.publications()]
        # So that the budget that is left fits the totals beside it.
        self.budget.update(accounts.ledger.totals(), time.time())
        return Report.of(
            accounts.ledger, self.prices, at=time.time(), rows=rows, budget=self.budget.left()
        )

    def stalled(self) -> StalledObjects:
        """Return what S3 gives nothing of, though it is asked."""
        return StalledObjects.of(self.origins.stalls())

    async def status(self, limit: int | None) -> dict[str, object]:
        """Return the document of /status.json, with at most `limit` torrents."""
        report = await self.report()
        shown = report.rows if limit is None else report.foremost(limit)
        documents: list[dict[str, object]] = []
        for row in shown:
            documents.append(row.document(report.prices))
            if len(documents) % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        hub, cache, stalled = self.hub.statistics(), self.cache.statistics(), self.stalled()
        tallies = self.accounts.swarms.tallies
        return {
            **report.document(rows=()),
            "torrents": documents,
            "torrents_in_all": len(report.rows),
            "prefixes": [
                {
                    **prefix.document(),
                    "stalled": stall_document(stalled.questions.get(prefix.ref)),
                }
                for prefix in self.prefixes
            ],
            "version": __version__,
            "ready": self.unready is None,
            "peers": {
                "connected": hub.connected,
                "downloads": len(self.downloads),
                "accepted": hub.accepted,
                "closes": hub.closes,
                "refusals": hub.refusals,
                "states": {state: hub.states.get(state, 0) for state in CONNECTION_STATES},
            },
            "tracker": {
                "announces": _nested(tallies.announces),
                "scrapes": dict(tallies.scrapes),
            },
            "loop": {"lag": self.pulse.worst},
            "reload": self.reloads.document(),
            "cache": {name: getattr(cache, name) for name in cache.__dataclass_fields__},
            "origins": self.origins_document(),
            "ledger": ledger_document(self.database.statistics()),
        }

    def origins_document(self) -> dict[str, object]:
        """Return how each origin stands, in the form of /status.json."""
        return {
            name: {
                "reachable": told.reachable,
                "since": told.since,
                "reason": told.reason,
                "last_success": told.last_success,
                "requests": told.requests,
                "retries": told.retries,
                "switched": told.switched,
                "errors": dict(told.errors),
                "last_error": told.last_error,
                "operations": _nested(told.operations),
                "waiting": told.waiting,
                "stalled": stall_document(told.stall),
            }
            for name, told in self.origins.statistics().items()
        }

    def summary(self) -> str:
        """Return the line for `systemctl status`."""
        catalog = self.accounts.catalog
        states = [publication.state for publication in catalog]
        objects = counted(len(states), "object")
        parts = [f"{states.count(State.SERVING)} of {objects} served"]
        if catalog.unlisted:
            parts.append(f"{counted(len(catalog.unlisted), 'prefix', 'prefixes')} to be listed")
        for publication in catalog:
            if publication.progress is not None:
                stall = self.stalled().find(publication)
                parts.append(f"hashing {publication.ref} {describe_work(publication, stall)}")
                break
        for prefix in self.prefixes:
            if prefix.reason is not None:
                parts.append(f"{prefix.ref}: {prefix.reason}")
                break
        if self.budget.level is not Level.NORMAL:
            parts.append(f"budget: {self.budget.level}")
        for name, told in self.origins.statistics().items():
            if told.stall is not None:
                parts.append(f"origin {name} is stalled: {told.stall}")
            elif not told.reachable:
                parts.append(f"origin {name} is away: {told.reason}")
        if alone := self._stalled_alone():
            parts.append(alone)
        trouble = sum(state in (State.FAILED, State.FAULTY) for state in states)
        if trouble:
            parts.append(f"{trouble} in trouble")
        connected, totals = self.hub.statistics().connected, self.accounts.ledger.totals()
        parts.append(counted(connected, "peer"))
        parts.append(f"{rounded_size(totals.origin_bytes)} from S3")
        parts.append(f"{rounded_size(totals.uploaded_bytes)} uploaded")
        return "; ".join(parts)

    def _stalled_alone(self) -> str | None:
        """Return what is stalled though its origin isn't, if anything is."""
        origins = self.origins.statistics()
        stalled = self.stalled()
        alone = {
            ref: stall
            for kind in (stalled.questions, stalled.bytes)
            for ref, stall in kind.items()
            if origins[ref.origin].stall is None
        }
        for ref, stall in alone.items():
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            return f"{ref} is stalled: {stall}{more}"
        return None

    async def metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        accounts, prefixes = self.accounts, list(self.prefixes)
        below = [prefix.ref for prefix in prefixes]
        stalled = self.stalled()
        sums = await add_up(accounts, below, stalled, self.metrics_objects)
        node = NodeState(
            version=__version__,
            ready=self.unready is None,
            sums=sums,
            prefixes=prefixes,
            stalled=stalled,
            hub=self.hub.statistics(),
            connections=self.hub.places,
            downloads=len(self.downloads),
            tracker=accounts.swarms.tallies,
            cache=self.cache.statistics(),
            origins=self.origins.statistics(),
            budget=self.budget.left(),
            ledger=self.database.statistics(),
            reloads=self.reloads,
            pulse=self.pulse,
        )
        parts: list[bytes] = []
        for part in slices((*node_metrics(node), *figures(sums, self.prices))):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        parts.append(self._process.text())
        return b"".join(parts)


def describe_work(publication: Publication, stall: Stall | None = None) -> str:
    """Return how far the making of a torrent is: share, rate and time left, as far as known."""
    share = f"{publication.progress or 0.0:.0%}"
    rate, left = pace(publication, stall)
    if rate is None or stall is not None:
        return share
    text = f"{share}, {rounded_size(round(rate))}/s"
    return text if left is None else f"{text}, {rounded_time(left)} left"


def _nested(counts: Mapping[tuple[_Outer, _Inner], int]) -> dict[_Outer, dict[_Inner, int]]:
    """Return counts by two words as a document."""
    nested: dict[_Outer, dict[_Inner, int]] = {}
    for (outer, inner), count in counts.items():
        nested.setdefault(outer, {})[inner] = count
    return nested


def ledger_document(statistics: LedgerStatistics) -> dict[str, object]:
    """Return how writing the ledger goes, in the form of /status.json."""
    return {
        "writable": statistics.fault is None,
        "reason": statistics.fault,
        "flushes": statistics.flushes,
        "failures": statistics.failures,
        "flushed_at": statistics.flushed_at,
    }
