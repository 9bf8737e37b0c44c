"""A detector's curves: losses and AP over the epochs, precision and recall over each other and over the score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.reports.charts import Axis, Mark, Series, line_chart
from tagbox.reports.words import metric_name

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
