"""Charts of a detector: precision and recall, metrics over the score, calibration, sizes and shapes of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from tagbox.reports.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Bar,
    Chart,
    Mark,
    Scale,
    Series,
    bar_chart,
    calibration_chart,
    coordinate,
    floats,
    line_chart,
)

Array = NDArray[np.float64]

_BARS = 3
"""Bars per doubling."""
_MOST_TICKS = 9


def score_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """The precision-recall curve, metrics over the score threshold, and the reliability diagram."""
    curves = metrics.get("curves") or {}
    value = (metrics.get("cuts") or {}).get("value")
    charts = []
    for title, across, columns, x, y, marks in (
        (
            "Precision-recall curve",
            "recall",
            {"precision_at_50": "IoU 0.50", "precision_over_ious": "IoU 0.50 to 0.95"},
            "recall",
            "precision, mean over categories",
            [],
        ),
        (
            "Metrics over the score threshold",
            "scores",
            {"score_f1": "F1", "score_precision": "precision", "score_recall": "recall"},
            "score threshold",
            "score at IoU 0.5",
            [] if value is None else [Mark(x=float(value), label=f"tuned {value:.2f}")],
        ),
    ):
        lines = [
            Series(name=name, x=floats(curves[across]), y=floats(curves[key]), style=f"s{i}")
            for i, (key, name) in enumerate(columns.items())
            if curves.get(key)
        ]
        if any(np.isfinite(line.y).any() for line in lines):
            axes = {"x": Axis(label=x, low=0.0, high=1.0), "y": Axis(label=y, low=0.0, high=1.0)}
            charts.append(line_chart(title, lines, **axes, marks=marks))
    if bins := (metrics.get("calibration") or {}).get("bins"):
        scores, precision = ([one[key] for one in bins] for key in ("score", "right"))
        charts.append(
            calibration_chart(scores, precision, x="mean score", y="precision at IoU 0.5")
        )
    return charts


@dataclass(frozen=True)
class Zone:
    """A part of the axis from the end of the zone before to `end`, with a name above it."""

    end: float
    name: str


def size_chart(sizes: Array) -> Chart:
    """How large the boxes are, with COCO's small, medium and large; empty without a box that has an area.

    Parameters
    ----------
    sizes
        (M, 2) float64; width and height in pixels of the image.
    """
    sizes = _with_area(sizes)
    if not len(sizes):
        return Chart()
    sides = np.sqrt(sizes.prod(axis=1))
    # Boxes on a limit are medium, as in COCO.
    small, large = float((sides < 32).mean()), float((sides > 96).mean())
    zones = [
        Zone(32.0, f"small {small:.0%}"),
        Zone(96.0, f"medium {1 - small - large:.0%}"),
        Zone(np.inf, f"large {large:.0%}"),
    ]
    return log_histogram("Box sizes", sides, x="√(width × height), pixels", zones=zones)


def aspect_chart(sizes: Array) -> Chart:
    """The aspect ratios of the boxes; parameters as for `size_chart`."""
    sizes = _with_area(sizes)
    if not len(sizes):
        return Chart()
    aspects = sizes[:, 0] / sizes[:, 1]
    tall, wide = float((aspects < 1).mean()), float((aspects > 1).mean())
    zones = [Zone(1.0, f"taller than wide {tall:.0%}"), Zone(np.inf, f"wider than tall {wide:.0%}")]
    return log_histogram("Box aspect ratios", aspects, x="width : height", zones=zones, ratio=True)


def log_histogram(
    title: str, values: Array, *, x: str, zones: Sequence[Zone], ratio: bool = False
) -> Chart:
    """A histogram of boxes over a base-2 logarithmic axis, as a ``<figure>``.

    Parameters
    ----------
    values
        (M,) positive numbers, at least one.
    x
        What they are.
    zones
        Parts of the axis from left to right; the end of the last one is infinity.
    ratio
        Whether the values are ratios of two sides, written as 1:2 and 2:1.
    """
    logs = np.log2(values)
    low = int(np.floor(logs.min()))
    high = max(int(np.ceil(logs.max())), low + 1)
    if ratio:
        low, high = min(low, -2), max(high, 2)
    edges = np.linspace(low, high, (high - low) * _BARS + 1)
    bars = [
        Bar(start, end, count, f"{_label(start, ratio)} to {_label(end, ratio)}: {count:,} boxes")
        for start, end, count in zip(
            edges[:-1].tolist(),
            edges[1:].tolist(),
            np.histogram(logs, edges)[0].tolist(),
            strict=True,
        )
    ]
    every = -(-(high - low) // (_MOST_TICKS - 1))
    ticks = range(low + (-low) % every, high + 1, every)
    across = Scale(low, high, LEFT, RIGHT, ticks, [_label(tick, ratio) for tick in ticks])
    summary = f"{len(values):,} boxes; {', '.join(zone.name for zone in zones)}"
    above = _zones(zones, across)
    return bar_chart(title, bars, across, x=x, y="boxes", summary=summary, above=above)


def _zones(zones: Sequence[Zone], across: Scale) -> str:
    """Limits between the zones and their names; one that is wider than its zone is above the others."""
    parts, start = [], across.start
    for zone in zones:
        end = across(min(max(float(np.log2(zone.end)), across.low), across.high))
        if across.start < end < across.end:
            limit = f"M{coordinate(end)} {TOP + 16}V{BOTTOM}"
            parts.append(f'<path class="chosen" d="{limit}"/>')
        if end > start:
            # Characters are about 6.4 pixels wide.
            width = 6.4 * len(zone.name)
            middle = min(max((start + end) / 2, across.start + width / 2), across.end - width / 2)
            y = TOP + 12 if width <= end - start else TOP - 4
            parts.append(
                f'<text class="tick" x="{coordinate(middle)}" y="{y}" text-anchor="middle">'
                f"{escape(zone.name)}</text>"
            )
        start = end
    return "".join(parts)


def _label(log: float, ratio: bool) -> str:
    value = 2.0**log
    if not ratio:
        return f"{value:,.0f}" if value >= 8 or value == round(value) else f"{value:.2g}"
    longer = max(value, 1 / value)
    text = f"{longer:.0f}" if longer >= 10 else f"{longer:.2g}"
    return f"{text}:1" if value >= 1 else f"1:{text}"


def _with_area(sizes: Array) -> Array:
    kept: Array = sizes[np.isfinite(sizes).all(axis=1) & (sizes > 0).all(axis=1)]
    return kept
