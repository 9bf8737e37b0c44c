"""Several models' probabilities as one, and weights that a small validation set can bear.

The mean of probabilities is the linear opinion pool (Stone, "The Opinion Pool", 1961), what deep ensembles
average (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017). Its log loss is convex in the weights, so there
is one best set of them; expectation maximisation climbs to it from equal weights, never leaves the simplex and
never gives equal members different shares (Jelinek and Mercer, "Interpolated estimation of Markov source
parameters from sparse data", 1980). There is one free number for each further model. The alternative is to select
greedily by the metric itself (Caruana et al., "Ensemble selection from libraries of models", ICML 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.data.stratify import stratify
from tagbox.metrics.multilabel import average_precision, mean_average_precision

Tables = Sequence[NDArray[np.float32]]

LEAST = 0.05
"""Part of an equal weight below which a model is left out: it would cost as much as the others for nothing."""
FLOOR = 1e-7
"""Least probability a model is taken to have given to what is true; float32 may say zero."""
STEPS = 1000
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Weights of M models, and what is known of their worth.

    Attributes
    ----------
    weights
        M floats >= 0 that sum to 1.
    report
        ``kept``: ``equal`` or ``fitted``, with the ``reason``. Where weights were fitted also ``images``,
        ``folds``, ``repeats``, ``judged_categories`` (those with as many positives as there are folds, which all
        mAPs here are of), ``equal``: the mAP with equal weights, and ``fitted``: ``weights`` (fitted on all images),
        ``tuned`` (their mAP on these), ``cross_fitted`` (fitted on the other folds, scored on the
        held-out one, pooled; mean of the repeats) and ``overstated``, the difference.
    """

    weights: tuple[float, ...]
    report: dict[str, Any]


def weighted_mean(tables: Tables, weights: Sequence[float] | None = None) -> NDArray[np.float32]:
    """The weighted mean of probabilities.

    Each entry depends on nothing but its own M values, so parts of a table give the same bits as the whole.

    Parameters
    ----------
    tables
        M tables (N, K) of floats in [0, 1].
    weights
        M numbers >= 0 that sum to 1; equal ones when not given.

    Returns
    -------
    NDArray[np.float32]
        (N, K) in [0, 1].
    """
    if weights is None:
        weights = equal_weights(len(tables))
    total = np.zeros(tables[0].shape)
    for table, weight in zip(tables, weights, strict=True):
        total += np.float64(weight) * table
    return total.astype(np.float32)


def equal_weights(count: int) -> tuple[float, ...]:
    """`count` times one over `count`."""
    return (1 / count,) * count


def fit_weights(truth: NDArray[np.int8], tables: Tables) -> tuple[float, ...]:
    """The weights with the least log loss on these images, nearly: see the module.

    With r the share of a model in the probability that the mean gives to what is true, each step sets a
    model's weight to its mean share over the known labels. A weight under `LEAST` of an equal one ends as 0.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown (left out).
    tables
        M tables (N, K) of probabilities.
    """
    known = truth != UNKNOWN
    present = truth[known] == PRESENT
    given = np.stack([np.where(present, t[known], 1 - t[known]) for t in tables])
    given = np.maximum(given.astype(np.float64), FLOOR)
    weights = np.array(equal_weights(len(tables)))
    for _ in range(STEPS if given.size else 0):
        before = weights
        weights = before * (given @ (1 / (before @ given))) / given.shape[1]
        weights /= weights.sum()
        if np.abs(weights - before).max() < TOLERANCE:
            break
    weights[weights < LEAST / len(tables)] = 0.0
    return tuple((weights / weights.sum()).tolist())


def choose_weights(
    truth: NDArray[np.int8],
    tables: Tables,
    *,
    seed: int = 0,
    folds: int = 5,
    repeats: int | None = None,
) -> Weighted:
    """Fitted weights where cross-fitting says that they rank better than equal ones, else those.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    tables
        M tables (N, K) of probabilities.
    seed
        Seed of the folds.
    folds, repeats
        Cross-fitting splits the images in `folds` parts, `repeats` times over; without `repeats`, four
        times up to 1,000 images and once above.
    """
    equal = equal_weights(len(tables))
    folds = max(2, min(folds, len(truth)))
    judged = (truth == PRESENT).sum(axis=0) >= folds
    if len(tables) == 1:
        return Weighted(weights=equal, report={"kept": "equal", "reason": "there is one model"})
    if not judged.any():
        reason = f"no category has the {folds} positives that {folds}-fold cross-fitting needs"
        return Weighted(weights=equal, report={"kept": "equal", "reason": reason})
    if repeats is None:
        repeats = 4 if len(truth) <= 1000 else 1

    def score(table: NDArray[np.float32]) -> float:
        ap = average_precision(truth[:, judged], table[:, judged])
        return mean_average_precision(ap) or 0.0

    fitted = fit_weights(truth, tables)
    crossed = [
        score(cross_fitted_mean(truth, tables, folds=folds, seed=seed + repeat))
        for repeat in range(repeats)
    ]
    plain, tuned, held_out = (
        score(weighted_mean(tables, equal)),
        score(weighted_mean(tables, fitted)),
        float(np.mean(crossed)),
    )
    helps = held_out > plain
    report = {
        "images": len(truth),
        "folds": folds,
        "repeats": repeats,
        "judged_categories": int(judged.sum()),
        "equal": plain,
        "fitted": {
            "weights": list(fitted),
            "tuned": tuned,
            "cross_fitted": held_out,
            "overstated": tuned - held_out,
        },
        "kept": "fitted" if helps else "equal",
        "reason": f"mAP cross-fitted over {int(judged.sum())} categories: "
        f"{held_out:.4f} fitted, {plain:.4f} equal",
    }
    return Weighted(weights=fitted if helps else equal, report=report)


def cross_fitted_mean(
    truth: NDArray[np.int8], tables: Tables, *, folds: int = 5, seed: int = 0
) -> NDArray[np.float32]:
    """(N, K): each image's weighted mean at weights that were fitted on the other folds."""
    folds = max(2, min(folds, len(truth)))
    part = stratify(truth, [1 / folds] * folds, seed)
    result = np.zeros(truth.shape, np.float32)
    for fold in np.unique(part):
        held = part == fold
        weights = fit_weights(truth[~held], [table[~held] for table in tables])
        result[held] = weighted_mean([table[held] for table in tables], weights)
    return result
