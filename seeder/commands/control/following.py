"""Follows what a node does with an object or prefix until it is done, or can't be."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import click

from seeder.commands.control.client import ControlClient
from seeder.commands.control.names import Target
from seeder.commands.control.object_table import Row, share
from seeder.commands.terminal import cut
from seeder.commands.texts import printable
from seeder.errors import ControlFailed
from seeder.torrent.catalog import MADE_ELSEWHERE, State
from seeder.units import counted, rounded_size, rounded_time

_LOOK = 0.5
"""Seconds between two looks."""
_UNTIL_ASKED = 3.0
"""Seconds until S3 has answered what was asked just now; until then it is the last answer's."""
_UNTIL_MENDED = 60.0
"""Seconds for which S3 may be away; the node tries again after it, too."""
_READY = (State.SERVING, State.DUPLICATE, State.EMBARGOED)

Goal: TypeAlias = Literal["torrent", "cache", "listing"]


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far it is."""

    text: str
    kind: str = ""
    """What is going on, whatever the figures."""
    is_done: bool = False
    fault: str | None = None
    """What is wrong."""
    patience: float = _UNTIL_MENDED
    """Seconds for which that may be so before it is given up."""


class ProgressLine:
    """One line on stderr that changes, or a line for each change where that is no terminal."""

    def __init__(self, name: str) -> None:
        self._name = printable(name)
        self._on_terminal = sys.stderr.isatty()
        self._last = ""
        self._is_open = False

    def show(self, text: str, kind: str) -> None:
        """Show how far it is; where each line stays, one for each kind of text is enough."""
        line = f"{self._name}: {printable(text)}"
        if self._on_terminal:
            if line != self._last:
                click.echo(f"\r{cut(line, sys.stderr)}\x1b[K", nl=False, err=True)
            self._last, self._is_open = line, True
        elif kind != self._last:
            self._last = kind
            click.echo(line, err=True)

    def close(self) -> None:
        """End the line."""
        if self._is_open:
            click.echo(err=True)
            self._is_open = False


def follow(client: ControlClient, target: Target, goal: Goal, asked_at: float) -> Row:
    """Return the object or prefix once the goal is reached; ControlFailed if it can't be.

    `asked_at` is when the node was asked (Unix s). After ^C it is said that the work goes on.
    """
    progress = ProgressLine(str(target))
    wrong_since: float | None = None
    look = _LOOKS[goal]
    try:
        while True:
            found: Row = client.ask(target.path())
            standing = look(found, asked_at)
            if standing.is_done:
                progress.show(standing.text, standing.text)
                return found
            now = time.monotonic()
            if standing.fault is None:
                wrong_since = None
                progress.show(standing.text, standing.kind)
            elif now - (wrong_since := wrong_since or now) >= standing.patience:
                raise ControlFailed(_of(target, standing.fault))
            elif standing.patience > _UNTIL_ASKED:
                progress.show(f"{standing.fault}; the node tries again", standing.fault)
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        progress.close()
        click.echo(f"it goes on at the node; how far it is: seeder show {target}", err=True)
        raise
    finally:
        progress.close()


def _of(target: Target, fault: str) -> str:
    """Return what is wrong with a target; most reasons begin with its name."""
    name = str(target)
    return printable(fault if fault.startswith(name) else f"{name}: {fault}")


def _torrent(found: Row, _asked_at: float) -> Progressed:
    state, reason = found["state"], found.get("reason")
    if state in _READY:
        return Progressed(state if not reason else f"{state}: {reason}", is_done=True)
    if state == State.FAILED:
        return Progressed(state, fault=str(reason or state), patience=_UNTIL_ASKED)
    if state == State.FAULTY:
        return Progressed(state, fault=str(reason or state))
    if state == State.WAITING and reason and reason != MADE_ELSEWHERE:
        return Progressed(state, fault=str(reason))
    progress, rate, left = found.get("progress"), found.get("rate"), found.get("time_left")
    parts = [f"{state} {progress:.0%}" if progress is not None else str(state)]
    if rate:
        parts.append(f"{rounded_size(round(rate))}/s")
    if left is not None:
        parts.append(f"{rounded_time(left)} left")
    return Progressed(", ".join(parts), kind=str(state))


def _cache(found: Row, _asked_at: float) -> Progressed:
    made = _torrent(found, _asked_at)
    if not made.is_done:
        return made
    size, cached, warming = found["size"], found.get("cached_bytes") or 0, found.get("warming")
    text = f"{rounded_size(cached)} of {rounded_size(size)} in the cache, {share(cached, size)}"
    if cached >= size:
        return Progressed(text, is_done=True)
    if warming is not None:
        return Progressed(text, kind="warming")
    fault = f"{text}, and no more comes: it may be too small (cache.disk), or S3 is away"
    return Progressed(text, fault=fault, patience=_UNTIL_ASKED)


def _listing(found: Row, asked_at: float) -> Progressed:
    listed, reason = found.get("listed_at"), found.get("reason")
    if reason:
        return Progressed("", fault=str(reason))
    if listed is not None and listed >= asked_at:
        return Progressed(f"listed, {counted(found.get('objects') or 0, 'object')}", is_done=True)
    return Progressed("being listed", kind="listing")


_LOOKS: dict[Goal, Callable[[Row, float], Progressed]] = {
    "torrent": _torrent,
    "cache": _cache,
    "listing": _listing,
}
