"""Precision against recall, and precision, recall and F1 against the score from which detections are said.

What kind of mistakes a detector makes: hotcoco's TIDE error types, confusion matrix and calibration.
"""

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
    of_categories
        (K, 101) precision at an IoU of 0.5; NaN rows of categories without a box to find.
    """

    recall: Array
    at_50: Array
    over_ious: Array
    of_categories: Array


def recall_curves(scores: BoxScores) -> RecallCurves:
    """Precision against recall."""
    table = scores.values("ap")[:, :, scores.columns]
    there = (table > -1).all(axis=(0, 1))
    at_50 = np.where(there, table[0], np.nan)
    empty = np.full(len(RECALLS), np.nan)
    return RecallCurves(
        recall=RECALLS,
        at_50=table[0][:, there].mean(axis=1) if there.any() else empty,
        over_ious=table[:, :, there].mean(axis=(0, 2)) if there.any() else empty,
        of_categories=at_50.T,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreCurve:
    """What is said, and how right it is, at each score from which on detections are said; IoU 0.5.

    Attributes
    ----------
    scores
        (S,) descending.
    precision, recall, f1
        (S,) at those; 0 where a ratio has nothing below it.
    """

    scores: Array
    precision: Array
    recall: Array
    f1: Array


def score_curve(matches: Matches, category: int | None = None, points: int = 201) -> ScoreCurve:
    """Precision, recall and F1 against the score, over all detections or those of one category.

    Parameters
    ----------
    matches
        Verdicts on the detections.
    category
        A row of the dataset's categories.
    points
        At most so many scores, evenly through the detections.
    """
    part = slice(None) if category is None else matches.of_category(category)
    counted = ~matches.ignored[0, part]
    values, right = matches.scores[part][counted], matches.right[0, part][counted]
    positives = matches.positives
    boxes = int(positives.sum() if category is None else positives[category])
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(right[order])
    last = np.append(values[1:] != values[:-1], True) if len(values) else np.zeros(0, bool)
    at = np.flatnonzero(last)
    if len(at) > points:
        at = at[np.linspace(0, len(at) - 1, points).round().astype(np.intp)]
    said, hit = at + 1, hits[at]
    return ScoreCurve(
        scores=values[at],
        precision=ratio(hit, said),
        recall=ratio(hit, np.full(len(at), boxes)),
        f1=ratio(2 * hit, said + boxes),
    )


def counts_at(matches: Matches, levels: Array) -> dict[str, NDArray[np.int64]]:
    """(K,) int64 ``tp``, ``fp``, ``fn`` at an IoU of 0.5 of what is said from each category's `levels` (K,) on."""
    said = ~matches.ignored[0] & (matches.scores >= levels[matches.category_rows])
    right = said & matches.right[0]
    tp, claimed = (
        np.bincount(matches.category_rows[mask], minlength=len(levels)).astype(np.int64)
        for mask in (right, said)
    )
    return {"tp": tp, "fp": claimed - tp, "fn": matches.positives - tp}


def rates(tp: Any, fp: Any, fn: Any) -> dict[str, Array]:
    """``precision``, ``recall``, ``f1`` of counts; a ratio of nothing is 0."""
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
"""TIDE's names and ours."""


def error_types(scores: BoxScores, matches: Matches) -> dict[str, dict[str, float | int]]:
    """By error type ``ap50``, what AP at an IoU of 0.5 would gain without it, and ``count``, how many there are.

    Bolya et al., *TIDE: A General Toolbox for Identifying Object Detection Errors* (ECCV 2020); an overlap
    from 0.1 to 0.5 is an error of location. The kinds are sorted by the gain; ``false_positives`` and
    ``false_negatives`` after them are TIDE's special ones, everything of a side together.
    """
    found = scores.evaluator.tide_errors(pos_thr=0.5, bg_thr=0.1)
    rows = {
        name: {"ap50": float(found["delta_ap"][theirs]), "count": int(found["counts"][theirs])}
        for theirs, name in ERRORS.items()
    }
    right = int(matches.right[0].sum())
    wrong = int((~matches.ignored[0]).sum()) - right
    missed = int(matches.positives.sum()) - right
    return dict(sorted(rows.items(), key=lambda row: -row[1]["ap50"])) | {
        "false_positives": {"ap50": float(found["delta_ap"]["FP"]), "count": wrong},
        "false_negatives": {"ap50": float(found["delta_ap"]["FN"]), "count": missed},
    }


def confusion_matrix(truth: GroundTruth, said: Detections) -> list[list[int]]:
    """(K+1, K+1) counts: a row a true category, a column what was said; the last of each is the background.

    Parameters
    ----------
    truth
        The boxes.
    said
        The detections from their score cuts on; all of them would drown every row in the background.

    Returns
    -------
    list of list of int
        In the dataset's order of categories. Boxes and detections are paired by overlap of 0.5 or more
        whatever their category; a box that pairs with none is in the last column, a detection in the last row.
    """
    from hotcoco import COCOeval

    found = COCOeval(*hotcoco_pair(truth, said), "bbox").confusion_matrix(iou_thr=0.5)["matrix"]
    order = np.append(truth.category_numbers() - 1, len(truth.dataset.categories))
    return [[int(count) for count in row] for row in np.asarray(found)[np.ix_(order, order)]]


def calibration(scores: BoxScores, bins: int = 10) -> dict[str, Any]:
    """Whether a score of 0.8 means that 8 of 10 such detections are right (at an IoU of 0.5).

    Returns
    -------
    dict
        ``error`` (expected calibration error), ``largest`` (of any part), ``detections`` and ``bins``: of
        those that hold detections, ``low`` and ``high``, ``count``, mean ``score`` and share ``right``.
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
