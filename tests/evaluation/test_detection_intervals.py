"""AP of weighted images, and the jackknife over it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from box_data import Box, boxed, detected, random_set
from tagbox.data.dataset import Dataset
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.evaluation.detection_intervals import WeightedAP, box_intervals
from tagbox.predictions.predictions import Detections


def repeated(
    dataset: Dataset, detections: Detections, weights: list[int]
) -> tuple[Dataset, Detections]:
    """Each image as often as its weight says."""
    order = np.argsort(
        dataset.images.ids
    )  # Copies keep the order of ids, by which ties are broken.
    copies = [row for row in order.tolist() for _ in range(weights[row])]
    notes = dataset.annotations
    truth: list[Box] = []
    found: list[Box] = []
    for copy, row in enumerate(copies):
        for at in np.flatnonzero(notes.image_rows == row):
            truth.append([copy, notes.category_rows[at], *notes.boxes[at], bool(notes.crowd[at])])
        for at in np.flatnonzero(detections.image_rows == row):
            box = detections.boxes[at]
            found.append([copy, detections.category_rows[at], *box, detections.scores[at]])
    areas = [float(area) for row in copies for area in notes.areas[notes.image_rows == row]]
    larger = boxed(
        truth,
        images=len(copies),
        categories=len(dataset.categories),
        areas=areas,
        category_ids=dataset.categories.ids.tolist(),
    )
    return larger, detected(found, larger)


@pytest.mark.parametrize("seed", range(1, 30))
def test_a_weight_is_the_image_so_often(seed: int) -> None:
    dataset, detections = random_set(seed)
    # Of an image drawn twice, detections with one score stand beside their twins, not image after image.
    apart = np.arange(len(detections)) * 1e-7
    detections = replace(detections, scores=detections.scores + apart)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(dataset)))
    weighted = WeightedAP(match_boxes(ground_truth(dataset), detections)).averages(weights)
    for draw, row in enumerate(weights.tolist()):
        if not any(row):
            continue
        larger, copies = repeated(dataset, detections, row)
        scores = score_boxes(ground_truth(larger), copies)
        for name, values in weighted.items():
            number = scores.number(name)
            if number is None:
                assert np.isnan(values[draw])
            else:
                assert values[draw] == pytest.approx(number, abs=1e-9)


def scenes(images: int, per_image: int = 2) -> tuple[Dataset, Detections]:
    """Two boxes an image, three of four found, some falsely."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for image in range(images):
        for place in range(per_image):
            box = [60 * place, 10, 30, 30]
            truth.append([image, place % 2, *box])
            if rng.random() < 0.75:
                found.append([image, place % 2, *box, rng.random()])
            if rng.random() < 0.3:
                found.append([image, place % 2, 150, 150, 30, 30, rng.random()])
    dataset = boxed(truth, images=images, categories=2)
    return dataset, detected(found, dataset)


def test_interval_holds_the_figure_and_narrows() -> None:
    widths = []
    for images in (120, 480):
        dataset, detections = scenes(images)
        truth = ground_truth(dataset)
        found = box_intervals(match_boxes(truth, detections))
        assert set(found) == {"ap", "ap50", "ap75"}
        for name, row in found.items():
            number = score_boxes(truth, detections).number(name)
            assert number is not None and row["low"] < number < row["high"]
            assert row["reliable"] and row["reason"]
        widths.append(found["ap"]["high"] - found["ap"]["low"])
    assert 1.5 < widths[0] / widths[1] < 2.7  # Four times the images, half the width.


def judged(truth: list[Box], found: list[Box], images: int, categories: int = 1) -> dict[str, Any]:
    dataset = boxed(truth, images=images, categories=categories)
    return box_intervals(match_boxes(ground_truth(dataset), detected(found, dataset)))


def test_when_it_is_not_reliable() -> None:
    truth = [(row, 0, 0, 0, 9, 9) for row in range(150)]
    found = [(*box, 0.5) for box in truth]
    perfect = judged(truth, found, 150)["ap"]
    assert perfect["reliable"] is False and "spread is unknown" in perfect["reason"]
    # As wide as if another box could be missed, and no point.
    assert perfect["high"] == 1.0 and 0.9 < perfect["low"] < 0.98
    for missed, sure in ((1, False), (10, False), (60, True)):
        row = judged(truth, found[missed:], 150)["ap"]
        assert row["reliable"] is sure, missed
        assert sure or "one more could move it" in row["reason"]
    few = judged(truth[:99], found[20:99], 99)["ap"]
    assert few["reliable"] is False and "99 images, fewer than 100" in few["reason"]
    thin = [*truth, *((row, 1, 50, 50, 9, 9) for row in range(5))]
    row = judged(thin, found[60:], 150, categories=3)["ap"]
    assert row["reason"] == "1 of 2 categories have fewer than 10 boxes"


def test_nothing_to_leave_out() -> None:
    one = boxed([(0, 0, 0, 0, 9, 9)])
    assert box_intervals(match_boxes(ground_truth(one), detected([], one))) == {}
    lone = boxed([(0, 0, 0, 0, 9, 9)], images=3)
    assert box_intervals(match_boxes(ground_truth(lone), detected([], lone))) == {}
    empty = boxed([], images=3)
    assert box_intervals(match_boxes(ground_truth(empty), detected([], empty))) == {}
