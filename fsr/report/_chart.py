"""A chart of curves as a drawing: axes, paths, and the numbers that a cursor reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fsr.report._numbers import known, smooth, spell, thin, ticks

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 26
# From so many points on a curve is drawn smoothed, with its points faint behind it.
NOISY = 60
SHARE = 0.03  # half the width of a mean, of a curve


@dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        name: what the legend calls it.
        xs: places of its points, rising.
        ys: their values.
        colour: number of its colour.
        dashed: whether it is drawn dashed.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over the steps of a run.

    Attributes:
        title: what they show.
        series: the curves.
        levels: names and heights of lines across, such as a bound.
        note: a sentence below the title.
        scale: what numbers are multiplied with, 100 for per cent.
        unit: what stands behind numbers.
    """

    title: str
    series: Sequence[Series]
    levels: Sequence[tuple[str, float]] = ()
    note: str = ""
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Drawing:
    """A chart laid out: what the page draws, and what its script reads.

    Attributes:
        chart: the chart.
        curves: per curve its legend, paths and last value.
        x_ticks: place and text of each tick below.
        y_ticks: likewise at the side.
        levels: name, text and height of each line across.
        summary: what the chart says, for those who do not see it.
        data: plain data for the script.
    """

    chart: Chart
    curves: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    levels: list[tuple[str, str, float]]
    summary: str
    data: dict[str, Any] = field(default_factory=dict)


def draw(chart: Chart) -> Drawing | None:
    """Lay a chart out; None where no curve has a point.

    Args:
        chart: the chart.

    Example:
        >>> drawing = draw(Chart("loss", [Series("run", [1, 2], [3.0, 1.0])]))
        >>> drawing.curves[0]["path"], drawing.curves[0]["last"]
        ('M50.0 10.0L370.0 184.0', '1')
    """
    series = [_cleaned(each, chart.scale) for each in chart.series]
    series = [each for each in series if each.xs]
    if not series:
        return None
    levels = [(name, height * chart.scale) for name, height in chart.levels if known(height)]
    xs = [x for each in series for x in (each.xs[0], each.xs[-1])]
    ys = [y for each in series for y in each.ys] + [height for _, height in levels]
    x_low, x_high = _widened(min(xs), max(xs))
    y_low, y_high = _widened(min(ys), max(ys))

    def across(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    def path(places: Sequence[float], heights: Sequence[float]) -> str:
        pairs = zip(places, heights, strict=True)
        return "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in pairs)

    curves = []
    for each in series:
        noisy = len(each.xs) >= NOISY
        means = smooth(each.ys, max(1, round(SHARE * len(each.ys)))) if noisy else each.ys
        curves.append(
            {
                "name": each.name,
                "colour": each.colour % 8,
                "dashed": each.dashed,
                "path": path(each.xs, means),
                "behind": path(each.xs, each.ys) if noisy else "",
                "dots": [] if len(each.xs) > 12 else [(across(x), up(y)) for x, y in _pairs(each)],
                "last": _value(each.ys[-1], chart.unit),
            }
        )
    return Drawing(
        chart,
        curves,
        [(across(x), spell(x)) for x in ticks(x_low, x_high, 4)],
        [(up(y), spell(y)) for y in ticks(y_low, y_high, 4)],
        [(name, _value(height, chart.unit), up(height)) for name, height in levels],
        _summary(chart, series),
        {
            "x": [x_low, x_high],
            "y": [y_low, y_high],
            "unit": chart.unit,
            "series": [[_rounded(each.xs), _rounded(each.ys)] for each in series],
        },
    )


def _cleaned(series: Series, scale: float) -> Series:
    """Leave out what is no number, and thin the rest."""
    pairs = [(float(x), float(y) * scale) for x, y in _pairs(series) if known(x) and known(y)]
    xs, ys = thin([x for x, _ in pairs], [y for _, y in pairs])
    return Series(series.name, xs, ys, series.colour, series.dashed)


def _pairs(series: Series) -> list[tuple[float, float]]:
    return list(zip(series.xs, series.ys, strict=True))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Give an interval of one point a width."""
    if high > low:
        return low, high
    margin = abs(low) / 10 or 0.5
    return low - margin, high + margin


def _value(value: float, unit: str) -> str:
    """Spell a value: per cent with one digit behind the point."""
    return f"{value:.1f}" if unit == "%" else spell(value)


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _summary(chart: Chart, series: Sequence[Series]) -> str:
    told = [
        f"{each.name} from {_value(each.ys[0], chart.unit)} at step {each.xs[0]:.0f} to "
        f"{_value(each.ys[-1], chart.unit)} at step {each.xs[-1]:.0f}"
        for each in series
    ]
    return f"{chart.title}{f' in {chart.unit}' if chart.unit else ''}: {'; '.join(told)}"
