"""The report's figures: headline numbers, training curves, thresholds.

The curves of a report, computed from truth and probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.metrics.multilabel import LabelCounts, category_metrics, challenge_metrics
from tagbox.reports.charts import Axis, Mark, Series, line_chart
from tagbox.reports.page import MEANINGS, figure, metric_name

if TYPE_CHECKING:
    from tagbox.reports.classifier_report import ReportData

EXCLUSIVE_HEADLINE = (
    "accuracy",
    "top5_accuracy",
    "macro_f1",
    "log_loss",
    "calibration_error",
    "map",
)
EXCLUSIVE_CURVES = ("loss", "accuracy", "macro_f1", "map")
"""Figures that have a chart over the epochs; most others are the accuracy under another name."""

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
        (T,) float64 each, named as in `metrics.multilabel`; precisions are NaN where nothing is said.
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


_HEADLINE = (
    "map",
    "challenge_f1",
    "micro_f1",
    "macro_f1",
    "cf1",
    "samples_f1",
    "hamming_loss",
    "subset_accuracy",
)
_TABLE = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "micro_f1",
    "macro_f1",
    "cf1",
    "samples_f1",
    "hamming_loss",
)


def headline(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures a person wants first, with their intervals."""
    exclusive = metrics.get("labels") == "exclusive"
    return tiles(metrics, EXCLUSIVE_HEADLINE if exclusive else _HEADLINE)


def tiles(metrics: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Those of `keys` that have a figure, with name, interval, meaning and a gauge."""
    intervals = metrics.get("intervals") or {}
    found = []
    for key in keys:
        if metrics.get(key) is None:
            continue
        interval = intervals.get(key) or {}
        low, high = interval.get("low"), interval.get("high")
        found.append(
            {
                "name": metric_name(key),
                "value": figure(metrics[key]),
                # A loss has no upper end that a gauge could show.
                "share": None
                if key == "log_loss"
                else 100 * min(max(float(metrics[key]), 0.0), 1.0),
                "low": None if low is None else 100 * min(max(low, 0.0), 1.0),
                "high": None if high is None else 100 * min(max(high, 0.0), 1.0),
                "interval": None if low is None else f"{figure(low)} to {figure(high)}",
                "level": f"{100 * interval.get('level', 0.95):g}",
                "unreliable": interval.get("reliable") is False,
                "why": interval.get("reason") or interval.get("note") or "",
                "meaning": MEANINGS[key],
            }
        )
    return found


def baselines(data: ReportData) -> dict[str, Any]:
    """Other models' figures beside this one's."""
    keys = list(dict.fromkeys(key for figures in data.baselines.values() for key in figures))
    rows = [(name, [figure(f.get(key)) for key in keys]) for name, f in data.baselines.items()]
    if rows:
        rows.insert(0, ("this model", [figure(data.metrics.get(key)) for key in keys]))
    return {"keys": [metric_name(key) for key in keys], "rows": rows}


def history(data: ReportData) -> list[Markup]:
    """One chart for each figure that training or validation has; both sides on it."""
    rows = data.history
    names = dict.fromkeys(
        name.partition("_")[2]
        for row in rows
        for name in row
        if name.startswith(("train_", "val_"))
    )
    if data.exclusive:
        names = {name: None for name in EXCLUSIVE_CURVES if name in names}
    epochs = [float(row.get("epoch") or index + 1) for index, row in enumerate(rows)]
    marks = [] if data.best_epoch is None else [Mark(x=data.best_epoch, label="kept")]
    charts = []
    for name in names:
        series = []
        for side, words, style in (("train", "training", "s1"), ("val", "validation", "s0")):
            values = [_number(row.get(f"{side}_{name}")) for row in rows]
            if any(map(math.isfinite, values)):
                series.append(
                    Series(name=words, x=epochs, y=values, style=style, dots=len(rows) <= 120)
                )
        if series:
            title = metric_name(name)
            charts.append(
                line_chart(
                    title[0].upper() + title[1:] if title != "mAP" else title,
                    series,
                    x=Axis(label="epoch", whole=True),
                    y=Axis(label=title, low=0.0),
                    marks=marks,
                )
            )
    return charts


def thresholds(data: ReportData) -> dict[str, Any]:
    """The figures at every kind of threshold, and what tuning overstates."""
    rows = []
    for key, words in (
        ("", "as saved with the model"),
        ("at_0.5", "0.5 for all"),
        ("at_global", "one tuned threshold"),
        ("at_per_category", "one a category"),
    ):
        figures = data.metrics if not key else data.metrics.get(key)
        if figures and any(figures.get(name) is not None for name in _TABLE):
            rows.append((words, [figure(figures.get(name)) for name in _TABLE]))
    tuning = data.tuning or data.metrics.get("tuning") or {}
    tuned = [
        (
            words,
            figure(tuning[key].get("tuned")),
            figure(tuning[key].get("cross_fitted")),
            figure(tuning[key].get("overstated")),
            tuning.get("kept") == key,
        )
        for key, words in (("global", "one for all"), ("per_category", "one a category"))
        if isinstance(tuning.get(key), Mapping)
    ]
    return {
        "names": [metric_name(name) for name in _TABLE],
        "rows": rows if len(rows) > 1 else [],
        "tuned": tuned,
        "tuning": tuning,
        "objective": metric_name(str(tuning.get("objective", ""))),
        "value": None if not data.thresholds else figure(data.thresholds.get("value")),
        "per_category": bool(data.thresholds and data.thresholds.get("use_per_category")),
    }


def curves(data: ReportData) -> list[Markup]:
    """Precision over recall, and the scores against one threshold; nothing for bare label sets."""
    if data.probabilities is None:
        return []
    micro = precision_recall(data.truth, data.probabilities)
    if micro is None:
        return []
    thin = []
    for k in np.flatnonzero((data.truth == PRESENT).sum(axis=0) >= 5)[:100]:
        curve = precision_recall(data.truth[:, k], data.probabilities[:, k])
        if curve is not None:
            curve = curve.thinned(30)
            thin.append(
                Series(name="", x=curve.recall, y=curve.precision, style="faint", steps=True)
            )
    if thin:
        # One of them speaks for all in the legend.
        thin[0] = replace(thin[0], name="one category (5 or more labels)")
    micro = micro.thinned(150)
    unit = Axis(label="recall", low=0.0, high=1.0)
    total = Series(
        name="all labels together", x=micro.recall, y=micro.precision, style="s0", steps=True
    )
    curves = [
        line_chart(
            "Precision and recall",
            [*thin, total],
            x=unit,
            y=Axis(label="precision", low=0.0, high=1.0),
        )
    ]
    swept = threshold_curves(data.truth, data.probabilities)
    value = (data.thresholds or {}).get("value")
    marks = [] if value is None else [Mark(x=float(value), label=f"tuned {value:.3f}")]
    for title, keys in (
        ("F1 against one threshold", ("challenge_f1", "micro_f1", "macro_f1")),
        (
            "Precision and recall against one threshold",
            ("micro_precision", "micro_recall", "challenge_precision", "challenge_recall"),
        ),
    ):
        lines = [
            Series(name=metric_name(key), x=swept.thresholds, y=swept.metrics[key], style=f"s{i}")
            for i, key in enumerate(keys)
        ]
        axis = Axis(label="threshold", low=0.0, high=1.0)
        curves.append(
            line_chart(title, lines, x=axis, y=Axis(label="score", low=0.0, high=1.0), marks=marks)
        )
    return curves


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)
