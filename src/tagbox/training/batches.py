"""Batches of cached features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


class FeatureBatches:
    """Passes over features that were encoded once.

    Parameters
    ----------
    features
        (N, V, D) float32, or maps (N, V, D, h, w); V views of each image (view 0 is the picture as it is).
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    batch_size
        Images a batch; the last one of a pass may be smaller.
    shuffle
        With it, the order and the view of each image are drawn anew every epoch from (`seed`, epoch);
        without, the order is that of the rows and the view is 0.
    seed
        Of the order.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int8],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
    ) -> None:
        import torch

        self.features = torch.from_numpy(features)
        self.targets = torch.from_numpy(labels.astype(np.float32))
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, D) features, or (B, D, h, w) maps, and (B, K) targets of each batch."""
        import torch

        count, views = self.features.shape[:2]
        order, view = torch.arange(count), torch.zeros(count, dtype=torch.long)
        if self.shuffle:
            random = np.random.default_rng([self.seed, epoch])
            order = torch.from_numpy(random.permutation(count))
            view = torch.from_numpy(random.integers(views, size=count))
        for start in range(0, count, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self.features[rows, view[rows]], self.targets[rows]
