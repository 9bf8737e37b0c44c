"""How far apart two models are on the same images: one set of resamples for both, so that luck cancels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.intervals import RankedScores, allowed_resamples, resample_weights
from tagbox.evaluation.label_metrics import LABEL_METRICS, label_metrics, resampled_metrics
from tagbox.evaluation.ranking import average_precision, mean_average_precision
from tagbox.evaluation.thresholds import Thresholds

Array = NDArray[np.float64]
Claim = tuple[NDArray[np.floating[Any]], Thresholds]


def paired_differences(
    truth: NDArray[np.int8],
    first: Claim,
    second: Claim,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`second` minus `first` in ``map`` and every label metric, with an interval.

    The paired bootstrap over images (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapter 13): each resample gives both models the same images; the interval is of the percentiles of the
    differences.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) probabilities, and the thresholds that make labels of them.
    level
        Share of the differences between the ends of the interval.
    resamples
        How many; fewer are drawn for large tables.

    Returns
    -------
    dict
        By metric ``difference``, ``low``, ``high``, ``level``, ``method``; what is not defined is missing.
        Empty for fewer than two images.
    """
    if len(truth) < 2:
        return {}
    decisions = [thresholds.decide(probabilities) for probabilities, thresholds in (first, second)]
    ranked = [RankedScores(truth, probabilities) for probabilities, _ in (first, second)]
    draws = list(resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed))
    drawn: list[dict[str, Array]] = [
        {
            **_joined([resampled_metrics(truth, said, weights) for weights in draws]),
            "map": np.concatenate([scores.mean_average_precision(w) for w in draws]),
        }
        for scores, said in zip(ranked, decisions, strict=True)
    ]
    whole: list[dict[str, float | None]] = [
        {
            **label_metrics(truth, said),
            "map": mean_average_precision(average_precision(truth, probabilities)),
        }
        for (probabilities, _), said in zip((first, second), decisions, strict=True)
    ]
    found = {}
    for name in ("map", *LABEL_METRICS):
        before, after = whole[0][name], whole[1][name]
        if before is None or after is None:
            continue
        differences = drawn[1][name] - drawn[0][name]
        low, high = np.nanquantile(differences, [(1 - level) / 2, (1 + level) / 2])
        found[name] = {
            "difference": after - before,
            "low": float(low),
            "high": float(high),
            "level": level,
            "method": "paired-bootstrap",
        }
    return found


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
