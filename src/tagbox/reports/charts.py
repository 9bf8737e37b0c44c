"""Charts as inline SVG: pure functions from numbers to markup, coloured by the page's style sheet.

Drawn here and not by a plotting library because a report is part of every training run: the import of
one costs as much as the page, and its pictures know nothing of dark mode.

All text goes through `markupsafe.escape`; category names are anybody's text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

WIDTH, HEIGHT = 380, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 20, 40


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
class _Scale:
    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...] = field(default=())

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


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
) -> Markup:
    """Lines on one pair of axes, as a ``<figure>`` with title and legend."""
    xs, ys = _finite(s.x for s in series), _finite(s.y for s in series)
    across = _scale(x, xs, _LEFT, WIDTH - _RIGHT, 6)
    up = _scale(y, ys, HEIGHT - _BOTTOM, _TOP, 5)
    parts = [_axes(across, up, x, y)]
    for mark in marks:
        parts.append(_mark(mark, across))
    for one in series:
        parts.append(_line(one, across, up, x.label))
    summary = "; ".join(_say(one, y.label) for one in series if one.name)
    return framed(title, "".join(parts), summary, series)


def histogram(title: str, counts: Sequence[int], *, x: str, y: str) -> Markup:
    """Bars over 0, 1, 2, ..., as a ``<figure>``; every bar has a tooltip."""
    across = _Scale(-0.5, max(len(counts), 1) - 0.5, _LEFT, WIDTH - _RIGHT)
    shown = ticks(0, max(len(counts) - 1, 1), 10, whole=True)
    across = _Scale(across.low, across.high, across.start, across.end, shown)
    up = _scale(Axis(label=y, low=0), [float(max(counts, default=1))], HEIGHT - _BOTTOM, _TOP, 5)
    wide = (across(1) - across(0)) * 0.82
    bars = [
        f'<rect class="bar" x="{coordinate(across(i) - wide / 2)}" y="{coordinate(up(count))}" width="{coordinate(wide)}"'
        f' height="{coordinate(up(0) - up(count))}"><title>{i} {escape(x)}: {count} {escape(y)}</title></rect>'
        for i, count in enumerate(counts)
    ]
    axes = _axes(across, up, Axis(label=x), Axis(label=y))
    total = sum(counts)
    return framed(title, axes + "".join(bars), f"{total} {y} in {len(counts)} bars", ())


def matrix(
    title: str,
    names: Sequence[str],
    values: NDArray[Any],
    *,
    row: str,
    column: str,
    tip: str = "{row}, {column}: {value}",
) -> Markup:
    """A square table of counts as shaded cells; zeros stay empty.

    Parameters
    ----------
    names
        n category names, of rows and columns alike.
    values
        (n, n) counts; the diagonal is left empty.
    row, column
        What rows and columns are.
    tip
        Tooltip of a cell, with ``{row}``, ``{column}`` and ``{value}``.
    """
    cell, left, top = 26, 112, 104
    side = cell * len(names)
    width, height = left + side + 34, top + side + 8
    highest = max(float(values[~np.eye(len(names), dtype=bool)].max(initial=0)), 1.0)
    parts = [
        f'<text class="axis" x="{left - 8}" y="{top - 26}" text-anchor="end">{escape(row)} ↓</text>',
        f'<text class="axis" x="{left - 8}" y="{top - 10}" text-anchor="end">{escape(column)} →</text>',
    ]
    for i, name in enumerate(names):
        middle = cell * i + cell / 2
        short = shortened(name, 16)
        full = f"<title>{escape(name)}</title>"
        parts.append(
            f'<text class="tick" x="{left - 6}" y="{coordinate(top + middle + 4)}" text-anchor="end">{full}{escape(short)}</text>'
            f'<text class="tick" transform="translate({coordinate(left + middle + 4)} {top - 6}) rotate(-60)">{full}{escape(short)}</text>'
        )
        for j, other in enumerate(names):
            value = 0 if i == j else int(values[i, j])
            x, y = left + cell * j, top + cell * i
            shade = value / highest
            classes = "cell none" if i == j else "cell"
            said = escape(tip.format_map(_Braces(row=name, column=other, value=value)))
            inner = "" if i == j else f"<title>{said}</title>"
            parts.append(
                f'<rect class="{classes}" x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}"/>'
            )
            if value:
                loud = " loud" if shade > 0.5 else ""
                parts.append(
                    f'<g><rect class="shade" x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}"'
                    f' fill-opacity="{0.12 + 0.88 * shade:.2f}"/><text class="count{loud}"'
                    f' x="{coordinate(x + cell / 2 - 0.5)}" y="{coordinate(y + cell / 2 + 4)}" text-anchor="middle">{value}</text>{inner}</g>'
                )
    summary = f"{len(names)} by {len(names)} categories, highest {highest:.0f}"
    return framed(title, "".join(parts), summary, (), width, height, "chart matrix")


class _Braces(dict[str, Any]):
    """Values for `str.format_map`; names with braces in them are values, never fields."""


def framed(
    title: str,
    body: str,
    summary: str,
    series: Sequence[Series],
    width: float = WIDTH,
    height: float = HEIGHT,
    classes: str = "chart",
    least: float | None = None,
) -> Markup:
    """A drawing with its title, in words for those who hear the page, and the legend of its named series.

    Parameters
    ----------
    body, width, height
        SVG elements, and the size of the picture they make.
    summary
        What the drawing says, in words.
    least
        Width in pixels on the screen below which it may not shrink; the page then scrolls it sideways.
    """
    limits = f"max-width:{coordinate(width * 1.35)}px"
    if least is not None:
        limits += f";min-width:{coordinate(least)}px"
    named = [one for one in series if one.name]
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 24 10" width="24" height="10" aria-hidden="true">'
        f'<path class="line {one.style}" d="M1 5H23"/></svg>{escape(one.name)}</span>'
        for one in named
    )
    legend = f'<span class="legend">{legend}</span>' if len(named) > 1 else ""
    return Markup(
        f"<figure><figcaption><b>{escape(title)}</b>{legend}</figcaption>"
        f'<svg class="{classes}" viewBox="0 0 {coordinate(width)} {coordinate(height)}" role="img"'
        f' style="{limits}"'
        f' aria-label="{escape(title)}: {escape(summary)}">{body}</svg></figure>'
    )


def _scale(axis: Axis, values: Sequence[float], start: float, end: float, most: int) -> _Scale:
    low = axis.low if axis.low is not None else min(values, default=0.0)
    high = axis.high if axis.high is not None else max(values, default=1.0)
    if high <= low:
        low, high = (low - 0.5, low + 0.5) if axis.low is None else (low, low + 1.0)
    if axis.high is None and not axis.whole:
        steps = ticks(low, high, most)
        step = steps[1] - steps[0] if len(steps) > 1 else high - low
        high = math.ceil(high / step - 1e-9) * step
        low = math.floor(low / step + 1e-9) * step if axis.low is None else low
    return _Scale(low, high, start, end, ticks(low, high, most, whole=axis.whole))


def _axes(across: _Scale, up: _Scale, x: Axis, y: Axis) -> str:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in up.ticks:
        parts.append(
            f'<path class="rule" d="M{_LEFT} {coordinate(up(value))}H{right}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{coordinate(up(value) + 4)}" text-anchor="end">{_tick(value, up)}</text>'
        )
    for value in across.ticks:
        parts.append(
            f'<path class="mark" d="M{coordinate(across(value))} {bottom}v4"/>'
            f'<text class="tick" x="{coordinate(across(value))}" y="{bottom + 16}" text-anchor="middle">{_tick(value, across)}</text>'
        )
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<path class="base" d="M{_LEFT} {bottom}H{right}"/>'
        f'<text class="axis" x="{(_LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>'
        f'<text class="axis" transform="translate(11 {coordinate(middle)}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
    )
    return "".join(parts)


def _line(series: Series, across: _Scale, up: _Scale, x_label: str) -> str:
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


def _mark(mark: Mark, across: _Scale) -> str:
    x = across(min(max(mark.x, across.low), across.high))
    middle = min(max(x, _LEFT + 30), WIDTH - _RIGHT - 30)
    return (
        f'<path class="chosen" d="M{coordinate(x)} {_TOP - 4}V{HEIGHT - _BOTTOM}"/>'
        f'<text class="tick" x="{coordinate(middle)}" y="{_TOP - 8}" text-anchor="middle">{escape(mark.label)}</text>'
    )


def _say(series: Series, label: str) -> str:
    """The line in words, for those who hear the page."""
    values = _finite([series.y])
    if not values:
        return f"{series.name}: no values"
    low, high = min(values), max(values)
    return f"{series.name}: {label} from {_plain(low)} to {_plain(high)}, last {_plain(values[-1])}"


def _finite(columns: Iterable[Iterable[float]]) -> list[float]:
    return [float(v) for column in columns for v in column if math.isfinite(v)]


def _tick(value: float, scale: _Scale) -> str:
    step = abs(scale.ticks[1] - scale.ticks[0]) if len(scale.ticks) > 1 else 1.0
    if step >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _plain(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.4g}"


def coordinate(value: float) -> str:
    """A coordinate: one decimal, no trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def shortened(text: str, most: int) -> str:
    """`text`, cut with an ellipsis to at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
