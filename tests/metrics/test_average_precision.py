"""Average precision against scikit-learn's, ties and unknown labels included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from tagbox.metrics.multilabel import average_precision, mean_average_precision


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Truth with unknowns, scores with many ties; NumPy fills them from a drawn seed."""
    images, categories = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = random.choice([-1, 0, 1], (images, categories), p=[0.1, 0.6, 0.3]).astype(np.int8)
    decimals = draw(st.integers(0, 3))
    scores = np.round(random.random(truth.shape), decimals).astype(
        draw(st.sampled_from([np.float32, np.float64]))
    )
    return truth, scores


@settings(deadline=None, max_examples=150)
@given(tables())
def test_equals_scikit_learn(table: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = table
    ours = average_precision(truth, scores)
    for k in range(truth.shape[1]):
        known = truth[:, k] >= 0
        if (truth[known, k] == 1).any():
            theirs = average_precision_score(truth[known, k], scores[known, k])
            assert ours[k] == pytest.approx(theirs, abs=1e-12)
        else:
            assert np.isnan(ours[k])


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6], (1 + 2 / 3) / 2),
        ([1, 0], [0.5, 0.5], 0.5),  # A tie has no order: precision at its end.
        ([0, 1], [0.0, -0.0], 0.5),  # Zero and minus zero are the same score.
        ([1, 1, 1], [0.1, 0.1, 0.9], 1.0),
        ([0, 0, 1], [5.0, 4.0, -3.0], 1 / 3),  # Logits do as well.
        ([1, -1, 0], [0.2, 0.9, 0.1], 1.0),  # The unknown would have come first.
    ],
)
def test_by_hand(truth: list[int], scores: list[float], expected: float) -> None:
    ap = average_precision(np.array(truth, np.int8)[:, None], np.array(scores)[:, None])
    assert ap[0] == pytest.approx(expected)


def test_categories_without_a_positive_leave_the_mean() -> None:
    truth = np.array([[1, 0, -1], [0, 0, -1]], np.int8)
    ap = average_precision(truth, np.full((2, 3), 0.5))
    assert np.isnan(ap).tolist() == [False, True, True]
    assert mean_average_precision(ap) == 0.5
    assert mean_average_precision(ap[1:]) is None


def test_refuses_nan_and_other_shapes() -> None:
    truth = np.zeros((2, 2), np.int8)
    with pytest.raises(ValueError, match="NaN"):
        average_precision(truth, np.array([[0.1, np.nan], [0, 0]]))
    with pytest.raises(ValueError, match="N, K"):
        average_precision(truth, np.zeros((2, 3)))
