"""No stranger fills the log: the first lines of a kind are written, the others counted."""

import io
import logging
import threading
from collections.abc import Iterator

import pytest

from seeder.daemon.floods import FLOOD_WINDOW, MOST, MOST_COMPLAINTS, FloodGate

PEERS = "seeder.peer.session"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> FloodGate:
    return FloodGate(clock)


@pytest.fixture
def lines(gate: FloodGate) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    mine = threading.get_ident()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    # What threads of earlier tests still log, and libraries, is no line of this one.
    handler.addFilter(lambda record: record.thread == mine)
    handler.addFilter(gate.lets_through)
    ours = logging.getLogger("seeder")
    before = ours.level, ours.propagate
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    ours.propagate = False
    yield stream
    ours.removeHandler(handler)
    ours.setLevel(before[0])
    ours.propagate = before[1]


def opened(count: int, name: str = PEERS, level: int = logging.INFO) -> None:
    for number in range(count):
        logging.getLogger(name).log(level, "peer %d opened", number)


def test_the_rest_of_a_flood_is_one_line(gate: FloodGate, clock: Clock, lines: io.StringIO) -> None:
    opened(2000)
    clock.now += FLOOD_WINDOW
    gate.summarise()
    gate.summarise()
    *first, summary = lines.getvalue().splitlines()
    assert first == [f"INFO {PEERS}: peer {number} opened" for number in range(MOST)]
    assert summary.startswith("INFO seeder.daemon.floods: 1980 more lines like this one in 10 s: ")
    assert summary.endswith(f"{PEERS}: peer 1999 opened")


def test_the_next_line_after_a_window_brings_the_summary(clock: Clock, lines: io.StringIO) -> None:
    opened(MOST + 1)
    clock.now += FLOOD_WINDOW - 0.1
    opened(1)
    assert len(lines.getvalue().splitlines()) == MOST
    clock.now += 0.1
    opened(1)
    *_, summary, written = lines.getvalue().splitlines()
    assert " 2 more lines " in summary
    assert written == f"INFO {PEERS}: peer 0 opened"


def test_a_day_of_flood_is_a_few_lines_a_second(clock: Clock, lines: io.StringIO) -> None:
    for _ in range(100):
        opened(300)
        clock.now += 1
    assert len(lines.getvalue().splitlines()) <= 100 * (MOST + 1) / FLOOD_WINDOW


def test_one_kind_takes_nothing_from_another(gate: FloodGate, lines: io.StringIO) -> None:
    opened(100)
    logging.getLogger(PEERS).info("peer %d closed", 1)
    opened(1, "seeder.peer.hub")
    logging.getLogger("seeder.http.server").error("a connection failed")
    assert len(lines.getvalue().splitlines()) == MOST + 3


def test_what_no_stranger_causes_is_written_whole(lines: io.StringIO) -> None:
    opened(100, "seeder.daemon.run", logging.ERROR)
    opened(100, PEERS, logging.DEBUG)
    assert len(lines.getvalue().splitlines()) == 200


@pytest.mark.parametrize("room", ["publish.serving", "publish.keeper", "metainfo.ladder"])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_ten_thousand_objects_are_a_few_lines(
    gate: FloodGate, clock: Clock, lines: io.StringIO, room: str, level: int
) -> None:
    most = MOST if level == logging.INFO else MOST_COMPLAINTS
    opened(10_000, f"seeder.{room}", level)
    clock.now += FLOOD_WINDOW
    gate.summarise()
    *first, summary = lines.getvalue().splitlines()
    assert len(first) == most
    assert f": {10_000 - most} more lines like this one in 10 s: seeder.{room}: " in summary


def test_the_stop_sums_up_what_is_left(gate: FloodGate, lines: io.StringIO) -> None:
    opened(MOST + 5)
    gate.summarise()
    assert len(lines.getvalue().splitlines()) == MOST
    gate.summarise(everything=True)
    gate.summarise(everything=True)
    assert " 5 more lines " in lines.getvalue().splitlines()[-1]


@pytest.mark.usefixtures("lines")
def test_a_flood_leaves_no_memory(gate: FloodGate, clock: Clock) -> None:
    for _ in range(50):
        opened(100)
        clock.now += FLOOD_WINDOW
    gate.summarise()
    assert not gate._windows


def test_a_line_that_can_not_be_made_up_fails_nobody_who_logs_after_it(
    gate: FloodGate, clock: Clock, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # else what was written is told of
    for _ in range(MOST + 5):
        logging.getLogger(PEERS).info("peer %d of %s opened", *range(1))
    clock.now += FLOOD_WINDOW
    opened(1)
    assert "5 more lines like this one in 10 s: seeder.peer.session: peer %d of %s" in (
        lines.getvalue()
    )
    assert lines.getvalue().endswith("peer 0 opened\n")
