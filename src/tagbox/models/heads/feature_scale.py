"""Mean and deviation of features, which every head takes off first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

BLOCK_VALUES = 1 << 21
"""Values worked on at once in float64 (16 MiB)."""
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, eq=False)
class FeatureScale:
    """What makes a feature's mean 0 and its deviation 1: ``(x - mean) * scale``.

    Attributes
    ----------
    mean, scale
        (D,) float32; the mean, and one over the standard deviation.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Self:
        """The scale of pooled features (N, V, D) or maps (N, V, D, h, w), float32, N > 0.

        Statistics are those of a channel over images, views and positions, computed in float64
        without a float64 copy of `features`.
        """
        width = features.shape[2]
        count = features.size // width
        over = (0, 1, *range(3, features.ndim))
        channel = (width, *(1 for _ in features.shape[3:]))
        mean = np.zeros(width)
        for block in _blocks(features):
            mean += block.sum(axis=over, dtype=np.float64) / count
        variance = np.zeros(width)
        for block in _blocks(features):
            apart = block - mean.reshape(channel)
            variance += np.square(apart, out=apart).sum(axis=over) / count
        deviation = np.sqrt(variance)
        # A feature that never varies says nothing; dividing by its zero deviation would say NaN.
        scale = 1.0 / np.where(deviation > LEAST_DEVIATION, deviation, 1.0)
        return cls(mean=mean.astype(np.float32), scale=scale.astype(np.float32))


def _blocks(features: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """`features` a few images at a time."""
    step = max(1, BLOCK_VALUES * len(features) // features.size)
    for start in range(0, len(features), step):
        yield features[start : start + step]
