"""Tuned thresholds: reproducible, honest about themselves, and harmless where there is nothing to tune on."""

from __future__ import annotations

import numpy as np
import pytest

from tagbox.data.stratify import stratify
from tagbox.evaluation.threshold_search import expit
from tagbox.evaluation.tuning import cross_fitted_decisions, tune
from tagbox.metrics.multilabel import label_metrics
from tagbox.predictions.thresholds import OBJECTIVES


def population(images: int, seed: int, spread: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated-looking probabilities; `spread` shifts each category's, so that one threshold suits none."""
    random = np.random.default_rng(seed)
    rates = np.linspace(0.05, 0.4, 8)
    truth = (random.random((images, 8)) < rates).astype(np.int8)
    shift = np.random.default_rng(7).normal(0, spread, 8) if spread else 0.0
    odds = random.normal(0, 1, truth.shape) + 2.5 * truth - 2 + shift
    return truth, expit(odds).astype(np.float32)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_gives_the_same_thresholds(objective: str) -> None:
    truth, probabilities = population(90, 0)
    first, again = (tune(truth, probabilities, objective, seed=3) for _ in range(2))
    assert first == again
    assert first.thresholds.objective == objective
    assert first.report["global"]["tuned"] >= first.report["at_0.5"] - 0.02


def test_per_category_ones_are_kept_where_they_help() -> None:
    truth, probabilities = population(800, 1, spread=1.5)
    tuned = tune(truth, probabilities, "macro_f1")
    assert tuned.report["kept"] == "per_category"
    assert tuned.thresholds.use_per_category
    unseen, scores = population(4000, 2, spread=1.5)
    value = {
        mode: label_metrics(unseen, tuned.thresholds.decide(scores, mode))["macro_f1"]
        for mode in ("global", "per_category")
    }
    assert value["per_category"] > value["global"] + 0.03


def test_per_category_ones_need_evidence_of_half_of_the_categories() -> None:
    """The same eight categories, judged as before; ten more, of which nobody knows anything, are beside them."""
    truth, probabilities = population(800, 1, spread=1.5)
    rare = np.zeros((800, 10), np.int8)
    rare[:4] = 1
    noise = np.random.default_rng(0).random(rare.shape).astype(np.float32) / 100
    wide = tune(np.hstack([truth, rare]), np.hstack([probabilities, noise]), "macro_f1")
    assert (wide.report["judged_categories"], wide.report["categories"]) == (8, 18)
    assert wide.report["per_category"]["cross_fitted"] > wide.report["global"]["cross_fitted"]
    assert wide.report["kept"] == "global" and not wide.thresholds.use_per_category
    assert wide.report["reason"].endswith("only 8 of 18 categories have 5 positives")
    fewer = tune(
        np.hstack([truth, rare[:, :8]]), np.hstack([probabilities, noise[:, :8]]), "macro_f1"
    )
    assert fewer.report["kept"] == "per_category"


def test_a_gain_by_chance_is_not_kept() -> None:
    """One threshold suits all categories: whatever the folds say, there is nothing to gain."""
    for seed in range(8):
        truth, probabilities = population(300, seed)
        tuned = tune(truth, probabilities, "micro_f1", seed=seed)
        gain = tuned.report["per_category"]["cross_fitted"] - tuned.report["global"]["cross_fitted"]
        assert tuned.report["kept"] == ("per_category" if gain > 0.01 else "global")
        if 0 < gain <= 0.01:
            assert tuned.report["reason"].endswith("is chance")


def test_cross_fitting_predicts_unseen_images() -> None:
    unseen, scores = population(5000, 100, spread=0.8)
    errors, flattery = [], []
    for seed in range(12):
        truth, probabilities = population(150, seed, spread=0.8)
        tuned = tune(truth, probabilities, "macro_f1", seed=seed)
        for mode in ("global", "per_category"):
            value = label_metrics(unseen, tuned.thresholds.decide(scores, mode))["macro_f1"]
            errors.append(tuned.report[mode]["cross_fitted"] - value)
            flattery.append(tuned.report[mode]["tuned"] - value)
            row = tuned.report[mode]
            assert row["overstated"] == pytest.approx(row["tuned"] - row["cross_fitted"])
    assert np.mean(errors) < np.mean(flattery)
    assert abs(np.mean(errors)) < 0.03


def test_an_image_has_no_say_in_the_thresholds_of_its_own_fold() -> None:
    truth, probabilities = population(60, 5)
    before = cross_fitted_decisions(truth, probabilities, seed=1)
    fold = stratify(truth, [0.2] * 5, 1)
    moved = probabilities.copy()
    moved[fold == 2] = 1 - moved[fold == 2]
    after = cross_fitted_decisions(truth, moved, seed=1)
    kept = probabilities.copy()
    kept[np.flatnonzero(fold == 2)[0]] = 0.5
    one = cross_fitted_decisions(truth, kept, seed=1)
    others = np.flatnonzero(fold == 2)[1:]
    for mode, predicted in before.items():
        assert predicted.shape == truth.shape and predicted.dtype == bool
        assert np.array_equal(one[mode][others], predicted[others])
        assert not np.array_equal(after[mode], predicted)


@pytest.mark.parametrize("images", [0, 1, 2, 3])
@pytest.mark.parametrize("present", [0, 1])
def test_next_to_nothing_to_tune_on(images: int, present: int) -> None:
    truth = np.full((images, 3), present, np.int8)
    tuned = tune(truth, np.full(truth.shape, 0.4, np.float32))
    assert tuned.report["kept"] in ("global", "per_category")
    assert tuned.report["reason"]
    assert tuned.thresholds.decide(np.full((2, 3), 0.4)).shape == (2, 3)
    if images == 0 or not present:
        assert tuned.thresholds.value == 0.5


def test_unknown_labels_do_not_move_thresholds() -> None:
    truth, probabilities = population(120, 4)
    truth[::5, ::2] = -1
    other = probabilities.copy()
    other[::5, ::2] = 0.99
    assert tune(truth, probabilities).thresholds.value == tune(truth, other).thresholds.value


def test_fallbacks_are_carried() -> None:
    truth, probabilities = population(50, 6)
    thresholds = tune(truth, probabilities, at_least_one=True, top_k=3).thresholds
    assert (thresholds.at_least_one, thresholds.top_k) == (True, 3)
    with pytest.raises(ValueError, match="N, K"):
        tune(truth, probabilities[:, :2])
