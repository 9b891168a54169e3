"""The metrics of the node: everything but what is counted by object. All states are there, as 0.

A family's labels take few values, whatever strangers and S3 do: names of the configuration, and
words that this code knows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from seeder.admin.cluster import cluster_metrics
from seeder.admin.events import events_metrics
from seeder.admin.exposition import Family, Histogram, Labels, labels
from seeder.admin.pulse import Pulse
from seeder.admin.reloads import RELOAD_OUTCOMES, Reloads
from seeder.admin.stalls import STALLED, StalledObjects
from seeder.admin.sums import Sums
from seeder.cache.pieces import CacheStatistics
from seeder.cluster.cluster import Cluster
from seeder.cluster.exchange import SwarmExchange
from seeder.events.feed import EventFeed
from seeder.gateway.certificates import LiveCertificate
from seeder.http.tls import HandshakeResult
from seeder.ledger.budget import Remaining
from seeder.ledger.counters import FORMER
from seeder.ledger.database import LedgerStatistics
from seeder.ledger.groups import GroupCounts
from seeder.peer.hub import CONNECTION_STATES, HubStatistics
from seeder.peer.reasons import CLOSES, REFUSALS
from seeder.publish.prefixes import Prefix, PrefixState
from seeder.s3.operations import OPERATIONS, OUTCOMES, OriginStatistics
from seeder.torrent.publications import State
from seeder.tracker.holders import Refused
from seeder.tracker.tallies import ANNOUNCE_OUTCOMES, EVENTS, UNREAD, TrackerTallies

DOORS = ("tracker", "peer", "gateway")
"""The sections with lists of networks."""
_UNITS = ("bytes", "requests", "money")


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
    feeds: Sequence[EventFeed] = ()
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
    yield from _peers(node)
    yield from _tracker(node.tracker)
    yield from _cache(node.cache)
    yield from _origins(node.origins)
    yield from _groups(node.groups)
    yield from _budget(node.budget)
    yield from _ledger(node.ledger)
    yield from _reloads(node.reloads)
    yield from _certificate(node.certificate)
    yield _counter(
        "seeder_turned_away_total",
        "Connections and requests that allow and deny of a section didn't let in",
        [(labels(section=name), node.turned_away.get(name, 0)) for name in DOORS],
    )
    yield from cluster_metrics(node.cluster, node.exchange)
    yield from events_metrics(node.feeds)
    text = "Torrents written beside their objects, by what became of that"
    counts = [(labels(outcome=each), float(count)) for each, count in node.sidecars.items()]
    yield Family("seeder_sidecars_total", "counter", text, counts)
    yield Histogram(
        "seeder_loop_lag_seconds",
        "How late the event loop wakes a task; two measurements a second",
        [("", node.pulse.lags)],
    )


def _certificate(certificate: LiveCertificate | None) -> Iterator[Family]:
    ends = [] if certificate is None else [("", certificate.current.ends)]
    yield _gauge(
        "seeder_tls_certificate_expiry_timestamp_seconds",
        "When the certificate of the public listeners expires; nothing without TLS",
        ends,
    )
    fault = certificate is not None and certificate.fault is not None
    yield _gauge(
        "seeder_tls_certificate_refused",
        "1 while the files of certificate and key can't be used and former ones are in force",
        [("", int(fault))],
    )
    counts = Counter[HandshakeResult]() if certificate is None else certificate.handshakes
    yield _counter(
        "seeder_tls_handshakes_total",
        "Connections to the public listeners with TLS by how they began",
        [(labels(result=how), counts[how]) for how in HandshakeResult],
    )


def _standing(node: NodeState) -> Iterator[Family]:
    sums = node.sums
    yield _gauge("seeder_build_info", "Always 1", [(labels(version=node.version), 1)])
    yield _gauge("seeder_ready", "1 once everything is open and loaded", [("", int(node.ready))])
    states = (*State, STALLED, FORMER)
    yield _gauge(
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
        yield _gauge(name, text, [("", value)])


def _prefixes(prefixes: Sequence[Prefix], stalled: StalledObjects) -> Iterator[Family]:
    states = [prefix.state for prefix in prefixes]
    yield _gauge(
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
        yield _gauge(name, text, [(written, figure(each)) for written, each in named])
    yield _gauge(
        "seeder_listed_timestamp_seconds",
        "When S3 gave that listing",
        [(written, each.listed_at) for written, each in named if each.listed_at is not None],
    )
    stalls = [(written, stalled.questions.get(each.ref)) for written, each in named]
    yield _gauge(
        "seeder_listing_stalled_seconds",
        "For how long nothing has come of the prefix's listing though S3 is asked; 0 below 15 s",
        [(written, 0 if stall is None else stall.seconds) for written, stall in stalls],
    )


def _objects_of(prefix: Prefix) -> int:
    return len(prefix.objects)


def _left_out_of(prefix: Prefix) -> int:
    return len(prefix.left_out)


def _peers(node: NodeState) -> Iterator[Family]:
    hub = node.hub
    yield _gauge(
        "seeder_peer_connections",
        "Connected peers by what they are about",
        [(labels(state=state), hub.states.get(state, 0)) for state in CONNECTION_STATES],
    )
    yield _gauge(
        "seeder_peer_connections_limit", "Peers that find a place", [("", node.connections)]
    )
    yield _gauge("seeder_http_downloads", "Downloads over HTTP under way", [("", node.downloads)])
    yield _counter(
        "seeder_peer_connections_accepted_total",
        "Connections of peers, refused ones included",
        [("", hub.accepted)],
    )
    yield _counter(
        "seeder_peer_closes_total",
        "Connections of peers that have ended, refused ones included, by reason",
        _by_reason(CLOSES, hub.closes),
    )
    yield _counter(
        "seeder_peer_refusals_total",
        "Connections of peers that found no place, by reason",
        _by_reason(REFUSALS, hub.refusals),
    )


def _by_reason(known: Sequence[str], counts: Mapping[str, int]) -> list[tuple[Labels, float]]:
    every = {**dict.fromkeys(known, 0), **counts}
    return [(labels(reason=reason), count) for reason, count in every.items()]


def _tracker(tallies: TrackerTallies) -> Iterator[Family]:
    announces: dict[tuple[str, str], int] = {
        (event, outcome): 0
        for event in EVENTS
        for outcome in ANNOUNCE_OUTCOMES
        if outcome != "malformed"
    }
    announces |= {(UNREAD, "malformed"): 0, (UNREAD, "too-often"): 0}
    announces.update(tallies.announces.items())
    yield _counter(
        "seeder_announces_total",
        "Announces by event and by what became of them",
        [
            (labels(event=event, outcome=outcome), count)
            for (event, outcome), count in announces.items()
        ],
    )
    outcomes = [outcome for outcome in ANNOUNCE_OUTCOMES if outcome != "unknown-torrent"]
    yield _counter(
        "seeder_scrapes_total",
        "Scrapes by what became of them",
        [(labels(outcome=outcome), tallies.scrapes[outcome]) for outcome in outcomes],
    )
    yield _counter(
        "seeder_private_refusals_total",
        "Announces and requests without a good passkey for a private torrent, by what it lacked",
        [(labels(reason=reason.value), tallies.kept_out[reason]) for reason in Refused],
    )


def _groups(groups: Mapping[str, GroupCounts]) -> Iterator[Family]:
    for name, text, figure in (
        ("uploaded_bytes", "Piece payload that we sent to its addresses", "sent_bytes"),
        (
            "delivered_verified_bytes",
            "Bytes that we saw its peers gain, from us and from others",
            "delivered_verified_bytes",
        ),
        (
            "downloaded_claimed_bytes",
            "Bytes that its peers announced as downloaded",
            "downloaded_claimed_bytes",
        ),
        (
            "uploaded_claimed_bytes",
            "Bytes that its peers announced as uploaded",
            "uploaded_claimed_bytes",
        ),
    ):
        series = [
            (labels(group=group), getattr(counts, figure)) for group, counts in groups.items()
        ]
        yield _counter(f"seeder_group_{name}_total", f"{text}, by group", series)


def _cache(told: CacheStatistics) -> Iterator[Family]:
    limits = {"memory": told.memory_budget, "disk": told.disk_budget}
    by_tier: tuple[tuple[str, str, str, Callable[..., Family]], ...] = (
        ("bytes", "seeder_cache_bytes", "Bytes of pieces that are kept", _gauge),
        ("pieces", "seeder_cache_pieces", "Pieces that are kept", _gauge),
        ("hits", "seeder_cache_hits_total", "Pieces, or parts, that were there", _counter),
        ("evictions", "seeder_cache_evictions_total", "Pieces that had to make room", _counter),
    )
    for figure, name, text, family in by_tier:
        yield family(
            name,
            text,
            [(labels(tier=tier), getattr(told, f"{tier}_{figure}")) for tier in limits],
        )
    yield _gauge(
        "seeder_cache_limit_bytes",
        "What [cache] allows",
        [(labels(tier=tier), limit) for tier, limit in limits.items()],
    )
    for name, text, value, family in (
        ("misses_total", "Pieces that S3 was asked for", told.misses, _counter),
        (
            "dropped_writes_total",
            "Pieces that weren't written since the disk was too far behind",
            told.dropped_writes,
            _counter,
        ),
        ("corrupt_total", "Copies of pieces found unfit and dropped", told.corrupt, _counter),
        (
            "origin_mismatches_total",
            "Pieces from S3 that failed their hash, each try counted",
            told.origin_mismatches,
            _counter,
        ),
        ("fetching_pieces", "Pieces on their way from S3 or from disk", told.fetching, _gauge),
        ("queued_writes", "Pieces that wait to be written", told.queued_writes, _gauge),
        ("disk_ok", "1 while the cache's disk works", int(told.disk_ok), _gauge),
    ):
        yield family(f"seeder_cache_{name}", text, [("", value)])


def _origins(origins: Mapping[str, OriginStatistics]) -> Iterator[Family | Histogram]:
    yield _counter(
        "seeder_s3_requests_total",
        "Attempts at S3's operations by what came of them; a retry is another one",
        (
            (
                labels(origin=name, operation=operation, outcome=outcome),
                told.operations.get((operation, outcome), 0),
            )
            for name, told in origins.items()
            for operation in OPERATIONS
            for outcome in OUTCOMES
        ),
    )
    yield Histogram(
        "seeder_s3_answer_seconds",
        "From asking S3 to the head of an answer that is no error",
        (
            (labels(origin=name, operation=operation), timings)
            for name, told in origins.items()
            for operation, timings in told.answer_times.items()
        ),
    )
    yield _counter(
        "seeder_s3_errors_total",
        "Calls to S3 that failed for good, by kind",
        (
            (labels(origin=name, kind=kind), count)
            for name, told in origins.items()
            for kind, count in told.errors.items()
        ),
    )
    for name, text, figure, family in (
        ("retries_total", "Attempts that were made again", "retries", _counter),
        (
            "switched_total",
            "Reads that went on over another connection, since others were much faster",
            "switched",
            _counter,
        ),
        ("waiting_calls", "Calls to S3 that haven't ended", "waiting", _gauge),
        ("reachable", "0 while S3 is away", "reachable", _gauge),
    ):
        yield family(f"seeder_s3_{name}", text, _by_origin(origins, figure))
    yield _gauge(
        "seeder_s3_stalled_seconds",
        "For how long nothing has come from S3 though something is wanted; 0 below 15 s",
        [
            (labels(origin=name), told.stall.seconds if told.stall is not None else 0)
            for name, told in origins.items()
        ],
    )
    yield _gauge(
        "seeder_s3_last_answer_timestamp_seconds",
        "When anything came from S3 last",
        [
            (labels(origin=name), told.last_success)
            for name, told in origins.items()
            if told.last_success is not None
        ],
    )


def _by_origin(origins: Mapping[str, OriginStatistics], figure: str) -> list[tuple[Labels, float]]:
    return [(labels(origin=name), int(getattr(told, figure))) for name, told in origins.items()]


def _budget(budget: Sequence[Remaining]) -> Iterator[Family]:
    """Yield what is left by limit, named as in [budget]: in any unit, then in each apart."""
    if not budget:
        return
    for name, text, figure in (
        ("limit", "What [budget] allows a day or a month", "limit.amount"),
        ("spent", "What the present day or month (UTC) has cost", "spent"),
        ("left", "What is left of it", "left"),
        ("resets_timestamp_seconds", "When its day or month is over", "resets_at"),
        (
            "level",
            "0 normal, 1 fewer slots, 2 last in handout, 3 cache only, 4 tracker only",
            "level",
        ),
    ):
        value = attrgetter(figure)
        yield _gauge(
            f"seeder_budget_{name}",
            text,
            [
                (
                    labels(budget=each.limit.name),
                    float(value(each)),
                )
                for each in budget
            ],
        )
    for unit in _UNITS:
        limits = [each for each in budget if each.limit.resource.value.endswith(f"_{unit}")]
        for name, text, figure in (
            ("limit", "allowed a day or a month", "limit.amount"),
            ("spent", "spent in the present one", "spent"),
        ):
            value = attrgetter(figure)
            series = [(labels(budget=each.limit.name), value(each)) for each in limits]
            family = f"seeder_budget_{name}_{unit}"
            yield _gauge(family, f"{unit.capitalize()} {text}, of limits in {unit}", series)


def _ledger(told: LedgerStatistics) -> Iterator[Family]:
    yield _gauge(
        "seeder_ledger_writable",
        "0 while what is counted waits in memory",
        [("", int(told.fault is None))],
    )
    yield _counter("seeder_ledger_flushes_total", "Writes of the ledger", [("", told.flushes)])
    yield _counter(
        "seeder_ledger_failures_total", "Writes of the ledger that failed", [("", told.failures)]
    )
    at = told.flushed_at
    yield _gauge(
        "seeder_ledger_flushed_timestamp_seconds",
        "When the ledger was written last",
        [] if at is None else [("", at)],
    )


def _reloads(reloads: Reloads) -> Iterator[Family]:
    yield _counter(
        "seeder_reloads_total",
        "Reloads of the configuration by outcome",
        [(labels(outcome=outcome), reloads.counts[outcome]) for outcome in RELOAD_OUTCOMES],
    )
    yield _gauge(
        "seeder_last_reload_successful",
        "0 if nothing of the last reload, or not all of it, is in force",
        [("", int(reloads.last == "ok"))],
    )
    yield _gauge(
        "seeder_last_reload_timestamp_seconds",
        "When the last reload was",
        [] if reloads.last_at is None else [("", reloads.last_at)],
    )
    yield _gauge(
        "seeder_config_timestamp_seconds",
        "When the configuration that is in force was read",
        [("", reloads.taken_up_at)],
    )


def _gauge(name: str, text: str, series: Iterable[tuple[Labels, float]]) -> Family:
    return Family(name, "gauge", text, series)


def _counter(name: str, text: str, series: Iterable[tuple[Labels, float]]) -> Family:
    return Family(name, "counter", text, series)
