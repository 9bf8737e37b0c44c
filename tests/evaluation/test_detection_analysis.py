"""Curves and score thresholds, by hand and against counting at every threshold anew."""

from __future__ import annotations

import numpy as np
import pytest

from box_data import boxed, detected, in_their_order, pycocotools_eval, random_set
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import GroundTruth, ground_truth
from tagbox.evaluation.coco_metrics import score_boxes
from tagbox.evaluation.detection_analysis import counts_at, rates, recall_curves, score_curve
from tagbox.evaluation.evaluate_detections import evaluate_boxes, tune_score_thresholds
from tagbox.evaluation.score import notes
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import SHRINKAGE

TRUTH = [(0, 0, 0, 0, 10, 10), (0, 0, 50, 0, 10, 10), (0, 1, 100, 0, 10, 10)]
FOUND = [
    (0, 0, 0, 0, 10, 10, 0.9),  # right
    (0, 0, 150, 150, 10, 10, 0.6),  # wrong
    (0, 0, 50, 0, 10, 10, 0.4),  # right
    (0, 1, 100, 0, 10, 10, 0.3),  # right
    (0, 1, 150, 0, 10, 10, 0.2),  # wrong
]


def counted_anew(
    truth: GroundTruth, detections: Detections, threshold: float
) -> tuple[int, int, int]:
    """TP, FP, FN of the detections at or above a threshold, by pycocotools matching it from the start."""
    shown = detections.take(detections.scores >= threshold)
    tp = fp = 0
    for found in pycocotools_eval(truth, shown).evalImgs:
        if found is not None and found["aRng"] == [0, 1e10]:
            counted = ~found["dtIgnore"][0].astype(bool)
            tp += int(((found["dtMatches"][0] > 0) & counted).sum())
            fp += int(((found["dtMatches"][0] == 0) & counted).sum())
    return tp, fp, int(truth.support.sum()) - tp


def test_score_curve_by_hand() -> None:
    dataset = boxed(TRUTH, categories=2)
    matches = match_boxes(ground_truth(dataset), detected(FOUND, dataset))
    curve = score_curve(matches)
    assert curve.scores.tolist() == [0.9, 0.6, 0.4, 0.3, 0.2]
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert curve.recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert curve.f1 == pytest.approx([1 / 2, 2 / 5, 2 / 3, 6 / 7, 3 / 4])
    assert len(score_curve(matches, points=2).scores) == 2


def test_score_thresholds_by_hand() -> None:
    dataset = boxed(TRUTH, categories=2)
    detections = detected(FOUND, dataset)
    thresholds = tune_score_thresholds(match_boxes(ground_truth(dataset), detections))
    # All together F1 is best with 0.3 included; alone, c0 with 0.4 and c1 with 0.3.
    assert thresholds.value == pytest.approx(0.25)
    own = (0.4, 0.25)  # Below 0.4 c0 has nothing more.
    expected = [
        (n * threshold + SHRINKAGE * 0.25) / (n + SHRINKAGE)
        for n, threshold in zip((2, 1), own, strict=True)
    ]
    assert thresholds.per_category == pytest.approx(expected)
    assert thresholds.decide(detections).tolist() == [True, True, True, True, False]


def test_without_anything_to_cut() -> None:
    dataset = boxed(TRUTH, categories=3)
    truth = ground_truth(dataset)
    assert tune_score_thresholds(match_boxes(truth, detected([], dataset))) is None
    wrong = detected([(0, 0, 150, 150, 9, 9, 0.7)], dataset)
    assert tune_score_thresholds(match_boxes(truth, wrong)) is None
    evaluated = evaluate_boxes(dataset, wrong, intervals=False)
    assert evaluated["cuts"] == {"value": 0.5, "per_category": None, "source": "default"}
    assert "no score threshold was tuned" in evaluated["reasons"][-1]
    assert not any("best F1" in note for note in notes(evaluated | {"extra": 0}))
    right = detected(FOUND, dataset)
    thresholds = tune_score_thresholds(match_boxes(truth, right))
    assert thresholds.per_category is not None and thresholds.per_category[2] == thresholds.value


@pytest.mark.parametrize("seed", [3, 11, 24, 37])
def test_every_cut_counts_as_if_matched_anew(seed: int) -> None:
    dataset, detections = random_set(seed)
    truth = ground_truth(dataset)
    matches = match_boxes(truth, detections)
    curve = score_curve(matches, points=10**6)
    best = 0.0
    for threshold in np.unique(detections.scores).tolist():
        counts = counts_at(matches, np.full(len(dataset.categories), threshold))
        tp, fp, fn = (int(counts[name].sum()) for name in ("tp", "fp", "fn"))
        assert (tp, fp, fn) == counted_anew(truth, detections, threshold)
        f1 = float(rates(tp, fp, fn)["f1"])
        best = max(best, f1)
        if threshold in curve.scores:
            assert curve.f1[curve.scores == threshold][0] == pytest.approx(f1)
    thresholds = tune_score_thresholds(matches)
    levels = np.full(len(dataset.categories), thresholds.value)
    counts = {name: int(column.sum()) for name, column in counts_at(matches, levels).items()}
    assert float(rates(**counts)["f1"]) == pytest.approx(best)


@pytest.mark.parametrize("seed", [6, 7, 9])
def test_precision_against_recall(seed: int) -> None:
    dataset, detections = random_set(seed)
    truth = ground_truth(dataset)
    scores = score_boxes(truth, detections)
    curves = recall_curves(scores)
    theirs = pycocotools_eval(truth, detections).eval["precision"][:, :, :, 0, 2]
    assert np.array_equal(in_their_order(scores.values("ap")[:, :, scores.columns], truth), theirs)
    there = theirs[:, :, theirs[0, 0] > -1]
    assert curves.at_50 == pytest.approx(there[0].mean(axis=1))
    assert curves.over_ious.mean() == pytest.approx(there.mean())


def test_curves_of_nothing() -> None:
    dataset = boxed([])
    curves = recall_curves(score_boxes(ground_truth(dataset), detected([], dataset)))
    assert np.isnan(curves.at_50).all() and np.isnan(curves.over_ious).all()
    assert len(score_curve(match_boxes(ground_truth(dataset), detected([], dataset))).f1) == 0
