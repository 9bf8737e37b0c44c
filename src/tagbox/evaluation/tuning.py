"""Tuning thresholds, and saying by cross-fitting how much the tuning flatters itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT
from tagbox.data.stratify import stratify
from tagbox.evaluation.base_rates import base_rate, search_scaled
from tagbox.evaluation.label_metrics import count_labels
from tagbox.evaluation.threshold_search import (
    expit,
    logit,
    objective_value,
    search_per_category,
    smoothed_maximum,
)
from tagbox.evaluation.thresholds import Mode, Thresholds

TUNED_MODES: tuple[Mode, Mode] = ("global", "per_category")

# Both were chosen on out-of-fold predictions of real pictures. Looser fits reach the same challenge F1
# by saying three times as many labels as there are.
SHRINKAGE = 20.0
"""Positives of a category at which its own threshold and the one by its base rate weigh the same."""
WIDTH = 0.5
"""Neighbourhood over which the global objective is averaged, up to 500 images; see `smoothed_maximum`."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Tuned thresholds and what cross-fitting says of them.

    Attributes
    ----------
    thresholds
        The thresholds, tuned on everything given.
    report
        ``objective``, ``images``, ``categories``, ``folds``, ``repeats``; ``judged_categories``: how many have
        at least as many positives as there are folds, the ones the figures are of; ``at_0.5``: the objective
        at 0.5; ``global`` and ``per_category``: ``tuned`` (on the images they were tuned on),
        ``cross_fitted`` (tuned on the other folds, scored on the held-out one, pooled; mean of the
        repeats), ``overstated`` (their difference); ``kept``: ``"global"`` or ``"per_category"``; ``reason``.
    """

    thresholds: Thresholds
    report: dict[str, Any]


def tune(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "challenge_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    seed: int = 0,
    folds: int = 5,
    repeats: int | None = None,
    at_least_one: bool = False,
    top_k: int | None = None,
) -> Tuned:
    """Tune a global threshold and one a category for `objective`, and check both by cross-fitting.

    Both are held back as far as the images are few; see `SHRINKAGE` and `WIDTH`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    objective
        The metric to maximise.
    rates
        (K,) base rates of the training images; without them those of `truth` serve.
    seed
        Seed of the folds.
    folds, repeats
        Cross-fitting splits the images in `folds` parts, `repeats` times over; without `repeats`, four
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
    rates = base_rate(truth) if rates is None else rates
    fitted = _fit(truth, probabilities, objective, rates)
    if repeats is None:
        repeats = 4 if len(truth) <= 1000 else 1
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
    """Both kinds of thresholds, held back as far as the images are few.

    A category with three positives has no use for the threshold that is best on those three: what
    suits its own images is drawn, in log-odds, towards the threshold in proportion to a power of its
    base rate, the more so the fewer positives it has.
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


def cross_fitted_decisions(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "challenge_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> dict[Mode, NDArray[np.bool_]]:
    """What thresholds tuned on the other folds say of each image: decisions that no tuning has seen.

    Returns
    -------
    dict
        ``"global"`` and ``"per_category"``, (N, K) bool each. One image alone is judged at 0.5.
    """
    said = {mode: np.zeros(truth.shape, bool) for mode in TUNED_MODES}
    folds = max(2, min(folds, len(truth)))
    part = stratify(truth, [1 / folds] * folds, seed)
    for fold in np.unique(part):
        held = part == fold
        other = Thresholds(per_category=(0.5,) * truth.shape[1], objective=objective)
        if (truth[~held] == PRESENT).any():
            seen = np.asarray(probabilities[~held], np.float32)
            known_rates = base_rate(truth[~held]) if rates is None else rates
            other = _fit(truth[~held], seen, objective, known_rates)
        for mode in TUNED_MODES:
            said[mode][held] = other.decide(probabilities[held], mode)
    return said


def _cross_fit(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    fitted: Thresholds,
    rates: NDArray[np.float64],
    folds: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    objective = fitted.objective
    folds = max(2, min(folds, len(truth)))
    # A category with fewer positives than folds has none in some tuning side, and its thresholds there are not
    # those that tuning on everything gives: it cannot be judged this way, and would drown the rest.
    judged = (truth == PRESENT).sum(axis=0) >= folds

    def score(said: NDArray[np.bool_]) -> float:
        seen, claimed = truth[:, judged], said[:, judged]
        return float(objective_value(objective, seen, claimed, count_labels(seen, claimed)))

    crossed: dict[Mode, list[float]] = {mode: [] for mode in TUNED_MODES}
    for repeat in range(repeats if judged.any() else 0):
        said = cross_fitted_decisions(
            truth, probabilities, objective, rates=rates, folds=folds, seed=seed + repeat
        )
        for mode in TUNED_MODES:
            crossed[mode].append(score(said[mode]))
    report: dict[str, Any] = {
        "objective": objective,
        "images": len(truth),
        "categories": truth.shape[1],
        "judged_categories": int(judged.sum()),
        "folds": folds,
        "repeats": repeats,
    }
    if not judged.any():
        reason = f"no category has the {folds} positives that {folds}-fold cross-fitting needs"
        return report | {"kept": "global", "reason": reason}
    report["at_0.5"] = score(fitted.decide(probabilities, 0.5))
    for mode in TUNED_MODES:
        tuned, held_out = score(fitted.decide(probabilities, mode)), float(np.mean(crossed[mode]))
        report[mode] = {
            "tuned": tuned,
            "cross_fitted": held_out,
            "overstated": tuned - held_out,
        }
    one, many = (report[mode]["cross_fitted"] for mode in TUNED_MODES)
    helps = many > one
    report["kept"] = "per_category" if helps else "global"
    report["reason"] = (
        f"{objective} cross-fitted over {report['judged_categories']} categories: "
        f"{many:.4f} per category, {one:.4f} global"
    )
    return report
