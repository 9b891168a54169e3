"""Prometheus' text format: a family is its head, then a line for each series. No I/O.

prometheus_client takes ten times as long, which counts where there are thousands of series.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from seeder.net.timings import TIMING_BOUNDS, Timings

CONTENT_TYPE = CONTENT_TYPE_LATEST
LINES_AT_ONCE = 250
"""Lines written between two chances for other tasks to run."""

Labels: TypeAlias = str
"""The labels of a series as they are written, in braces; "" without any."""


@dataclass(frozen=True, slots=True)
class Family:
    """The series of one name; a counter's ends with `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    text: str
    series: Iterable[tuple[Labels, float]]

    def lines(self) -> Iterator[str]:
        yield _head(self.name, self.kind, self.text)
        for labels, value in self.series:
            yield f"{self.name}{labels} {value}\n"


@dataclass(frozen=True, slots=True)
class Histogram:
    """The histograms of one name, in seconds."""

    name: str
    text: str
    series: Iterable[tuple[Labels, Timings]]

    def lines(self) -> Iterator[str]:
        yield _head(self.name, "histogram", self.text)
        for written, timings in self.series:
            common = f"{written[:-1]}," if written else "{"
            count = 0
            for bound, more in zip((*TIMING_BOUNDS, "+Inf"), timings.counts, strict=True):
                count += more
                yield f'{self.name}_bucket{common}le="{bound}"}} {count}\n'
            yield f"{self.name}_sum{written} {timings.seconds}\n"
            yield f"{self.name}_count{written} {count}\n"


def gauge(name: str, text: str, series: Iterable[tuple[Labels, float]]) -> Family:
    """Return a family of gauges."""
    return Family(name, "gauge", text, series)


def counter(name: str, text: str, series: Iterable[tuple[Labels, float]]) -> Family:
    """Return a family of counters, whose name ends with `_total`."""
    return Family(name, "counter", text, series)


def labels(**values: str) -> Labels:
    """Return labels as they are written, each value escaped."""
    return "{" + ",".join(f'{name}="{_escaped(values[name])}"' for name in values) + "}"


def with_label(written: Labels, name: str, value: str) -> Labels:
    """Return labels with one more, whose value needs no escaping."""
    return f'{written[:-1]},{name}="{value}"}}'


def slices(families: Iterable[Family | Histogram]) -> Iterator[bytes]:
    """Yield the text of all families, some hundreds of lines at a time."""
    lines = (line for family in families for line in family.lines())
    while some := list(islice(lines, LINES_AT_ONCE)):
        yield "".join(some).encode()


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
