"""Tuning thresholds, and saying by cross-fitting how much the tuning flatters itself.

From which score on a detection had best be said: one cut a category, chosen for the best F1.

AP looks at every detection, a picture shows those above a cut. The cut is where F1 at an IoU of 0.5 is
greatest on validation images. The best cut of a category with three boxes is luck, so each category's own is
averaged with the cut that is best for all of them together, weighted by its boxes against `SCORE_SHRINKAGE`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT
from tagbox.data.stratify import stratify
from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.class_priors import class_priors, search_scaled
from tagbox.evaluation.threshold_search import (
    expit,
    logit,
    objective_value,
    search_per_category,
    smoothed_maximum,
)
from tagbox.metrics.multilabel import count_labels
from tagbox.predictions.thresholds import Mode, ScoreThresholds, Thresholds

Array = NDArray[np.float64]

SCORE_SHRINKAGE = 20.0
"""Boxes of a category at which its own cut and the one for all weigh the same; as for thresholds of labels."""


def tune_score_thresholds(matches: Matches) -> ScoreThresholds:
    """The cuts of best F1 at an IoU of 0.5 on these very images.

    A category without a box to find keeps the cut for all; without any detection to cut that is 0.5.
    """
    counted = ~matches.ignored[0]
    right = matches.right[0]
    positives = matches.positives
    for_all = _best_cut(matches.scores[counted], right[counted], int(positives.sum()))
    if for_all is None:
        return ScoreThresholds()
    levels = []
    for row, boxes in enumerate(positives.tolist()):
        part = matches.of_category(row)
        rows = counted[part]
        own = _best_cut(matches.scores[part][rows], right[part][rows], boxes)
        if own is None:
            levels.append(for_all)
        else:
            levels.append((boxes * own + SCORE_SHRINKAGE * for_all) / (boxes + SCORE_SHRINKAGE))
    return ScoreThresholds(value=for_all, per_category=tuple(levels))


def _best_cut(scores: Array, right: NDArray[np.bool_], positives: int) -> float | None:
    """Midway between the last score said and the first not said where F1 is greatest; None without a hit."""
    if not positives or not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    said = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(right) / (said + positives)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # A cut does not divide a tie.
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else scores[best]
    cut = float((scores[best] + below) / 2)
    # Of two neighbouring floats the mean is one of the two.
    return cut if cut > below else float(scores[best])


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
    rates = class_priors(truth) if rates is None else rates
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
            known_rates = class_priors(truth[~held]) if rates is None else rates
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
        tuned, held_out = (
            score(fitted.decide(probabilities, mode)),
            float(np.mean(crossed[mode])),
        )
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
