"""COCO's twelve numbers and the matching, bit for bit against pycocotools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from box_data import boxed, detected, pycocotools_eval, random_set
from tagbox.data.formats.coco import read_coco
from tagbox.errors import TagboxError
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import GroundTruth, ground_truth
from tagbox.evaluation.coco_metrics import (
    BOX_METRICS,
    category_scores,
    epoch_box_scores,
    score_boxes,
    twelve_numbers,
)
from tagbox.evaluation.detection_intervals import WeightedAP
from tagbox.predictions.coco_results import read_results, write_results
from tagbox.predictions.predictions import Detections


def assert_equal_to_pycocotools(truth: GroundTruth, detections: Detections) -> None:
    """Every precision, recall, outcome and the twelve numbers, without any tolerance."""
    theirs, ours = pycocotools_eval(truth, detections), score_boxes(truth, detections)
    assert np.array_equal(theirs.eval["precision"], ours.precision)
    assert np.array_equal(theirs.eval["recall"], ours.recall)
    numbers, absent = twelve_numbers(ours)
    assert [-1 if v is None else v for v in numbers.values()] == theirs.stats.tolist()
    assert set(absent) == {name for name, value in numbers.items() if value is None}
    assert_same_matches(theirs, truth, detections)


def assert_same_matches(theirs: object, truth: GroundTruth, detections: Detections) -> None:
    """The outcomes of our own matching are those of pycocotools' `evalImgs`."""
    matches = match_boxes(truth, detections)
    ids = truth.dataset.images.ids
    expected = {}
    for found in theirs.evalImgs:  # type: ignore[attr-defined]
        if found is None or found["aRng"] != [0, 1e10]:
            continue
        for place, number in enumerate(found["dtIds"]):
            expected[number - 1] = (
                found["dtMatches"][:, place].astype(int).tolist(),
                found["dtIgnore"][:, place].astype(bool).tolist(),
            )
    predicted = {
        int(row): ((matches.found[:, place] + 1).tolist(), matches.ignored[:, place].tolist())
        for place, row in enumerate(matches.rows)
    }
    assert predicted == expected
    keys = list(
        zip(
            matches.category_rows,
            -matches.scores,
            ids[matches.image_rows],
            matches.rows,
            strict=True,
        )
    )
    assert keys == sorted(keys)


@pytest.mark.parametrize("block", range(10))
def test_random_sets(block: int) -> None:
    for seed in range(block * 35, block * 35 + 35):
        dataset, detections = random_set(seed)
        truth = ground_truth(dataset)
        assert_equal_to_pycocotools(truth, detections)
        ones = np.ones((1, len(dataset)))
        scores, weighted = (
            score_boxes(truth, detections),
            WeightedAP(match_boxes(truth, detections)),
        )
        for name, value in weighted.averages(ones).items():
            number = scores.number(name)
            assert np.isnan(value[0]) if number is None else abs(value[0] - number) < 1e-9
        quick = epoch_box_scores(dataset, detections)
        assert quick == {name: scores.number(name) for name in quick}


