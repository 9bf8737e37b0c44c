"""Heads: base-rate start, standardisation, and the NumPy twin that inference uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from heads_data import features, maps, state, stir
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox.metrics.multilabel import class_priors
from tagbox.models.heads import (
    FeatureScale,
    HeadKind,
    create_head,
    head_logits,
    kind_of,
    sigmoid,
    wants_map,
)
from tagbox.models.heads import numpy_forward as forward

KINDS: list[tuple[HeadKind, dict[str, Any]]] = [
    ("linear", {}),
    ("mlp", {"hidden": 7}),
    ("csra", {}),
    ("csra", {"attention_heads": 2, "attention": 0.7}),
    ("csra", {"attention_heads": 8}),
    ("ml_decoder", {"hidden": 24}),
    ("ml_decoder", {"hidden": 16, "queries": 2}),
]
RATES = np.array([0.01, 0.3, 0.9, 0.2, 0.5])


def inputs(kind: HeadKind) -> tuple[np.ndarray, FeatureScale]:
    """What the head takes, and its scale."""
    if wants_map(kind):
        x = maps()
        return x, FeatureScale.of(x[:, None])
    views = features()
    return views[:, 0], FeatureScale.of(views)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_an_untrained_head_says_the_base_rates(kind: HeadKind, options: dict[str, Any]) -> None:
    x, scale = inputs(kind)
    head = create_head(kind, scale, RATES, **options)
    logits = head.eval()(torch.from_numpy(x)).detach().numpy()
    if kind == "ml_decoder":
        # Its output weights are small, not 0: logits spread by 0.3 around those of the base rates.
        apart = logits - np.log(RATES / (1 - RATES))
        assert np.abs(apart).max() < 1.2
        assert 0.05 < apart.std() < 0.6
    else:
        np.testing.assert_allclose(sigmoid(logits), np.tile(RATES, (len(x), 1)), rtol=1e-5)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_numpy_twin_equals_torch(kind: HeadKind, options: dict[str, Any]) -> None:
    x, scale = inputs(kind)
    head = stir(create_head(kind, scale, RATES, **options))
    with torch.no_grad():
        expected = head(torch.from_numpy(x)).numpy()
    found = head_logits(state(head), x)
    assert found.dtype == np.float32
    assert found.shape == (len(x), 5)
    assert expected.std(0).min() > 1e-3
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_numpy_twin_takes_any_number_of_images(
    kind: HeadKind, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, scale = inputs(kind)
    weights = state(stir(create_head(kind, scale, RATES, **options)))
    whole = head_logits(weights, x)
    assert head_logits(weights, x[:0]).shape == (0, 5)
    # Two maps at a time.
    monkeypatch.setattr(forward, "BLOCK_VALUES", 2 * x[0].size)
    np.testing.assert_allclose(head_logits(weights, x[:5]), whole[:5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_state_tells_its_kind(kind: HeadKind, options: dict[str, Any]) -> None:
    assert kind_of(state(create_head(kind, inputs(kind)[1], RATES, **options))) == kind


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_weights_follow_from_the_seed_alone(kind: HeadKind, options: dict[str, Any]) -> None:
    _, scale = inputs(kind)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = create_head(kind, scale, RATES, seed=1, **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = (create_head(kind, scale, RATES, seed=s, **options) for s in (1, 2))
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    drawn = kind in ("mlp", "ml_decoder")
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert drawn == any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["linear", "csra", "ml_decoder"])
def test_training_a_head_leaves_the_scale_it_was_given(kind: HeadKind) -> None:
    _, scale = inputs(kind)
    mean = scale.mean.copy()
    head = create_head(kind, scale, RATES, hidden=16)
    head.load_state_dict({name: value * 2 for name, value in head.state_dict().items()})
    assert np.array_equal(scale.mean, mean)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 99),
    st.tuples(st.integers(1, 7), st.integers(1, 2), st.integers(1, 4)),
    st.sampled_from([(), (1, 1), (2, 3)]),
    st.integers(1, 60),
)
def test_the_scale_is_numpys_mean_and_deviation(
    seed: int, shape: tuple[int, int, int], sides: tuple[int, ...], block: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(*shape, *sides)) * 3 + rng.uniform(-50, 50)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "STATISTICS_VALUES", block)
        found = FeatureScale.of(x)
    by_channel = np.moveaxis(x.astype(np.float64), 2, 0).reshape(shape[2], -1)
    np.testing.assert_allclose(found.mean, by_channel.mean(1), rtol=1e-6, atol=1e-6)
    deviation = by_channel.std(1)
    expected = np.where(deviation > 1e-6, 1 / np.where(deviation > 1e-6, deviation, 1), 1)
    np.testing.assert_allclose(found.scale, expected, rtol=1e-6)
    assert (found.mean.dtype, found.scale.dtype) == (np.float32, np.float32)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    x = features()
    x[..., 3] = 2.0
    head = create_head("linear", FeatureScale.of(x), np.array([0.5]))
    assert torch.isfinite(head.scale).all()
    assert torch.isfinite(head(torch.from_numpy(x[:, 0]))).all()


@pytest.mark.parametrize("x", [features(), maps()[:, None]], ids=["pooled", "maps"])
def test_standardised_features_have_mean_0_and_deviation_1(x: np.ndarray) -> None:
    head = create_head("linear", FeatureScale.of(x), np.array([0.5]))
    z = head.standardised(torch.from_numpy(x).flatten(0, 1)).numpy()
    over = (0, *range(2, z.ndim))
    np.testing.assert_allclose(z.mean(over), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(over), 1, rtol=1e-4)


def test_base_rate_leaves_unknown_labels_out_and_never_reaches_0_or_1() -> None:
    labels = np.array([[1, 0, -1], [1, 0, 1], [1, 0, -1]], np.int8)
    np.testing.assert_allclose(class_priors(labels), [3.5 / 4, 0.5 / 4, 1.5 / 2])


def test_sigmoid_survives_extreme_logits() -> None:
    values = sigmoid(np.array([-1e4, -3.0, 0.0, 3.0, 1e4], np.float32))
    np.testing.assert_allclose(
        values, [0, 1 / (1 + np.e**3), 0.5, 1 / (1 + np.e**-3), 1], atol=1e-7
    )
