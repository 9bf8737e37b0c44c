"""Mixup and CutMix: targets by hand, areas to the pixel, seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tagbox.config import AugmentConfig
from tagbox.training.mixup import mix

MIXUP, CUTMIX = AugmentConfig(mixup=0.8), AugmentConfig(cutmix=1.0)


def flat_batch(count: int, side: int = 24) -> Tensor:
    """(B, 3, S, S) float; picture i is all i."""
    return torch.arange(count, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, side, side)


def swapped(config: AugmentConfig, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A batch of two that were mixed with each other, not each with itself."""
    for seed in range(100):
        images, mixed, done = mix(flat_batch(2), targets, config, seed=(seed,))
        if done and images[1].float().mean() not in (0, 1):
            return images, mixed
    raise AssertionError("never mixed")


def test_mixup_by_hand() -> None:
    # present + present, present + absent, absent + present, absent + absent, and unknown beside each
    targets = torch.tensor([[1.0, 1, 0, 0, -1, -1, -1], [1.0, 0, 1, 0, 1, 0, -1]])
    images, mixed = swapped(MIXUP, targets)
    share = images[1].mean().item()  # share * 1 + (1 - share) * 0
    assert torch.allclose(images[0], torch.tensor(1 - share))
    expected = torch.tensor(
        [[1, share, 1 - share, 0, -1, -1, -1], [1, 1 - share, share, 0, -1, -1, -1]]
    )
    assert torch.allclose(mixed, expected, atol=1e-6)


def test_what_both_pictures_have_is_certain_to_the_last_bit() -> None:
    targets = torch.tensor([[1.0, 0], [1.0, 0]])
    for seed in range(200):
        for config in (MIXUP, CUTMIX):
            assert torch.equal(mix(flat_batch(2, 4), targets, config, seed=(seed,))[1], targets)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX])
def test_images_and_targets_say_the_same(config: AugmentConfig) -> None:
    count, mixed_with_others = 6, 0
    for seed in range(40):
        images, targets, done = mix(flat_batch(count), torch.eye(count), config, seed=(3, seed))
        if not done:
            assert torch.equal(targets, torch.eye(count))
            continue
        # Row i of the targets holds the share of each picture in picture i: so must its mean.
        assert torch.allclose(targets.sum(dim=1), torch.ones(count))
        weight = targets @ torch.arange(count, dtype=torch.float32)
        assert torch.allclose(images.mean(dim=(1, 2, 3)), weight, atol=1e-5)
        # One share for all, and each picture is used as the other one once.
        own = targets.diagonal()
        apart = own[own < 1]
        assert len(apart) == 0 or torch.allclose(apart, apart[0])
        assert torch.allclose(targets.sum(dim=0), torch.ones(count))
        mixed_with_others += len(apart)
    assert mixed_with_others > 100


def test_cutmix_weighs_by_the_pixels_pasted() -> None:
    sides, shares, count = 24, [], 5
    for seed in range(60):
        images, targets, done = mix(
            flat_batch(count, sides), torch.eye(count), CUTMIX, seed=(seed,)
        )
        if not done:
            continue
        for i in range(count):
            pasted = (images[i] != i).any(dim=0)
            if not pasted.any():
                continue  # mixed with itself
            rows, columns = pasted.any(dim=1).nonzero(), pasted.any(dim=0).nonzero()
            assert pasted.sum() == len(rows) * len(columns)  # one box
            assert rows[-1] - rows[0] + 1 == len(rows)
            assert columns[-1] - columns[0] + 1 == len(columns)
            assert images[i][:, pasted].unique().numel() == 1
            other = int(images[i][0, pasted][0])
            area = int(pasted.sum()) / sides**2
            assert targets[i, other].item() == pytest.approx(area, abs=1e-6)
            assert targets[i, i].item() == pytest.approx(1 - area, abs=1e-6)
            shares.append(area)
    assert min(shares) < 0.1 and max(shares) > 0.6


def test_cutmix_s_unknown_labels() -> None:
    images, mixed = swapped(CUTMIX, torch.tensor([[1.0, -1, 0], [0.0, 1, -1]]))
    pasted = images[0].mean().item()  # of ones into zeros
    expected = torch.tensor([[1 - pasted, -1, -1], [pasted, -1, -1]])
    assert torch.allclose(mixed, expected, atol=1e-6)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX])
def test_both_layouts_and_bytes(config: AugmentConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    targets = torch.eye(4)
    kept = images.clone(), targets.clone()
    for seed in range(10):
        first, labels, _ = mix(images, targets, config, seed=(seed,))
        last, same_labels, _ = mix(images.permute(0, 2, 3, 1), targets, config, seed=(seed,))
        real, _, _ = mix(images.float(), targets, config, seed=(seed,))
        assert first.dtype == last.dtype == torch.uint8
        assert torch.equal(first, last.permute(0, 3, 1, 2))
        assert torch.equal(labels, same_labels)
        assert (first.float() - real).abs().max() <= 0.5
    assert torch.equal(images, kept[0]) and torch.equal(targets, kept[1])


def test_the_share_is_beta() -> None:
    shares = []
    for seed in range(600):
        images, _, _ = mix(flat_batch(2, 1), torch.zeros(2, 1), MIXUP, seed=(seed, 1))
        if images[1].mean() != 1:  # not mixed with itself
            shares.append(images[1].mean().item())
    assert 200 < len(shares) < 400
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 0.01


def test_of_both_each_batch_takes_one() -> None:
    both, blended = AugmentConfig(mixup=1.0, cutmix=1.0), 0
    for seed in range(80):
        images, _, _ = mix(flat_batch(8), torch.eye(8), both, seed=(seed,))
        blended += bool((images != images.round()).any())
    assert 25 < blended < 55


def test_what_is_never_mixed() -> None:
    images, targets = flat_batch(1), torch.ones(1, 2)
    for config in (MIXUP, CUTMIX):
        same, kept, done = mix(images, targets, config, seed=(0,))
        assert same is images and kept is targets and not done
    assert mix(flat_batch(3), torch.eye(3), AugmentConfig(), seed=(0,))[2] is False


def test_the_seed_decides_and_nothing_else() -> None:
    images, targets = flat_batch(5), torch.eye(5)
    for config in (MIXUP, CUTMIX):
        before = torch.get_rng_state()
        once = mix(images, targets, config, seed=(1, 2, 3))
        torch.rand(7)
        np.random.seed(3)
        again = mix(images, targets, config, seed=(1, 2, 3))
        other = mix(images, targets, config, seed=(1, 2, 4))
        torch.set_rng_state(before)
        mix(images, targets, config, seed=(1, 2, 3))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(once[0], again[0]) and torch.equal(once[1], again[1])
        assert not torch.equal(once[0], other[0])
