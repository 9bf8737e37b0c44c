"""scikit-learn is the oracle of the curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, precision_recall_curve

from tagbox.metrics.multilabel import average_precision, label_metrics
from tagbox.reports.classifier_charts import precision_recall, threshold_curves

scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])


@given(arrays(np.int8, 20, elements=st.integers(0, 1)), arrays(np.float32, 20, elements=scores))
def test_precision_and_recall_are_those_of_sklearn(truth: np.ndarray, scores: np.ndarray) -> None:
    curve = precision_recall(truth, scores)
    if not truth.any():
        assert curve is None
        return
    assert curve is not None
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1])
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1])
    np.testing.assert_allclose(curve.threshold[::-1], thresholds)


def test_the_area_under_the_steps_is_average_precision() -> None:
    random = np.random.default_rng(1)
    truth = (random.random((200, 1)) < 0.2).astype(np.int8)
    values = random.random((200, 1)).round(2)
    curve = precision_recall(truth[:, 0], values[:, 0])
    assert curve is not None
    area = np.sum(np.diff(curve.recall, prepend=0) * curve.precision)
    assert area == pytest.approx(average_precision(truth, values)[0])


def test_unknown_labels_are_left_out() -> None:
    curve = precision_recall(np.array([1, -1, 0], np.int8), np.array([0.5, 0.9, 0.1]))
    assert curve is not None
    assert curve.recall.tolist() == [1.0, 1.0]
    assert curve.precision.tolist() == [1.0, 0.5]


def test_thinning_keeps_the_ends_and_the_order() -> None:
    random = np.random.default_rng(2)
    truth = (random.random(5000) < 0.3).astype(np.int8)
    curve = precision_recall(truth, random.random(5000) + truth)
    assert curve is not None
    thin = curve.thinned(50)
    assert len(thin.recall) <= 51
    assert thin.recall[0] == curve.recall[0]
    assert (thin.recall[-1], thin.precision[-1]) == (1.0, curve.precision[-1])
    assert (np.diff(thin.recall) >= 0).all()


def test_threshold_curves_are_the_metrics_at_each_threshold() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(-1, 2, (60, 7)).astype(np.int8)
    truth[:, 3] = 0
    probabilities = random.random((60, 7)).astype(np.float32)
    probabilities[random.random((60, 7)) < 0.2] = 0.5
    thresholds, metrics = threshold_curves(truth, probabilities, steps=20)
    for i, level in enumerate(thresholds):
        expected = label_metrics(truth, probabilities >= np.float32(level))
        for name in ("challenge_f1", "micro_f1", "macro_f1", "cf1", "micro_recall", "hamming_loss"):
            assert metrics[name][i] == pytest.approx(expected[name]), (name, level)


def test_micro_f1_is_that_of_sklearn_and_silence_has_no_precision() -> None:
    truth = np.array([[1, 0], [0, 1]], np.int8)
    probabilities = np.array([[0.9, 0.6], [0.2, 0.8]], np.float32)
    thresholds, metrics = threshold_curves(truth, probabilities, steps=10)
    for i in (0, 3, 7, 9):
        predicted = probabilities >= np.float32(thresholds[i])
        assert metrics["micro_f1"][i] == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert np.isnan(metrics["micro_precision"][10])
    assert metrics["micro_f1"][10] == 0
