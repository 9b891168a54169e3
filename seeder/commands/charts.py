"""Charts as inline SVG, without a script: lines over time, with gaps where nothing ran. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 760, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 12, 12, 26
_MOST_POINTS = 370
"""Steps of a chart; of more, several are one."""
_LINES = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart: its name, its colour's number, and a value a step; None is a gap."""

    name: str
    colour: int
    values: Sequence[float | None]
    level: bool = False
    """Of several steps the last value stands for all of them, for values aren't to be added up."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The steps of a chart: where they begin (Unix s), and how long each is (s)."""

    begin: int
    step: int

    def label(self, index: float) -> str:
        """Return the moment of a step, by the day or by the hour."""
        form = "%Y-%m-%d" if self.step >= 24 * 3600 else "%m-%d %H:%M"
        return datetime.fromtimestamp(self.begin + index * self.step, UTC).strftime(form)


def chart(
    title: str, axis: Axis, curves: Sequence[Curve], show: Callable[[float], str], scale: int = 10
) -> str:
    """Return a figure with a legend; `show` writes values, rounded in powers of `scale`."""
    axis, curves = _thinned(axis, curves)
    count = max((len(curve.values) for curve in curves), default=0)
    values = [value for curve in curves for value in curve.values if value is not None]
    low, high, tick = _bounds(min([0.0, *values]), max([0.0, *values]), scale)
    across = (WIDTH - _LEFT - _RIGHT) / max(1, count - 1)

    def x(index: int) -> float:
        return _LEFT + (index * across if count > 1 else (WIDTH - _LEFT - _RIGHT) / 2)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
    ]
    ticks = round((high - low) / tick)
    for number in range(ticks + 1):
        value = low + number * tick
        kind = "zero" if abs(value) < tick / 2 else "grid"
        at = f"{y(value):.1f}"
        parts.append(
            f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        )
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{escape(show(value))}</text>"
        )
    for index, anchor in _labelled(count):
        parts.append(
            f'<text x="{x(index):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{axis.label(index)}</text>"
        )
    for curve in curves:
        for run in _runs(curve.values):
            points = [f"{x(index):.1f},{y(value):.1f}" for index, value in run]
            if len(points) == 1:
                place = points[0].split(",")
                parts.append(
                    f'<circle class="c{curve.colour}" cx="{place[0]}" cy="{place[1]}" r="3"/>'
                )
            else:
                parts.append(f'<polyline class="c{curve.colour}" points="{" ".join(points)}"/>')
    if count and count <= _MOST_POINTS:
        for index in range(count):
            told = ", ".join(
                f"{curve.name} {'did not run' if value is None else show(value)}"
                for curve in curves
                for value in [curve.values[index]]
            )
            left = x(index) - across / 2 if count > 1 else _LEFT
            width = across if count > 1 else WIDTH - _LEFT - _RIGHT
            parts.append(
                f'<rect class="hit" x="{left:.1f}" y="{_TOP}" width="{width:.1f}"'
                f' height="{HEIGHT - _TOP - _BOTTOM}"><title>'
                f"{escape(f'{axis.label(index)}: {told}')}</title></rect>"
            )
    legend = "".join(
        f'<span><i class="c{curve.colour}"></i>{escape(curve.name)}</span>' for curve in curves
    )
    return (
        f'<figure><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f"{''.join(parts)}</svg></figure>"
    )


def _labelled(count: int) -> Iterator[tuple[int, str]]:
    """Yield the steps that the axis names, and where each stands at its name."""
    if count > 1:
        yield 0, "start"
        yield count - 1, "end"
    if count == 1 or count > 2:
        yield count // 2, "middle"


def _thinned(axis: Axis, curves: Sequence[Curve]) -> tuple[Axis, Sequence[Curve]]:
    """Make neighbouring steps one until there are few enough to be told apart."""
    count = max((len(curve.values) for curve in curves), default=0)
    width = -(-count // _MOST_POINTS)
    if width <= 1:
        return axis, curves
    joined = []
    for curve in curves:
        values: list[float | None] = []
        for begin in range(0, count, width):
            some = [value for value in curve.values[begin : begin + width] if value is not None]
            values.append((some[-1] if curve.level else sum(some)) if some else None)
        joined.append(replace(curve, values=values))
    return Axis(axis.begin, axis.step * width), joined


def _bounds(least: float, most: float, scale: int) -> tuple[float, float, float]:
    """Return round ends for an axis, and the distance of its lines."""
    span = most - least or 1.0
    power = float(scale) ** floor(log10(span / _LINES) / log10(scale))
    # Up to more than 1024, which is as much as there may be between two powers.
    steps = [power * factor for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)]
    tick = next(step for step in steps if span / step <= _LINES)
    low = floor(least / tick) * tick
    high = max(-floor(-most / tick) * tick, low + tick)
    return low, high, tick


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the stretches without a gap, each as steps and values."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if value is not None:
            runs[-1].append((index, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
