"""Error types, confusion matrix and calibration of detections, by hand."""

from __future__ import annotations

import pytest

from box_data import boxed, detected
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.evaluation.detection_analysis import calibration, confusion_matrix, error_types

TRUTH = [
    (0, 0, 0, 0, 20, 20),
    (0, 1, 50, 0, 20, 20),
    (0, 0, 100, 0, 20, 20),
    (0, 1, 150, 150, 20, 20),
]
FOUND = [
    (0, 0, 0, 0, 20, 20, 0.9),  # right
    (0, 0, 1, 0, 20, 20, 0.8),  # again
    (0, 0, 50, 0, 20, 20, 0.7),  # another category
    (0, 0, 108, 0, 20, 20, 0.6),  # off: an IoU of 12/28
    (0, 0, 0, 150, 20, 20, 0.5),  # nothing there
]


def test_error_types_by_hand() -> None:
    dataset = boxed(TRUTH, categories=2)
    truth, found = ground_truth(dataset), detected(FOUND, dataset)
    errors = error_types(score_boxes(truth, found), match_boxes(truth, found))
    counts = {name: row["count"] for name, row in errors.items()}
    assert counts == {
        "category": 1,
        "location": 1,
        "both": 0,
        "duplicate": 1,
        "background": 1,
        "missed": 1,
        "false_positives": 4,
        "false_negatives": 3,
    }
    kinds = [row["ap50"] for row in errors.values()][:6]
    assert kinds == sorted(kinds, reverse=True)


def test_confusion_by_hand() -> None:
    # Ids in another order than the categories: rows stay the dataset's.
    dataset = boxed(TRUTH, categories=2, category_ids=[9, 4])
    matrix = confusion_matrix(ground_truth(dataset), detected(FOUND, dataset))
    assert matrix == [[1, 0, 1], [1, 0, 1], [3, 0, 0]]


def test_calibration_by_hand() -> None:
    dataset = boxed(TRUTH, categories=2)
    found = [(0, 0, 0, 0, 20, 20, 0.75), (0, 0, 150, 150, 20, 20, 0.75)]
    result = calibration(score_boxes(ground_truth(dataset), detected(found, dataset)))
    assert result["error"] == result["largest"] == pytest.approx(0.25)
    assert result["bins"] == [
        {
            "low": pytest.approx(0.7),
            "high": pytest.approx(0.8),
            "count": 2,
            "score": 0.75,
            "right": 0.5,
        }
    ]
