"""The base class of heads in torch, and the linear and MLP heads on pooled features."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagbox.models.heads.numpy_forward import FeatureScale


class Head(nn.Module):
    """A head: (B, D) features or (B, D, h, w) maps, float32, to (B, K) logits.

    All that its forward pass needs is in its state, for `models.heads.numpy_forward`; ``output.bias``, which
    starts at the base rates, is (K,) in every head.
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


class PooledHead(Head):
    """Standardise, hidden layer of ReLU if any, dropout, output layer.

    Parameters
    ----------
    rates
        (K,) float64 in (0, 1): the first output for every image, its output weights being 0.
    hidden
        Width of the hidden layer; None leaves it out.
    """

    def __init__(
        self,
        scale: FeatureScale,
        rates: NDArray[np.float64],
        *,
        hidden: int | None,
        dropout: float,
        seed: int,
    ) -> None:
        super().__init__(scale)
        width = len(scale.mean)
        self.hidden = None if hidden is None else nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden or width, len(rates))
        with torch.no_grad():
            if self.hidden is not None:
                bound = 1 / math.sqrt(width)
                generator = torch.Generator().manual_seed(seed)
                self.hidden.weight.uniform_(-bound, bound, generator=generator)
                self.hidden.bias.zero_()
            self.output.weight.zero_()
            self.output.bias.copy_(log_odds(rates))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) features to (B, K) logits."""
        x = self.standardised(x)
        if self.hidden is not None:
            x = torch.relu(self.hidden(x))
        logits: Tensor = self.output(self.dropout(x))
        return logits
