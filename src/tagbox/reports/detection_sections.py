"""What each section of a detector's report shows, as plain values and ready charts for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tagbox.reports.categories import table_of
from tagbox.reports.confusion_chart import confusion_chart
from tagbox.reports.detection_charts import aspect_chart, score_charts, size_chart, training_charts
from tagbox.reports.detection_pictures import picture_groups
from tagbox.reports.label_charts import tiles
from tagbox.reports.label_sections import BESIDE, PAIRS, statistics_values
from tagbox.reports.page import count, figure, metric_name, plain

if TYPE_CHECKING:
    from tagbox.reports.detector_report import DetectorReportData

_HEADLINE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
_COCO = (
    ("ap", "0.50 to 0.95", "all", 100),
    ("ap50", "0.50", "all", 100),
    ("ap75", "0.75", "all", 100),
    ("ap_small", "0.50 to 0.95", "small", 100),
    ("ap_medium", "0.50 to 0.95", "medium", 100),
    ("ap_large", "0.50 to 0.95", "large", 100),
    ("ar1", "0.50 to 0.95", "all", 1),
    ("ar10", "0.50 to 0.95", "all", 10),
    ("ar100", "0.50 to 0.95", "all", 100),
    ("ar_small", "0.50 to 0.95", "small", 100),
    ("ar_medium", "0.50 to 0.95", "medium", 100),
    ("ar_large", "0.50 to 0.95", "large", 100),
)
"""COCO's twelve numbers: IoU, objects, and the most boxes a picture that count."""
_ERRORS = {
    "category": "the place is right, the category is not",
    "location": "the category is right, the box is too far off",
    "both": "the category is wrong and the box is off",
    "duplicate": "the object was found already, by a surer box",
    "background": "there is no object",
    "missed": "an object with no box on it, right or wrong",
}
_COLUMNS = (
    ("support", "boxes"),
    ("ap", "AP"),
    ("ap50", "AP50"),
    ("ap75", "AP75"),
    ("ar100", "AR 100"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "F1"),
    ("cut", "cut"),
)


def detector_sections(data: DetectorReportData) -> dict[str, Any]:
    """The template's values."""
    metrics = data.metrics
    return {
        "title": data.title,
        "facts": _facts(data),
        "headline": tiles(metrics, _HEADLINE),
        "coco": [
            (metric_name(key), figure(metrics.get(key)), iou, objects, most)
            for key, iou, objects, most in _COCO
            if key in metrics
        ],
        "reasons": list(metrics.get("reasons") or ()),
        "notes": [*(f"{one['sentence']}." for one in metrics.get("repairs") or ()), *data.notes],
        "absent": {metric_name(k): why for k, why in (metrics.get("absent") or {}).items()},
        "pictures": picture_groups(data.pictures),
        "history": training_charts(data.history, data.best_epoch),
        "scores": score_charts(metrics),
        "cut": _cut(metrics),
        "calibration_error": (metrics.get("calibration") or {}).get("error"),
        "bars": _bars(metrics),
        "table": _table(data),
        "confusion": _confusion(data),
        "errors": _errors(metrics.get("errors") or {}),
        "statistics": statistics_values(data.statistics, histograms=True),
        "boxes": _box_charts(data),
        "config": [(name, plain(value)) for name, value in data.config.items()],
        "versions": list(data.versions.items()),
        "command": data.command,
    }


def _facts(data: DetectorReportData) -> list[str]:
    metrics, facts = data.metrics, [count(len(data.categories), "category", "categories")]
    if metrics.get("images") is not None:
        facts.insert(0, count(metrics["images"], "validation image"))
    for key, one, many in (("boxes", "box", "boxes"), ("detections", "detection", "detections")):
        if metrics.get(key) is not None:
            facts.append(count(metrics[key], one, many))
    return facts


def _cut(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The score from which a box is said, and how right such boxes are."""
    cuts, at = metrics.get("cuts") or {}, metrics.get("at_cuts") or {}
    if cuts.get("value") is None:
        return None
    names = (
        ("precision", "precision"),
        ("recall", "recall"),
        ("f1", "F1"),
        ("macro_f1", "macro F1"),
    )
    counts = (("tp", "right"), ("fp", "wrong"), ("fn", "missed"))
    return {
        "value": figure(cuts["value"], 2),
        "per_category": bool(cuts.get("per_category")),
        "at": [(words, figure(at[key])) for key, words in names if at.get(key) is not None]
        + [(words, f"{at[key]:,}") for key, words in counts if at.get(key) is not None],
    }


def _bars(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AP of each category, the best first; those without a box last."""
    rows = [
        (row, math.nan if row.get("ap") is None else float(row["ap"]))
        for row in metrics.get("per_category") or ()
    ]
    rows.sort(key=lambda pair: -1.0 if math.isnan(pair[1]) else pair[1], reverse=True)
    return [
        {
            "name": row["name"],
            "value": figure(ap, 2),
            "width": 0.0 if math.isnan(ap) else 100 * min(max(ap, 0.0), 1.0),
            "support": row.get("support") or 0,
        }
        for row, ap in rows
    ]


def _table(data: DetectorReportData) -> dict[str, Any]:
    rows = (data.statistics or {}).get("categories") or []
    trained = {row["name"]: row["annotations"] for row in rows}
    return table_of(
        data.metrics.get("per_category") or [], _COLUMNS, trained, "training annotations"
    )


def _confusion(data: DetectorReportData) -> dict[str, Any]:
    """The matrix with the background, and which category was most often taken for which."""
    found = data.metrics.get("confusion")
    if not found:
        return {"matrix": None, "rows": [], "beside": False}
    names, counts = list(found["names"]), np.array(found["matrix"], np.int64)
    background = len(names) - 1

    def tell(i: int, j: int) -> str:
        if i == background:
            return f"{names[j]} where there is nothing"
        if j == background:
            return f"{names[i]}: missed"
        return f"{names[i]}: right" if i == j else f"{names[i]}: said to be {names[j]}"

    off = counts[:-1, :-1] * (1 - np.eye(background, dtype=np.int64))
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(flat), background) for flat in order]
    totals = counts.sum(axis=1)
    return {
        "matrix": confusion_chart(names, counts, things="boxes", tell=tell)
        if counts.any()
        else None,
        "beside": len(names) <= BESIDE,
        "rows": [
            (names[i], names[j], int(off[i, j]), int(totals[i])) for i, j in pairs if off[i, j]
        ],
    }


def _errors(errors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What TIDE counts, with the AP each costs, the dearest first.

    Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
    """
    rows = [(name, meaning, errors[name]) for name, meaning in _ERRORS.items() if name in errors]
    highest = max((row["ap50"] for *_, row in rows), default=0.0)
    return [
        {
            "name": name,
            "meaning": meaning,
            "count": f"{row['count']:,}",
            "value": figure(row["ap50"]),
            "width": 100 * max(row["ap50"], 0.0) / highest if highest > 0 else 0.0,
        }
        for name, meaning, row in sorted(rows, key=lambda row: -row[2]["ap50"])
    ]


def _box_charts(data: DetectorReportData) -> list[Markup]:
    if data.box_sides is None:
        return []
    charts = (size_chart(data.box_sides), aspect_chart(data.box_sides))
    return [chart for chart in charts if chart is not None]
