"""Tuning thresholds of labels, and measuring by cross-fitting how far tuning overstates the metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT
from tagbox.data.stratify import stratify
from tagbox.evaluation.threshold_search import (
    expit,
    logit,
    objective_value,
    search_per_category,
    search_scaled,
    smoothed_maximum,
)
from tagbox.metrics.multilabel import class_priors, count_labels
from tagbox.predictions.thresholds import SHRINKAGE, Mode, Thresholds

Array = NDArray[np.float64]

# Chosen, as `SHRINKAGE` was, on out-of-fold predictions of real images. Looser fits reach the same challenge F1 by
# predicting three times as many labels as there are.
WIDTH = 0.5
"""Neighbourhood over which the global objective is averaged, up to 500 images; see `smoothed_maximum`."""
JUDGED_SHARE, LEAST_GAIN = 0.5, 0.01
"""Per-category thresholds are kept where cross-fitting can judge this share of the categories, and they gain this much.

Kept on less (some of 80 categories, any gain) they cost up to 0.02 of micro F1 on images that nothing had seen.
"""
TUNED_MODES: tuple[Mode, Mode] = ("global", "per_category")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Tuned thresholds, and their metric under cross-fitting.

    Attributes
    ----------
    thresholds
        The thresholds, tuned on everything given.
    report
        ``objective``, ``images``, ``categories``, ``folds``, ``repeats``; ``judged_categories``: how many have
        at least as many positives as there are folds, which all metrics here are of; ``at_0.5``: the objective
        at 0.5; ``global`` and ``per_category``: ``tuned`` (on the images they were tuned on),
        ``cross_fitted`` (tuned on the other folds, scored on the held-out one, pooled; mean of the
        repeats), ``overstated`` (their difference); ``kept``: ``"global"`` or ``"per_category"``; ``reason``.
    """

    thresholds: Thresholds
    report: dict[str, Any]


def tune(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "micro_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    seed: int = 0,
    folds: int = 5,
    repeats: int | None = None,
    at_least_one: bool = False,
    top_k: int | None = None,
) -> Tuned:
    """Tune a global threshold and per-category thresholds for `objective`, and check both by cross-fitting.

    Both are regularised the more, the fewer images there are; see `SHRINKAGE` and `WIDTH`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    objective
        The metric to maximise.
    rates
        (K,) class priors of the training images; those of `truth` where None.
    seed
        Seed of the folds.
    folds, repeats
        Cross-fitting splits the images into `folds` folds, `repeats` times over; where `repeats` is None, four
        times up to 1,000 images and once above.
    at_least_one, top_k
        Fallbacks to put in the thresholds; the tuning itself does not see them.
    """
    if truth.shape != probabilities.shape or truth.ndim != 2:
        raise ValueError(
            f"truth {truth.shape} and probabilities {probabilities.shape}; (N, K) both"
        )
    if not (truth == PRESENT).any():
        thresholds = Thresholds(objective=objective, at_least_one=at_least_one, top_k=top_k)
        return Tuned(
            thresholds=thresholds,
            report={
                "objective": objective,
                "images": len(truth),
                "kept": "global",
                "reason": "no category is present in any image: nothing to tune on, 0.5 stays",
            },
        )
    probabilities = np.asarray(probabilities, np.float32)
    rates = class_priors(truth) if rates is None else rates
    fitted = _fit(truth, probabilities, objective, rates)
    report = _cross_fit(truth, probabilities, fitted, rates, folds, repeats, seed)
    kept = replace(
        fitted,
        use_per_category=report["kept"] == "per_category",
        at_least_one=at_least_one,
        top_k=top_k,
    )
    return Tuned(thresholds=kept, report=report)


def _fit(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    objective: Objective,
    rates: NDArray[np.float64],
) -> Thresholds:
    """The global threshold and the per-category ones, fitted on these images.

    The threshold that is best for a category's own images is averaged, in log-odds, with the one that follows from its
    prior (`search_scaled`), weighted by its positives against `SHRINKAGE`: three positives cannot bear a threshold.
    """
    width = WIDTH * min(1.0, (500 / len(truth)) ** 0.5)
    value = smoothed_maximum(truth, probabilities, objective, width)
    own = search_per_category(truth, probabilities, objective, value)
    scaled = search_scaled(truth, probabilities, objective, rates)
    support = (truth == PRESENT).sum(axis=0)
    share = support / (support + SHRINKAGE)
    mixed = expit(share * logit(own) + (1 - share) * logit(scaled))
    return Thresholds(
        value=float(np.float32(value)),
        per_category=tuple(map(float, mixed.astype(np.float32))),
        objective=objective,
    )


