"""Sizes and shapes of boxes as histograms over doublings: twice as wide is one step, whatever the size.

A detector's curves: losses and AP over the epochs, precision and recall over each other and over the score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from tagbox.reports.charts import (
    HEIGHT,
    WIDTH,
    Axis,
    Mark,
    Series,
    coordinate,
    framed,
    line_chart,
    ticks,
)
from tagbox.reports.page import metric_name

Array = NDArray[np.float64]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 40, 40
_BINS = 3
"""Bars a doubling."""
_MOST_TICKS = 9


@dataclass(frozen=True)
class Zone:
    """A part of the axis from the border before up to `end`, with a name above it."""

    end: float
    name: str


def size_chart(sides: Array) -> Markup | None:
    """How large the boxes are, beside COCO's small, medium and large.

    Parameters
    ----------
    sides
        (M, 2) float64; width and height in pixels of the picture. Boxes without an area are left out.

    Returns
    -------
    Markup or None
        None where there is no box.
    """
    sides = _with_area(sides)
    if not len(sides):
        return None
    sizes = np.sqrt(sides.prod(axis=1))
    shares = _zone_shares(sizes, (32.0, 96.0))
    zones = [
        Zone(end, f"{name} {share:.0%}")
        for end, name, share in zip(
            (32.0, 96.0, np.inf), ("small", "medium", "large"), shares, strict=True
        )
    ]
    return doublings("Size of boxes", sizes, x="√(width × height), px", zones=zones)


def aspect_chart(sides: Array) -> Markup | None:
    """How much wider than high the boxes are; parameters as for `size_chart`."""
    sides = _with_area(sides)
    if not len(sides):
        return None
    aspects = sides[:, 0] / sides[:, 1]
    upright, lying = float((aspects < 1).mean()), float((aspects > 1).mean())
    zones = [Zone(1.0, f"upright {upright:.0%}"), Zone(np.inf, f"lying {lying:.0%}")]
    return doublings("Shape of boxes", aspects, x="width : height", zones=zones, ratio=True)


def doublings(
    title: str, values: Array, *, x: str, zones: Sequence[Zone] = (), ratio: bool = False
) -> Markup:
    """A histogram whose axis is a step a doubling, as a ``<figure>``; every bar has a tooltip.

    Parameters
    ----------
    values
        (M,) positive numbers, at least one.
    x
        What they are.
    zones
        Parts of the axis from left to right; the last one's end is infinity.
    ratio
        Whether the values are shares of two sides, written as 1:2 and 2:1.
    """
    logs = np.log2(values)
    low, high = (
        int(np.floor(logs.min())),
        max(int(np.ceil(logs.max())), int(np.floor(logs.min())) + 1),
    )
    if ratio:
        low, high = min(low, -2), max(high, 2)
    edges = np.linspace(low, high, (high - low) * _BINS + 1)
    counts = np.histogram(logs, edges)[0]
    top = ticks(0, int(counts.max()), 5, whole=True)
    step = top[1] - top[0] if len(top) > 1 else 1.0
    ceiling = float(np.ceil(counts.max() / step) * step)
    bottom = HEIGHT - _BOTTOM

    def across(log: float) -> float:
        return _LEFT + (log - low) / (high - low) * (WIDTH - _RIGHT - _LEFT)

    def up(count: float) -> float:
        return bottom - count / ceiling * (bottom - _TOP)

    parts = []
    for tick in np.arange(0, ceiling + step / 2, step).tolist():
        text = f"{tick / 1000:g}k" if step >= 1000 else f"{tick:.0f}"
        parts.append(
            f'<path class="rule" d="M{_LEFT} {coordinate(up(tick))}H{WIDTH - _RIGHT}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{coordinate(up(tick) + 4)}" text-anchor="end">{text}</text>'
        )
    for count, start, end in zip(
        counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        if count:
            said = f"{_words(start, ratio)} to {_words(end, ratio)}: {count:,} boxes"
            parts.append(
                f'<rect class="bar" x="{coordinate(across(start) + 0.5)}" y="{coordinate(up(count))}"'
                f' width="{coordinate(across(end) - across(start) - 1)}" height="{coordinate(bottom - up(count))}">'
                f"<title>{escape(said)}</title></rect>"
            )
    every = -(-(high - low) // (_MOST_TICKS - 1))
    for log in range(low + (-low) % every, high + 1, every):
        parts.append(
            f'<path class="mark" d="M{coordinate(across(log))} {bottom}v4"/><text class="tick"'
            f' x="{coordinate(across(log))}" y="{bottom + 16}" text-anchor="middle">{_words(log, ratio)}</text>'
        )
    parts += _zones(zones, low, high, across(low), across(high))
    parts.append(
        f'<path class="base" d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}"/>'
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text class="axis" transform="translate(11 {coordinate((_TOP + bottom) / 2)}) rotate(-90)"'
        ' text-anchor="middle">boxes</text>'
    )
    summary = f"{len(values):,} boxes; {', '.join(zone.name for zone in zones)}"
    return framed(title, "".join(parts), summary, ())


def _zones(zones: Sequence[Zone], low: float, high: float, left: float, right: float) -> list[str]:
    """Borders between the zones and their names; one that is wider than its zone stands above the others."""
    parts, start = [], left
    for zone in zones:
        log = min(max(float(np.log2(zone.end)), low), high)
        end = left + (log - low) / (high - low) * (right - left)
        if left < end < right:
            border = f"M{coordinate(end)} {_TOP - 4}V{HEIGHT - _BOTTOM}"
            parts.append(f'<path class="chosen" d="{border}"/>')
        if end > start:
            # Letters are about 6.4 pixels wide.
            wide = 6.4 * len(zone.name)
            middle = min(max((start + end) / 2, left + wide / 2), right - wide / 2)
            line = _TOP - 8 if wide <= end - start else _TOP - 24
            parts.append(
                f'<text class="tick" x="{coordinate(middle)}" y="{line}" text-anchor="middle">'
                f"{escape(zone.name)}</text>"
            )
        start = end
    return parts


def _zone_shares(sizes: Array, ends: tuple[float, float]) -> tuple[float, float, float]:
    """Shares of small, medium and large boxes; those on a border are medium, as in COCO."""
    small, large = float((sizes < ends[0]).mean()), float((sizes > ends[1]).mean())
    return small, 1.0 - small - large, large


def _words(log: float, ratio: bool) -> str:
    value = 2.0**log
    if not ratio:
        return f"{value:,.0f}" if value >= 8 or value == round(value) else f"{value:.2g}"
    longer = max(value, 1 / value)
    text = f"{longer:.0f}" if longer >= 10 else f"{longer:.2g}"
    return f"{text}:1" if value >= 1 else f"1:{text}"


def _with_area(sides: Array) -> Array:
    kept: Array = sides[np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1)]
    return kept


Row = Mapping[str, float | int | None]
Values = NDArray[np.float64]

_SIDES = (("train", "training", "s1"), ("val", "validation", "s0"))
_TOGETHER = ("ap", "ap50", "ap75", "ar100")
"""Figures on one chart: all are shares of the same boxes."""
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST_DOTS = 120


def training_charts(rows: Sequence[Row], best_epoch: int | None) -> list[Markup]:
    """AP, the loss, each part of the loss, then every other figure, over the epochs.

    Each loss has a chart of its own that begins at zero and holds training and validation: a part is
    neither scaled to the others nor lost beside them.

    Parameters
    ----------
    rows
        Of ``history.csv``.
    best_epoch
        The epoch that was kept.
    """
    names = list(
        dict.fromkeys(
            name.partition("_")[2]
            for row in rows
            for name in row
            if name.startswith(("train_", "val_"))
        )
    )
    losses = [name for name in names if name == "loss"]
    losses += [name for name in names if name.startswith("loss_")]
    together = [name for name in _TOGETHER if name in names]
    others = [name for name in names if name not in (*losses, *together)]
    charts = []
    series = [
        line
        for i, name in enumerate(together)
        for line in _lines(rows, [(f"val_{name}", metric_name(name), f"s{i}")])
    ]
    if series:
        charts.append(_over_epochs("AP and AR on validation", series, "score", best_epoch))
    for name in [*losses, *others]:
        lines = _lines(rows, [(f"{side}_{name}", words, style) for side, words, style in _SIDES])
        if lines:
            title = _title(name)
            charts.append(_over_epochs(title[0].upper() + title[1:], lines, title, best_epoch))
    rate = _lines(rows, [("learning_rate", "learning rate", "s0")])
    if rate:
        charts.append(_over_epochs("Learning rate", rate, "learning rate", best_epoch))
    return charts


def score_charts(metrics: Mapping[str, Any]) -> list[Markup]:
    """Precision over recall, the figures over the score with the cut that was chosen, and calibration."""
    curves = metrics.get("curves") or {}
    charts = []
    lines = [
        Series(name=words, x=_values(curves["recall"]), y=_values(curves[key]), style=style)
        for key, words, style in (
            ("precision_at_50", "IoU 0.50", "s0"),
            ("precision_over_ious", "IoU 0.50 to 0.95", "s1"),
        )
        if curves.get(key)
    ]
    charts += _if_any(
        "Precision and recall",
        lines,
        Axis(label="recall", low=0.0, high=1.0),
        Axis(label="precision, mean of the categories", low=0.0, high=1.0),
    )
    value = (metrics.get("cuts") or {}).get("value")
    lines = [
        Series(name=words, x=_values(curves["scores"]), y=_values(curves[key]), style=style)
        for key, words, style in (
            ("score_f1", "F1", "s0"),
            ("score_precision", "precision", "s1"),
            ("score_recall", "recall", "s2"),
        )
        if curves.get(key)
    ]
    charts += _if_any(
        "Where to cut the score",
        lines,
        Axis(label="boxes with at least this score", low=0.0, high=1.0),
        Axis(label="share", low=0.0, high=1.0),
        [] if value is None else [Mark(x=float(value), label=f"cut {value:.2f}")],
    )
    return charts + _calibration_chart(metrics.get("calibration") or {})


def _calibration_chart(calibration: Mapping[str, Any]) -> list[Markup]:
    """How often a box of a score is right."""
    bins = calibration.get("bins")
    if not bins:
        return []
    line = Series(
        name="this detector",
        x=_values(one["score"] for one in bins),
        y=_values(one["right"] for one in bins),
        dots=True,
    )
    return _if_any(
        "How sure, and how often right",
        [Series(name="as sure as right", x=[0.0, 1.0], y=[0.0, 1.0], style="faint"), line],
        Axis(label="score of a box", low=0.0, high=1.0),
        Axis(label="share that is right", low=0.0, high=1.0),
    )


def _if_any(
    title: str, lines: Sequence[Series], x: Axis, y: Axis, marks: Iterable[Mark] = ()
) -> list[Markup]:
    """The chart, unless no line has a point."""
    if not any(np.isfinite(line.y).any() for line in lines):
        return []
    return [line_chart(title, lines, x=x, y=y, marks=marks)]


def _lines(rows: Sequence[Row], columns: Sequence[tuple[str, str, str]]) -> list[Series]:
    """Those columns (name, words, style) that have a value, over the epochs."""
    epochs = [float(row.get("epoch") or index + 1) for index, row in enumerate(rows)]
    lines = []
    for column, words, style in columns:
        values = _values(row.get(column) for row in rows)
        if np.isfinite(values).any():
            dots = len(rows) <= _MOST_DOTS
            lines.append(Series(name=words, x=epochs, y=values, style=style, dots=dots))
    return lines


def _over_epochs(title: str, lines: Sequence[Series], label: str, best_epoch: int | None) -> Markup:
    """A chart from zero on; small values are counted in a power of ten, or their axis would be all zeros."""
    finite = [float(y) for line in lines for y in line.y if math.isfinite(y)]
    highest = max(finite, default=0.0)
    power = math.floor(math.log10(highest)) if 0 < highest < 0.05 else 0
    if power:
        label = f"{label}, in 10⁻{str(-power).translate(_RAISED)}"
        lines = [replace(line, y=np.asarray(line.y) / 10.0**power) for line in lines]
    return line_chart(
        title,
        lines,
        x=Axis(label="epoch", whole=True),
        y=Axis(label=label, low=0.0),
        marks=[] if best_epoch is None else [Mark(x=best_epoch, label="kept")],
    )


def _title(name: str) -> str:
    """``loss_box_reg`` as ``loss: box reg``."""
    part = name.removeprefix("loss_")
    return metric_name(name) if part == name else f"loss: {part.replace('_', ' ')}"


def _values(numbers: Iterable[float | int | None]) -> Values:
    """float64 with NaN for None."""
    return np.array([math.nan if n is None else float(n) for n in numbers], np.float64)
