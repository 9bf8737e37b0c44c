"""Where a detector goes wrong: precision-recall and score curves, TIDE error types, confusion matrix, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.coco_ground_truth import GroundTruth
from tagbox.evaluation.coco_metrics import RECALLS, BoxScores, hotcoco_pair
from tagbox.metrics.multilabel import ratio
from tagbox.predictions.predictions import Detections

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class RecallCurves:
    """COCO's interpolated precision at 101 recalls; a category's mean over them is its AP.

    Attributes
    ----------
    recall
        (101,) from 0 to 1.
    at_50, over_ious
        (101,) precision at an IoU of 0.5, and its mean over the IoUs 0.5 to 0.95; means over the categories with
        a box to find, NaN where there is none.
    """

    recall: Array
    at_50: Array
    over_ious: Array


def recall_curves(scores: BoxScores) -> RecallCurves:
    """The interpolated precision-recall curves of `scores`."""
    table = scores.values("ap")[:, :, scores.columns]
    there = (table > -1).all(axis=(0, 1))
    empty = np.full(len(RECALLS), np.nan)
    return RecallCurves(
        recall=RECALLS,
        at_50=table[0][:, there].mean(axis=1) if there.any() else empty,
        over_ious=table[:, :, there].mean(axis=(0, 2)) if there.any() else empty,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreCurve:
    """Precision, recall and F1 at an IoU of 0.5 against the score threshold.

    Attributes
    ----------
    scores
        (S,) thresholds, descending.
    precision, recall, f1
        (S,) of the detections at or above each; 0 where the denominator is 0.
    """

    scores: Array
    precision: Array
    recall: Array
    f1: Array


def score_curve(matches: Matches, points: int = 201) -> ScoreCurve:
    """Precision, recall and F1 of all detections against the score threshold.

    Parameters
    ----------
    matches
        Outcomes of the detections.
    points
        At most so many thresholds, evenly through the detections.
    """
    counted = ~matches.ignored[0]
    scores, correct = matches.scores[counted], matches.right[0][counted]
    boxes = int(matches.positives.sum())
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(correct[order])
    # A threshold does not divide a tie, so only the last detection of each score is a point.
    last_of_tie = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, bool)
    ends = np.flatnonzero(last_of_tie)
    if len(ends) > points:
        ends = ends[np.linspace(0, len(ends) - 1, points).round().astype(np.intp)]
    predicted, hit = ends + 1, hits[ends]
    return ScoreCurve(
        scores=scores[ends],
        precision=ratio(hit, predicted),
        recall=ratio(hit, np.full(len(ends), boxes)),
        f1=ratio(2 * hit, predicted + boxes),
    )


def counts_at(matches: Matches, levels: Array) -> dict[str, NDArray[np.int64]]:
    """(K,) int64 ``tp``, ``fp``, ``fn`` at an IoU of 0.5 and at per-category score thresholds `levels` (K,)."""
    predicted = ~matches.ignored[0] & (matches.scores >= levels[matches.category_rows])
    correct = predicted & matches.right[0]
    tp, total = (
        np.bincount(matches.category_rows[mask], minlength=len(levels)).astype(np.int64)
        for mask in (correct, predicted)
    )
    return {"tp": tp, "fp": total - tp, "fn": matches.positives - tp}


def rates(tp: Any, fp: Any, fn: Any) -> dict[str, Array]:
    """``precision``, ``recall``, ``f1`` of counts; a ratio with the denominator 0 is 0."""
    return {
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


ERRORS = {
    "Cls": "category",
    "Loc": "location",
    "Both": "both",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
"""TIDE's names of the error types, and those of the JSON."""


def error_types(scores: BoxScores, matches: Matches) -> dict[str, dict[str, float | int]]:
    """TIDE error types: ``ap50``, the gain in AP at an IoU of 0.5 if the errors were corrected, and their ``count``.

    Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors* (ECCV 2020); a detection of the
    right category with an IoU from 0.1 to 0.5 is a location error. The types are sorted by the gain;
    ``false_positives`` and ``false_negatives`` after them are TIDE's special errors, all false detections and all
    missed boxes together.
    """
    found = scores.evaluator.tide_errors(pos_thr=0.5, bg_thr=0.1)
    rows = {
        name: {"ap50": float(found["delta_ap"][key]), "count": int(found["counts"][key])}
        for key, name in ERRORS.items()
    }
    right = int(matches.right[0].sum())
    wrong = int((~matches.ignored[0]).sum()) - right
    missed = int(matches.positives.sum()) - right
    return dict(sorted(rows.items(), key=lambda row: -row[1]["ap50"])) | {
        "false_positives": {"ap50": float(found["delta_ap"]["FP"]), "count": wrong},
        "false_negatives": {"ap50": float(found["delta_ap"]["FN"]), "count": missed},
    }


def confusion_matrix(truth: GroundTruth, detections: Detections) -> list[list[int]]:
    """(K+1, K+1) counts: rows are true categories, columns predicted ones; the last of each is the background.

    Parameters
    ----------
    truth
        The boxes.
    detections
        Those at or above their score thresholds; with all of them the last row would drown the others.

    Returns
    -------
    list of list of int
        In the dataset's order of categories. Boxes and detections are paired by overlap of 0.5 or more
        whatever their category; a box that pairs with none is in the last column, a detection in the last row.
    """
    from hotcoco import COCOeval

    found = COCOeval(*hotcoco_pair(truth, detections), "bbox").confusion_matrix(iou_thr=0.5)[
        "matrix"
    ]
    order = np.append(truth.category_numbers() - 1, len(truth.dataset.categories))
    return [[int(count) for count in row] for row in np.asarray(found)[np.ix_(order, order)]]


def calibration(scores: BoxScores, bins: int = 10) -> dict[str, Any]:
    """Calibration at an IoU of 0.5: whether 8 of 10 detections with a score of 0.8 are right.

    Returns
    -------
    dict
        ``error`` (expected calibration error), ``largest`` (the error of the worst bin), ``detections`` and ``bins``:
        of each bin with detections ``low`` and ``high``, ``count``, mean ``score`` and share ``right``.
    """
    found = scores.evaluator.calibration(n_bins=bins, iou_threshold=0.5)
    return {
        "error": float(found["ece"]),
        "largest": float(found["mce"]),
        "detections": int(found["num_detections"]),
        "bins": [
            {
                "low": float(part["bin_lower"]),
                "high": float(part["bin_upper"]),
                "count": int(part["count"]),
                "score": float(part["avg_confidence"]),
                "right": float(part["avg_accuracy"]),
            }
            for part in found["bins"]
            if part["count"]
        ],
    }
