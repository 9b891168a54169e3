"""Follows what a node does with an object or prefix until it is done, or can't be."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import click

from seeder.commands.control.client import ControlClient
from seeder.commands.control.names import Target
from seeder.commands.control.object_table import Row, share, without_name
from seeder.commands.control.pages import objects_below
from seeder.commands.terminal import cut
from seeder.commands.texts import printable
from seeder.errors import ControlFailed
from seeder.torrent.publications import MADE_ELSEWHERE, UNFIT, State
from seeder.units import counted, rounded_size, rounded_time

_LOOK = 0.5
"""Seconds between two looks."""
_UNTIL_MENDED = 60.0
"""Seconds for which S3 may be away; the node tries again after it, too."""
_SETTLING = 3.0
"""Seconds in which what leaves the memory and isn't on disk yet may be counted in neither."""
_NO_MORE = "and no more comes: the cache may be too small (cache.disk, cache.memory)"
_READY = (State.SERVING, State.DUPLICATE, State.EMBARGOED)

Goal: TypeAlias = Literal["torrent", "answer", "cache", "listing", "hashes"]
"""What is waited for: that there is a torrent, that S3 has been asked once more, that all is in the
cache, that a prefix has been listed once more, or that all below it was hashed anew."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far it is."""

    text: str
    kind: str = ""
    """What is going on, whatever the figures."""
    is_done: bool = False
    fault: str | None = None
    """What is wrong."""
    patience: float | None = None
    """Seconds for which that may be so before it is given up; None: as long as S3 may be away."""


@dataclass(frozen=True, slots=True)
class AnswerBefore:
    """What the node answered when it was asked."""

    before: Row

    def is_looked_at(self, found: Row) -> bool:
        """Tell whether a look at S3 is over that began after the node was asked for one."""
        looked_at = found["looked_at"]
        # Of one answer, for a clock that is set meanwhile moves both; none is left by a restart.
        asked_at = found["asked_at"] or self.before["asked_at"]
        return asked_at is None or (looked_at is not None and looked_at >= asked_at)


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
    look, asked = _looker(client, target, goal), AnswerBefore(before)
    try:
        while True:
            found: Row = client.ask(target.path())
            now = time.monotonic()
            standing = look(found, asked)
            if standing.is_done:
                progress.clear()
                return found, standing.text
            if standing.fault is None:
                wrong_since = None
                progress.show(standing.text, standing.kind)
            elif now - (wrong_since := wrong_since or now) >= _patience(standing):
                raise ControlFailed(_of(target, standing.fault))
            else:
                progress.show(f"{standing.fault}; the node tries again", standing.fault)
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        progress.close()
        prefix = " --prefix" if target.is_prefix else ""
        click.echo(f"it goes on at the node: seeder show{prefix} {target} tells how far", err=True)
        raise
    finally:
        progress.close()


def _patience(standing: Progressed) -> float:
    return _UNTIL_MENDED if standing.patience is None else standing.patience


def _of(target: Target, fault: str) -> str:
    """Return what is wrong with a target; most reasons begin with its name."""
    name, fault = printable(str(target)), printable(fault)
    return fault if fault.startswith(f"{name}: ") else f"{name}: {fault}"


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
            return lambda *_: _cache_below(objects_below(client, target))
        case "hashes":
            return lambda found, _: _hashes(found, client, target)
        case "cache":
            return _cache


def _torrent(found: Row, _: AnswerBefore | None = None) -> Progressed:
    state, reason = found["state"], found.get("reason")
    if state in _READY:
        return Progressed(state if not reason else f"{state}: {reason}", is_done=True)
    if state in (State.FAILED, UNFIT):
        return Progressed(state, fault=str(reason or state), patience=0.0)
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
    standing = _torrent(found)
    if not asked.is_looked_at(found):
        is_known = standing.is_done or standing.fault is not None
        return Progressed("S3 is being asked", kind="asked") if is_known else standing
    if standing.is_done and found["look_fault"]:
        return Progressed(standing.text, fault=found["look_fault"])
    return standing


def _cache(found: Row, _: AnswerBefore | None = None) -> Progressed:
    made = _torrent(found)
    if not made.is_done:
        return made
    size, cached, warming = found["size"], found["cached_bytes"], found["warming"]
    text = _cached(cached, size)
    if cached >= size:
        return Progressed(text, is_done=True)
    if warming is not None and warming.get("reason") is None:
        return Progressed(text, kind="warming")
    if warming is not None:
        return Progressed(text, fault=f"{text}: {without_name(found, warming['reason'])}")
    if not found["seeded_here"]:
        others = ", ".join(found["seeded_by"])
        return Progressed(f"left to the nodes that seed it: {others}", is_done=True)
    return Progressed(text, fault=f"{text}, {_NO_MORE}", patience=_SETTLING)


def _cache_below(rows: Iterable[Row]) -> Progressed:
    """Tell how far all objects of a prefix are."""
    size = cached = 0
    goes_on = False
    faulty: Progressed | None = None
    for row in rows:
        each = _cache(row)
        size, cached = size + (row["size"] or 0), cached + row["cached_bytes"]
        goes_on = goes_on or (not each.is_done and each.fault is None)
        if each.fault is not None:
            faulty = faulty or replace(each, fault=f"{row['key']}: {without_name(row, each.fault)}")
    text = _cached(cached, size)
    if goes_on:
        return Progressed(text, kind="warming")
    return faulty or Progressed(text, is_done=True)


def _cached(cached: int, size: int) -> str:
    return f"{rounded_size(cached)} of {rounded_size(size)} in the cache, {share(cached, size)}"


def _listing(found: Row, asked: AnswerBefore) -> Progressed:
    if found["bundle"]:
        return _answer(found, asked)
    if found["looked_at"] is None or not asked.is_looked_at(found):
        return Progressed("being listed", kind="listing")
    if found["look_fault"]:
        patience = 0.0 if found["state"] == State.FAILED else None
        return Progressed("", fault=found["look_fault"], patience=patience)
    text = f"listed, {counted(found['objects'] or 0, 'object')}"
    return Progressed(f"{text}: {found['reason']}" if found["reason"] else text, is_done=True)


def _hashes(found: Row, client: ControlClient, target: Target) -> Progressed:
    """Tell how many objects of a prefix are still to be hashed, and whether any of them failed."""
    if found["rehashing"]:
        text = f"{counted(found['rehashing'], 'object')} to be hashed anew"
        return Progressed(text, kind="hashing")
    faulty = [row for row in objects_below(client, target) if row["look_fault"]]
    if faulty:
        why = without_name(faulty[0], faulty[0]["look_fault"])
        return Progressed("", fault=f"{faulty[0]['key']}: {why}")
    return Progressed(f"hashed anew, {counted(found['objects'], 'object')}", is_done=True)
