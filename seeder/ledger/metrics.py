"""The report as Prometheus metrics, read when they are asked for.

One series an object: its versions, and namesakes at other origins, are added up.
Counters are never negative and only grow; what can shrink (saved bytes, peers) is a gauge.
"""

from collections import Counter as Tallies
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from seeder.ledger.counters import PURPOSES, Counters
from seeder.ledger.report import Report

CONTENT_TYPE = CONTENT_TYPE_LATEST

_OBJECT = ("bucket", "key")

# Counter attribute -> metric and help; prometheus_client adds `_total`.
_SUMS = {
    "requester_charged": (
        "seeder_origin_requester_charged_requests",
        "Requests that S3 said it charged us for as the requester",
    ),
    "uploaded_bytes": ("seeder_uploaded_bytes", "Piece payload sent to peers (measured)"),
    "delivered_verified_bytes": (
        "seeder_delivered_verified_bytes",
        "Bytes that connected peers were seen to gain (verified)",
    ),
    "delivered_claimed_bytes": (
        "seeder_delivered_claimed_bytes",
        "Bytes that peers announced as downloaded (claimed)",
    ),
    "completed": ("seeder_completed_downloads", "Downloads announced as completed (claimed)"),
    "peers_seen": ("seeder_peer_sessions", "Peer sessions but those of seeds (measured)"),
}


class Metrics:
    """The exposition of what `snapshot` reports at each scrape, and of `further` collectors."""

    def __init__(
        self,
        snapshot: Callable[[], Report],
        *,
        version: str,
        further: Iterable[Collector] = (),
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_ReportCollector(snapshot, version))
        ProcessCollector(registry=self._registry)
        for collector in further:
            self._registry.register(collector)

    def render(self) -> bytes:
        """Return the metrics in the text format; its content type is CONTENT_TYPE."""
        return generate_latest(self._registry)


class _ReportCollector(Collector):
    def __init__(self, snapshot: Callable[[], Report], version: str) -> None:
        self._snapshot = snapshot
        self._version = version

    def collect(self) -> Iterator[Metric]:
        report = self._snapshot()
        yield _gauge("seeder_build_info", "Always 1", ("version",), [((self._version,), 1)])
        objects = _by_object(report)
        yield from _origin(objects)
        yield from _sums(objects)
        yield from _gauges(report, objects)
        if report.budget:
            yield from _budget(report)


def _by_object(report: Report) -> dict[tuple[str, str], Counters]:
    """Return the counters by bucket and key; those that have no object are under empty names."""
    objects: dict[tuple[str, str], Counters] = {}
    if report.unattributed:
        objects["", ""] = report.unattributed
    for row in report.rows:
        name = (row.key.bucket, row.key.key)
        before = objects.get(name)
        objects[name] = before.plus(row.counters) if before else row.counters
    return objects


def _origin(objects: dict[tuple[str, str], Counters]) -> Iterator[Metric]:
    labels = (*_OBJECT, "purpose")
    received = CounterMetricFamily(
        "seeder_origin_bytes", "Body bytes received from S3 (measured)", labels=labels
    )
    requests = CounterMetricFamily(
        "seeder_origin_requests", "Requests sent to S3, retries included (measured)", labels=labels
    )
    for name, counters in objects.items():
        of_bytes = counters.origin_bytes_by_purpose()
        of_requests = counters.origin_requests_by_purpose()
        for purpose in PURPOSES:
            received.add_metric((*name, purpose), of_bytes[purpose])
            requests.add_metric((*name, purpose), of_requests[purpose])
    yield received
    yield requests


def _sums(objects: dict[tuple[str, str], Counters]) -> Iterator[Metric]:
    for attribute, (metric, text) in _SUMS.items():
        family = CounterMetricFamily(metric, text, labels=_OBJECT)
        for name, counters in objects.items():
            family.add_metric(name, getattr(counters, attribute))
        yield family


def _gauges(report: Report, objects: dict[tuple[str, str], Counters]) -> Iterator[Metric]:
    saved_verified: Tallies[tuple[str, str]] = Tallies()
    saved_claimed: Tallies[tuple[str, str]] = Tallies()
    peers: Tallies[tuple[str, str]] = Tallies()
    seeds: Tallies[tuple[str, str]] = Tallies()
    states: Tallies[tuple[str, ...]] = Tallies()
    for name, counters in objects.items():
        saved_verified[name] = counters.delivered_verified_bytes - counters.origin_bytes
        saved_claimed[name] = counters.delivered_claimed_bytes - counters.origin_bytes
    for row in report.rows:
        peers[row.key.bucket, row.key.key] += row.peers
        seeds[row.key.bucket, row.key.key] += row.seeds
        states[row.state,] += 1
    for metric, text, samples in (
        ("seeder_saved_verified_bytes", "Delivered (verified) less from S3", saved_verified),
        ("seeder_saved_claimed_bytes", "Delivered (claimed) less from S3", saved_claimed),
        ("seeder_swarm_peers", "Peers in the swarm, seeds included, as announced", peers),
        ("seeder_swarm_seeds", "Peers in the swarm with the whole object, as announced", seeds),
    ):
        yield _gauge(metric, text, _OBJECT, samples.items())
    yield _gauge("seeder_torrents", "Torrents by state", ("state",), states.items())


def _budget(report: Report) -> Iterator[Metric]:
    """Yield what is left by limit, named as in [budget]: in bytes, requests or money."""
    labels = ("budget",)
    for metric, text, figure in (
        ("seeder_budget_limit", "What [budget] allows a day or a month", "limit.amount"),
        ("seeder_budget_spent", "What the present day or month (UTC) has cost", "spent"),
        ("seeder_budget_left", "What is left of it", "left"),
        ("seeder_budget_resets_timestamp_seconds", "When its day or month is over", "resets_at"),
        (
            "seeder_budget_level",
            "0 normal, 1 fewer slots, 2 last in handout, 3 cache only, 4 tracker only",
            "level",
        ),
    ):
        samples = (
            ((remaining.limit.name,), attrgetter(figure)(remaining)) for remaining in report.budget
        )
        yield _gauge(metric, text, labels, samples)


def _gauge(
    name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