def test_real_annotations(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco-eval"
    dataset = read_coco(folder / "instances_val2014_100.json")
    detections = read_results(folder / "instances_val2014_fakebbox100_results.json", dataset)
    truth = ground_truth(dataset)
    assert_equal_to_pycocotools(truth, detections)
    # What pycocotools' own demo prints for these two files.
    numbers, _ = twelve_numbers(score_boxes(truth, detections))
    assert round(numbers["ap"] or 0, 3) == 0.505
    assert round(numbers["ap50"] or 0, 3) == 0.697
    write_results(tmp_path / "again.json", detections, dataset)
    again = read_results(tmp_path / "again.json", dataset)
    assert twelve_numbers(score_boxes(truth, again))[0] == numbers


def test_by_hand() -> None:
    """Two boxes, a hit, a miss above it: precision 1/2 up to recall 1/2, which 51 of 101 recalls do not exceed."""
    dataset = boxed([(0, 0, 0, 0, 10, 10), (0, 0, 50, 50, 10, 10)])
    found = [(0, 0, 100, 100, 10, 10, 0.9), (0, 0, 0, 0, 10, 10, 0.8)]
    scores = score_boxes(ground_truth(dataset), detected(found, dataset))
    assert scores.number("ap") == pytest.approx(51 / 101 / 2, abs=1e-12)
    assert scores.number("ar1") == 0.0
    assert scores.number("ar100") == 0.5
    # An IoU of 0.6 counts at 0.5, 0.55 and 0.6.
    dataset = boxed([(0, 0, 0, 0, 10, 10)])
    scores = score_boxes(ground_truth(dataset), detected([(0, 0, 0, 0, 10, 6, 1)], dataset))
    assert scores.number("ap50") == pytest.approx(1.0)
    assert scores.number("ap75") == 0.0
    assert scores.number("ap") == pytest.approx(0.3)


def test_no_truth_is_none_with_a_reason() -> None:
    dataset = boxed([], images=2)
    numbers, absent = twelve_numbers(
        score_boxes(ground_truth(dataset), detected([(0, 0, 1, 1, 5, 5, 0.5)], dataset))
    )
    assert set(numbers.values()) == {None}
    assert absent["ap"] == "there is no box to find"
    assert "32²" in absent["ap_small"] and "96²" in absent["ap_large"]
    small = boxed([(0, 0, 0, 0, 10, 10)])
    numbers, absent = twelve_numbers(score_boxes(ground_truth(small), detected([], small)))
    assert numbers["ap"] == numbers["ap_small"] == 0.0
    assert set(absent) == {"ap_medium", "ap_large", "ar_medium", "ar_large"}


def test_categories_keep_the_dataset_s_order() -> None:
    dataset = boxed(
        [(0, 0, 0, 0, 10, 10), (0, 2, 50, 50, 40, 40)], categories=3, category_ids=[30, 0, 7]
    )
    found = [(0, 2, 50, 50, 40, 40, 0.9)]
    rows = category_scores(score_boxes(ground_truth(dataset), detected(found, dataset)))
    assert [row["name"] for row in rows] == ["c0", "c1", "c2"]
    assert [row["ap"] for row in rows] == [0.0, None, pytest.approx(1.0)]
    assert [row["support"] for row in rows] == [1, 0, 1]
    assert set(BOX_METRICS) < set(rows[0])


def test_large_and_negative_ids() -> None:
    truth = [(row, 0, 10, 10, 20, 20) for row in range(3)]
    found = [(row, 0, 10, 10, 20, 20 - row, 0.5) for row in range(3)]
    plain = boxed(truth, images=3, image_ids=[1, 2, 3])
    odd = boxed(truth, images=3, image_ids=[-5, 2**60, 2**60 + 1], category_ids=[-1])
    values = [
        twelve_numbers(score_boxes(ground_truth(data), detected(found, data)))[0]
        for data in (plain, odd)
    ]
    assert values[0] == values[1]


def test_repairs_are_said() -> None:
    nothing = float("nan")
    dataset = boxed(
        [
            (0, 0, 0, 0, 10, 10),
            (0, 0, nothing, nothing, nothing, nothing),
            (0, 0, 50, 50, 0, 10),
        ],
        ids=[0, 1, 2],
    )
    truth = ground_truth(dataset)
    assert len(truth) == 2
    repairs = {repair.code: repair.count for repair in truth.repairs}
    assert repairs == {"annotation-ids": 3, "area": 2, "no-box": 1, "flat-box": 1}
    assert [a["id"] for a in truth.to_coco_dict()["annotations"]] == [1, 2]
    assert not ground_truth(boxed([(0, 0, 0, 0, 3, 3)], areas=[9.0])).repairs
    with pytest.raises(TagboxError, match="has a box") as caught:
        ground_truth(boxed([(0, 0, nothing, nothing, nothing, nothing)]))
    assert caught.value.code == "no-boxes"


def test_detections_must_be_laid_beside() -> None:
    dataset, other = boxed([(0, 0, 0, 0, 9, 9)]), boxed([], images=2)
    with pytest.raises(ValueError, match="align_detections"):
        score_boxes(ground_truth(dataset), detected([], other))
