"""Heads: base-rate start, standardisation, and the NumPy twin that inference uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tagbox.evaluation.base_rates import base_rate
from tagbox.models.heads import HeadKind, create_head, head_logits, sigmoid


def features(seed: int = 0, rows: int = 40, width: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, width)) * rng.uniform(0.1, 9, width) + 5).astype(np.float32)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_an_untrained_head_says_the_base_rates(kind: HeadKind) -> None:
    rates = np.array([0.01, 0.3, 0.9])
    x = features()
    head = create_head(kind, x, rates, hidden=7)
    said = sigmoid(head(torch.from_numpy(x)).detach().numpy())
    np.testing.assert_allclose(said, np.tile(rates, (len(x), 1)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_numpy_twin_equals_torch(kind: HeadKind) -> None:
    x = features()
    head = create_head(kind, x, np.array([0.2, 0.5]), hidden=7).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
        expected = head(torch.from_numpy(x)).numpy()
    weights = {name: value.numpy() for name, value in head.state_dict().items()}
    np.testing.assert_allclose(head_logits(weights, x), expected, rtol=1e-4, atol=1e-4)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    x = features()
    x[:, 3] = 2.0
    head = create_head("linear", x, np.array([0.5]))
    assert torch.isfinite(head.scale).all()
    assert torch.isfinite(head(torch.from_numpy(x))).all()


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    x = features()
    head = create_head("linear", x, np.array([0.5]))
    z = (torch.from_numpy(x) - head.mean) * head.scale
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0, unbiased=False), 1, rtol=1e-4)


def test_base_rate_leaves_unknown_labels_out_and_never_reaches_0_or_1() -> None:
    labels = np.array([[1, 0, -1], [1, 0, 1], [1, 0, -1]], np.int8)
    np.testing.assert_allclose(base_rate(labels), [3.5 / 4, 0.5 / 4, 1.5 / 2])


def test_sigmoid_survives_extreme_logits() -> None:
    values = sigmoid(np.array([-1e4, -3.0, 0.0, 3.0, 1e4], np.float32))
    np.testing.assert_allclose(
        values, [0, 1 / (1 + np.e**3), 0.5, 1 / (1 + np.e**-3), 1], atol=1e-7
    )
