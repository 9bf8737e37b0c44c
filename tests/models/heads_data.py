"""Features and maps for the tests of heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from tagbox.models.heads import FeatureScale


def features(seed: int = 0, rows: int = 40, width: int = 12) -> np.ndarray:
    """(N, 2, D) with means and deviations far from 0 and 1."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.1, 9, width)
    return (rng.normal(size=(rows, 2, width)) * spread + 5).astype(np.float32)


def maps(
    seed: int = 0, rows: int = 6, width: int = 5, sides: tuple[int, int] = (3, 4)
) -> np.ndarray:
    """(N, D, h, w) with means and deviations far from 0 and 1."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.1, 9, (width, 1, 1))
    return (rng.normal(size=(rows, width, *sides)) * spread + 5).astype(np.float32)


def unscaled(width: int) -> FeatureScale:
    """Leaves features as they are."""
    return FeatureScale(mean=np.zeros(width, np.float32), scale=np.ones(width, np.float32))


def state(head: nn.Module) -> Mapping[str, np.ndarray]:
    """A head's state as a saved model has it."""
    return {name: value.numpy() for name, value in head.state_dict().items()}


def stir(head: nn.Module, seed: int = 0, spread: float = 0.3) -> nn.Module:
    """`head` in eval mode with every weight random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, spread, generator=generator)
    return head.eval()


def gradients_after_two_steps(head: nn.Module, inputs: np.ndarray) -> dict[str, float]:
    """The largest gradient of every weight in the second step of training."""
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    x = torch.from_numpy(inputs)
    for _ in range(2):
        optimizer.zero_grad()
        logits = head.train()(x)
        targets = (torch.arange(logits.numel()).view_as(logits) % 4 == 0).float()
        nn.functional.binary_cross_entropy_with_logits(logits, targets).backward()
        optimizer.step()
    return {name: float(p.grad.abs().max()) for name, p in head.named_parameters()}


def loss_of_training(
    head: nn.Module, inputs: np.ndarray, targets: np.ndarray, rate: float
) -> float:
    """The loss after 100 steps of AdamW on all images at once."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets).float()
    for _ in range(100):
        loss = nn.functional.binary_cross_entropy_with_logits(head(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def hidden_object(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Maps (64, 6, 4, 4) of noise, and whether (64, 1) one position has a strong value in channel 2."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 6, 4, 4)).astype(np.float32)
    present = rng.integers(0, 2, (64, 1))
    for row in np.flatnonzero(present):
        x[row, 2, rng.integers(4), rng.integers(4)] += 6
    return x, present
