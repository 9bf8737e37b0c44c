"""What a report says where every picture has one category."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tagbox.evaluation.exclusive import (
    calibration,
    confusion_matrix,
    said_rows,
    sums_to_one,
    true_rows,
)
from tagbox.reports.charts import Axis, Series, line_chart
from tagbox.reports.confusion_chart import confusion_chart

if TYPE_CHECKING:
    from tagbox.reports.report import ReportData

HEADLINE = ("accuracy", "top5_accuracy", "macro_f1", "log_loss", "calibration_error", "map")
CURVES = ("loss", "accuracy", "macro_f1", "map")
"""Figures that have a chart over the epochs; most others are the accuracy under another name."""
PAIRS = 14
BESIDE = 16
"""Categories up to which the matrix leaves room for the table beside it."""


def confusion(data: ReportData) -> dict[str, Any]:
    """The whole matrix, and which category was most often taken for which."""
    names = data.categories
    there = true_rows(data.truth)
    counts = confusion_matrix(there, said_rows(data.said), len(names))
    off = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(flat), len(names)) for flat in order]
    support = np.bincount(there, minlength=len(names))
    return {
        "matrix": confusion_chart(names, counts) if counts.any() else None,
        "beside": len(names) <= BESIDE,
        "rows": [
            (names[i], names[j], int(off[i, j]), int(support[i])) for i, j in pairs if off[i, j]
        ],
    }


def calibration_chart(data: ReportData) -> list[Markup]:
    """How often the said category is right, against how sure the model was."""
    if data.probabilities is None or not len(data.truth) or not sums_to_one(data.probabilities):
        return []
    found = calibration(true_rows(data.truth), data.probabilities)
    filled = found.counts > 0
    return [
        line_chart(
            "How sure, and how often right",
            [
                Series(name="as sure as right", x=[0.0, 1.0], y=[0.0, 1.0], style="faint"),
                Series(
                    name="this model",
                    x=found.confidence[filled],
                    y=found.accuracy[filled],
                    dots=True,
                ),
            ],
            x=Axis(label="probability of what was said", low=0.0, high=1.0),
            y=Axis(label="share that is right", low=0.0, high=1.0),
        )
    ]
