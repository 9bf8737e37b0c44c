"""Detections aligned with a dataset by name, and a detector as a tagger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from box_data import boxed, detected
from tagbox.config import DataConfig
from tagbox.data.load import adapt
from tagbox.errors import TagboxError
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.predictions.alignment import adapt_detections, align_detections
from tagbox.predictions.predictions import Detections, as_labels
from tagbox.predictions.thresholds import ScoreThresholds

# The picture 1.jpg has the id 2 and the other way round: only a key's own kind tells which is meant.
DATASET = boxed(
    [(0, 0, 0, 0, 20, 20), (1, 1, 50, 0, 20, 20)], images=3, categories=2, image_ids=[9, 2, 1]
)
FOUND = [(0, 0, 0, 0, 20, 20, 0.9), (1, 1, 50, 0, 20, 20, 0.8), (1, 1, 0, 0, 9, 9, 0.3)]


def shuffled(found: Detections) -> Detections:
    """The same detections, keyed by files in another order and with the categories turned round."""
    return replace(
        found,
        images=("2.jpg", "0.jpg", "1.jpg"),
        categories=("c1", "c0"),
        image_rows=np.array([1, 2, 0], np.int32)[found.image_rows],
        category_rows=(1 - found.category_rows).astype(np.int32),
    )


def test_by_name_whatever_the_order() -> None:
    found = detected(FOUND, DATASET)
    aligned, strange = align_detections(shuffled(found), DATASET)
    assert strange == ()
    for name in ("images", "categories"):
        assert getattr(aligned, name) == getattr(found, name)
    for name in ("image_rows", "category_rows", "boxes", "scores"):
        assert np.array_equal(getattr(aligned, name), getattr(found, name))
    same, _ = align_detections(found, DATASET)
    assert np.array_equal(same.image_rows, found.image_rows)


def test_what_the_dataset_does_not_have() -> None:
    found = shuffled(detected(FOUND, DATASET))
    for changed, code in (
        (replace(found, categories=("c1", "c3")), "unknown-category"),
        (replace(found, images=("2.jpg", "0.jpg", "z.jpg")), "unknown-image"),
        (replace(found, images=("2.jpg", "0.jpg", "0.png")), "duplicate-image"),
    ):
        with pytest.raises(TagboxError) as caught:
            align_detections(changed, DATASET)
        assert caught.value.code == code
    kept, strange = align_detections(replace(found, categories=("c1", "c3")), DATASET, "ignore")
    assert len(kept) == 2 and strange == ("c3",)


def test_unlabelled_images_are_not_scored() -> None:
    labelled = np.array([True, False, True])
    dataset = replace(DATASET, images=replace(DATASET.images, labelled=labelled))
    truth = ground_truth(dataset)
    assert len(truth) == 1
    assert score_boxes(truth, detected(FOUND, dataset)).number("ap") == pytest.approx(1.0)


def test_fewer_images_and_categories() -> None:
    config = DataConfig(categories=("c1",), max_images=2)
    dataset = adapt(DATASET, config)
    found = adapt_detections(detected(FOUND, DATASET), DATASET, dataset, config)
    assert found.categories == ("c1",) and len(found.images) == 2
    kept = [row for row in (1, 1) if DATASET.images.ids[row] in dataset.images.ids]
    assert len(found) == len(kept)
    assert all(dataset.images.ids[found.image_rows] == 2)


def test_the_best_score_is_the_label_s() -> None:
    found = detected(FOUND, DATASET)
    labels = as_labels(found)
    assert labels.probabilities is not None
    assert labels.probabilities == pytest.approx(np.array([[0.9, 0], [0, 0.8], [0, 0]]))
    thresholds = ScoreThresholds(value=0.5, per_category=(0.85, 0.85))
    assert thresholds.of_labels(2).decide(labels.probabilities).tolist() == [
        [True, False],
        [False, False],
        [False, False],
    ]
    with pytest.raises(TagboxError) as caught:
        as_labels(replace(found, scores=found.scores * 10))
    assert caught.value.code == "score-range"


def test_thresholds_in_another_order() -> None:
    thresholds = ScoreThresholds(value=0.4, per_category=(0.1, 0.2))
    assert thresholds.reordered(["a", "b"], ["b", "new", "a"]).per_category == (0.2, 0.4, 0.1)
    assert ScoreThresholds().reordered(["a"], ["b"]) == ScoreThresholds()
    assert ScoreThresholds.from_dict(thresholds.to_dict()) == thresholds
    with pytest.raises(TagboxError) as caught:
        thresholds.decide(detected([], boxed([], categories=3)))
    assert caught.value.code == "score-cuts-invalid"
