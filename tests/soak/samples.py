"""What is measured from outside while it runs: memory, descriptors, how long answers take."""

import contextlib
import http.client
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.daemon import SeederDaemon

_PAGE = os.sysconf("SC_PAGE_SIZE")
INTERVAL = 0.25
"""Seconds from one sample to the next."""
WINDOW = 30.0


@dataclass
class Samples:
    """Series by time (s): resident bytes, open descriptors; and seconds that /healthz took."""

    at: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    unanswered: int = 0

    def take(self, daemon: SeederDaemon, began: float) -> None:
        """Add a sample."""
        proc = Path(f"/proc/{daemon.pid}")
        self.at.append(time.monotonic() - began)
        self.memory.append(float(proc.joinpath("statm").read_text().split()[1]) * _PAGE)
        self.descriptors.append(float(len(list(proc.joinpath("fd").iterdir()))))
        started = time.monotonic()
        connection = http.client.HTTPConnection(daemon.address, daemon.admin_port, timeout=30)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/healthz")
                answered = connection.getresponse().read() != b""
            except OSError:
                answered = False
        self.answers.append(time.monotonic() - started)
        self.unanswered += not answered

    def after(self, warm_up: float) -> "Samples":
        """Return the part after so many seconds."""
        first = next((n for n, at in enumerate(self.at) if at >= warm_up), len(self.at))
        return Samples(
            self.at[first:],
            self.memory[first:],
            self.descriptors[first:],
            self.answers[first:],
            self.unanswered,
        )

    def least_descriptors(self) -> tuple[list[float], list[float]]:
        """Return when how few were open, one value for each WINDOW of seconds.

        A flood holds hundreds for a moment; what leaks is never let go.
        """
        least: dict[int, tuple[float, float]] = {}
        for at, count in zip(self.at, self.descriptors, strict=True):
            window = int(at // WINDOW)
            least[window] = min(least.get(window, (count, at)), (count, at))
        return [at for _, at in least.values()], [count for count, _ in least.values()]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much values grow a second, by least squares."""
    count = len(times)
    if count < 2:
        return 0.0
    middle, mean = sum(times) / count, sum(values) / count
    spread = sum((at - middle) ** 2 for at in times)
    together = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True))
    return together / spread if spread else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them doesn't exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
