"""The reasons named where AP is near zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from box_data import Box, boxed, detected
from tagbox.data.dataset import Dataset
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.evaluation.diagnose_ap import diagnose_ap
from tagbox.predictions.predictions import Detections


def scenes(categories: int = 4) -> tuple[Dataset, list[Box]]:
    """20 pictures of 640 x 400 with three boxes each, and detections that fit."""
    rng = np.random.default_rng(1)
    truth = [
        [image, rng.integers(categories), *rng.uniform(20, 250, 2), *rng.uniform(40, 130, 2)]
        for image in range(20)
        for _ in range(3)
    ]
    dataset = boxed(truth, images=20, categories=categories, category_ids=range(1, categories + 1))
    sizes = {"widths": np.full(20, 640, np.int32), "heights": np.full(20, 400, np.int32)}
    dataset = replace(dataset, images=replace(dataset.images, **sizes))
    return dataset, [[*box, float(rng.random())] for box in truth]


def explained(dataset: Dataset, found: Detections) -> list[str]:
    truth = ground_truth(dataset)
    return diagnose_ap(truth, found, score_boxes(truth, found).number("ap50"))


def corners(b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([b[:, :2], b[:, :2] + b[:, 2:]])


READINGS: list[tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], str]] = [
    (corners, "corners (x1, y1, x2, y2)"),
    (lambda b: np.column_stack([b[:, :2] + b[:, 2:] / 2, b[:, 2:]]), "a centre with width"),
    (lambda b: b / [640, 400, 640, 400], "shares of the image"),
    (lambda b: corners(b) / [640, 400, 640, 400], "corners as shares"),
    (lambda b: b[:, [1, 0, 3, 2]], "y, x, height, width"),
    (lambda b: b / 4, "scaled to a longest side"),
]


@pytest.mark.parametrize(("write", "words"), READINGS)
def test_boxes_written_otherwise(
    write: Callable[[NDArray[np.float64]], NDArray[np.float64]], words: str
) -> None:
    dataset, rows = scenes()
    # A box that reaches the corner tells how large the picture was.
    rows = [*rows, *([image, 0, 560, 320, 80, 80, 0.01] for image in range(20))]
    found = detected(rows, dataset)
    assert explained(dataset, found) == []
    found = replace(found, boxes=write(found.boxes))
    reasons = explained(dataset, found)
    assert words in reasons[0] and "so read" in reasons[0], reasons


def test_category_ids_off_by_one() -> None:
    dataset, rows = scenes()
    found = detected([[row[0], (row[1] + 1) % 4, *row[2:]] for row in rows], dataset)
    reasons = explained(dataset, found)
    assert "category is ignored" in reasons[0] and "off by +1" in reasons[0]


def test_categories_mixed_up() -> None:
    dataset, rows = scenes()
    swap = [3, 2, 1, 0]
    found = detected([[row[0], swap[row[1]], *row[2:]] for row in rows], dataset)
    assert "compare the category ids" in explained(dataset, found)[0]


def test_categories_not_told_apart() -> None:
    dataset, rows = scenes()
    draw = np.random.default_rng(0)
    found = detected([[row[0], int(draw.integers(4)), *row[2:]] for row in rows], dataset)
    # As the advice is for an AP near zero, whatever that is here.
    reasons = diagnose_ap(ground_truth(dataset), found, 0.05)
    assert "does not tell the categories apart" in reasons[0], reasons


def test_nothing_found() -> None:
    dataset, rows = scenes()
    assert explained(dataset, detected([], dataset)) == [
        "There are no detections at all, and 60 boxes to find."
    ]
    few = explained(dataset, detected(rows[:2], dataset))
    assert few[0].startswith("Only 1 of 20 images")
    assert any("without any detection" in reason for reason in few)
    apart = boxed([(0, 0, 0, 0, 9, 9)], images=2)
    assert (
        "hardly any image in common"
        in explained(apart, detected([(1, 0, 0, 0, 9, 9, 0.5)], apart))[0]
    )


def test_boxes_elsewhere_and_scores_that_say_nothing() -> None:
    dataset, rows = scenes()
    found = detected([[*row[:2], 600, 380, 20, 20, 0.01] for row in rows], dataset)
    reasons = explained(dataset, found)
    assert "boxes are elsewhere" in reasons[0]
    assert "All scores are 0.01" in reasons[1]
    varied = replace(found, scores=np.linspace(0.001, 0.02, len(found)))
    assert "highest score is 0.02" in explained(dataset, varied)[1]
