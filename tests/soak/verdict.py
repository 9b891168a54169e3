"""The figures of a soak, each with its bound."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.samples import Samples, quantile, slope
from tests.soak.world import Truth

MOST_GROWTH = 24 * 2**20
"""Bytes by which the daemon's memory may grow from the end of the warm-up to the end of the soak,
by the slope of all samples: pools and caches that fill late, fragmentation."""
MOST_GROWTH_AN_HOUR = 60 * 2**20
"""The same as a rate, for soaks so long that the first says little."""
MOST_DESCRIPTORS = 40
"""Descriptors by which it may grow in the same way; clients come and go."""
LEFT_DESCRIPTORS = 30
"""Descriptors that may be open more than before the first client, once all have left."""
MOST_LAG = 5.0
"""Seconds for /healthz, at worst: the machine is busy with the clients, too."""
LOST_AT_A_CUT = 2**20
"""Bytes that the wire may have passed on to a connection that was given up, and that nobody read:
what the system's buffers on both sides hold."""
HONEST = ("raw peer: piece", "libtorrent: object", "web download", "announce")
"""What honest clients do; some of each has to come whole and right."""
_ERROR = re.compile(r"\S+ \S+ (ERROR|CRITICAL) ")
EXPECTED_ERRORS = ("seeder.publish.",)
"""Loggers whose errors are about an object, which S3's faults and deletions explain."""


@dataclass(frozen=True)
class Row:
    """One figure; `within` tells whether it keeps its bound."""

    name: str
    figure: str
    bound: str = ""
    within: bool = True


@dataclass(frozen=True)
class Run:
    """What a soak has left behind."""

    seconds: float
    warm_up: float
    samples: Samples
    truth: Truth
    log: str
    """The daemon's."""
    exchanges: list[dict[str, Any]]
    """The wire's: see `wire.Passed`."""
    totals: dict[str, Any]
    """Of /status.json, at the end."""
    descriptors: tuple[int, int]
    """Before the first client, and after the last one."""
    exit_code: int
    broken: list[str]
    """What went wrong in the soak's own threads."""


def read_exchanges(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the wire's log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(run: Run) -> Iterator[Row]:
    """Yield every figure, those with a bound first."""
    yield from _process(run)
    yield from _bytes(run)
    truth = run.truth
    yield Row("wrong bytes or answers", str(len(truth.wrong)), "0", not truth.wrong)
    for kind in HONEST:
        good, bad = truth.done[kind], truth.given_up[kind]
        yield Row(f"{kind}, right", f"{good} ({bad} given up)", "> 0", good > 0)
    yield Row("threads of the soak that broke", str(len(run.broken)), "0", not run.broken)
    yield from (Row(kind, str(n)) for kind, n in sorted(truth.done.items()) if kind not in HONEST)


def _process(run: Run) -> Iterator[Row]:
    settled = run.samples.after(run.warm_up)
    measured = settled.at[-1] - settled.at[0] if settled.at else 0.0
    memory = slope(settled.at, settled.memory)
    yield Row(
        "memory, slope",
        f"{memory * 3600 / 2**20:+.1f} MiB an hour ({memory * measured / 2**20:+.1f} MiB)",
        f"{MOST_GROWTH_AN_HOUR >> 20} MiB an hour, or {MOST_GROWTH >> 20} MiB",
        memory * measured <= MOST_GROWTH or memory * 3600 <= MOST_GROWTH_AN_HOUR,
    )
    yield Row("memory, most", f"{max(run.samples.memory, default=0.0) / 2**20:.1f} MiB")
    descriptors = slope(*settled.least_descriptors())
    yield Row(
        "descriptors, slope",
        f"{descriptors * 3600:+.1f} an hour ({descriptors * measured:+.1f})",
        f"{MOST_DESCRIPTORS}",
        descriptors * measured <= MOST_DESCRIPTORS,
    )
    before, after = run.descriptors
    yield Row(
        "descriptors, before and after the clients",
        f"{before}, {after}",
        f"+{LEFT_DESCRIPTORS}",
        after <= before + LEFT_DESCRIPTORS,
    )
    answers = run.samples.answers
    worst = max(answers, default=0.0)
    yield Row("/healthz, 99 % within", f"{quantile(answers, 0.99) * 1000:.0f} ms")
    yield Row("/healthz, at worst", f"{worst * 1000:.0f} ms", f"{MOST_LAG:g} s", worst <= MOST_LAG)
    unanswered = run.samples.unanswered
    yield Row("/healthz, not answered", str(unanswered), "0", not unanswered)
    tracebacks = run.log.count("Traceback (most recent call last)")
    yield Row("tracebacks", str(tracebacks), "0", not tracebacks)
    errors = unexpected_errors(run.log)
    yield Row("unexpected ERROR lines", str(len(errors)), "0", not errors)
    lines = len(run.log.splitlines())
    yield Row("lines of the log", f"{lines} ({lines / max(run.seconds, 1.0):.1f} a second)")
    yield Row("exit code at SIGTERM", str(run.exit_code), "0", run.exit_code == 0)


def unexpected_errors(log: str) -> list[str]:
    """Return the lines of the level ERROR or worse that faults at S3 don't explain."""
    lines = [line for line in log.splitlines() if _ERROR.match(line)]
    return [line for line in lines if not line.split()[3].startswith(EXPECTED_ERRORS)]


def _bytes(run: Run) -> Iterator[Row]:
    sent = sum(int(each["sent"]) for each in run.exchanges)
    cut = sum(not each["whole"] and each["sent"] > 0 for each in run.exchanges)
    booked = int(run.totals["origin_bytes"])
    # Whatever was passed on and not read may be missing; nothing may be booked that wasn't sent.
    least = sent - cut * LOST_AT_A_CUT
    yield Row(
        "bytes from S3: the ledger's, the wire's",
        f"{booked}, {sent} ({booked - sent:+}, {cut} exchanges cut)",
        "equal; less by 1 MiB a cut" if cut else "equal",
        least <= booked <= sent,
    )
    faults = Counter(str(each["fault"]) for each in run.exchanges if each["fault"])
    yield Row("exchanges with S3", f"{len(run.exchanges)}, with a fault {dict(faults)}")
    received = run.truth.received
    uploaded = int(run.totals["uploaded_bytes"])
    yield Row(
        "bytes uploaded: the ledger's, the clients'",
        f"{uploaded}, {received}",
        "at least what clients got",
        uploaded >= received,
    )
    verified = int(run.totals["delivered_verified_bytes"])
    yield Row(
        "bytes delivered, verified",
        f"{verified} ({verified / max(1, received):.0%} of what clients got)",
        "no more than was uploaded",
        verified <= uploaded,
    )
