"""Losses against hand-worked values, torch's own, and the properties that they promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tagbox.training.losses import POSITIVE_WEIGHT_CAP, create_loss

NAMES = ("bce", "bce_weighted", "focal", "asymmetric")
ALL = (*NAMES, "cross_entropy")
RATES = torch.tensor([0.5, 0.1, 0.001])


def batch(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(rows, 3, generator=generator) * 3
    return logits, (torch.rand(rows, 3, generator=generator) < 0.4).float()


def test_bce_is_torchs() -> None:
    logits, targets = batch()
    expected = functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(create_loss("bce", RATES)(logits, targets), expected)


def test_positive_weights_are_capped() -> None:
    one = create_loss("bce_weighted", RATES)(torch.zeros(1, 3), torch.ones(1, 3))
    # log 2 each, times the negatives per positive: 1, 9, and 999 capped.
    expected = math.log(2) * (1 + 9 + POSITIVE_WEIGHT_CAP) / 3
    assert one.item() == pytest.approx(expected, rel=1e-5)


def test_focal_by_hand() -> None:
    # p = 0.5: alpha 0.25 · 0.5² · log 2 for the positive, 0.75 · 0.5² · log 2 for the negative.
    value = create_loss("focal", RATES[:2])(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert value.item() == pytest.approx(0.25 * math.log(2) * (0.25 + 0.75) / 2, rel=1e-5)


def test_asymmetric_by_hand() -> None:
    # Positive: -log 0.5. Negative at p = 0.5: p_m = 0.45, -0.45⁴ · log 0.55.
    value = create_loss("asymmetric", RATES[:2])(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    expected = (math.log(2) - 0.45**4 * math.log(0.55)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_asymmetric_forgets_negatives_below_the_clip() -> None:
    logits = torch.full((1, 1), -6.0, requires_grad=True)
    create_loss("asymmetric", RATES[:1])(logits, torch.zeros(1, 1)).backward()
    assert logits.grad is not None
    assert logits.grad.item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_does_not_scale_with_batch_or_categories(name: str) -> None:
    logits, targets = batch()
    loss = create_loss(name, RATES)
    torch.testing.assert_close(
        loss(logits, targets), loss(logits.repeat(5, 1), targets.repeat(5, 1))
    )


@pytest.mark.parametrize("name", NAMES)
def test_unknown_labels_take_no_part(name: str) -> None:
    logits, targets = batch(2)
    targets[1] = -1
    loss = create_loss(name, RATES)
    torch.testing.assert_close(loss(logits, targets), loss(logits[:1], targets[:1]))
    assert loss(logits, torch.full_like(targets, -1.0)).item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_finite_with_gradients_at_extreme_logits(name: str) -> None:
    logits = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    value = create_loss(name, RATES)(logits, torch.tensor([[0.0, 1.0, 1.0]]))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def one_hot(rows: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return functional.one_hot(torch.randint(3, (rows,), generator=generator), 3).float()


def test_cross_entropy_is_torchs() -> None:
    logits, _ = batch()
    targets = one_hot()
    for smoothing in (0.0, 0.1):
        loss = create_loss("cross_entropy", RATES, smoothing=smoothing)
        expected = functional.cross_entropy(
            logits, targets.argmax(dim=1), label_smoothing=smoothing
        )
        torch.testing.assert_close(loss(logits, targets), expected)


def test_cross_entropy_leaves_out_pictures_with_unknown_categories() -> None:
    logits, _ = batch()
    targets = one_hot()
    targets[0, 1] = -1
    loss = create_loss("cross_entropy", RATES)
    torch.testing.assert_close(loss(logits, targets), loss(logits[1:], targets[1:]))


@pytest.mark.parametrize("name", ALL)
def test_a_mixture_of_targets_costs_the_mixture_of_their_costs(name: str) -> None:
    logits, _ = batch()
    one, other = one_hot(), one_hot().roll(1, dims=0)
    loss = create_loss(name, RATES)
    mixed = loss(logits, 0.3 * one + 0.7 * other)
    torch.testing.assert_close(mixed, 0.3 * loss(logits, one) + 0.7 * loss(logits, other))


@pytest.mark.parametrize("name", ALL)
def test_parts_of_a_batch_sum_to_the_whole(name: str) -> None:
    logits, _ = batch()
    targets = one_hot()
    targets[4] = -1
    loss = create_loss(name, RATES)
    total = loss.total(logits[:2], targets[:2]) + loss.total(logits[2:], targets[2:])
    known = loss.known(targets[:2]) + loss.known(targets[2:])
    torch.testing.assert_close(total / known, loss(logits, targets))


def test_smoothing_moves_targets_towards_the_middle() -> None:
    logits, targets = batch()
    smoothed = create_loss("bce", RATES, smoothing=0.2)(logits, targets)
    expected = functional.binary_cross_entropy_with_logits(logits, targets * 0.8 + 0.1)
    torch.testing.assert_close(smoothed, expected)


@pytest.mark.parametrize("name", ["focal", "asymmetric"])
def test_annealing_goes_from_plain_to_full_focus(name: str) -> None:
    logits, targets = batch()
    loss = create_loss(name, RATES, anneal_epochs=4)
    plain, full = (
        create_loss("bce", RATES)(logits, targets),
        create_loss(name, RATES)(logits, targets),
    )
    found = []
    for epoch in (1, 3, 5, 9):
        loss.start_epoch(epoch)
        found.append(loss(logits, targets))
    torch.testing.assert_close(found[0], plain)
    torch.testing.assert_close(found[1], (plain + full) / 2)
    torch.testing.assert_close(found[2], full)
    torch.testing.assert_close(found[3], full)
