"""Weights of an ensemble: on the simplex, where the log loss is least, and kept only where they help."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score, log_loss

from tagbox.data.stratify import stratify
from tagbox.evaluation.ensemble_weights import (
    LEAST,
    choose_weights,
    cross_fitted_mean,
    fit_weights,
)
from tagbox.predictions.predictions import equal_weights, weighted_mean

SEEDS = st.integers(0, 2**32 - 1)


def population(
    images: int, seed: int, noise: tuple[float, ...], categories: int = 6
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Truth, and models that each see it through noise of their own, of the given strength."""
    random = np.random.default_rng(seed)
    truth = (random.random((images, categories)) < np.linspace(0.1, 0.5, categories)).astype(
        np.int8
    )
    odds = [3.0 * truth - 2.0 + random.normal(0, strength, truth.shape) for strength in noise]
    return truth, [(1 / (1 + np.exp(-o))).astype(np.float32) for o in odds]


def given_to_truth(*pairs: tuple[float, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """One category; a row an image: the probability that each model gives to what is true."""
    truth = np.arange(len(pairs), dtype=np.int8)[:, None] % 2
    told = np.array(pairs, np.float32)
    return truth, [np.where(truth == 1, t[:, None], 1 - t[:, None]) for t in told.T]


def test_the_weighted_mean_by_hand() -> None:
    tables = [np.array([[0.2, 1.0]], np.float32), np.array([[0.6, 0.0]], np.float32)]
    assert weighted_mean(tables) == pytest.approx(np.array([[0.4, 0.5]]))
    assert weighted_mean(tables, (0.25, 0.75)) == pytest.approx(np.array([[0.5, 0.25]]))
    assert weighted_mean(tables).dtype == np.float32


@given(SEEDS, st.integers(1, 7))
def test_models_that_say_the_same_say_it_together(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    table = random.random((5, 3), np.float32)
    table.flat[:2] = 0.0, 1.0
    weights = random.random(count)
    combined = weighted_mean([table] * count, (weights / weights.sum()).tolist())
    assert np.array_equal(combined, table)
    assert np.array_equal(weighted_mean([table] * count), table)


@given(SEEDS)
def test_a_part_of_a_table_gives_the_same_bits(seed: int) -> None:
    random = np.random.default_rng(seed)
    tables = [random.random((9, 4), np.float32) for _ in range(3)]
    whole = weighted_mean(tables, (0.1, 0.7, 0.2))
    assert np.array_equal(weighted_mean([t[3:5] for t in tables], (0.1, 0.7, 0.2)), whole[3:5])
    assert np.all(
        (whole >= np.min(tables, axis=0) - 1e-6) & (whole <= np.max(tables, axis=0) + 1e-6)
    )


def test_the_best_weights_by_hand() -> None:
    # Maximise 3 log(0.2 + 0.6 w) + log(0.8 - 0.6 w): the derivative is zero at w = 2.2 / 2.4.
    weights = fit_weights(*given_to_truth((0.8, 0.2), (0.8, 0.2), (0.8, 0.2), (0.2, 0.8)))
    assert weights == pytest.approx((11 / 12, 1 / 12), abs=1e-3)
    # Always better: all of the weight; and what is left of the other is not kept.
    assert fit_weights(*given_to_truth((0.9, 0.1), (0.8, 0.3))) == (1.0, 0.0)


@given(SEEDS, st.integers(2, 5), st.integers(1, 40))
def test_weights_lie_on_the_simplex_and_lower_the_log_loss(
    seed: int, models: int, images: int
) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(-1, 2, (images, 3)).astype(np.int8)
    tables = [random.random(truth.shape, np.float32) for _ in range(models)]
    weights = fit_weights(truth, tables)
    assert len(weights) == models and all(w >= 0 for w in weights)
    assert sum(weights) == pytest.approx(1)
    assert all(w == 0 or w >= LEAST / models - 1e-9 for w in weights)
    known = truth != -1
    if known.any():
        losses = [
            log_loss(truth[known], weighted_mean(tables, w)[known], labels=[0, 1])
            for w in (weights, equal_weights(models))
        ]
        # What was too small to keep may cost a little.
        assert losses[0] <= losses[1] + 0.02


def test_no_other_weights_have_a_lower_log_loss() -> None:
    truth, tables = population(150, 3, (0.8, 1.5, 2.0))

    def loss(weights: np.ndarray) -> float:
        mean = sum(w * t.astype(np.float64) for w, t in zip(weights, tables, strict=True))
        return float(log_loss(truth.ravel(), mean.ravel()))

    best = minimize(
        loss,
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    found = fit_weights(truth, tables)
    assert loss(np.array(found)) <= best.fun + 1e-5
    assert found == pytest.approx(tuple(best.x), abs=0.02)


def test_equal_models_get_equal_shares_and_unknown_labels_no_say() -> None:
    truth, tables = population(60, 1, (1.0, 1.5))
    a, _, c = fit_weights(truth, [tables[0], tables[1], tables[0]])
    assert a == pytest.approx(c, abs=1e-9)
    truth[::3] = -1
    other = [np.where(truth == -1, np.float32(0.01), table) for table in tables]
    assert fit_weights(truth, tables) == fit_weights(truth, other)
    nothing = np.full((4, 2), -1, np.int8)
    assert fit_weights(nothing, [np.zeros((4, 2), np.float32)] * 2) == (0.5, 0.5)


def test_weights_are_kept_where_a_model_is_worse_than_the_others() -> None:
    truth, tables = population(400, 2, (0.7, 6.0))
    chosen = choose_weights(truth, tables)
    assert chosen.report["kept"] == "fitted"
    assert chosen.weights[0] > 0.9
    assert chosen.weights == tuple(chosen.report["fitted"]["weights"])
    # On images that nothing was fitted on.
    unseen, scores = population(3000, 77, (0.7, 6.0))
    fitted, plain = (
        average_precision_score(unseen, weighted_mean(scores, weights))
        for weights in (chosen.weights, equal_weights(2))
    )
    assert fitted > plain + 0.01
    assert chosen.report["fitted"]["cross_fitted"] == pytest.approx(fitted, abs=0.05)


def test_equal_weights_stay_where_fitting_gains_nothing() -> None:
    truth, tables = population(80, 4, (1.0,))
    same = choose_weights(truth, tables * 3)
    assert same.weights == equal_weights(3)
    assert same.report["kept"] == "equal"
    for seed in range(10):
        truth, tables = population(40, seed, (1.5, 1.5, 1.5))
        report = choose_weights(truth, tables, seed=seed).report
        fitted = report["fitted"]
        assert fitted["overstated"] == pytest.approx(fitted["tuned"] - fitted["cross_fitted"])
        assert (report["kept"] == "fitted") == (fitted["cross_fitted"] > report["equal"])


def test_the_reported_figures_are_scikit_learns() -> None:
    truth, tables = population(50, 6, (1.0, 2.0))
    truth[:, 0] = 0
    truth[:3, 0] = 1  # Fewer positives than folds: not evaluated.
    report = choose_weights(truth, tables, folds=5, repeats=1, seed=9).report
    assert report["judged_categories"] == 5
    mean = (tables[0].astype(float) + tables[1]) / 2
    assert report["equal"] == pytest.approx(average_precision_score(truth[:, 1:], mean[:, 1:]))
    crossed = cross_fitted_mean(truth, tables, folds=5, seed=9)
    assert report["fitted"]["cross_fitted"] == pytest.approx(
        average_precision_score(truth[:, 1:], crossed[:, 1:])
    )


def test_an_image_has_no_say_in_the_weights_of_its_own_fold() -> None:
    truth, tables = population(60, 5, (0.8, 1.6))
    before = cross_fitted_mean(truth, tables, seed=1)
    part = stratify(truth, [0.2] * 5, 1)
    held = part == 2
    moved = [np.where(held[:, None], np.float32(1) - t, t) for t in tables]
    after = cross_fitted_mean(truth, moved, seed=1)
    assert after[held] == pytest.approx(1 - before[held], abs=1e-6)
    assert not np.array_equal(after[~held], before[~held])


def test_the_same_seed_gives_the_same_choice() -> None:
    truth, tables = population(90, 8, (1.0, 1.3, 1.6))
    assert choose_weights(truth, tables, seed=3) == choose_weights(truth, tables, seed=3)


@pytest.mark.parametrize("images", [0, 1, 2, 4])
@pytest.mark.parametrize("present", [0, 1, -1])
def test_next_to_nothing_to_fit_on(images: int, present: int) -> None:
    truth = np.full((images, 2), present, np.int8)
    tables = [np.full(truth.shape, value, np.float32) for value in (0.0, 1.0)]
    chosen = choose_weights(truth, tables)
    assert sum(chosen.weights) == pytest.approx(1)
    assert chosen.report["kept"] in ("equal", "fitted") and chosen.report["reason"]


def test_one_model_has_all_the_weight() -> None:
    truth, tables = population(30, 0, (1.0,))
    assert choose_weights(truth, tables).weights == (1.0,)
