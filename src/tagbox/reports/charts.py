"""Charts as inline SVG: pure functions from numbers to markup, coloured by the page's style sheet.

They are drawn without a plotting library because a report is part of every training run: importing one takes
as long as writing the page, and its images do not follow the browser's dark mode. All text is escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 52, WIDTH - 12, 20, HEIGHT - 40
"""Edges of the plotting area."""
_MOST_DOTS = 120
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Chart(Markup):
    """A chart's markup, for a page that has the style sheet; a notebook gets the rules that it uses with it."""

    def _repr_html_(self) -> str:
        return f'<div class="tagbox-chart">{_own_style(str(self))}{self}</div>'


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """One line of a chart.

    Attributes
    ----------
    name
        For the legend and the tooltips; a line without a name is not in the legend.
    x, y
        (P,) numbers; NaN leaves a gap.
    style
        The line's CSS class: ``s0`` to ``s4``, or ``faint``.
    dots
        Whether each point is marked, with a tooltip.
    steps
        Whether a value holds from the point before up to its own, as precision does over recall.
    """

    name: str
    x: Sequence[float] | NDArray[np.floating[Any]]
    y: Sequence[float] | NDArray[np.floating[Any]]
    style: str = "s0"
    dots: bool = False
    steps: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A name, a range (found from the data where None), and whether ticks are whole numbers."""

    label: str
    low: float | None = None
    high: float | None = None
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A labelled vertical line, such as the chosen threshold."""

    x: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A linear map from values (`low` to `high`) to pixels (`start` to `end`), with ticks and their labels."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    labels: Sequence[str]

    def __call__(self, value: float) -> float:
        """The pixel of `value`."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Bar:
    """A bar from `start` to `end` on the x axis."""

    start: float
    end: float
    count: int
    tooltip: str


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> tuple[float, ...]:
    """Round values (1, 2 or 5 times a power of ten) that span `low` to `high`, at most `most` + 1."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return (low,)
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) + 0.0 for index in range(first, last + 1))


def line_chart(
    title: str, series: Sequence[Series], *, x: Axis, y: Axis, marks: Iterable[Mark] = ()
) -> Chart:
    """Lines on one pair of axes, as a ``<figure>`` with title and legend."""
    across = _scale(x, _finite(s.x for s in series), LEFT, RIGHT, 6)
    up = _scale(y, _finite(s.y for s in series), BOTTOM, TOP, 5)
    parts = [_axes(across, up, x.label, y.label)]
    parts += [_mark(mark, across) for mark in marks]
    parts += [_line(one, across, up, x.label) for one in series]
    summary = "; ".join(_range(one, y.label) for one in series if one.name)
    return framed(title, "".join(parts), summary, series=series)


def bar_chart(
    title: str, bars: Sequence[Bar], across: Scale, *, x: str, y: str, summary: str, above: str = ""
) -> Chart:
    """Bars of counts over the x axis `across`, as a ``<figure>``; every bar has a tooltip.

    Parameters
    ----------
    x, y
        Labels of the axes.
    summary
        The chart in words.
    above
        SVG of two lines of text above the plotting area, which is lower by that.
    """
    highest = max((bar.count for bar in bars), default=0) or 1
    shown = ticks(0, highest, 5, whole=True)
    step = shown[1] - shown[0] if len(shown) > 1 else 1.0
    high = math.ceil(highest / step) * step
    top = TOP + 20 if above else TOP
    shown = ticks(0, high, 5, whole=True)
    up = Scale(0, high, BOTTOM, top, shown, _labels(shown))
    rectangles = [
        f'<rect class="bar" x="{coordinate(across(bar.start) + 0.5)}" y="{coordinate(up(bar.count))}"'
        f' width="{coordinate(across(bar.end) - across(bar.start) - 1)}"'
        f' height="{coordinate(up(0) - up(bar.count))}"><title>{escape(bar.tooltip)}</title></rect>'
        for bar in bars
        if bar.count
    ]
    axes = _axes(across, up, x, y)
    return framed(title, "".join([axes, *rectangles, above]), summary)


def histogram(title: str, counts: Sequence[int], *, x: str, y: str) -> Chart:
    """Bars over 0, 1, 2, ..., as a ``<figure>``."""
    shown = ticks(0, max(len(counts) - 1, 1), 10, whole=True)
    across = Scale(-0.5, max(len(counts), 1) - 0.5, LEFT, RIGHT, shown, _labels(shown))
    bars = [Bar(i - 0.42, i + 0.42, n, f"{i} {x}: {n} {y}") for i, n in enumerate(counts)]
    return bar_chart(
        title, bars, across, x=x, y=y, summary=f"{sum(counts)} {y} in {len(counts)} bars"
    )