def fold_setup(
    truth: NDArray[np.int8], folds: int, repeats: int | None
) -> tuple[int, int, NDArray[np.bool_]]:
    """The number of folds and of repeats that these images allow, and the (K,) categories to compute metrics of.

    A category with fewer positives than folds has none in some of the parts that are fitted on, and the fit there is
    not the one on all images: cross-fitting cannot evaluate it, and in a mean over categories it would drown the rest.
    """
    folds = max(2, min(folds, len(truth)))
    if repeats is None:
        repeats = 4 if len(truth) <= 1000 else 1
    return folds, repeats, (truth == PRESENT).sum(axis=0) >= folds


def held_out_folds(truth: NDArray[np.int8], folds: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """(N,) bool masks of stratified folds; every image is in one of them."""
    folds = max(2, min(folds, len(truth)))
    fold_of = stratify(truth, [1 / folds] * folds, seed)
    for fold in np.unique(fold_of):
        yield fold_of == fold


def cross_fitted_decisions(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "micro_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> dict[Mode, NDArray[np.bool_]]:
    """Predicted labels of each image at thresholds that were tuned on the other folds.

    Returns
    -------
    dict
        ``"global"`` and ``"per_category"``, (N, K) bool each. A single image is decided at 0.5.
    """
    decisions = {mode: np.zeros(truth.shape, bool) for mode in TUNED_MODES}
    for held_out in held_out_folds(truth, folds, seed):
        thresholds = Thresholds(per_category=(0.5,) * truth.shape[1], objective=objective)
        others = truth[~held_out]
        if (others == PRESENT).any():
            fitted_on = np.asarray(probabilities[~held_out], np.float32)
            priors = class_priors(others) if rates is None else rates
            thresholds = _fit(others, fitted_on, objective, priors)
        for mode in TUNED_MODES:
            decisions[mode][held_out] = thresholds.decide(probabilities[held_out], mode)
    return decisions


def _cross_fit(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    fitted: Thresholds,
    rates: NDArray[np.float64],
    folds: int,
    repeats: int | None,
    seed: int,
) -> dict[str, Any]:
    """`Tuned.report` of thresholds `fitted` on all these images."""
    objective = fitted.objective
    folds, repeats, evaluated = fold_setup(truth, folds, repeats)
    report: dict[str, Any] = {
        "objective": objective,
        "images": len(truth),
        "categories": truth.shape[1],
        "judged_categories": int(evaluated.sum()),
        "folds": folds,
        "repeats": repeats,
    }
    if not evaluated.any():
        reason = f"no category has the {folds} positives that {folds}-fold cross-fitting needs"
        return report | {"kept": "global", "reason": reason}

    def metric(decisions: NDArray[np.bool_]) -> float:
        there, predicted = truth[:, evaluated], decisions[:, evaluated]
        return float(objective_value(objective, there, predicted, count_labels(there, predicted)))

    crossed: dict[Mode, list[float]] = {mode: [] for mode in TUNED_MODES}
    for repeat in range(repeats):
        decisions = cross_fitted_decisions(
            truth, probabilities, objective, rates=rates, folds=folds, seed=seed + repeat
        )
        for mode in TUNED_MODES:
            crossed[mode].append(metric(decisions[mode]))
    report["at_0.5"] = metric(fitted.decide(probabilities, 0.5))
    for mode in TUNED_MODES:
        tuned = metric(fitted.decide(probabilities, mode))
        cross_fitted = float(np.mean(crossed[mode]))
        report[mode] = {
            "tuned": tuned,
            "cross_fitted": cross_fitted,
            "overstated": tuned - cross_fitted,
        }
    shared, own = (report[mode]["cross_fitted"] for mode in TUNED_MODES)
    judged, categories = report["judged_categories"], report["categories"]
    enough = judged >= JUDGED_SHARE * categories
    report["kept"] = "per_category" if enough and own > shared + LEAST_GAIN else "global"
    report["reason"] = (
        f"{objective} cross-fitted over {judged} categories: "
        f"{own:.4f} per category, {shared:.4f} global"
    )
    if own > shared and not enough:
        report["reason"] += f"; only {judged} of {categories} categories have {folds} positives"
    elif own > shared and report["kept"] == "global":
        report["reason"] += f"; a gain of {LEAST_GAIN} or less is chance"
    return report
