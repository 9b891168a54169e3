"""Follows what a node does with an object or prefix until it is done, or can't be."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import click

from seeder.commands.control.client import ControlClient
from seeder.commands.control.names import Target
from seeder.commands.control.object_table import Row, share
from seeder.commands.control.pages import objects_below
from seeder.commands.terminal import cut
from seeder.commands.texts import printable
from seeder.errors import ControlFailed
from seeder.torrent.publications import MADE_ELSEWHERE, UNFIT, State
from seeder.units import counted, rounded_size, rounded_time

_LOOK = 0.5
"""Seconds between two looks."""
_UNTIL_ASKED = 3.0
"""Seconds until the node has begun; and after which S3 is taken to have said what it said before,
where nobody notes that: below a prefix."""
_UNTIL_MENDED = 60.0
"""Seconds for which S3 may be away; the node tries again after it, too."""
_NO_MORE = "and no more comes: the cache may be too small (cache.disk, cache.memory)"
_READY = (State.SERVING, State.DUPLICATE, State.EMBARGOED)

Goal: TypeAlias = Literal["torrent", "answer", "cache", "listing"]
"""What is waited for: that there is a torrent, that S3 has been asked once more, that all is in the
cache, or that a prefix has been listed once more."""


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


@dataclass(frozen=True, slots=True)
class AnswerBefore:
    """What the node answered when it was asked, and how long ago that is (s)."""

    before: Row
    seconds: float

    def is_new(self, found: Row, what: str) -> bool:
        """Tell whether a moment in what the node tells is another one since."""
        return found.get(what) is not None and found.get(what) != self.before.get(what)


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
                self._is_open = True  # before: ^C may come while it is written
                click.echo(f"\r{cut(line, sys.stderr)}\x1b[K", nl=False, err=True)
            self._last = line
        elif kind != self._last:
            self._last = kind
            click.echo(line, err=True)

    def clear(self) -> None:
        """Take the line away: something else says how it ended."""
        if self._is_open:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._is_open = False

    def close(self) -> None:
        """End the line."""
        if self._is_open:
            click.echo(err=True)
            self._is_open = False


def follow(client: ControlClient, target: Target, goal: Goal, before: Row) -> tuple[Row, str]:
    """Return the object or prefix once the goal is reached, and how it stands then; ControlFailed
    if it can't be reached.

    `before` is what the node answered when it was asked. After ^C it is said that the work goes on.
    """
    progress = ProgressLine(str(target))
    wrong_since: float | None = None
    look, began = _looker(client, target, goal), time.monotonic()
    try:
        while True:
            found: Row = client.ask(target.path())
            now = time.monotonic()
            standing = look(found, AnswerBefore(before, now - began))
            if standing.is_done:
                progress.clear()
                return found, standing.text
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
        prefix = " --prefix" if target.is_prefix else ""
        click.echo(f"it goes on at the node: seeder show{prefix} {target} tells how far", err=True)
        raise
    finally:
        progress.close()


def _of(target: Target, fault: str) -> str:
    """Return what is wrong with a target; most reasons begin with its name."""
    name = str(target)
    return printable(fault if fault.startswith(name) else f"{name}: {fault}")


def _looker(
    client: ControlClient, target: Target, goal: Goal
) -> Callable[[Row, AnswerBefore], Progressed]:
    match goal:
        case "torrent":
            return _torrent
        case "answer":
            return _answer
        case "listing":
            return _listing
        case "cache" if target.is_prefix:
            return lambda _, asked: _cache_below(objects_below(client, target), asked)
        case "cache":
            return _cache


def _torrent(found: Row, asked: AnswerBefore) -> Progressed:
    state, reason = found["state"], found.get("reason")
    if state in _READY:
        return Progressed(state if not reason else f"{state}: {reason}", is_done=True)
    if state in (State.FAILED, UNFIT):
        # It may be what S3 said before.
        patience = 0.0 if asked.is_new(found, "looked_at") else _UNTIL_ASKED
        return Progressed(state, fault=str(reason or state), patience=patience)
    if state == State.FAULTY or (state == State.WAITING and reason and reason != MADE_ELSEWHERE):
        return Progressed(state, fault=str(reason or state))
    progress, rate, left = found.get("progress"), found.get("rate"), found.get("time_left")
    parts = [f"{state} {progress:.0%}" if progress is not None else str(state)]
    if rate:
        parts.append(f"{rounded_size(round(rate))}/s")
    if left is not None:
        parts.append(f"{rounded_time(left)} left")
    return Progressed(", ".join(parts), kind=str(state))


def _answer(found: Row, asked: AnswerBefore) -> Progressed:
    standing = _torrent(found, asked)
    if not standing.is_done or asked.is_new(found, "looked_at"):
        return standing
    if found.get("source") == "prefix" and asked.seconds >= _UNTIL_ASKED:
        return standing
    return Progressed("S3 is being asked", kind="asked")


def _cache(found: Row, asked: AnswerBefore) -> Progressed:
    made = _torrent(found, asked)
    if not made.is_done:
        return made
    size, cached, warming = found["size"], found["cached_bytes"], found["warming"]
    text = _cached(cached, size)
    if cached >= size:
        return Progressed(text, is_done=True)
    others = found.get("seeded_by")
    if warming is None and others is not None and asked.before.get("warming") is None:
        # In a cluster nobody but who seeds it reads it; who does has begun at once.
        if "warming" in asked.before or asked.seconds >= _UNTIL_ASKED:
            return Progressed(f"left to the nodes that seed it: {', '.join(others)}", is_done=True)
        return Progressed(text, kind="asked")
    if warming is not None and warming.get("reason") is None:
        return Progressed(text, kind="warming")
    if warming is not None:
        return Progressed(text, fault=f"{text}: {warming['reason']}")
    return Progressed(text, fault=f"{text}, {_NO_MORE}", patience=_UNTIL_ASKED)


def _cache_below(rows: Iterable[Row], asked: AnswerBefore) -> Progressed:
    """Tell how far all objects of a prefix are."""
    size = cached = 0
    goes_on = False
    fault: str | None = None
    for row in rows:
        each = _cache(row, asked)
        size, cached = size + (row["size"] or 0), cached + row["cached_bytes"]
        goes_on = goes_on or (not each.is_done and each.fault is None)
        if each.fault is not None:
            fault = fault or f"{row['key']}: {each.fault}"
    text = _cached(cached, size)
    if goes_on:
        return Progressed(text, kind="warming")
    return Progressed(text, is_done=fault is None, fault=fault, patience=_UNTIL_ASKED)


def _cached(cached: int, size: int) -> str:
    return f"{rounded_size(cached)} of {rounded_size(size)} in the cache, {share(cached, size)}"


def _listing(found: Row, asked: AnswerBefore) -> Progressed:
    if found.get("bundle"):
        return _bundle(found, asked)
    reason = found.get("reason")
    if reason:
        return Progressed("", fault=str(reason), patience=_UNTIL_ASKED)
    if asked.is_new(found, "listed_at"):
        return Progressed(f"listed, {counted(found['objects'] or 0, 'object')}", is_done=True)
    return Progressed("being listed", kind="listing")


def _bundle(found: Row, asked: AnswerBefore) -> Progressed:
    """Tell how far a bundle is: one object, of which the node doesn't note when it was listed."""
    made = _torrent(found, asked)
    was_ready = asked.before.get("state") in _READY
    if made.is_done and was_ready and asked.seconds < _UNTIL_ASKED:
        return Progressed("being listed", kind="listing")
    return made
