"""Mixup and CutMix: the images and targets of a batch mixed with one another."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tagbox.config import AugmentConfig

_STREAM = 2
"""Sets these draws apart from those of an image (`training.augment`) that are seeded with the same numbers."""


def mix(
    images: Tensor, targets: Tensor, config: AugmentConfig, *, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor, bool]:
    """Mix each image of a batch with another of the same batch, by mixup or CutMix.

    Mixup (Zhang et al., arXiv 1710.09412): ``share * x + (1 - share) * other``, one share a batch from
    Beta(alpha, alpha). CutMix (Yun et al., arXiv 1905.04899): a box of the other image, with sides of
    ``sqrt(1 - share)`` of the image's and its centre anywhere, is pasted in place; the part beyond the
    border is lost, and the targets' share is that of the remaining pixels. Where both are on, each batch
    uses one of the two at random. Nothing is drawn from torch's generators.

    Parameters
    ----------
    images
        (B, 3, S, S) or (B, S, S, 3), uint8 or float; left as it is.
    targets
        (B, K) float: 1 present, 0 absent, -1 unknown; left as it is.
    config
        Its `mixup` and `cutmix`.
    seed
        Numbers of at least 0.

    Returns
    -------
    tuple of (images, targets, bool)
        In the shapes and dtypes given; a target is unknown (-1) where either of the two is. The bool
        is whether anything was mixed; a batch of one never is.
    """
    if len(images) < 2 or not (config.mixup or config.cutmix):
        return images, targets, False
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    cut = config.cutmix > 0 and (config.mixup == 0 or random.random() < 0.5)
    alpha = config.cutmix if cut else config.mixup
    share = float(random.beta(alpha, alpha))
    order = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if not cut:
        return _blend(images, images[order], share), _mix_targets(targets, order, share), True
    first = 2 if images.shape[1] == 3 else 1
    height, width = images.shape[first : first + 2]
    top, bottom = _span(random, height, share)
    left, right = _span(random, width, share)
    pasted = (bottom - top) * (right - left)
    if not pasted:
        return images, targets, False
    box = (slice(None),) * first + (slice(top, bottom), slice(left, right))
    mixed = images.clone()
    mixed[box] = images[order][box]
    return mixed, _mix_targets(targets, order, 1 - pasted / (height * width)), True


def _span(random: np.random.Generator, size: int, share: float) -> tuple[int, int]:
    """First pixel and the one after the last of one side of CutMix's box."""
    half = size * math.sqrt(1 - share) / 2
    middle = random.uniform(0, size)
    return round(max(middle - half, 0)), round(min(middle + half, size))


def _blend(images: Tensor, other: Tensor, share: float) -> Tensor:
    if images.is_floating_point():
        return torch.lerp(other, images, share)
    return torch.lerp(other.float(), images.float(), share).round_().to(images.dtype)


def _mix_targets(targets: Tensor, order: Tensor, share: float) -> Tensor:
    """``share`` of each row's own targets and the rest of the other's; unknown where either is."""
    other = targets[order.to(targets.device)]
    mixed = torch.lerp(other, targets, share)
    return torch.where((targets >= 0) & (other >= 0), mixed, torch.full_like(mixed, -1))
