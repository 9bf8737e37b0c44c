"""Class-specific residual attention against its equations, by hand and at its limits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from heads_data import (
    gradients_after_two_steps,
    hidden_object,
    loss_of_training,
    maps,
    state,
    stir,
    unscaled,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox.models.heads import FeatureScale, create_head, head_logits
from tagbox.models.heads.csra import TEMPERATURES, attended

# Two channels at three positions: (1, 0), (0, 2) and (1, 2).
THREE = np.array([[[[1, 0, 1]], [[0, 2, 2]]]], np.float32)


def by_hand(attention: float, weights: list[list[float]], bias: float) -> np.ndarray:
    """The logits of `THREE` for one category with these weights of each head, in torch and NumPy."""
    head = create_head(
        "csra",
        unscaled(2),
        np.array([0.5]),
        attention=attention,
        attention_heads=len(weights),
    )
    with torch.no_grad():
        head.output.weight.copy_(torch.tensor(weights)[:, None])
        head.output.bias.fill_(bias)
        logits = head(torch.from_numpy(THREE)).numpy()
    np.testing.assert_allclose(head_logits(state(head), THREE), logits, rtol=1e-6)
    return logits


def test_one_head_by_hand() -> None:
    # Scores of the positions with weights (1, 1): 1, 2, 3. Mean 2, attended at T = 1 2.57521039 (below).
    # 2 + 0.5 * 2.57521039 + 0.25
    np.testing.assert_allclose(by_hand(0.5, [[1, 1]], 0.25), [[3.53760519]], rtol=1e-6)


def authors(x: torch.Tensor, weights: list[torch.Tensor], temperatures: list[int], lam: float):
    """The equations of the authors' program, whose ``temp_settings`` are `temperatures`, without its norm."""
    logit = torch.zeros(len(x), len(weights[0]))
    for weight, temperature in zip(weights, temperatures, strict=True):
        score = torch.nn.functional.conv2d(x, weight[:, :, None, None]).flatten(2)
        if temperature == 99:
            attended_score = torch.max(score, dim=2)[0]
        else:
            attended_score = (score * torch.softmax(score * temperature, dim=2)).sum(2)
        logit = logit + score.mean(2) + lam * attended_score
    return logit


