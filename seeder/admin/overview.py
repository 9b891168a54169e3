"""How everything stands: the documents of the admin pages, put together when they are asked for.

What grows with the number of objects is made in slices, so that other tasks run in between.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from seeder import __version__
from seeder.admin.accounts import Accounts
from seeder.admin.cluster import cluster_document
from seeder.admin.documents import certificate_document, ledger_document, nested, origins_document
from seeder.admin.events import events_document
from seeder.admin.exposition import slices
from seeder.admin.figures import figures
from seeder.admin.metrics import DOORS, NodeState, ProcessMetrics, node_metrics
from seeder.admin.nodes import NodeSummary
from seeder.admin.pulse import Pulse
from seeder.admin.reloads import Reloads
from seeder.admin.rows import Foremost, batched
from seeder.admin.stalls import StalledObjects, pace, stall_document
from seeder.admin.sums import add_up
from seeder.cache.pieces import PieceCache
from seeder.cluster.cluster import Cluster
from seeder.cluster.exchange import SwarmExchange
from seeder.events.feed import EventFeed
from seeder.gateway.certificates import LiveCertificate
from seeder.gateway.downloads import Downloads
from seeder.ledger.budget import Budget
from seeder.ledger.database import LedgerDatabase
from seeder.ledger.history import History
from seeder.ledger.limits import Level
from seeder.ledger.report import Report, ReportRows, TorrentRow
from seeder.ledger.savings import Prices
from seeder.net.addresses import HostPort
from seeder.net.doors import Door, Doors
from seeder.net.epoch import Epoch
from seeder.net.slices import Slices
from seeder.peer.hub import CONNECTION_STATES, Hub
from seeder.publish.prefixes import Prefixes
from seeder.publish.rounds import Rounds
from seeder.s3.origins import Origins
from seeder.s3.stalls import Stall
from seeder.torrent.objects import ObjectRef
from seeder.torrent.publications import Publication, State
from seeder.torrent.torrent import Torrent
from seeder.units import counted, rounded_size, rounded_time
from seeder.upload.uploads import Uploads

ENCODED_AT_ONCE = 20
"""Torrents of /status.json."""


@dataclass(frozen=True, slots=True)
class Status:
    """The document of /status.json: all but its torrents, and these as JSON already.

    They aren't kept as rows: thousands of objects that live for a moment cost a look at all objects
    of the process, by the collector of garbage.
    """

    document: Mapping[str, object]
    torrents: Sequence[bytes]
    """Parts of the list's text."""


