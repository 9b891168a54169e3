"""How everything stands: the documents of the admin pages, put together when they are asked for.

What grows with the number of objects is made in slices, so that other tasks run in between.
"""

import time
from dataclasses import dataclass, field

import trio

from seeder import __version__
from seeder.admin.accounts import ROWS_AT_ONCE, Accounts
from seeder.cache.pieces import PieceCache
from seeder.gateway.download import Downloads
from seeder.ledger.budget import Budget, Level
from seeder.ledger.database import LedgerDatabase, LedgerStatistics
from seeder.ledger.metrics import Metrics
from seeder.ledger.report import Report
from seeder.ledger.savings import Prices
from seeder.peer.hub import Hub
from seeder.publish.prefixes import Prefixes
from seeder.s3.origins import Origins
from seeder.torrent.catalog import State, Torrent
from seeder.units import rounded_size


@dataclass(slots=True, kw_only=True, eq=False)
class Overview:
    """What a node tells about itself."""

    accounts: Accounts
    database: LedgerDatabase
    budget: Budget
    origins: Origins
    cache: PieceCache[Torrent]
    hub: Hub
    downloads: Downloads
    prefixes: Prefixes
    prices: Prices
    """What the origin charges; a reload may change it."""
    unready: str | None = "starting"
    """Why the node isn't ready; None once everything is open and loaded."""
    _metrics: Metrics = field(default_factory=lambda: Metrics(version=__version__))

    async def report(self) -> Report:
        """Return the ledger and the publications as they are now."""
        accounts = self.accounts
        rows = [accounts.row(publication) async for publication in accounts.publications()]
        # So that the budget that is left fits the totals beside it.
        self.budget.update(accounts.ledger.totals(), time.time())
        return Report.of(
            accounts.ledger, self.prices, at=time.time(), rows=rows, budget=self.budget.left()
        )

    async def status(self, limit: int | None) -> dict[str, object]:
        """Return the document of /status.json, with at most `limit` torrents."""
        report = await self.report()
        shown = report.rows if limit is None else report.foremost(limit)
        documents: list[dict[str, object]] = []
        for row in shown:
            documents.append(row.document(report.prices))
            if len(documents) % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        hub, cache = self.hub.statistics(), self.cache.statistics()
        return {
            **report.document(rows=()),
            "torrents": documents,
            "torrents_in_all": len(report.rows),
            "prefixes": [prefix.document() for prefix in self.prefixes],
            "version": __version__,
            "ready": self.unready is None,
            "peers": {
                "connected": hub.connected,
                "downloads": len(self.downloads),
                "accepted": hub.accepted,
                "closes": hub.closes,
            },
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
            }
            for name, told in self.origins.statistics().items()
        }

    def summary(self) -> str:
        """Return the line for `systemctl status`."""
        catalog = self.accounts.catalog
        states = [publication.state for publication in catalog]
        objects = f"object{'' if len(states) == 1 else 's'}"
        parts = [f"{states.count(State.SERVING)} of {len(states)} {objects} served"]
        for publication in catalog:
            if publication.progress is not None:
                parts.append(f"hashing {publication.ref} {publication.progress:.0%}")
                break
        for prefix in self.prefixes:
            if prefix.reason is not None:
                parts.append(f"{prefix.ref}: {prefix.reason}")
                break
        if self.budget.level is not Level.NORMAL:
            parts.append(f"budget: {self.budget.level}")
        for name, told in self.origins.statistics().items():
            if not told.reachable:
                parts.append(f"origin {name} is away: {told.reason}")
        trouble = sum(state in (State.FAILED, State.FAULTY) for state in states)
        if trouble:
            parts.append(f"{trouble} in trouble")
        connected, totals = self.hub.statistics().connected, self.accounts.ledger.totals()
        parts.append(f"{connected} peer{'' if connected == 1 else 's'}")
        parts.append(f"{rounded_size(totals.origin_bytes)} from S3")
        parts.append(f"{rounded_size(totals.uploaded_bytes)} uploaded")
        return "; ".join(parts)

    async def metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        parts: list[bytes] = []
        for part in self._metrics.parts(await self.report()):
            parts.append(part)
            await trio.lowlevel.checkpoint()
        return b"".join(parts)


def ledger_document(statistics: LedgerStatistics) -> dict[str, object]:
    """Return how writing the ledger goes, in the form of /status.json."""
    return {
        "writable": statistics.fault is None,
        "reason": statistics.fault,
        "flushes": statistics.flushes,
        "failures": statistics.failures,
        "flushed_at": statistics.flushed_at,
    }