def calibration_chart(
    confidence: Iterable[float], accuracy: Iterable[float], *, x: str, y: str
) -> Chart:
    """A reliability diagram: the accuracy of predictions over their confidence, beside the diagonal."""
    diagonal = Series(name="perfectly calibrated", x=[0.0, 1.0], y=[0.0, 1.0], style="faint")
    model = Series(name="this model", x=list(confidence), y=list(accuracy), dots=True)
    return line_chart(
        "Reliability diagram",
        [diagonal, model],
        x=Axis(label=x, low=0.0, high=1.0),
        y=Axis(label=y, low=0.0, high=1.0),
    )


def history_chart(
    title: str,
    label: str,
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, float | int | None]],
    best_epoch: int | None,
) -> Chart:
    """Columns of a history over the epochs, on an axis from zero; empty where no column has a value.

    Parameters
    ----------
    label
        Of the y axis; values below 0.05 are shown in a power of ten, which is added to it.
    columns
        Column to name in the legend.
    rows
        Of ``history.csv``.
    best_epoch
        The epoch to mark.
    """
    epochs = [float(row.get("epoch") or index + 1) for index, row in enumerate(rows)]
    series: list[Series] = []
    for column, name in columns.items():
        values = floats(row.get(column) for row in rows)
        if np.isfinite(values).any():
            style, dots = f"s{len(series)}", len(rows) <= _MOST_DOTS
            series.append(Series(name=name, x=epochs, y=values, style=style, dots=dots))
    if not series:
        return Chart()
    highest = max(_finite(one.y for one in series))
    power = math.floor(math.log10(highest)) if 0 < highest < 0.05 else 0
    if power:
        label = f"{label}, in 10⁻{str(-power).translate(_SUPERSCRIPTS)}"
        series = [replace(one, y=np.asarray(one.y) / 10.0**power) for one in series]
    return line_chart(
        title,
        series,
        x=Axis(label="epoch", whole=True),
        y=Axis(label=label, low=0.0),
        marks=[] if best_epoch is None else [Mark(x=best_epoch, label="best")],
    )


def floats(values: Iterable[float | int | None]) -> NDArray[np.float64]:
    """float64 with NaN for None."""
    return np.array([math.nan if v is None else float(v) for v in values], np.float64)


def framed(
    title: str,
    body: str,
    summary: str,
    *,
    series: Sequence[Series] = (),
    width: float = WIDTH,
    height: float = HEIGHT,
    style: str = "chart",
    min_width: float | None = None,
) -> Chart:
    """A ``<figure>`` of a drawing with its title and the legend of its named series.

    Parameters
    ----------
    body, width, height
        SVG elements, and the size of their drawing.
    summary
        The drawing in words, for screen readers.
    min_width
        Width in pixels on the screen below which the page scrolls the drawing sideways.
    """
    limits = f"max-width:{coordinate(width * 1.35)}px"
    if min_width is not None:
        limits += f";min-width:{coordinate(min_width)}px"
    named = [one for one in series if one.name]
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 24 10" width="24" height="10" aria-hidden="true">'
        f'<path class="line {one.style}" d="M1 5H23"/></svg>{escape(one.name)}</span>'
        for one in named
    )
    legend = f'<span class="legend">{legend}</span>' if len(named) > 1 else ""
    return Chart(
        f"<figure><figcaption><b>{escape(title)}</b>{legend}</figcaption>"
        f'<svg class="{style}" viewBox="0 0 {coordinate(width)} {coordinate(height)}" role="img"'
        f' style="{limits}"'
        f' aria-label="{escape(title)}: {escape(summary)}">{body}</svg></figure>'
    )


def _scale(axis: Axis, values: Sequence[float], start: float, end: float, most: int) -> Scale:
    low = axis.low if axis.low is not None else min(values, default=0.0)
    high = axis.high if axis.high is not None else max(values, default=1.0)
    if high <= low:
        low, high = (low - 0.5, low + 0.5) if axis.low is None else (low, low + 1.0)
    if axis.high is None and not axis.whole:
        steps = ticks(low, high, most)
        step = steps[1] - steps[0] if len(steps) > 1 else high - low
        high = math.ceil(high / step - 1e-9) * step
        low = math.floor(low / step + 1e-9) * step if axis.low is None else low
    shown = ticks(low, high, most, whole=axis.whole)
    return Scale(low, high, start, end, shown, _labels(shown))


