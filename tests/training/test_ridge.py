"""Ridge regression in closed form equals scikit-learn's, fitted again for whatever is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict

from tagbox.config import LabelKind
from tagbox.training.calibration import fit_shared_logistic
from tagbox.training.ridge import PENALTIES, RidgeFit

SHAPES = [(30, 50), (50, 12), (20, 20)]
"""More features than images, fewer, and as many."""


def sample(images: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(images)
    labels = (rng.random((images, 4)) < 0.4).astype(np.int8)
    features = rng.normal(size=(images, width)) * rng.uniform(0.1, 9, width)
    features[:, :4] += labels * features.std(axis=0)[:4]
    return (features + 3).astype(np.float32), labels


def standardised(fit: RidgeFit) -> np.ndarray:
    x: np.ndarray = (fit.features - fit.scale.mean.astype(float)) * fit.scale.scale
    return x


@pytest.mark.parametrize(("images", "width"), SHAPES)
def test_coefficients_are_those_of_scikit_learn(images: int, width: int) -> None:
    fit = RidgeFit.of(*sample(images, width))
    other = Ridge(alpha=fit.penalty).fit(standardised(fit), fit.labels)
    assert fit.weight == pytest.approx(other.coef_, abs=1e-9)
    assert fit.intercept == pytest.approx(other.intercept_, abs=1e-7)


@pytest.mark.parametrize(("images", "width"), SHAPES)
def test_left_out_images_are_predicted_as_by_a_regression_without_them(
    images: int, width: int
) -> None:
    fit = RidgeFit.of(*sample(images, width))
    x, y, ridge = standardised(fit), fit.labels.astype(float), Ridge(alpha=fit.penalty)
    one_at_a_time = cross_val_predict(ridge, x, y, cv=LeaveOneOut())
    assert fit.left_out(np.arange(images)) == pytest.approx(one_at_a_time, abs=1e-6)
    # Groups of one image, of two, and of more images than there are features.
    groups = np.array([0, 1, 1, *[2] * 14, *np.arange(images - 17) % 3 + 3])
    in_groups = cross_val_predict(ridge, x, y, cv=LeaveOneGroupOut(), groups=groups)
    assert fit.left_out(groups) == pytest.approx(in_groups, abs=1e-6)


@pytest.mark.parametrize(("images", "width"), SHAPES)
def test_the_penalty_is_the_one_of_the_least_cross_validation_score(
    images: int, width: int
) -> None:
    fit = RidgeFit.of(*sample(images, width))
    x, y = standardised(fit), fit.labels - fit.labels.mean(axis=0)
    scores = []
    for penalty in PENALTIES * np.square(x).sum():
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(width), x.T) + 1 / images
        error = np.square(y - hat @ y).sum() / images
        scores.append(error / (1 - np.trace(hat) / images) ** 2)
    assert fit.share == PENALTIES[int(np.argmin(scores))]
    assert fit.penalty == pytest.approx(fit.share * np.square(x).sum(), rel=1e-6)


def test_an_unknown_label_is_the_mean_of_the_known_ones() -> None:
    features, labels = sample(30, 50)
    labels[:10, 0] = -1
    labels[:, 1] = -1
    fit = RidgeFit.of(features, labels)
    filled = labels.astype(float)
    filled[:10, 0] = labels[10:, 0].mean()
    filled[:, 1] = 0.5
    other = Ridge(alpha=fit.penalty).fit(standardised(fit), filled)
    assert fit.weight == pytest.approx(other.coef_, abs=1e-9)
    assert fit.intercept == pytest.approx([*filled.mean(axis=0)], abs=1e-12)


def test_a_feature_that_hardly_varies_does_not_decide_where_it_does() -> None:
    features, labels = sample(50, 12)
    features[:, 11] = 3 + 1e-4 * np.random.default_rng(0).normal(size=50)
    fit = RidgeFit.of(features, labels)
    other = features[:1].copy()
    other[0, 11] = 3.5
    outputs = [
        ((x - fit.scale.mean) * fit.scale.scale) @ fit.weight.T for x in (features[:1], other)
    ]
    assert outputs[1] == pytest.approx(outputs[0], abs=0.1)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_features_or_labels_that_tell_nothing(images: int) -> None:
    features, labels = np.ones((images, 7), np.float32), np.ones((images, 3), np.int8)
    fit = RidgeFit.of(features, labels)
    assert (fit.weight == 0).all() and (fit.intercept == 1).all()
    if images > 1:
        assert fit.left_out(np.arange(images)) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["multi", "exclusive"])
def test_calibration_is_the_least_cross_entropy(kind: LabelKind) -> None:
    rng = np.random.default_rng(4)
    rates = np.array([0.1, 0.3, 0.6])
    if kind == "exclusive":
        labels = np.eye(3, dtype=np.int8)[rng.choice(3, size=200, p=rates)]
    else:
        labels = (rng.random((200, 3)) < rates).astype(np.int8)
    outputs = 0.2 * rng.normal(size=(200, 3)) + 0.3 * labels
    if kind == "multi":
        labels[:40, 1] = -1
    inputs = [outputs, np.log(rates)[None]]
    found = fit_shared_logistic(inputs, labels, rates, kind)
    known = labels >= 0
    target = (200 * (labels == 1) + rates) / 201

    def cross_entropy(coefficients: np.ndarray) -> float:
        logits = coefficients[0] * outputs + coefficients[1] * np.log(rates)
        if kind == "exclusive":
            return float(np.log(np.exp(logits).sum(axis=1)).sum() - (target * logits).sum())
        return float((np.log1p(np.exp(logits)) - target * logits)[known].sum())

    expected = minimize(cross_entropy, np.zeros(2), tol=1e-10).x
    assert found == pytest.approx(expected, abs=1e-3)
    assert cross_entropy(found) <= cross_entropy(expected) + 1e-6


def test_calibration_of_separated_labels_is_finite() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.int8)
    inputs = [2.0 * labels - 1, np.ones((1, 1))]
    slope, constant = fit_shared_logistic(inputs, labels, np.full(2, 0.5))
    # One image more, half of which is present: targets of 0.9 and 0.1.
    assert (slope, constant) == pytest.approx((np.log(9), 0), abs=1e-4)
