"""Weights of NanoDet-g that are drawn, for tests without its package."""

from __future__ import annotations

import numpy as np

from tagbox.data import categories as coco80
from tagbox.models.detectors.nanodet import state_shapes


def drawn_arrays(categories: int = len(coco80.NAMES), seed: int = 5) -> dict[str, np.ndarray]:
    """As large as keeps the values of a layer as large as those of the one before."""
    dice = np.random.default_rng(seed)
    return {
        name: dice.normal(0, (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1, shape)
        .astype(np.float16)
        .astype(np.float32)
        for name, shape in state_shapes(categories).items()
    }