def _labels(values: Sequence[float]) -> list[str]:
    """Ticks in as many decimals as their step has."""
    step = abs(values[1] - values[0]) if len(values) > 1 else 1.0
    if step >= 1000:
        return [f"{value / 1000:g}k" for value in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value:.{decimals}f}" for value in values]


def _axes(across: Scale, up: Scale, x: str, y: str) -> str:
    parts = []
    for value, label in zip(up.ticks, up.labels, strict=True):
        parts.append(
            f'<path class="rule" d="M{LEFT} {coordinate(up(value))}H{RIGHT}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{coordinate(up(value) + 4)}" text-anchor="end">{label}</text>'
        )
    for value, label in zip(across.ticks, across.labels, strict=True):
        parts.append(
            f'<path class="mark" d="M{coordinate(across(value))} {BOTTOM}v4"/>'
            f'<text class="tick" x="{coordinate(across(value))}" y="{BOTTOM + 16}" text-anchor="middle">{label}</text>'
        )
    parts.append(
        f'<path class="base" d="M{LEFT} {BOTTOM}H{RIGHT}"/>'
        f'<text class="axis" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text class="axis" transform="translate(11 {coordinate((up.end + BOTTOM) / 2)}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    return "".join(parts)


def _line(series: Series, across: Scale, up: Scale, x_label: str) -> str:
    path, pen_down, dots = [], False, []
    for x, y in zip(series.x, series.y, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            pen_down = False
            continue
        px, py = across(float(x)), up(float(y))
        if series.steps:
            path.append(
                f"{'' if pen_down else f'M{coordinate(across(across.low))} {coordinate(py)}'}V{coordinate(py)}H{coordinate(px)}"
            )
        else:
            path.append(f"{'L' if pen_down else 'M'}{coordinate(px)} {coordinate(py)}")
        pen_down = True
        if series.dots:
            tip = f"{series.name}, {x_label} {_plain(float(x))}: {_plain(float(y))}"
            dots.append(
                f'<circle class="dot {series.style}" cx="{coordinate(px)}" cy="{coordinate(py)}" r="2.5">'
                f"<title>{escape(tip)}</title></circle>"
            )
    tip = f"<title>{escape(series.name)}</title>" if series.name else ""
    return f'<path class="line {series.style}" d="{"".join(path)}">{tip}</path>{"".join(dots)}'


def _mark(mark: Mark, across: Scale) -> str:
    x = across(min(max(mark.x, across.low), across.high))
    # Characters are about 6.4 pixels wide; the label may reach into the margin on the right.
    half = 3.2 * len(mark.label)
    middle = min(max(x, LEFT + half), WIDTH - half)
    return (
        f'<path class="chosen" d="M{coordinate(x)} {TOP - 4}V{BOTTOM}"/>'
        f'<text class="tick" x="{coordinate(middle)}" y="{TOP - 8}" text-anchor="middle">{escape(mark.label)}</text>'
    )


def _range(series: Series, label: str) -> str:
    """The values of a line in words, for screen readers."""
    values = _finite([series.y])
    if not values:
        return f"{series.name}: no values"
    low, high = min(values), max(values)
    return f"{series.name}: {label} from {_plain(low)} to {_plain(high)}, last {_plain(values[-1])}"


def _finite(columns: Iterable[Iterable[float]]) -> list[float]:
    return [float(v) for column in columns for v in column if math.isfinite(v)]


def _plain(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.4g}"


def coordinate(value: float) -> str:
    """A coordinate with one decimal and no trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


_CARD = "background:var(--card);color:var(--ink);padding:10px 12px;max-width:560px;font:14px system-ui,sans-serif"
_MEDIA = re.compile(r"@media[^{]*\{(?:[^{}]|\{[^{}]*\})*\}")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_CLASS = re.compile(r"\.([a-z][\w-]*)")


def _own_style(markup: str) -> str:
    """A ``<style>`` with the light colours and the rules of the page's style sheet for the classes in `markup`."""
    used = {name for names in re.findall(r'class="([^"]*)"', markup) for name in names.split()}
    sheet = _MEDIA.sub("", Path(__file__).with_name("templates").joinpath("report.css").read_text())
    rules = [f"{_CARD};"]
    for selector, body in _RULE.findall(sheet):
        named = set(_CLASS.findall(selector))
        if selector.strip() == ":root":
            rules.insert(0, body)
        elif named and any(set(_CLASS.findall(each)) <= used for each in selector.split(",")):
            rules.append(f"{selector.strip()} {{{body}}}")
    return f"<style>.tagbox-chart {{{' '.join(rules)}}}</style>"


def shortened(text: str, most: int) -> str:
    """`text`, cut with an ellipsis to at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
