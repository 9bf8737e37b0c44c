"""Threshold searches against trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox.evaluation.threshold_search import (
    expit,
    midway,
    search_per_category,
    smoothed_maximum,
    sweep_global,
)
from tagbox.metrics.multilabel import label_metrics
from tagbox.predictions.thresholds import OBJECTIVES


@st.composite
def scored(draw: st.DrawFn, images: int = 25, categories: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = random.choice([-1, 0, 1], (images, categories), p=[0.1, 0.6, 0.3]).astype(np.int8)
    noise = random.normal(0, 1, truth.shape) + 1.5 * (truth == 1)
    return truth, np.round(expit(noise - 1), draw(st.integers(1, 4))).astype(np.float32)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(deadline=None, max_examples=25)
@given(table=scored())
def test_sweep_is_exact_at_every_threshold(
    objective: str, table: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, probabilities = table
    levels, values = sweep_global(truth, probabilities, objective)
    assert levels.tolist() == sorted(set(probabilities[truth >= 0].tolist()), reverse=True)
    for level, value in zip(levels, values, strict=True):
        found = label_metrics(truth, probabilities >= np.float32(level))[objective]
        assert value == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("objective", ["macro_f1", "micro_f1", "of1", "cf1", "challenge_f1"])
@settings(deadline=None, max_examples=8)
@given(table=scored(images=5, categories=3))
def test_per_category_search_finds_the_best_there_is(
    objective: str, table: tuple[np.ndarray, np.ndarray]
) -> None:
    truth, probabilities = table
    found = search_per_category(truth, probabilities, objective, 0.5).astype(np.float32)
    value = label_metrics(truth, probabilities >= found)[objective]
    candidates = [np.append(np.unique(column), 2.0) for column in probabilities.T]
    best = max(
        label_metrics(truth, probabilities >= np.array(levels, np.float32))[objective]
        for levels in product(*candidates)
    )
    # F1 of averages may peak off the hull that the mixes see, by little.
    slack = 0.03 if objective in ("cf1", "challenge_f1") else 1e-9
    assert best - slack <= value <= best + 1e-9


@settings(deadline=None, max_examples=20)
@given(table=scored())
def test_samples_search_never_loses_against_its_start(
    table: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, probabilities = table
    found = search_per_category(truth, probabilities, "samples_f1", 0.3).astype(np.float32)
    after = label_metrics(truth, probabilities >= found)["samples_f1"]
    assert after >= label_metrics(truth, probabilities >= np.float32(0.3))["samples_f1"] - 1e-9


def test_categories_without_positives_keep_the_start() -> None:
    truth = np.array([[1, 0], [0, 0]], np.int8)
    probabilities = np.array([[0.8, 0.9], [0.2, 0.1]], np.float32)
    found = search_per_category(truth, probabilities, "challenge_f1", 0.37)
    assert found[1] == 0.37
    assert 0.2 < found[0] < 0.8
    # Micro F1 pays for every false word, so there it falls silent.
    assert search_per_category(truth, probabilities, "micro_f1", 0.37)[1] > 0.9


@pytest.mark.parametrize("sharpness", [0.02, 1.0, 5.0])
def test_the_middle_of_a_plateau_wins_over_a_spike(sharpness: float) -> None:
    random = np.random.default_rng(0)
    truth = (random.random((400, 1)) < expit(np.linspace(4, -6, 400))[:, None]).astype(np.int8)
    odds = np.linspace(3, -3, 400)[:, None] * sharpness
    found = smoothed_maximum(truth, expit(odds), "macro_f1", 0.3)
    levels, values = sweep_global(truth, expit(odds), "macro_f1")
    value = values[np.flatnonzero(levels >= found)[-1]]
    assert value > values.max() - 0.03
    # The same ranking gives the same decisions, however sharp the probabilities are.
    predicted = int((expit(odds) >= found).sum())
    plain = np.linspace(3, -3, 400)[:, None]
    assert predicted == int(
        (expit(plain) >= smoothed_maximum(truth, expit(plain), "macro_f1", 0.3)).sum()
    )


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_maximum_of_almost_nothing(images: int) -> None:
    for value in (0.0, 0.5, 1.0):
        truth = np.ones((images, 1), np.int8)
        assert (
            0
            < smoothed_maximum(truth, np.full((images, 1), value), "micro_f1", 0.3)
            <= max(value, 1e-3)
        )


def test_midway() -> None:
    assert midway(0.5, 0.5) == pytest.approx(0.5)
    assert midway(0.9, 0.1) == pytest.approx(0.5)
    assert 0 < midway(0.5, 0.0) < 0.5 < midway(1.0, 0.5) < 1
