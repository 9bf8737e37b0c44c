"""Evaluation of a detector as one JSON object; `docs/evaluate-json.md` documents its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.evaluation.box_matching import Matches, match_boxes
from tagbox.evaluation.coco_ground_truth import GroundTruth, ground_truth
from tagbox.evaluation.coco_metrics import BoxScores, category_scores, score_boxes, twelve_numbers
from tagbox.evaluation.detection_analysis import (
    calibration,
    confusion_matrix,
    counts_at,
    error_types,
    rates,
    recall_curves,
    score_curve,
)
from tagbox.evaluation.detection_intervals import box_intervals
from tagbox.evaluation.diagnose_ap import diagnose_ap
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import SHRINKAGE, ScoreThresholds

NO_DETECTIONS = "there is no detection"


def tune_score_thresholds(matches: Matches) -> ScoreThresholds | None:
    """Select per-category score thresholds that maximise F1 at an IoU of 0.5 on these images.

    The best threshold of a category with three boxes is chance, so each category's own is averaged with the one that
    is best for all categories together: with n boxes, ``(n · own + s · shared) / (n + s)``, s = `SHRINKAGE`. A category
    without a box to find keeps the shared one. None where no detection finds a box: any threshold is as good.
    """
    counted = ~matches.ignored[0]
    correct = matches.right[0]
    positives = matches.positives
    shared = _best_score_threshold(matches.scores[counted], correct[counted], int(positives.sum()))
    if shared is None:
        return None
    levels = []
    for category, boxes in enumerate(positives.tolist()):
        part = matches.of_category(category)
        rows = counted[part]
        own = _best_score_threshold(matches.scores[part][rows], correct[part][rows], boxes)
        if own is None:
            levels.append(shared)
        else:
            levels.append((boxes * own + SHRINKAGE * shared) / (boxes + SHRINKAGE))
    return ScoreThresholds(value=shared, per_category=tuple(levels))


def _best_score_threshold(
    scores: NDArray[np.float64], correct: NDArray[np.bool_], positives: int
) -> float | None:
    """The threshold of greatest F1, midway between two scores; None without a correct detection."""
    if not positives or not correct.any():
        return None
    # By descending score, a threshold after the i-th detection keeps i of them, so that all candidates' true
    # positives are one running sum: F1 = 2·TP / (predicted + positives).
    order = np.argsort(-scores, kind="stable")
    scores, correct = scores[order], correct[order]
    predicted = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(correct) / (predicted + positives)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # A threshold does not divide a tie.
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else scores[best]
    threshold = float((scores[best] + below) / 2)
    # The mean of two neighbouring floats is one of the two.
    return threshold if threshold > below else float(scores[best])


@checked_arguments
def evaluate_boxes(
    dataset: Dataset,
    detections: Detections,
    *,
    cuts: ScoreThresholds | None = None,
    intervals: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Score detections against a dataset's boxes.

    Parameters
    ----------
    dataset
        The truth; images that are not annotated are left out, those annotated as empty are not.
    detections
        Aligned with it (`tagbox.predictions.alignment`); scores of any scale.
    cuts
        The model's score thresholds in the dataset's order of categories, which ``at_cuts`` and ``confusion`` are at;
        where None, those of best F1 on these very images, and ``cuts.source`` is ``found here``; ``default`` where no
        detection finds a box.
    intervals
        Whether to compute intervals of ``ap``, ``ap50`` and ``ap75``.
    seed
        Of the groups of images that the intervals leave out in turn.

    Returns
    -------
    dict
        Plain JSON values, no NaN. What cannot be computed is null or missing, and named with the reason under
        ``absent``.

    Raises
    ------
    TagboxError
        ``nothing-labelled``, ``no-boxes``; ``score-cuts-invalid`` for thresholds of another number of categories.
    """
    truth = ground_truth(dataset)
    scores = score_boxes(truth, detections)
    matches = match_boxes(truth, detections)
    numbers, absent = twelve_numbers(scores)
    tuned = tune_score_thresholds(matches) if cuts is None else None
    source = "given" if cuts is not None else "default" if tuned is None else "found here"
    used = cuts or tuned or ScoreThresholds()
    levels = used.levels(len(dataset.categories))
    in_images = truth.scored[detections.image_rows]
    result: dict[str, Any] = {
        "task": "detection",
        "images": int(truth.scored.sum()),
        "categories": len(dataset.categories),
        "boxes": int(truth.support.sum()),
        "crowd_regions": int(truth.crowd.sum()),
        "detections": int(in_images.sum()),
        "empty_images": int(truth.scored.sum() - len(np.unique(detections.image_rows[in_images]))),
        "no_support": [
            name
            for name, count in zip(dataset.categories.names, truth.support, strict=True)
            if not count
        ],
        **numbers,
        "cuts": used.to_dict() | {"source": source},
        "at_cuts": _at_cuts(matches, levels),
        "per_category": _category_table(scores, matches, levels),
        "errors": error_types(scores, matches, detections),
        "confusion": _confusion(truth, detections, used),
        "curves": _curves(scores, matches),
    }
    inside = (detections.scores >= 0) & (detections.scores <= 1)
    if not inside.all():
        absent["calibration"] = "scores are not all from 0 to 1, so they are no probabilities"
    elif not in_images.any():
        absent["calibration"] = NO_DETECTIONS
    else:
        result["calibration"] = calibration(scores)
    if intervals:
        result["intervals"] = box_intervals(matches, seed=seed)
        if not result["intervals"]:
            absent["intervals"] = "they need two images, and boxes in more than one group of images"
    result["repairs"] = [repair.to_dict() for repair in truth.repairs]
    result["reasons"] = diagnose_ap(truth, detections, numbers["ap50"])
    if source == "default":
        result["reasons"].append(
            f"No detection finds a box, so no score threshold was tuned: {used.value} is no choice."
        )
    return result | {"absent": absent}


