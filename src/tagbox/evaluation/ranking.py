"""Average precision: how well scores put the images that have a category above those that have not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN


def average_precision(truth: NDArray[np.int8], scores: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Average precision of each category, as scikit-learn's ``average_precision_score`` defines it.

    ``AP = Σ (R_n − R_{n−1})·P_n`` over the distinct scores, highest first, without interpolation.
    That sum is the mean, over the positives, of the precision among everything scored at least as
    high as the positive; two sorts and two binary searches give it, and ties need no special case.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown. Unknown entries are left out.
    scores
        (N, K) finite floats, higher is surer; probabilities or logits.

    Returns
    -------
    NDArray
        (K,) float64; NaN for a category without a positive, where it is not defined.

    Raises
    ------
    ValueError
        When the shapes differ or a score is NaN.
    """
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(f"truth is {truth.shape} and scores are {scores.shape}; (N, K) both")
    # One category at a time, each contiguous: a column of a row-major table is a cache miss a value.
    by_category = np.ascontiguousarray(scores.T)
    if np.isnan(by_category).any():
        raise ValueError("a score is NaN")
    truth = np.ascontiguousarray(truth.T)
    some_unknown = (truth == UNKNOWN).any(axis=1)
    result = np.full(len(truth), np.nan)
    for k, (column, said) in enumerate(zip(by_category, truth, strict=True)):
        everything = np.sort(column[said != UNKNOWN] if some_unknown[k] else column)
        positives = np.sort(column[said == PRESENT])
        if len(positives):
            as_high = len(everything) - np.searchsorted(everything, positives)
            hits = len(positives) - np.searchsorted(positives, positives)
            result[k] = np.mean(hits / as_high)
    return result


def mean_average_precision(ap: NDArray[np.float64]) -> float | None:
    """Mean over the categories that have an average precision; None when none has."""
    defined = ap[~np.isnan(ap)]
    return float(defined.mean()) if len(defined) else None
