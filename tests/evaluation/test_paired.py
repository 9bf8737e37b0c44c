"""Paired differences against scikit-learn on resamples drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, f1_score

from tagbox.evaluation.intervals import resample_weights
from tagbox.evaluation.label_metrics import LABEL_METRICS, label_metrics
from tagbox.evaluation.paired import paired_differences
from tagbox.evaluation.thresholds import Thresholds

HALF = Thresholds()


def claims(seed: int, images: int = 60, categories: int = 4) -> tuple[np.ndarray, ...]:
    """Truth with positives and negatives of every category, a good model and a worse one."""
    random = np.random.default_rng(seed)
    truth = (random.random((images, categories)) < 0.5).astype(np.int8)
    good = np.clip(0.6 * truth + 0.6 * random.random(truth.shape), 0, 1).astype(np.float32)
    worse = np.clip(0.2 * truth + 0.8 * random.random(truth.shape), 0, 1).astype(np.float32)
    return truth, good, worse


def test_against_scikit_learn_on_every_resample() -> None:
    truth, good, worse = claims(1)
    found = paired_differences(truth, (worse, HALF), (good, HALF), resamples=200, seed=7)
    drawn = []
    for weights in np.vstack(list(resample_weights(len(truth), 200, 7))):
        picked = np.repeat(np.arange(len(truth)), weights.astype(int))
        t = truth[picked]
        drawn.append(
            [
                average_precision_score(t, good[picked], average="macro")
                - average_precision_score(t, worse[picked], average="macro"),
                f1_score(t, good[picked] >= 0.5, average="micro")
                - f1_score(t, worse[picked] >= 0.5, average="micro"),
            ]
        )
    for column, name in enumerate(("map", "micro_f1")):
        low, high = np.quantile(np.array(drawn)[:, column], [0.025, 0.975])
        assert found[name]["low"] == pytest.approx(low, abs=1e-6)
        assert found[name]["high"] == pytest.approx(high, abs=1e-6)
    assert found["map"]["difference"] == pytest.approx(
        average_precision_score(truth, good) - average_precision_score(truth, worse), abs=1e-9
    )


@given(arrays(np.int8, (9, 3), elements=st.integers(-1, 1)), st.integers(0, 9999))
def test_the_difference_is_that_of_the_figures(truth: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.random((2, *truth.shape)).astype(np.float32)
    found = paired_differences(truth, (first, HALF), (second, HALF), resamples=50)
    figures = [label_metrics(truth, said >= 0.5) for said in (first, second)]
    for name in LABEL_METRICS:
        assert found[name]["difference"] == pytest.approx(figures[1][name] - figures[0][name])
        assert found[name]["low"] <= found[name]["high"]
    assert ("map" in found) == bool((truth == 1).any())
    turned = paired_differences(truth, (second, HALF), (first, HALF), resamples=50)
    for name, value in found.items():
        assert turned[name]["difference"] == -value["difference"]
        assert turned[name]["low"] == pytest.approx(-value["high"], abs=1e-6)


def test_the_same_model_twice_is_no_difference() -> None:
    truth, good, _ = claims(2)
    for value in paired_differences(truth, (good, HALF), (good, HALF), resamples=100).values():
        assert (value["difference"], value["low"], value["high"]) == (0, 0, 0)


def test_each_model_is_judged_at_its_own_thresholds() -> None:
    truth = np.array([[1], [1], [0], [0]], np.int8)
    scores = np.array([[0.4], [0.3], [0.2], [0.1]], np.float32)
    low = Thresholds(value=0.25)
    found = paired_differences(truth, (scores, HALF), (scores, low), resamples=100)
    assert found["micro_f1"]["difference"] == 1  # Nothing is said at 0.5, all is right at 0.25.
    assert found["map"]["difference"] == 0


def test_one_image_has_no_spread() -> None:
    one = np.ones((1, 2), np.int8), np.ones((1, 2), np.float32)
    assert paired_differences(one[0], (one[1], HALF), (one[1], HALF)) == {}
