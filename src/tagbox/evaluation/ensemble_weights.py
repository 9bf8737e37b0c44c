"""Weights of an ensemble's members, fitted on validation images and kept where cross-fitting shows that they help.

Combination is the linear opinion pool, the weighted mean of probabilities (Stone, "The Opinion Pool", 1961), with
equal weights what deep ensembles average (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017). Its log loss is convex
in the weights, and expectation maximisation from equal weights climbs to the optimum, stays on the simplex and never
gives equal members different weights (Jelinek and Mercer, "Interpolated estimation of Markov source parameters from
sparse data", 1980). Each further model adds one free parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.evaluation.tuning import fold_setup, held_out_folds
from tagbox.metrics.multilabel import average_precision, mean_average_precision
from tagbox.predictions.predictions import equal_weights, weighted_mean

Tables = Sequence[NDArray[np.float32]]

LEAST = 0.05
"""Part of an equal weight below which a model is left out: it costs as much time as the others and adds nothing."""
FLOOR = 1e-7
"""Least probability that the likelihood takes a model to give to the true label; in float32 it may be zero."""
STEPS = 1000
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Weights of M models, and their mAP under cross-fitting.

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


def fit_weights(truth: NDArray[np.int8], tables: Tables) -> tuple[float, ...]:
    """The weights with nearly the least log loss on these images, by expectation maximisation.

    With ``p_m`` the probability that model m gives to the true value of a known label, the responsibility of model m for it
    is ``w_m · p_m / Σ w · p`` (E step), and its new weight is the mean of its responsibilities over the known labels
    (M step). A weight under `LEAST` of an equal one ends as 0.

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
    """Fitted weights where their cross-fitted mAP is above that of equal weights, else equal ones.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    tables
        M tables (N, K) of probabilities.
    seed
        Seed of the folds.
    folds, repeats
        Cross-fitting splits the images into `folds` folds, `repeats` times over; where `repeats` is None, four
        times up to 1,000 images and once above.
    """
    equal = equal_weights(len(tables))
    if len(tables) == 1:
        return Weighted(weights=equal, report={"kept": "equal", "reason": "there is one model"})
    folds, repeats, evaluated = fold_setup(truth, folds, repeats)
    if not evaluated.any():
        reason = f"no category has the {folds} positives that {folds}-fold cross-fitting needs"
        return Weighted(weights=equal, report={"kept": "equal", "reason": reason})

    def metric(table: NDArray[np.float32]) -> float:
        ap = average_precision(truth[:, evaluated], table[:, evaluated])
        return mean_average_precision(ap) or 0.0

    fitted = fit_weights(truth, tables)
    cross_fitted = float(
        np.mean(
            [
                metric(cross_fitted_mean(truth, tables, folds=folds, seed=seed + repeat))
                for repeat in range(repeats)
            ]
        )
    )
    plain, tuned = (metric(weighted_mean(tables, weights)) for weights in (equal, fitted))
    helps = cross_fitted > plain
    report = {
        "images": len(truth),
        "folds": folds,
        "repeats": repeats,
        "judged_categories": int(evaluated.sum()),
        "equal": plain,
        "fitted": {
            "weights": list(fitted),
            "tuned": tuned,
            "cross_fitted": cross_fitted,
            "overstated": tuned - cross_fitted,
        },
        "kept": "fitted" if helps else "equal",
        "reason": f"mAP cross-fitted over {int(evaluated.sum())} categories: "
        f"{cross_fitted:.4f} fitted, {plain:.4f} equal",
    }
    return Weighted(weights=fitted if helps else equal, report=report)


def cross_fitted_mean(
    truth: NDArray[np.int8], tables: Tables, *, folds: int = 5, seed: int = 0
) -> NDArray[np.float32]:
    """(N, K) float32: each image's weighted mean, with weights fitted on the other folds."""
    result = np.zeros(truth.shape, np.float32)
    for held_out in held_out_folds(truth, folds, seed):
        weights = fit_weights(truth[~held_out], [table[~held_out] for table in tables])
        result[held_out] = weighted_mean([table[held_out] for table in tables], weights)
    return result