@pytest.mark.parametrize("temperatures", [[1], [1, 99], [1, 2, 4, 99], [1, 2, 3, 4, 5, 99]])
def test_logits_are_those_of_the_authors_program(temperatures: list[int]) -> None:
    x = torch.from_numpy(maps())
    head = stir(
        create_head(
            "csra",
            unscaled(x.shape[1]),
            np.full(3, 0.5),
            attention=0.3,
            attention_heads=len(temperatures),
        )
    )
    with torch.no_grad():
        head.output.bias.zero_()
        expected = authors(x, list(head.output.weight), temperatures, 0.3).numpy()
        np.testing.assert_allclose(head(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(head_logits(state(head), maps()), expected, rtol=1e-5, atol=1e-5)


def test_a_saved_head_keeps_its_temperature() -> None:
    # Until 2026-11 one head took the maximum, and its state says so.
    head = create_head("csra", unscaled(2), np.array([0.5]), attention=0.2, attention_heads=1)
    old = head.state_dict() | {
        "temperatures": torch.tensor([99.0]),
        "attention": torch.tensor([0.5]),
        "output.weight": torch.ones(1, 1, 2),
        "output.bias": torch.tensor([0.25]),
    }
    # Scores 1, 2, 3: the mean 2 and half of the maximum 3, in NumPy and in a head that trains on.
    assert head_logits({name: part.numpy() for name, part in old.items()}, THREE)[0, 0] == 3.75
    head.load_state_dict(old)
    for loaded in (head, copy.deepcopy(head)):
        assert loaded(torch.from_numpy(THREE)).item() == 3.75
        assert loaded.state_dict()["temperatures"].tolist() == [99.0]


def test_two_heads_by_hand() -> None:
    # Head 1, T = 1, weights (1, 1): scores 1, 2, 3 with softmax (0.09003057, 0.24472847, 0.66524096);
    #   attended 0.09003057 + 2 * 0.24472847 + 3 * 0.66524096 = 2.57521039; 2 + 0.5 * 2.57521039 = 3.28760519
    # Head 2, the maximum, weights (2, 0): scores 2, 0, 2; 4 / 3 + 0.5 * 2 = 2.33333333
    # Sum and bias: 3.28760519 + 2.33333333 + 0.25
    np.testing.assert_allclose(by_hand(0.5, [[1, 1], [2, 0]], 0.25), [[5.87093853]], rtol=1e-6)


def test_four_heads_by_hand() -> None:
    # All with weights (1, 1): scores 1, 2, 3, mean 2. Attended at T = 1: 2.57521039 (above); at T = 2 the
    # softmax of 2, 4, 6 is (0.01587624, 0.11731043, 0.86681333), attended 2.85093709; at T = 4 that of
    # 4, 8, 12 is (0.00032932, 0.01798029, 0.98169039), attended 2.98136107; the maximum is 3.
    # 4 * 2 + 0.1 * (2.57521039 + 2.85093709 + 2.98136107 + 3)
    np.testing.assert_allclose(by_hand(0.1, [[1, 1]] * 4, 0.0), [[9.14075086]], rtol=1e-6)


def test_the_papers_temperatures() -> None:
    assert TEMPERATURES == {
        1: (1,),
        2: (1, 99),
        4: (1, 2, 4, 99),
        6: (1, 2, 3, 4, 5, 99),
        8: (1, 2, 3, 4, 5, 6, 7, 99),
    }


@pytest.mark.parametrize("heads", sorted(TEMPERATURES))
def test_one_position_is_a_linear_head_scaled_by_one_plus_attention(heads: int) -> None:
    x = maps(sides=(1, 1))
    scale = FeatureScale.of(x[:, None])
    head = stir(
        create_head("csra", scale, np.full(3, 0.3), attention=0.4, attention_heads=heads), 2
    )
    linear = create_head("linear", scale, np.full(3, 0.3))
    with torch.no_grad():
        linear.output.weight.copy_(1.4 * head.output.weight.sum(0))
        linear.output.bias.copy_(head.output.bias)
        expected = linear(torch.from_numpy(x[:, :, 0, 0])).numpy()
        found = head(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_without_attention_it_is_a_linear_head_on_the_mean() -> None:
    x = maps()
    scale = FeatureScale.of(x[:, None])
    head = stir(create_head("csra", scale, np.full(3, 0.3), attention=0.0))
    linear = create_head("linear", scale, np.full(3, 0.3))
    with torch.no_grad():
        linear.output.weight.copy_(head.output.weight[0])
        linear.output.bias.copy_(head.output.bias)
        expected = linear(torch.from_numpy(x.mean((2, 3)))).numpy()
        found = head(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=9), st.floats(0, 60), st.floats(0, 30))
def test_attention_goes_from_the_mean_to_the_maximum(
    values: list[float], temperature: float, more: float
) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    found = [float(attended(scores, t)) for t in (0.0, temperature, temperature + more, 99.0)]
    assert found[0] == pytest.approx(float(scores.mean()), abs=1e-9)
    # Its slope in T is the variance of the scores under the attention, never negative.
    assert found == sorted(found) or np.allclose(np.diff(found).clip(max=0), 0, atol=1e-9)
    assert found[-1] == float(scores.max())


def test_a_high_temperature_is_nearly_the_maximum() -> None:
    scores = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    # The gap of 2 weighs exp(-2 T): 4e-18 at T = 20.
    assert float(attended(scores, 20.0)) == pytest.approx(3.0, abs=1e-15)


@pytest.mark.parametrize("heads", [1, 4])
def test_positions_have_no_order(heads: int) -> None:
    x = maps()
    order = np.random.default_rng(0).permutation(12)
    shuffled = x.reshape(6, 5, 12)[:, :, order].reshape(6, 5, 4, 3)
    head = stir(
        create_head("csra", FeatureScale.of(x[:, None]), np.full(3, 0.3), attention_heads=heads)
    )
    with torch.no_grad():
        expected, found = (head(torch.from_numpy(m.copy())).numpy() for m in (x, shuffled))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("heads", sorted(TEMPERATURES))
def test_gradients_reach_every_weight(heads: int) -> None:
    x = maps()
    head = create_head("csra", FeatureScale.of(x[:, None]), np.full(3, 0.3), attention_heads=heads)
    found = gradients_after_two_steps(head, x)
    assert set(found) == {"output.weight", "output.bias"}
    assert min(found.values()) > 1e-4
    # And heads of different temperatures do not stay alike.
    weights = head.output.weight.detach()
    assert all(not torch.equal(weights[0], other) for other in weights[1:])


def test_it_finds_what_the_mean_hides() -> None:
    x, present = hidden_object()
    scale, rates = FeatureScale.of(x[:, None]), np.array([0.5])
    head = create_head("csra", scale, rates, attention=1.0, attention_heads=2)
    assert loss_of_training(head, x, present, 0.03) < 0.2
    mean = x.mean((2, 3))
    linear = create_head("linear", FeatureScale.of(mean[:, None]), rates)
    assert loss_of_training(linear, mean, present, 0.03) > 0.3
