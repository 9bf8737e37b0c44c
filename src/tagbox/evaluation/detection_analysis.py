"""Where a detector goes wrong: precision-recall and score curves, TIDE error types, confusion matrix, calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches, match_boxes, overlapping
from tagbox.evaluation.coco_ground_truth import GroundTruth
from tagbox.evaluation.coco_metrics import RECALLS, BoxScores
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


LOCATED, OVERLAPS = 0.5, 0.1
"""IoU of a right detection, and the least one at which a detection is about a box at all."""


def error_types(
    scores: BoxScores, matches: Matches, detections: Detections
) -> dict[str, dict[str, float | int]]:
    """TIDE error types: ``ap50``, the gain in AP at an IoU of 0.5 if the errors were corrected, and their ``count``.

    Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors* (ECCV 2020); a detection of the
    right category with an IoU from 0.1 to 0.5 is a location error. The types are sorted by the gain;
    ``false_positives`` and ``false_negatives`` after them are TIDE's special errors, all false detections and all
    missed boxes together.

    As in the authors' tidecv, a missed box is corrected by taking it out of the boxes to find, and a category left
    without boxes and detections is out of the mean. On purpose the gains are measured against COCO's AP, which tidecv's
    base differs from in three ways: it averages over categories that have false detections but no box, with an AP of
    0; keeps 100 detections of an image over all categories; and files detections in crowd regions among the errors.
    """
    found = scores.evaluator.tide_errors(pos_thr=LOCATED, bg_thr=OVERLAPS)
    gains = {key: float(gain) for key, gain in found["delta_ap"].items()}
    detected = np.bincount(
        matches.category_rows[~matches.ignored[0]], minlength=len(matches.positives)
    )
    silent = (matches.positives > 0) & (detected == 0)
    if silent.any():
        base, there = float(found["ap_base"]), int(np.count_nonzero(matches.positives))
        for key, gone in (
            ("FN", silent),
            ("Miss", silent & ~_called_otherwise(matches, detections, silent)),
        ):
            left = there - int(gone.sum())
            # hotcoco's mean still holds an AP of 0 for each category that is gone.
            gains[key] = ((base + gains[key]) * there / left if left else 1.0) - base
    rows = {
        name: {"ap50": gains[key], "count": int(found["counts"][key])}
        for key, name in ERRORS.items()
    }
    right = int(matches.right[0].sum())
    wrong = int((~matches.ignored[0]).sum()) - right
    missed = int(matches.positives.sum()) - right
    return dict(sorted(rows.items(), key=lambda row: -row[1]["ap50"])) | {
        "false_positives": {"ap50": gains["FP"], "count": wrong},
        "false_negatives": {"ap50": gains["FN"], "count": missed},
    }


def _called_otherwise(
    matches: Matches, detections: Detections, silent: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(K,) bool; of the categories in `silent` those with a box that a detection finds under another category.

    Such a box counts as a category error, not as missed: the detection is false, is not one of its own category
    badly placed, and of the boxes of other categories overlaps this one most, with an IoU of 0.5 or more.
    """
    truth = matches.truth
    named = np.zeros(len(silent), bool)
    wanted = matches.counted & silent[truth.category_rows]
    in_image = np.bincount(truth.image_rows[wanted], minlength=len(truth.scored)) > 0
    columns = np.flatnonzero(~matches.right[0] & ~matches.ignored[0] & in_image[matches.image_rows])
    own = np.zeros(len(columns))
    target = np.full(len(columns), -1)
    images = truth.image_rows.astype(np.int64)
    for detection, box, iou in overlapping(
        detections.boxes[matches.rows[columns]],
        matches.image_rows[columns].astype(np.int64),
        truth,
        images,
        OVERLAPS,
    ):
        counted = matches.counted[box]
        same = truth.category_rows[box] == matches.category_rows[columns[detection]]
        np.maximum.at(own, detection[counted & same], iou[counted & same])
        # Ascending, so that the last one assigned is the largest; of equal ones the first box.
        order = np.lexsort((-box, iou))
        order = order[(counted & ~same & (iou >= LOCATED))[order]]
        target[detection[order]] = box[order]
    target = target[(own < OVERLAPS) | (own > LOCATED)]
    target = target[target >= 0]
    named[truth.category_rows[target[wanted[target]]]] = True
    return named


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
        In the dataset's order of categories. A box is paired with a detection of its own category first, as COCO
        does at an IoU of 0.5, so that the diagonal holds the true positives. What is left is paired whatever the
        category, the highest score first. A box that pairs with none is in the last column, a detection in the last
        row; one in a crowd region of its category is in neither. All detections count, however many in an image.
    """
    ious, count = np.array([LOCATED]), len(truth.dataset.categories)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    own = match_boxes(truth, detections, ious=ious, most=None)
    right = own.right[0]
    np.add.at(matrix, (own.category_rows[right],) * 2, 1)
    free = own.counted.copy()
    free[own.found[0, right]] = False
    boxes = np.flatnonzero(free)
    rest = detections.take(np.sort(own.rows[~right & ~own.ignored[0]]))
    # One category for all, so that only the overlap counts.
    left = replace(
        truth,
        image_rows=truth.image_rows[boxes],
        category_rows=np.zeros(len(boxes), np.int32),
        boxes=truth.boxes[boxes],
        areas=truth.areas[boxes],
        crowd=truth.crowd[boxes],
    )
    other = match_boxes(
        left, replace(rest, category_rows=np.zeros_like(rest.category_rows)), ious=ious, most=None
    )
    box_rows = np.append(truth.category_rows[boxes], count)[other.found[0]]
    np.add.at(matrix, (box_rows, rest.category_rows[other.rows]), 1)
    lost = np.ones(len(boxes), bool)
    lost[other.found[0][other.found[0] >= 0]] = False
    matrix[:-1, -1] = np.bincount(truth.category_rows[boxes[lost]], minlength=count)
    return [[int(number) for number in row] for row in matrix]


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