def box_headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics to show first, those that there are."""
    keys = ("ap", "ap50", "ap75", "ar100")
    return {key: result[key] for key in keys if result.get(key) is not None}


def _at_cuts(matches: Matches, levels: Any) -> dict[str, Any]:
    """Precision, recall and F1 of all detections together, and the mean F1 over categories with a box to find."""
    counts = counts_at(matches, levels)
    total = {name: int(column.sum()) for name, column in counts.items()}
    overall = {name: float(value) for name, value in rates(**total).items()}
    there = matches.positives > 0
    f1 = rates(**counts)["f1"][there]
    return overall | {"macro_f1": float(f1.mean()) if len(f1) else None, **total}


def _category_table(scores: BoxScores, matches: Matches, levels: Any) -> list[dict[str, Any]]:
    counts = counts_at(matches, levels)
    shares = rates(**counts)
    rows = category_scores(scores)
    for row, values in enumerate(rows):
        values["cut"] = float(levels[row])
        values |= {name: float(column[row]) for name, column in shares.items()}
        values |= {name: int(column[row]) for name, column in counts.items()}
    return rows


def _confusion(
    truth: GroundTruth, detections: Detections, thresholds: ScoreThresholds
) -> dict[str, Any]:
    names = [*truth.dataset.categories.names, "background"]
    shown = detections.take(thresholds.decide(detections))
    return {"names": names, "matrix": confusion_matrix(truth, shown)}


def _curves(scores: BoxScores, matches: Matches) -> dict[str, Any]:
    recall = recall_curves(scores)
    score = score_curve(matches)
    return {
        "recall": recall.recall.tolist(),
        "precision_at_50": _numbers(recall.at_50),
        "precision_over_ious": _numbers(recall.over_ious),
        "scores": score.scores.tolist(),
        "score_precision": score.precision.tolist(),
        "score_recall": score.recall.tolist(),
        "score_f1": score.f1.tolist(),
    }


def _numbers(values: Any) -> list[float] | None:
    """A list of numbers; None for a curve without any category."""
    return None if np.isnan(values).any() else values.tolist()