class _EncodedRows:
    """Rows written as JSON, a slice at a time."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._some: list[dict[str, object]] = []
        self._parts: list[bytes] = []

    def add(self, row: TorrentRow) -> None:
        self._some.append(row.document(self._prices))
        if len(self._some) == ENCODED_AT_ONCE:
            self._encode()

    def encoded(self) -> Sequence[bytes]:
        """Return all of them, parted by commas."""
        self._encode()
        return self._parts

    def _encode(self) -> None:
        if self._some:
            comma = b", " if self._parts else b""
            self._parts.append(comma + json.dumps(self._some, allow_nan=False)[1:-1].encode())
            self._some.clear()


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
    cluster: Cluster | None = None
    """This node's part in it; None for a node by itself."""
    seeded: Callable[[], int] = int
    """Returns how many torrents this node seeds."""
    exchange: SwarmExchange | None = None
    """What shares the swarms with its other nodes."""
    unready: str | None = "starting"
    """Why the node isn't ready; None once everything is open and loaded."""
    doors: Doors = field(default_factory=lambda: Doors(Door(), Door(), Door()))
    """What lets clients in by their networks."""
    certificate: LiveCertificate | None = None
    """Of the listeners with TLS, if there are any."""
    feeds: Collection[EventFeed] = ()
    """What tells of objects before they are listed."""
    sidecar_counts: Mapping[str, int] = field(default_factory=Counter)
    """Torrents written beside their objects, by what became of that."""
    sidecar_fault: Callable[[], str | None] = lambda: None
    """Returns why some aren't written, if that is so."""
    reloads: Reloads = field(default_factory=lambda: Reloads(time.time()))
    pulse: Pulse = field(default_factory=Pulse)
    _process: ProcessMetrics = field(default_factory=ProcessMetrics)
    _epoch: Epoch = field(default_factory=Epoch)
    _began: float = field(default_factory=trio.current_time)

    @property
    def started_at(self) -> float:
        """When the node was started (Unix s)."""
        return self._epoch.unix(self._began)

    @property
    def turned_away(self) -> dict[str, int]:
        """How often somebody wasn't let in, by the section of the lists."""
        return {name: getattr(self.doors, name).turned_away for name in DOORS}

    async def report(self) -> Report:
        """Return the ledger and the publications as they are now."""
        gathered = ReportRows()
        rows = [row async for row in self._rows(gathered)]
        return self._report(gathered, rows)

    async def _rows(self, gathered: ReportRows) -> AsyncIterator[TorrentRow]:
        """Yield every row of a report, and let other tasks run now and then."""
        accounts, stalled = self.accounts, self.stalled()
        async for publication in accounts.publications():
            yield gathered.place(accounts.row(publication, stalled))
        slices = Slices()
        for account in accounts.ledger.accounts:
            if (row := gathered.unpublished(account)) is not None:
                yield row
            if slices.is_over:
                await slices.turn()

    def _report(self, gathered: ReportRows, rows: Sequence[TorrentRow]) -> Report:
        # So that the budget that is left fits the totals beside it.
        totals = self.accounts.ledger.totals()
        self.budget.update(totals, time.time())
        return Report.gathered(
            self.accounts.ledger,
            gathered,
            rows,
            self.prices,
            at=time.time(),
            budget=self.budget.left(),
        )

    def stalled(self) -> StalledObjects:
        """Return what S3 gives nothing of, though it is asked."""
        return StalledObjects.of(self.origins.stalls())

    async def status(self, limit: int | None) -> "Status":
        """Return /status.json, with at most `limit` torrents: those that matter most."""
        gathered, torrents = ReportRows(), _EncodedRows(self.prices)
        most = Foremost(limit, TorrentRow.weight)
        async for row in self._rows(gathered):
            if limit is None:
                torrents.add(row)
            else:
                await most.add(row)
        slices = Slices()
        for row in await most.rows():
            torrents.add(row)
            if slices.is_over:
                await slices.turn()
        report = self._report(gathered, ())
        return Status(self._document(report, gathered.count), torrents.encoded())

    def _document(self, report: Report, torrents: int) -> dict[str, object]:
        hub, cache, stalled = self.hub.statistics(), self.cache.statistics(), self.stalled()
        tallies = self.accounts.swarms.tallies
        return {
            **report.document(),
            "torrents_in_all": torrents,
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
                "announces": nested(tallies.announces),
                "scrapes": dict(tallies.scrapes),
            },
            "loop": {"lag": self.pulse.worst},
            "reload": self.reloads.document(),
            "certificate": certificate_document(self.certificate),
            "turned_away": self.turned_away,
            "cache": {name: getattr(cache, name) for name in cache.__dataclass_fields__},
            "origins": origins_document(self.origins),
            "ledger": ledger_document(self.database.statistics()),
            "events": events_document(self.feeds),
            "sidecars": dict(self.sidecar_counts),
            "cluster": self.cluster_document(),
        }

    def cluster_document(self) -> dict[str, object] | None:
        """Return how the node and the others stand, in the form of /status.json."""
        return cluster_document(self.cluster, self.exchange, self.node_summary())

    def node_summary(self) -> NodeSummary:
        """Return how this node does, for the others of its cluster."""
        return NodeSummary.of(
            self.accounts.ledger.totals(),
            peers=self.hub.statistics().connected,
            seeded=self.seeded(),
            announces=self.accounts.swarms.tallies.announces.total(),
            started_at=self.started_at,
            trouble=self.unready,
        )

    async def summary(self) -> str:
        """Return the line for `systemctl status`."""
        catalog = self.accounts.catalog
        states: Counter[State] = Counter()
        hashed = None
        for some in batched(tuple(catalog)):
            states.update(publication.state for publication in some)
            if hashed is None:
                hashed = next((each for each in some if each.progress is not None), None)
            await trio.lowlevel.checkpoint()
        objects = counted(states.total(), "object")
        parts = [f"{states[State.SERVING]} of {objects} served"]
        if catalog.unlisted:
            parts.append(f"{counted(len(catalog.unlisted), 'prefix', 'prefixes')} to be listed")
        if hashed is not None:
            stall = self.stalled().find(hashed)
            parts.append(f"hashing {hashed.ref} {describe_work(hashed, stall)}")
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
        parts += [f"events {feed.name}: {feed.fault}" for feed in self.feeds if feed.fault]
        if self.cluster is not None and (fault := self.cluster.fault):
            parts.append(fault)
        if alone := self._stalled_alone():
            parts.append(alone)
        trouble = states[State.FAILED] + states[State.FAULTY]
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
            certificate=self.certificate,
            turned_away=self.turned_away,
            pulse=self.pulse,
            groups=accounts.ledger.groups.present(),
            cluster=self.cluster,
            exchange=self.exchange,
            feeds=self.feeds,
            sidecars=self.sidecar_counts,
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
