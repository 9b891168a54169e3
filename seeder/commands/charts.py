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
    plot = _Plot.of(axis, curves, show, scale)
    parts = [*plot.grid(), *plot.steps()]
    for curve in curves:
        parts += plot.line(curve)
    if plot.count <= _MOST_POINTS:
        parts += plot.hints(curves)
    legend = "".join(
        f'<span><i class="c{curve.colour}"></i>{escape(curve.name)}</span>' for curve in curves
    )
    return (
        f'<figure><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg></figure>"
    )


@dataclass(frozen=True, slots=True)
class _Plot:
    """The area that the curves are drawn in: what is where, in pixels."""

    axis: Axis
    show: Callable[[float], str]
    count: int
    """Of steps."""
    low: float
    high: float
    tick: float
    """Values: at the lower edge, at the upper one, and between two lines."""

    @classmethod
    def of(
        cls, axis: Axis, curves: Sequence[Curve], show: Callable[[float], str], scale: int
    ) -> "_Plot":
        count = max((len(curve.values) for curve in curves), default=0)
        values = [value for curve in curves for value in curve.values if value is not None]
        low, high, tick = _bounds(min([0.0, *values]), max([0.0, *values]), scale)
        return cls(axis, show, count, low, high, tick)

    @property
    def across(self) -> float:
        """From one step to the next."""
        return (WIDTH - _LEFT - _RIGHT) / max(1, self.count - 1)

    def x(self, index: int) -> float:
        return _LEFT + (index * self.across if self.count > 1 else self.across / 2)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> Iterator[str]:
        """Yield the lines across, each with its value."""
        for number in range(round((self.high - self.low) / self.tick) + 1):
            value = self.low + number * self.tick
            kind = "zero" if abs(value) < self.tick / 2 else "grid"
            at = f"{self.y(value):.1f}"
            yield f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
            yield (
                f'<text x="{_LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">'
                f"{escape(self.show(value))}</text>"
            )

    def steps(self) -> Iterator[str]:
        """Yield the names of some steps."""
        for index, anchor in _labelled(self.count):
            yield (
                f'<text x="{self.x(index):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
                f"{self.axis.label(index)}</text>"
            )

    def line(self, curve: Curve) -> Iterator[str]:
        """Yield the stretches of a curve; a value between two gaps is a dot."""
        for run in _runs(curve.values):
            points = [(f"{self.x(index):.1f}", f"{self.y(value):.1f}") for index, value in run]
            if len(points) == 1:
                [(x, y)] = points
                yield f'<circle class="c{curve.colour}" cx="{x}" cy="{y}" r="3"/>'
            else:
                path = " ".join(f"{x},{y}" for x, y in points)
                yield f'<polyline class="c{curve.colour}" points="{path}"/>'

    def hints(self, curves: Sequence[Curve]) -> Iterator[str]:
        """Yield what tells all values of a step when the mouse is there."""
        for index in range(self.count):
            told = ", ".join(
                f"{curve.name} {'did not run' if value is None else self.show(value)}"
                for curve in curves
                for value in [curve.values[index]]
            )
            left = self.x(index) - self.across / 2 if self.count > 1 else _LEFT
            yield (
                f'<rect class="hit" x="{left:.1f}" y="{_TOP}" width="{self.across:.1f}"'
                f' height="{HEIGHT - _TOP - _BOTTOM}"><title>'
                f"{escape(f'{self.axis.label(index)}: {told}')}</title></rect>"
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
