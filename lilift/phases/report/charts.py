"""Computes the geometry of the report's charts: scales, ticks and paths. The template draws them.

Every position is in percent of the plot, so that a chart fits any width and its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_POINTS = 300
"""Most points of a curve. lilift averages neighbours of a longer curve."""
_LOG_FROM = 8.0  # from this ratio of largest to smallest value on, a curve is easier to read on a log scale


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent from the left or from the top."""

    place: float
    label: str


@dataclass(frozen=True)
class Curve:
    """One line of a chart: its name, its style, an SVG path in a 100 × 100 box, and a remark for the legend."""

    name: str
    style: str
    path: str
    remark: str

    @property
    def dot(self) -> bool:
        """Whether the curve has a single point."""
        return "L" not in self.path


@dataclass(frozen=True)
class LineChart:
    """Curves over training steps."""

    title: str
    unit: str
    log: bool
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str


@dataclass(frozen=True)
class Series:
    """Points to draw: (step, value), in order of steps."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]


def line_chart(
    title: str,
    unit: str,
    series: Sequence[Series],
    *,
    show: Callable[[float], str],
    remark: Callable[[Sequence[float]], str],
    may_log: bool = False,
) -> LineChart | None:
    """Lay out one chart; None if there is nothing to draw.

    Args:
        title: title of the chart.
        unit: unit of the values.
        series: the curves; lilift leaves out values that are not finite.
        show: turns a value into text.
        remark: turns a curve's values into a remark for the legend.
        may_log: whether a log scale makes sense for these values; lilift uses it only if they span a wide range.
    """
    cleaned = [
        Series(one.name, one.style, kept)
        for one in series
        if (kept := _averaged([p for p in one.points if math.isfinite(p[1])]))
    ]
    if not cleaned:
        return None
    values = [value for one in cleaned for _, value in one.points]
    last_step = max(step for one in cleaned for step, _ in one.points)
    log = may_log and min(values) > 0 and max(values) / min(values) >= _LOG_FROM
    ticks = _log_ticks(min(values), max(values)) if log else linear_ticks(0.0, max(values))
    low, high = ticks[0], ticks[-1]

    def height(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return 100 * (1 - share)

    def across(step: float) -> float:
        return 100 * step / last_step if last_step else 0.0

    curves = tuple(
        Curve(
            one.name,
            one.style,
            _path([(across(step), height(value)) for step, value in one.points]),
            remark([value for _, value in one.points]),
        )
        for one in cleaned
    )
    x_ticks = tuple(Tick(across(step), f"{step:,.0f}") for step in linear_ticks(0, last_step, most=4) if step <= last_step)
    y_ticks = tuple(Tick(height(value), show(value)) for value in ticks)
    ends = "; ".join(
        f"{one.name} from {show(one.points[0][1])} at step {one.points[0][0]:,.0f} "
        f"to {show(one.points[-1][1])} at step {one.points[-1][0]:,.0f}"
        for one in cleaned
    )
    return LineChart(title, unit, log, curves, x_ticks, y_ticks, f"{title}: {ends}")


def linear_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `most` of them."""
    if high <= low:
        high = low + 1
    rough = (high - low) / most
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 … around the values, thinned to at most seven; the first and the last enclose them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max(index for index, value in enumerate(candidates) if value <= low * 1.0000001)
    last = min(index for index, value in enumerate(candidates) if value >= high * 0.9999999)
    chosen = candidates[first : max(last, first + 1) + 1]
    if len(chosen) <= 7:
        return chosen
    return [chosen[0], *(value for value in chosen[1:-1] if math.log10(value) % 1 < 1e-9), chosen[-1]]


def _averaged(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` points: means of neighbours, each at the step of its last neighbour."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], math.fsum(value for _, value in group) / len(group)) for group in groups]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path. A single point becomes a dot, because the line cap is round."""
    first, *rest = (f"{x:.2f},{y:.2f}" for x, y in points)
    return f"M{first}" + ("".join(f"L{place}" for place in rest) if rest else "h0")
