"""The metrics of the node: everything but what is counted by object. All states are there, as 0.

A family's labels take few values, whatever strangers and S3 do: names of the configuration, and
words that this code knows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from seeder.admin.cluster import cluster_metrics
from seeder.admin.events import events_metrics
from seeder.admin.exposition import Family, Histogram, counter, gauge, labels
from seeder.admin.pulse import Pulse
from seeder.admin.reading import cache_metrics, origin_metrics
from seeder.admin.reloads import RELOAD_OUTCOMES, Reloads
from seeder.admin.spending import budget_metrics, ledger_metrics
from seeder.admin.stalls import StalledObjects
from seeder.admin.sums import Sums
from seeder.admin.visitors import certificate_metrics, group_metrics, peer_metrics, tracker_metrics
from seeder.cache.pieces import CacheStatistics
from seeder.cluster.cluster import Cluster
from seeder.cluster.exchange import SwarmExchange
from seeder.events.feed import EventFeed
from seeder.gateway.certificates import LiveCertificate
from seeder.ledger.budget import Remaining
from seeder.ledger.counters import FORMER
from seeder.ledger.database import LedgerStatistics
from seeder.ledger.groups import GroupCounts
from seeder.peer.hub import HubStatistics
from seeder.publish.prefix import Prefix, PrefixState
from seeder.s3.operations import OriginStatistics
from seeder.torrent.publications import STALLED, State
from seeder.tracker.tallies import TrackerTallies

DOORS = ("tracker", "peer", "gateway")
"""The sections with lists of networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What the parts of a node tell of themselves."""

    version: str
    ready: bool
    sums: Sums
    prefixes: Sequence[Prefix]
    stalled: StalledObjects
    hub: HubStatistics
    connections: int
    """How many peers may be connected."""
    downloads: int
    tracker: TrackerTallies
    cache: CacheStatistics
    origins: Mapping[str, OriginStatistics]
    budget: Sequence[Remaining]
    ledger: LedgerStatistics
    reloads: Reloads
    certificate: LiveCertificate | None = None
    turned_away: Mapping[str, int] = field(default_factory=dict)
    pulse: Pulse
    groups: Mapping[str, GroupCounts]
    """What was counted by groups of addresses, those of the configuration."""
    cluster: Cluster | None = None
    """None for a node by itself."""
    exchange: SwarmExchange | None = None
    feeds: Collection[EventFeed] = ()
    sidecars: Mapping[str, int] = field(default_factory=dict)


class ProcessMetrics:
    """What the system tells of this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return it in Prometheus' text format."""
        return generate_latest(self._registry)


def node_metrics(node: NodeState) -> Iterator[Family | Histogram]:
    """Yield every family of the node."""
    yield from _standing(node)
    yield from _prefixes(node.prefixes, node.stalled)
    yield from peer_metrics(node.hub, node.connections, node.downloads)
    yield from tracker_metrics(node.tracker)
    yield from cache_metrics(node.cache)
    yield from origin_metrics(node.origins)
    yield from group_metrics(node.groups)
    yield from budget_metrics(node.budget)
    yield from ledger_metrics(node.ledger)
    yield from _reloads(node.reloads)
    yield from certificate_metrics(node.certificate)
    yield counter(
        "seeder_turned_away_total",
        "Connections and requests that allow and deny of a section didn't let in",
        [(labels(section=name), node.turned_away.get(name, 0)) for name in DOORS],
    )
    yield from cluster_metrics(node.cluster, node.exchange)
    yield from events_metrics(node.feeds)
    text = "Torrents written beside their objects, by what became of that"
    counts = [(labels(outcome=each), float(count)) for each, count in node.sidecars.items()]
    yield counter("seeder_sidecars_total", text, counts)
    yield Histogram(
        "seeder_loop_lag_seconds",
        "How late the event loop wakes a task; two measurements a second",
        [("", node.pulse.lags)],
    )


def _standing(node: NodeState) -> Iterator[Family]:
    sums = node.sums
    yield gauge("seeder_build_info", "Always 1", [(labels(version=node.version), 1)])
    yield gauge("seeder_ready", "1 once everything is open and loaded", [("", int(node.ready))])
    states = (*State, STALLED, FORMER)
    yield gauge(
        "seeder_torrents",
        "Torrents by state",
        [(labels(state=state), sums.states[state]) for state in states],
    )
    for name, text, value in (
        ("seeder_builds", "Objects whose torrents are being made", sums.builds),
        ("seeder_build_bytes", "Bytes of these objects that have to be hashed", sums.build_size),
        ("seeder_build_done_bytes", "Bytes of these that are hashed", sums.build_done),
        ("seeder_build_bytes_per_second", "How fast they are hashed of late", sums.build_rate),
    ):
        yield gauge(name, text, [("", value)])


def _prefixes(prefixes: Sequence[Prefix], stalled: StalledObjects) -> Iterator[Family]:
    states = [prefix.state for prefix in prefixes]
    yield gauge(
        "seeder_prefixes",
        "Configured prefixes by state",
        [(labels(state=state), states.count(state)) for state in PrefixState],
    )
    named = [
        (labels(origin=each.ref.origin, bucket=each.ref.bucket, prefix=each.ref.key), each)
        for each in prefixes
    ]
    for name, text, figure in (
        ("seeder_listed_objects", "Objects in the prefix's last listing", _objects_of),
        ("seeder_left_out_objects", "Objects in it that aren't published", _left_out_of),
    ):
        yield gauge(name, text, [(written, figure(each)) for written, each in named])
    yield gauge(
        "seeder_listed_timestamp_seconds",
        "When S3 gave that listing",
        [(written, each.listed_at) for written, each in named if each.listed_at is not None],
    )
    stalls = [(written, stalled.questions.get(each.ref)) for written, each in named]
    yield gauge(
        "seeder_listing_stalled_seconds",
        "For how long nothing has come of the prefix's listing though S3 is asked; 0 below 15 s",
        [(written, 0 if stall is None else stall.seconds) for written, stall in stalls],
    )


def _objects_of(prefix: Prefix) -> int:
    return len(prefix.objects)


def _left_out_of(prefix: Prefix) -> int:
    return len(prefix.left_out)


def _reloads(reloads: Reloads) -> Iterator[Family]:
    yield counter(
        "seeder_reloads_total",
        "Reloads of the configuration by outcome",
        [(labels(outcome=outcome), reloads.counts[outcome]) for outcome in RELOAD_OUTCOMES],
    )
    yield gauge(
        "seeder_last_reload_successful",
        "0 if nothing of the last reload, or not all of it, is in force",
        [("", int(reloads.last == "ok"))],
    )
    yield gauge(
        "seeder_last_reload_timestamp_seconds",
        "When the last reload was",
        [] if reloads.last_at is None else [("", reloads.last_at)],
    )
    yield gauge(
        "seeder_config_timestamp_seconds",
        "When the configuration that is in force was read",
        [("", reloads.taken_up_at)],
    )
