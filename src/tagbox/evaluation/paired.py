"""How far apart two models are on the same images: one set of resamples for both, so that luck cancels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.intervals import RankedScores, allowed_resamples, resample_weights
from tagbox.evaluation.label_metrics import LABEL_METRICS, resampled_metrics
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
    models = [
        (RankedScores(truth, probabilities), thresholds.decide(probabilities))
        for probabilities, thresholds in (first, second)
    ]
    whole = np.ones((1, len(truth)), np.float32)
    drawn = [whole, *resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed)]
    values: list[dict[str, Array]] = [
        _joined([_figures(truth, *model, weights) for weights in drawn]) for model in models
    ]
    found = {}
    for name in ("map", *LABEL_METRICS):
        difference = values[1][name] - values[0][name]
        if np.isnan(difference).all() or np.isnan(difference[0]):
            continue
        low, high = np.nanquantile(difference[1:], [(1 - level) / 2, (1 + level) / 2])
        found[name] = {
            "difference": float(difference[0]),
            "low": float(low),
            "high": float(high),
            "level": level,
            "method": "paired-bootstrap",
        }
    return found


def _figures(
    truth: NDArray[np.int8],
    ranked: RankedScores,
    decisions: NDArray[np.bool_],
    weights: NDArray[np.float32],
) -> dict[str, Array]:
    found = resampled_metrics(truth, decisions, weights)
    return {"map": ranked.mean_average_precision(weights), **found}


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
