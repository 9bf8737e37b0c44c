"""The curves of a report, computed from truth and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.evaluation.label_metrics import LabelCounts, category_metrics, challenge_metrics

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class PrecisionRecall:
    """One precision-recall curve.

    Attributes
    ----------
    recall, precision, threshold
        (P,) float64, from the highest threshold to the lowest; each point is what saying everything
        at or above its threshold gives. No interpolation, no made-up first point.
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
    """The curve of one category, or of a whole table laid end to end (the micro average).

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


@dataclass(frozen=True, eq=False, kw_only=True)
class ThresholdCurves:
    """Metrics against one threshold for all categories.

    Attributes
    ----------
    thresholds
        (T,) float64 in [0, 1].
    metrics
        (T,) float64 each, named as in `evaluation.label_metrics`; precisions are NaN where nothing is said.
    """

    thresholds: Array
    metrics: dict[str, Array]


def threshold_curves(
    truth: NDArray[np.int8], probabilities: NDArray[np.floating[Any]], steps: int = 100
) -> ThresholdCurves:
    """Every per-category and overall metric at `steps` + 1 thresholds from 0 to 1.

    Each score is put in its bin once; running sums then give the counts at all thresholds.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    """
    levels = np.linspace(0, 1, steps + 1, dtype=np.float32)
    categories = truth.shape[1]
    # How many thresholds each score reaches; it is said at all of those.
    reached = np.searchsorted(levels, np.asarray(probabilities, np.float32), side="right")
    cell = reached + np.arange(categories) * (steps + 2)

    def said_at_each_level(mask: NDArray[np.bool_]) -> Array:
        counts = np.bincount(cell[mask], minlength=categories * (steps + 2))
        by_reach = counts.reshape(categories, steps + 2)[:, ::-1]
        return np.cumsum(by_reach, axis=1)[:, ::-1].T[1:].astype(np.float64)

    tp = said_at_each_level(truth == PRESENT)
    support = (truth == PRESENT).sum(axis=0)
    counts = LabelCounts(
        tp=tp,
        fp=said_at_each_level(truth == ABSENT),
        fn=support - tp,
        known=np.full(len(levels), np.count_nonzero(truth != UNKNOWN), np.float64),
    )
    metrics = {**challenge_metrics(counts), **category_metrics(counts)}
    # Where nothing is said a precision is not 0, as the metrics have it by convention, but undefined.
    silent = (counts.tp + counts.fp).sum(axis=1) == 0
    for name in ("micro_precision", "macro_precision", "challenge_precision"):
        metrics[name] = np.where(silent, np.nan, metrics[name])
    return ThresholdCurves(thresholds=levels.astype(np.float64), metrics=metrics)
