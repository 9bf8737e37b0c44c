"""Heads on pooled features: linear and MLP, standardised first, biased to the base rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

HeadKind = Literal["linear", "mlp"]


def create_head(
    kind: HeadKind,
    features: NDArray[np.float32],
    rates: NDArray[np.float64],
    *,
    hidden: int = 512,
    dropout: float = 0.0,
    seed: int = 0,
) -> nn.Module:
    """A head that starts by saying every category's base rate.

    Parameters
    ----------
    kind
        ``linear``, or ``mlp`` with one hidden layer of ReLU.
    features
        (N, D) float32; the training features, for the mean and scale of the first layer.
    rates
        (K,) float64 in (0, 1); see `evaluation.base_rates.base_rate`.
    hidden, dropout
        Width of the hidden layer; dropout before the last layer.
    seed
        Seed of the hidden layer's weights.

    Returns
    -------
    nn.Module
        (B, D) float32 features -> (B, K) float32 logits. Its state holds ``mean``, ``scale``, and the
        weight and bias of ``hidden`` (MLP) and ``output``: what `head_logits` reads.
    """
    import torch
    from torch import nn

    class Head(nn.Module):
        """Standardise, hidden layer if any, dropout, output layer."""

        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            width = features.shape[1]
            self.register_buffer(
                "mean", torch.from_numpy(features.mean(0, dtype=np.float64)).float()
            )
            deviation = features.std(0, dtype=np.float64)
            # A feature that never varies says nothing; dividing by its zero deviation would say NaN.
            self.register_buffer(
                "scale", torch.from_numpy(1.0 / np.where(deviation > 1e-6, deviation, 1.0)).float()
            )
            self.hidden = nn.Linear(width, hidden) if kind == "mlp" else None
            self.dropout = nn.Dropout(dropout)
            self.output = nn.Linear(hidden if kind == "mlp" else width, len(rates))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = (x - self.mean) * self.scale
            if self.hidden is not None:
                x = torch.relu(self.hidden(x))
            logits: torch.Tensor = self.output(self.dropout(x))
            return logits

    head = Head()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        if head.hidden is not None:
            bound = 1 / math.sqrt(head.hidden.in_features)
            head.hidden.weight.uniform_(-bound, bound, generator=generator)
            head.hidden.bias.zero_()
        head.output.weight.zero_()
        head.output.bias.copy_(torch.from_numpy(np.log(rates) - np.log1p(-rates)))
    return head


def head_logits(
    weights: Mapping[str, NDArray[np.float32]], features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The logits of a saved head, in NumPy, so that using a model does not need torch.

    Parameters
    ----------
    weights
        The head's state: ``mean``, ``scale``, ``output.*`` and, for an MLP, ``hidden.*``.
    features
        (N, D) float32.

    Returns
    -------
    NDArray[np.float32]
        (N, K).
    """
    x: NDArray[Any] = (features - weights["mean"]) * weights["scale"]
    if "hidden.weight" in weights:
        x = np.maximum(x @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    return np.asarray(x @ weights["output.weight"].T + weights["output.bias"], np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (same shape, float32) of `logits`, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))), np.float32)
