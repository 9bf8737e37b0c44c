"""The report of an object detector: its data and its sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.reports.detector_charts import aspect_chart, score_charts, size_chart
from tagbox.reports.metrics_section import metrics_section
from tagbox.reports.page import block, count, metric_name, number
from tagbox.reports.report import Report, Section
from tagbox.reports.shared_sections import (
    category_section,
    confusion_section,
    data_section,
    examples_section,
)
from tagbox.reports.training_section import training_section

_HEADLINE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
_TOGETHER = ("ap", "ap50", "ap75", "ar100")
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
"""COCO's twelve metrics: IoU, size of the objects, and the most detections per image that count."""
_ERRORS = {
    "category": "the box is right, the category is wrong",
    "location": "the category is right, the box overlaps too little",
    "both": "the category is wrong and the box overlaps too little",
    "duplicate": "the object has a detection with a higher score",
    "background": "there is no object",
    "missed": "the object is not detected and has no other error",
}
_COLUMNS = {
    "support": "support",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ar100": "AR 100",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "cut": "threshold",
}
_AT_THRESHOLDS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_f1": "macro F1",
    "tp": "true positives",
    "fp": "false positives",
    "fn": "missed",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorReport(Report):
    """The report of a detector.

    Attributes
    ----------
    metrics
        As `evaluation.evaluate_detections.evaluate_boxes` returns them.
    box_sizes
        (M, 2) float64; width and height of the training data's boxes in pixels of their images.
    """

    box_sizes: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.box_sizes is not None and self.box_sizes.shape[1:] != (2,):
            raise ValueError(f"box sizes must be (M, 2), got {self.box_sizes.shape}")
        confusion = self.metrics.get("confusion")
        if confusion:
            shape, side = np.shape(confusion["matrix"]), len(self.categories) + 1
            if shape != (side, side) or len(confusion["names"]) != side:
                raise ValueError(
                    f"the confusion matrix must be ({side}, {side}) with as many names, got {shape}"
                )

    def facts(self) -> list[str]:
        """Number of images, categories, boxes and detections."""
        metrics, facts = self.metrics, [count(len(self.categories), "category", "categories")]
        if metrics.get("images") is not None:
            facts.insert(0, count(metrics["images"], "validation image"))
        for key, one, many in (
            ("boxes", "box", "boxes"),
            ("detections", "detection", "detections"),
        ):
            if metrics.get(key) is not None:
                facts.append(count(metrics[key], one, many))
        return facts

    def sections(self) -> list[Section]:
        """Metrics, examples, training, scores, categories, errors, confusion, data."""
        repairs = [f"{repair['sentence']}." for repair in self.metrics.get("repairs") or ()]
        sizes = self.box_sizes
        charts = () if sizes is None else (size_chart(sizes), aspect_chart(sizes))
        return [
            metrics_section(self, _HEADLINE, tables=[_coco(self.metrics)], notes=repairs),
            examples_section(
                self,
                "Detections at or above their thresholds, with scores. Ordered by the F1 of the image's "
                "detections at IoU 0.5.",
                shown=6,
                boxes=True,
            ),
            training_section(self, "ap", together=_TOGETHER),
            _scores(self.metrics),
            category_section(
                self,
                _COLUMNS,
                bar="ap",
                unit="validation boxes",
                statistic=("annotations", "training boxes"),
            ),
            _errors(self.metrics.get("errors") or {}),
            _confusion(self),
            data_section(self, charts=[chart for chart in charts if chart]),
        ]


def _coco(metrics: Mapping[str, Any]) -> Markup:
    rows = [
        (metric_name(key), number(metrics.get(key)), *how) for key, *how in _COCO if key in metrics
    ]
    if not rows:
        return Markup()
    headers = ("metric", "value", "IoU", "objects", "detections per image")
    table = block("table", headers=headers, rows=rows)
    return block("details", summary="All COCO metrics", block=table)


def _scores(metrics: Mapping[str, Any]) -> Section:
    """The score from which a detection counts, and the metrics of those detections."""
    blocks = []
    cuts, at_cuts = metrics.get("cuts") or {}, metrics.get("at_cuts") or {}
    if cuts.get("source") == "default":
        text = f"No score threshold could be tuned; a detection counts from {cuts['value']} on."
        blocks.append(block("paragraph", text=text, style=""))
    elif cuts.get("value") is not None:
        value = number(cuts["value"], 2)
        text = (
            "A detection counts when its score reaches the threshold of its category (in the table "
            f"below); the best single threshold is {value}."
            if cuts.get("per_category")
            else f"A detection counts when its score is at least {value}."
        )
        text += " Thresholds maximise F1 at IoU 0.5 on the validation images."
        blocks.append(block("paragraph", text=text, style=""))
        items = [
            (
                words,
                number(at_cuts[key]) if isinstance(at_cuts[key], float) else f"{at_cuts[key]:,}",
            )
            for key, words in _AT_THRESHOLDS.items()
            if at_cuts.get(key) is not None
        ]
        if items:
            blocks.append(block("facts", items=items))
    if charts := score_charts(metrics):
        blocks.append(block("charts", figures=charts))
    error = (metrics.get("calibration") or {}).get("error")
    if error is not None:
        text = f"Expected calibration error of the scores: {number(error)}."
        blocks.append(block("paragraph", text=text))
    return Section(
        id="scores", label="Scores", title="Score threshold and calibration", blocks=blocks
    )


def _errors(errors: Mapping[str, Any]) -> Section:
    """The AP that each type of error costs, the highest first.

    Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
    """
    types = sorted(
        (name for name in _ERRORS if name in errors), key=lambda name: -errors[name]["ap50"]
    )
    highest = max((errors[name]["ap50"] for name in types), default=0.0)
    rows = [
        (
            block("described", name=name, meaning=_ERRORS[name]),
            block(
                "track",
                value=number(errors[name]["ap50"]),
                width=100 * max(errors[name]["ap50"], 0.0) / highest if highest > 0 else 0.0,
            ),
            f"{errors[name]['count']:,}",
        )
        for name in types
    ]
    text = (
        "AP at IoU 0.5 that correcting all errors of one type, and nothing else, would gain (TIDE). The "
        "gains do not add up to the total loss."
    )
    headers = ("error", "AP lost", "boxes")
    table = block("table", headers=headers, rows=rows, text=(1,), style="errors")
    return Section(
        id="errors",
        label="Errors",
        title="Types of errors",
        blocks=[block("paragraph", text=text), table] if rows else [],
    )


def _confusion(report: DetectorReport) -> Section:
    """The confusion matrix with the background as its last row and column."""
    confusion = report.metrics.get("confusion") or {"names": [], "matrix": np.zeros((0, 0), int)}
    names, counts = list(confusion["names"]), np.array(confusion["matrix"], np.int64)
    background = len(names) - 1

    def describe(i: int, j: int) -> str:
        if i == background:
            return f"{names[j]} predicted on background"
        if j == background:
            return f"{names[i]} missed"
        return f"{names[i]} predicted as {names[j]}"

    return confusion_section(
        names,
        counts,
        counts.sum(axis=1)[:-1],
        unit="boxes",
        text="Rows are true categories, columns predicted ones. The last column holds missed boxes, the last row "
        "detections on the background.",
        describe=describe,
    )
