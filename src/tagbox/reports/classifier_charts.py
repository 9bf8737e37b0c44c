"""Precision-recall and threshold curves of a multi-label classifier, and their charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.metrics.multilabel import LabelCounts, category_metrics, challenge_metrics
from tagbox.reports.charts import Axis, Chart, Mark, Series, line_chart
from tagbox.reports.page import metric_name

Array = NDArray[np.float64]

_LEAST_LABELS = 5
"""Positive images from which on a category has a curve of its own."""
_MOST_CURVES = 100


@dataclass(frozen=True, eq=False, kw_only=True)
class PrecisionRecall:
    """One precision-recall curve.

    Attributes
    ----------
    recall, precision, threshold
        (P,) float64, from the highest threshold to the lowest; labels whose score is at or above a
        threshold are predicted. Neither interpolated nor extended to a recall of 0.
    """

    recall: Array
    precision: Array
    threshold: Array

    def thinned(self, points: int) -> PrecisionRecall:
        """At most `points` points, evenly spread over recall, the ends among them."""
        if len(self.recall) <= points:
            return self
        wanted = np.linspace(self.recall[0], self.recall[-1], points)
        kept = np.unique(np.append(np.searchsorted(self.recall, wanted), len(self.recall) - 1))
        kept = kept[kept < len(self.recall)]
        return PrecisionRecall(
            recall=self.recall[kept],
            precision=self.precision[kept],
            threshold=self.threshold[kept],
        )


def precision_recall(
    truth: NDArray[np.int8], scores: NDArray[np.floating[Any]]
) -> PrecisionRecall | None:
    """The curve of one category, or of a whole table (the micro average).

    Parameters
    ----------
    truth
        int8 of any shape: 1 present, 0 absent, -1 unknown (left out).
    scores
        Floats of the same shape.

    Returns
    -------
    PrecisionRecall or None
        None without a positive, where there is no recall.
    """
    known = truth != UNKNOWN
    hits, values = truth[known] == PRESENT, scores[known]
    if not hits.any():
        return None
    order = np.argsort(-values, kind="stable")
    hits, values = hits[order], values[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    tp = np.cumsum(hits)[last]
    return PrecisionRecall(
        recall=tp / tp[-1],
        precision=tp / (last + 1),
        threshold=values[last].astype(np.float64),
    )


def threshold_curves(
    truth: NDArray[np.int8], probabilities: NDArray[np.floating[Any]], steps: int = 100
) -> tuple[Array, dict[str, Array]]:
    """Every per-category and overall metric at `steps` + 1 thresholds from 0 to 1.

    Each score is binned once; cumulative sums then give the counts at all thresholds.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].

    Returns
    -------
    thresholds
        (T,) float64 in [0, 1].
    metrics
        (T,) float64 each, named as in `metrics.multilabel`; precision is NaN where no label is predicted.
    """
    levels = np.linspace(0, 1, steps + 1, dtype=np.float32)
    categories = truth.shape[1]
    # How many thresholds each score reaches; its label is predicted at all of them.
    reached = np.searchsorted(levels, np.asarray(probabilities, np.float32), side="right")
    cell = reached + np.arange(categories) * (steps + 2)

    def predicted_at_each_level(mask: NDArray[np.bool_]) -> Array:
        counts = np.bincount(cell[mask], minlength=categories * (steps + 2))
        by_reach = counts.reshape(categories, steps + 2)[:, ::-1]
        return np.cumsum(by_reach, axis=1)[:, ::-1].T[1:].astype(np.float64)

    tp = predicted_at_each_level(truth == PRESENT)
    support = (truth == PRESENT).sum(axis=0)
    counts = LabelCounts(
        tp=tp,
        fp=predicted_at_each_level(truth == ABSENT),
        fn=support - tp,
        known=np.full(len(levels), np.count_nonzero(truth != UNKNOWN), np.float64),
    )
    metrics = {**challenge_metrics(counts), **category_metrics(counts)}
    # Without a predicted label precision is undefined; the metrics set it to 0.
    undefined = (counts.tp + counts.fp).sum(axis=1) == 0
    for name in ("micro_precision", "macro_precision", "challenge_precision"):
        metrics[name] = np.where(undefined, np.nan, metrics[name])
    return levels.astype(np.float64), metrics


def threshold_charts(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]] | None,
    thresholds: Mapping[str, Any] | None,
) -> list[Chart]:
    """Precision over recall, and metrics over one threshold for all categories.

    Parameters
    ----------
    truth, probabilities
        (N, K); without probabilities or a positive there is no chart.
    thresholds
        `Thresholds.to_dict()`; its global threshold is marked.
    """
    overall = None if probabilities is None else precision_recall(truth, probabilities)
    if overall is None or probabilities is None:
        return []
    lines = []
    for k in np.flatnonzero((truth == PRESENT).sum(axis=0) >= _LEAST_LABELS)[:_MOST_CURVES]:
        curve = precision_recall(truth[:, k], probabilities[:, k])
        if curve is not None:
            curve = curve.thinned(30)
            lines.append(
                Series(name="", x=curve.recall, y=curve.precision, style="faint", steps=True)
            )
    if lines:
        # One of them stands for all in the legend.
        lines[0] = replace(lines[0], name=f"one category (support of {_LEAST_LABELS} or more)")
    overall = overall.thinned(150)
    lines.append(Series(name="micro average", x=overall.recall, y=overall.precision, steps=True))
    charts = [
        line_chart(
            "Precision-recall curve",
            lines,
            x=Axis(label="recall", low=0.0, high=1.0),
            y=Axis(label="precision", low=0.0, high=1.0),
        )
    ]
    levels, metrics = threshold_curves(truth, probabilities)
    value = (thresholds or {}).get("value")
    marks = [] if value is None else [Mark(x=float(value), label=f"tuned {value:.3f}")]
    for title, keys in (
        ("F1 over a single threshold", ("challenge_f1", "micro_f1", "macro_f1")),
        (
            "Precision and recall over a single threshold",
            ("micro_precision", "micro_recall", "challenge_precision", "challenge_recall"),
        ),
    ):
        lines = [
            Series(name=metric_name(key), x=levels, y=metrics[key], style=f"s{i}")
            for i, key in enumerate(keys)
        ]
        x, y = Axis(label="threshold", low=0.0, high=1.0), Axis(label="score", low=0.0, high=1.0)
        charts.append(line_chart(title, lines, x=x, y=y, marks=marks))
    return charts
