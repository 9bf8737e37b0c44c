"""Metrics of exclusive labels against scikit-learn, against hand-worked cases, and by simulation."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from tagbox.evaluation.evaluate_labels import NO_POSITIVES, evaluate_labels, headline
from tagbox.metrics.intervals import intervals, wilson
from tagbox.metrics.single_label import (
    BINS,
    EQUAL_TO_ACCURACY,
    MOST_PROBABLE,
    calibration,
    confusion_matrix,
    log_losses,
    most_probable,
    one_hot,
    one_label_each,
    predicted_rows,
    single_label_intervals,
    top_hits,
    true_rows,
)
from tagbox.predictions.thresholds import Thresholds

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluate-json.md"


def sample(
    images: int, categories: int, *, skill: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) true rows, (N, K) truth, (N, K) float32 probabilities that sum to 1."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, categories, images)
    logits = random.normal(0, 1.5, (images, categories))
    logits[np.arange(images), rows] += skill
    powers = np.exp(logits)
    truth = one_hot(rows, categories).astype(np.int8)
    return rows, truth, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def evaluated(truth: np.ndarray, probabilities: np.ndarray, **how: Any) -> dict[str, Any]:
    names = [f"c{k}" for k in range(truth.shape[1])]
    result = evaluate_labels(
        truth,
        categories=names,
        probabilities=probabilities,
        labels="exclusive",
        **{"intervals": False, **how},
    )
    again: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    assert again == result
    return again


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(2, 12))
def test_every_figure_equals_scikit_learns(seed: int, images: int, categories: int) -> None:
    rows, truth, probabilities = sample(images, categories, seed=seed)
    result = evaluated(truth, probabilities)
    predicted, every = probabilities.argmax(axis=1), range(categories)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(rows, predicted))
    assert (
        result["confusion_matrix"]
        == metrics.confusion_matrix(rows, predicted, labels=every).tolist()
    )
    theirs = metrics.log_loss(rows, probabilities, labels=every)
    assert result["log_loss"] == pytest.approx(theirs, rel=1e-5)
    if categories > 5:
        theirs = metrics.top_k_accuracy_score(rows, probabilities, k=5, labels=every)
        assert result["top5_accuracy"] == pytest.approx(theirs)
    else:
        assert result["absent"]["top5_accuracy"] == f"there are only {categories} categories"
    report = metrics.classification_report(
        rows, predicted, labels=every, output_dict=True, zero_division=0
    )
    for k, row in enumerate(result["per_category"]):
        theirs = report[str(k)]
        found = (row["precision"], row["recall"], row["f1"], row["support"])
        assert found == pytest.approx(
            [theirs[key] for key in ("precision", "recall", "f1-score", "support")]
        )
        assert "threshold" not in row
    there = np.unique(rows).tolist()
    for average in ("macro", "weighted"):
        p, r, f, _ = metrics.precision_recall_fscore_support(
            rows, predicted, labels=there, average=average, zero_division=0
        )
        found = [result[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
        assert found == pytest.approx([p, r, f])
    for name in EQUAL_TO_ACCURACY:
        assert result[name] == pytest.approx(result["accuracy"]), name
    assert result["hamming_loss"] == pytest.approx(2 * (1 - result["accuracy"]) / categories)


def test_ties_go_to_the_first_category_in_every_figure() -> None:
    third = np.full(3, 1 / 3, np.float32)
    probabilities = np.stack([third, third, third])
    truth = np.eye(3, dtype=np.int8)
    result = evaluated(truth, probabilities)
    assert result["accuracy"] == 1 / 3
    assert result["confusion_matrix"] == [[1, 0, 0]] * 3
    assert top_hits(np.arange(3), probabilities, 2).tolist() == [True, True, False]
    assert (result["macro_recall"], result["subset_accuracy"]) == (1 / 3, 1 / 3)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.integers(1, 7), st.sampled_from([1, 3, 1000]))
def test_the_saved_thresholds_say_exactly_the_most_probable_one(
    seed: int, categories: int, levels: int
) -> None:
    """Ties (few levels) and saturated probabilities too, through the saved form."""
    random = np.random.default_rng(seed)
    table = random.integers(0, levels + 1, (30, categories)).astype(np.float32) / levels
    table[0], table[1] = 0.0, 1.0
    saved = Thresholds.from_dict(json.loads(json.dumps(MOST_PROBABLE.to_dict())))
    for mode in ("saved", "global"):
        predicted = saved.decide(table, mode)
        assert (predicted.sum(axis=1) == 1).all()
        assert np.array_equal(predicted.argmax(axis=1), table.argmax(axis=1))


def test_a_picture_without_a_prediction_is_wrong_and_nothing_is_said_of_it() -> None:
    truth = np.eye(6, dtype=np.int8)[[0, 1, 2, 0]]
    probabilities = np.full((4, 6), 0.1, np.float32)
    probabilities[range(4), [0, 1, 2, 0]] = 0.5
    probabilities[3] = 0.0
    result = evaluated(truth, probabilities, intervals=True, resamples=50)
    assert result["accuracy"] == result["top5_accuracy"] == 3 / 4
    assert np.sum(result["confusion_matrix"]) == 3
    assert result["micro_precision"] == 1.0
    worst = -math.log(np.finfo(np.float32).eps)
    assert result["log_loss"] == pytest.approx((3 * math.log(2) + worst) / 4)
    assert result["intervals"]["micro_precision"]["method"] == "jackknife"


def test_probabilities_that_do_not_sum_to_one_have_no_log_loss() -> None:
    _, truth, probabilities = sample(50, 4)
    result = evaluated(truth, probabilities * 0.9)
    assert "sum to 1" in result["absent"]["log_loss"]
    assert result["absent"]["calibration_error"] == result["absent"]["log_loss"]
    assert not {"log_loss", "calibration_error"} & set(result)
    # What rounding to three digits leaves is no obstacle.
    assert "log_loss" in evaluated(truth, probabilities.round(3))


def test_label_sets() -> None:
    rows, truth, probabilities = sample(80, 7)
    predicted = probabilities.argmax(axis=1)
    decisions = one_hot(predicted, 7)
    names = [str(k) for k in range(7)]
    result = evaluate_labels(
        truth, categories=names, decisions=decisions, labels="exclusive", resamples=20
    )
    assert result["accuracy"] == metrics.accuracy_score(rows, predicted)
    for key in ("map", "top5_accuracy", "log_loss", "calibration_error", "at_0.5"):
        assert key not in result
        assert key in result["absent"]
    decisions[0] = True
    with pytest.raises(ValueError, match="several categories"):
        evaluate_labels(truth, categories=names, decisions=decisions, labels="exclusive")
    with pytest.raises(ValueError, match="several categories"):
        predicted_rows(decisions)


@pytest.mark.parametrize("row", [[0, 0, 0], [1, 1, 0], [1, -1, 0]])
def test_truth_that_is_not_exclusive_is_refused(row: list[int]) -> None:
    truth = np.array([[1, 0, 0], row], np.int8)
    with pytest.raises(ValueError, match="exactly one 1"):
        true_rows(truth)
    with pytest.raises(ValueError, match="exactly one 1"):
        evaluated(truth, np.full((2, 3), 1 / 3, np.float32))


def test_what_looks_like_exclusive_claims() -> None:
    _, _, probabilities = sample(20, 4)
    assert one_label_each(probabilities, None)
    assert one_label_each(np.vstack([probabilities, np.zeros((1, 4))]), None)
    assert not one_label_each(np.vstack([probabilities, np.full((1, 4), 0.5)]), None)
    assert one_label_each(None, np.eye(3, dtype=bool)[[0, 1]])
    assert one_label_each(None, np.zeros((2, 3), bool))
    assert not one_label_each(None, np.ones((2, 3), bool))


def test_calibration_equals_scikit_learns_curve() -> None:
    rows, _, probabilities = sample(500, 5)
    found = calibration(rows, probabilities)
    sure, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == rows
    right, confidence = calibration_curve(hit, sure, n_bins=BINS)
    filled = found.counts > 0
    assert found.accuracy[filled] == pytest.approx(right)
    assert found.confidence[filled] == pytest.approx(confidence)
    assert found.counts.sum() == 500
    gaps = np.abs(right - confidence)
    assert found.error == pytest.approx(np.average(gaps, weights=found.counts[filled]))


def test_calibration_by_hand() -> None:
    # Two of four are right at 0.9: |0.5 - 0.9| of four pictures; one is right at 0.6 of one.
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]], np.float32)
    found = calibration(np.array([0, 0, 1, 1, 0]), probabilities)
    assert found.error == pytest.approx((4 * 0.4 + 1 * 0.4) / 5)
    # A bin has its upper end and not its lower one: 1/3 is 5/15.
    counts = calibration(np.zeros(1, np.intp), np.full((1, 3), 1 / 3)).counts
    assert np.flatnonzero(counts).tolist() == [4]
    sure = calibration(np.zeros(1, np.intp), np.array([[1.0, 0.0]]))
    assert (sure.error, np.flatnonzero(sure.counts).tolist()) == (0.0, [BINS - 1])


def test_wilson_by_hand_and_at_the_ends() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263, 15 of 148,
    # 0 of 20 and 1 of 29, method 3.
    for hits, images, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits / images, images) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1.0, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


def test_intervals_say_their_method_and_when_they_are_not_reliable() -> None:
    rows, truth, probabilities = sample(800, 6, skill=4.0)
    result = evaluated(truth, probabilities, intervals=True, resamples=100)
    found = result["intervals"]
    methods = {
        "accuracy": "wilson",
        "top5_accuracy": "wilson",
        "micro_f1": "wilson",
        "hamming_loss": "wilson",
        "log_loss": "percentile",
        "macro_f1": "jackknife",
        "map": "jackknife-bias",
    }
    for name, method in methods.items():
        assert found[name]["method"] == method
        # Of the five most probable of six the right one is hardly ever missing.
        assert found[name]["reliable"] is (name != "top5_accuracy"), name
        assert found[name]["low"] <= result[name] <= found[name]["high"], name
    for name in EQUAL_TO_ACCURACY:
        assert found[name] == found["accuracy"]
    assert "calibration_error" not in found
    # All right: a bootstrap would say "exactly 1".
    perfect = one_hot(rows, 6).astype(np.float32)
    found = evaluated(truth, perfect, intervals=True, resamples=50)["intervals"]
    assert (found["accuracy"]["high"], found["accuracy"]["low"] < 0.9975) == (1.0, True)
    assert not any(interval["reliable"] for interval in found.values())
    few = evaluated(truth[:90], probabilities[:90], intervals=True, resamples=50)["intervals"]
    assert not any(interval["reliable"] for interval in few.values())


def test_the_other_intervals_are_those_of_label_sets() -> None:
    _, truth, probabilities = sample(150, 4)
    predicted = one_hot(most_probable(probabilities), 4)
    values = {"accuracy": float((predicted & (truth == 1)).any(axis=1).mean())}
    ours = single_label_intervals(truth, predicted, probabilities, values, resamples=80, seed=3)
    theirs = intervals(truth, predicted, probabilities, seed=3)
    for name in ("macro_f1", "challenge_f1", "map", "cf1"):
        assert ours[name] == theirs[name]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "macro_f1"])
def test_coverage_where_the_interval_is_called_reliable(metric: str) -> None:
    rows, truth, probabilities = sample(20_000, 6, skill=4.0, seed=1)
    whole = evaluated(truth, probabilities)[metric]
    random = np.random.default_rng(2)
    covered = []
    for draw in range(120):
        part = random.choice(len(rows), 300)
        predicted = one_hot(most_probable(probabilities[part]), 6)
        values = {
            "accuracy": float((predicted & (truth[part] == 1)).any(axis=1).mean()),
            "log_loss": float(log_losses(rows[part], probabilities[part]).mean()),
        }
        found = single_label_intervals(
            truth[part], predicted, probabilities[part], values, resamples=120, seed=draw
        )
        assert found[metric]["reliable"]
        covered.append(found[metric]["low"] <= whole <= found[metric]["high"])
    # 0.92-0.98, give or take two standard errors of 120 draws.
    assert 0.88 <= np.mean(covered) <= 1.0


def test_wilsons_exact_coverage_from_one_expected_mistake_on() -> None:
    for images in (100, 360):
        hits = np.arange(images + 1)
        ends = np.array([wilson(int(h) / images, images) for h in hits])
        ways = np.array([math.comb(images, int(h)) for h in hits], float)
        for mistakes in np.linspace(1, images / 2, 60):
            share = 1 - mistakes / images
            chance = ways * share**hits * (1 - share) ** (images - hits)
            held = (ends[:, 0] <= share) & (share <= ends[:, 1])
            assert 0.91 < chance[held].sum() < 0.985


@pytest.mark.parametrize("images", [0, 1, 2])
def test_next_to_nothing(images: int) -> None:
    truth = np.eye(2, dtype=np.int8)[[0] * images].reshape(images, 2)
    table = np.tile(np.array([[0.7, 0.3]], np.float32), (images, 1))
    result = evaluated(truth, table, intervals=True, resamples=20)
    assert result["accuracy"] == float(images > 0)
    assert bool(result["intervals"]) == (images > 1)
    if not images:
        assert result["absent"]["map"] == NO_POSITIVES


def test_the_headline_begins_with_the_accuracy() -> None:
    _, truth, probabilities = sample(40, 8)
    result = evaluated(truth, probabilities)
    assert list(headline(result)) == [
        *("accuracy", "top5_accuracy", "macro_f1", "log_loss", "calibration_error", "map")
    ]
    assert result["labels"] == "exclusive"


def test_every_key_is_documented() -> None:
    _, truth, probabilities = sample(60, 7)
    result = evaluated(truth, probabilities, intervals=True, resamples=20)
    documented = set(re.findall(r"`([a-z0-9_.]+)`", DOCUMENT.read_text()))
    nested = {key for row in result["per_category"] for key in row}
    nested |= set(result["intervals"]["accuracy"])
    nested |= {interval["method"] for interval in result["intervals"].values()} - {"jackknife-bias"}
    assert not (set(result) | nested) - documented


def test_confusion_matrix_leaves_out_what_was_not_said() -> None:
    found = confusion_matrix(np.array([0, 1, 2, 2]), np.array([0, -1, 0, 2]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
