"""Error types, confusion matrix and calibration of detections, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from box_data import Box, boxed, detected, random_set
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.evaluation.detection_analysis import (
    calibration,
    confusion_matrix,
    counts_at,
    error_types,
)

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
    errors = error_types(score_boxes(truth, found), match_boxes(truth, found), found)
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


CAT, DOG, BIRD = (0, 0, 0, 0, 20, 20), (0, 1, 50, 50, 20, 20), (0, 2, 100, 0, 20, 20)


# AP is 0.5 of cat and dog where the dog is not found. tidecv 1.0.1 gives these figures too, except where noted.
@pytest.mark.parametrize(
    ("truth", "found", "gains"),
    [
        # One cat found, one dog missed: without the dog, the cat is all there is.
        ([CAT, DOG], [(*CAT, 0.9)], {"missed": 0.5, "false_negatives": 0.5, "category": 0.0}),
        # The dog is called a cat, so it is not missed but named wrongly.
        (
            [CAT, DOG],
            [(*CAT, 0.9), (0, 0, 50, 50, 20, 20, 0.3)],
            {"missed": 0.0, "false_negatives": 0.5, "category": 0.5},
        ),
        # A detection of the dog elsewhere: without its box the category has only false detections.
        (
            [CAT, DOG],
            [(*CAT, 0.9), (0, 1, 100, 150, 20, 20, 0.3)],
            {"missed": 0.0, "false_negatives": 0.0},
        ),
        # A cat's box that is badly placed on the cat and well on the dog is a location error, so the dog is missed.
        (
            [CAT, (0, 1, 8, 0, 20, 20), BIRD],
            [(0, 0, 9, 0, 20, 20, 0.9), (*BIRD, 0.8)],
            {"location": 1 / 3, "category": 0.0, "missed": 1 / 6, "false_negatives": 1 / 6},
        ),
        # Two of three missed: a third of the mean each.
        ([CAT, DOG, BIRD], [(*CAT, 0.9)], {"missed": 2 / 3, "false_negatives": 2 / 3}),
        # Nothing found: all that there is to gain (tidecv divides by zero).
        ([CAT, DOG], [], {"missed": 1.0, "false_negatives": 1.0}),
        # A false bird, of which there is none: tidecv's base counts it with an AP of 0 (16.67 of 33.33).
        (
            [CAT, DOG],
            [(*CAT, 0.9), (0, 2, 150, 150, 20, 20, 0.3)],
            {"missed": 0.5, "false_negatives": 0.5},
        ),
        # A detection in a crowd region of its category is none: the dog is as missed as without it.
        (
            [CAT, DOG, (0, 1, 100, 100, 90, 90, True)],
            [(*CAT, 0.9), (0, 1, 110, 110, 20, 20, 0.8)],
            {"missed": 0.5, "false_negatives": 0.5},
        ),
    ],
)
def test_gains_of_categories_without_a_detection(
    truth: list[Box], found: list[Box], gains: dict[str, float]
) -> None:
    dataset = boxed(truth, categories=3)
    boxes, detections = ground_truth(dataset), detected(found, dataset)
    errors = error_types(score_boxes(boxes, detections), match_boxes(boxes, detections), detections)
    assert {name: errors[name]["ap50"] for name in gains} == pytest.approx(gains)
    kinds = [row["ap50"] for row in errors.values()][:6]
    assert kinds == sorted(kinds, reverse=True)


def test_confusion_by_hand() -> None:
    # Ids in another order than the categories: rows stay the dataset's.
    dataset = boxed(TRUTH, categories=2, category_ids=[9, 4])
    matrix = confusion_matrix(ground_truth(dataset), detected(FOUND, dataset))
    assert matrix == [[1, 0, 1], [1, 0, 1], [3, 0, 0]]


def confused(truth: list[Box], found: list[Box], categories: int = 2) -> list[list[int]]:
    dataset = boxed(truth, categories=categories)
    return confusion_matrix(ground_truth(dataset), detected(found, dataset))


def test_confusion_counts_every_detection_of_a_crowded_image() -> None:
    # 150 right boxes of one category, then of two: none is missed, and a false one of low score is still there.
    for categories in (1, 2):
        truth = [(0, i % categories, 12 * (i % 15), 12 * (i // 15), 10, 10) for i in range(150)]
        found = [(*box, 0.9 - i / 1000) for i, box in enumerate(truth)]
        found.append((0, 0, 190, 190, 8, 8, 0.01))
        matrix = confused(truth, found, categories)
        right = 150 // categories
        assert [matrix[k][k] for k in range(categories)] == [right] * categories
        assert [row[-1] for row in matrix] == [0] * (categories + 1)
        assert matrix[-1] == [1] + [0] * categories


def test_confusion_leaves_out_crowd_regions() -> None:
    crowd = (0, 0, 0, 0, 100, 100, True)
    inside = [(0, 0, 10 * i, 10, 10, 10, 0.9) for i in range(3)]
    assert confused([crowd], inside) == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
    # A dog in a region of cats is false, as AP counts it; a box to find comes before the region.
    dog = (0, 1, 10, 50, 10, 10, 0.9)
    assert confused([crowd], [dog]) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confused([crowd, (0, 0, 0, 10, 10, 10)], inside) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert confused([crowd, (0, 1, 0, 10, 10, 10)], inside[:1])[1] == [0, 0, 1]


def test_confusion_of_coincident_boxes() -> None:
    both = [(0, 0, 0, 0, 20, 20), (0, 1, 0, 0, 20, 20)]
    for scores in ((0.9, 0.8), (0.8, 0.9), (0.5, 0.5)):
        found = [(*box, score) for box, score in zip(both, scores, strict=True)]
        for order in (found, found[::-1]):
            assert confused(both, order) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    # The dog's detection lies on the cat more closely; each has a box of its own category.
    near = [(0, 1, 2, 0, 20, 20, 0.9), (0, 0, 1, 0, 20, 20, 0.3)]
    assert confused([both[0], (0, 1, 6, 0, 20, 20)], near) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    # A second detection takes what is left, a third nothing.
    twice = [(0, 0, 0, 0, 20, 20, 0.9), (0, 0, 0, 0, 20, 20, 0.8), (0, 0, 0, 0, 20, 20, 0.7)]
    assert confused(both, twice) == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("seed", range(1, 40))
def test_confusion_agrees_with_the_counts(seed: int) -> None:
    dataset, detections = random_set(seed)
    truth = ground_truth(dataset)
    matches = match_boxes(truth, detections, most=None)
    matrix = np.array(confusion_matrix(truth, detections))
    counts = counts_at(matches, np.zeros(len(dataset.categories)))
    assert np.diagonal(matrix)[:-1].tolist() == counts["tp"].tolist()
    assert matrix.sum(axis=0)[:-1].tolist() == (counts["tp"] + counts["fp"]).tolist()
    assert matrix.sum(axis=1)[:-1].tolist() == (counts["tp"] + counts["fn"]).tolist()


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
