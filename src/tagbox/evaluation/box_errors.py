"""What kind of mistakes a detector makes: hotcoco's TIDE error types, confusion matrix and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.box_metrics import BoxScores, hotcoco_pair
from tagbox.evaluation.detections import Detections
from tagbox.evaluation.ground_truth import GroundTruth

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
