"""The report as Prometheus metrics, read when they are asked for.

Each object has one series: its versions, and its namesakes at other origins, are added up.
Counters are never negative and only grow; what can shrink (saved bytes, peers) is a gauge.
The series of objects are written here, in slices, so that ten thousand objects hold up no other
task; prometheus_client, which takes ten times as long, writes only the few other series.
"""

from collections import Counter as Tallies
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from seeder.ledger.counters import PURPOSES, Counters
from seeder.ledger.report import Report
from seeder.torrent.objects import Purpose

CONTENT_TYPE = CONTENT_TYPE_LATEST

SLICE = 500
"""Series written between two chances for other tasks to run."""

_BY_PURPOSE: tuple[tuple[str, str, Callable[[Counters], Mapping[Purpose, int]]], ...] = (
    (
        "seeder_origin_bytes",
        "Body bytes received from S3 (measured)",
        Counters.origin_bytes_by_purpose,
    ),
    (
        "seeder_origin_requests",
        "Requests sent to S3, retries included (measured)",
        Counters.origin_requests_by_purpose,
    ),
)
_SAVED = (
    (
        "seeder_saved_verified_bytes",
        "Delivered (verified) less from S3",
        "delivered_verified_bytes",
    ),
    ("seeder_saved_claimed_bytes", "Delivered (claimed) less from S3", "delivered_claimed_bytes"),
)
# Counter attribute -> metric and help; prometheus_client adds `_total`.
_SUMS = {
    "requester_charged": (
        "seeder_origin_requester_charged_requests",
        "Requests that S3 said it charged us for as the requester",
    ),
    "uploaded_bytes": ("seeder_uploaded_bytes", "Piece payload sent to peers (measured)"),
    "protocol_bytes": (
        "seeder_protocol_bytes",
        "Bytes sent to peers and HTTP clients that were no piece payload (measured)",
    ),
    "delivered_verified_bytes": (
        "seeder_delivered_verified_bytes",
        "Bytes that we sent, or that peers can have had of each other (verified)",
    ),
    "delivered_claimed_bytes": (
        "seeder_delivered_claimed_bytes",
        "Bytes that peers announced as downloaded (claimed)",
    ),
    "completed": ("seeder_completed_downloads", "Downloads announced as completed (claimed)"),
    "peers_seen": ("seeder_peer_sessions", "Peer sessions but those of seeds (measured)"),
}


class Metrics:
    """The exposition of a report, and of this process."""

    def __init__(self, *, version: str) -> None:
        self._version = version
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def parts(self, report: Report) -> Iterator[bytes]:
        """Yield the metrics of a report piece by piece, each the work of a few milliseconds."""
        registry = CollectorRegistry()
        registry.register(_NodeMetrics(report, self._version))
        yield generate_latest(registry)
        yield from _of_objects(report)
        yield generate_latest(self._registry)


class _NodeMetrics(Collector):
    """The metrics whose number doesn't grow with the objects."""

    def __init__(self, report: Report, version: str) -> None:
        self._report = report
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield _gauge("seeder_build_info", "Always 1", ("version",), [((self._version,), 1)])
        states = Tallies(row.state for row in self._report.rows)
        samples = (((state,), count) for state, count in states.items())
        yield _gauge("seeder_torrents", "Torrents by state", ("state",), samples)
        if self._report.budget:
            yield from _budget(self._report)


def _of_objects(report: Report) -> Iterator[bytes]:
    """Yield every family that has a series for each object; b"" is a chance for other tasks."""
    objects = _by_object(report)
    peers: Tallies[tuple[str, str]] = Tallies()
    seeds: Tallies[tuple[str, str]] = Tallies()
    for row in report.rows:
        name = row.key.bucket, row.key.key
        peers[name] += row.peers
        seeds[name] += row.seeds
    yield b""
    # The labels of each object are escaped once, and not for each of its series.
    labels = {name: _labels(*name) for name in objects}
    yield b""
    for metric, text, pick in _BY_PURPOSE:
        for purpose in PURPOSES:
            suffix = f',purpose="{purpose}"}} '
            lines = (
                f"{metric}_total{labels[name]}{suffix}{pick(counters)[purpose]}\n"
                for name, counters in objects.items()
            )
            yield from _slices(
                lines, _head(metric, text, "counter") if purpose == "metainfo" else ""
            )
    for attribute, (metric, text) in _SUMS.items():
        figure = attrgetter(attribute)
        lines = (
            f"{metric}_total{labels[name]}}} {figure(counters)}\n"
            for name, counters in objects.items()
        )
        yield from _slices(lines, _head(metric, text, "counter"))
    for metric, text, attribute in _SAVED:
        figure = attrgetter(attribute)
        lines = (
            f"{metric}{labels[name]}}} {figure(counters) - counters.origin_bytes}\n"
            for name, counters in objects.items()
        )
        yield from _slices(lines, _head(metric, text, "gauge"))
    for metric, text, tallies in (
        ("seeder_swarm_peers", "Peers in the swarm, seeds included, as announced", peers),
        ("seeder_swarm_seeds", "Peers in the swarm with the whole object, as announced", seeds),
    ):
        lines = (f"{metric}{_labels(*name)}}} {count}\n" for name, count in tallies.items())
        yield from _slices(lines, _head(metric, text, "gauge"))


def _head(metric: str, text: str, kind: str) -> str:
    name = f"{metric}_total" if kind == "counter" else metric
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _labels(bucket: str, key: str) -> str:
    """Return an object's labels without the closing brace."""
    return f'{{bucket="{_escaped(bucket)}",key="{_escaped(key)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _slices(lines: Iterable[str], head: str) -> Iterator[bytes]:
    """Yield the head and then the lines, some hundreds at a time."""
    left = iter(lines)
    while some := list(islice(left, SLICE)):
        yield (head + "".join(some)).encode()
        head = ""
    yield head.encode()


def _by_object(report: Report) -> dict[tuple[str, str], Counters]:
    """Return the counters by bucket and key; the unattributed ones have empty names."""
    objects: dict[tuple[str, str], Counters] = {}
    if report.unattributed:
        objects["", ""] = report.unattributed
    for row in report.rows:
        name = (row.key.bucket, row.key.key)
        before = objects.get(name)
        objects[name] = before.plus(row.counters) if before else row.counters
    return objects


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
