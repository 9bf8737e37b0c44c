"""What the torch heads share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagbox.models.heads.feature_scale import FeatureScale


class Head(nn.Module):
    """A head: (B, D) features or (B, D, h, w) maps, float32, to (B, K) logits.

    All that its forward pass needs is in its state, for `models.heads.numpy_forward`; ``output.bias``, which
    at first says the base rates, is (K,) in every head.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, scale: FeatureScale) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(scale.mean))
        self.register_buffer("scale", torch.tensor(scale.scale))

    def standardised(self, x: Tensor) -> Tensor:
        """`x`, of any number of positions, with each channel's mean at 0 and its deviation at 1."""
        channel = (-1, *(1 for _ in x.shape[2:]))
        return (x - self.mean.view(channel)) * self.scale.view(channel)


def log_odds(rates: NDArray[np.float64]) -> Tensor:
    """(K,) float32: the logits whose probabilities are `rates`."""
    return torch.from_numpy(np.log(rates) - np.log1p(-rates)).float()
