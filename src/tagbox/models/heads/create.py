"""A head by name.

Linear and MLP heads on pooled features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagbox.config import HeadKind, LabelKind
from tagbox.models.heads.base import FeatureScale, Head, log_odds

if TYPE_CHECKING:
    from torch import nn


class PooledHead(Head):
    """Standardise, hidden layer of ReLU if any, dropout, output layer.

    Parameters
    ----------
    rates
        (K,) float64 in (0, 1): what it says of every image at first, its output weights being 0.
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


def create_head(
    kind: HeadKind,
    scale: FeatureScale,
    rates: NDArray[np.float64],
    *,
    hidden: int = 512,
    queries: int | None = None,
    attention: float = 0.2,
    attention_heads: int = 1,
    dropout: float = 0.0,
    seed: int = 0,
    labels: LabelKind = "multi",
) -> nn.Module:
    """A head that starts by saying every category's base rate.

    Parameters
    ----------
    kind
        ``linear`` or ``mlp`` on pooled features; ``ml_decoder`` or ``csra`` on feature maps.
    scale
        `FeatureScale.of` the training features.
    rates
        (K,) float64 in (0, 1); see `evaluation.class_priors.class_priors`.
    hidden
        Width of the MLP's hidden layer, or of ML-Decoder's embedding (a multiple of 8).
    queries
        Of ML-Decoder; None is one a category, at most 100.
    attention, attention_heads
        CSRA's weight of attention, and number of heads: 1, 2, 4, 6 or 8.
    dropout
        Before the last layer; inside ML-Decoder's layer.
    seed
        Of the random weights and queries; torch's own generator is left as it was.
    labels
        Whether each output's sigmoid says the base rates at first, or the softmax of all (where they are exclusive).

    Returns
    -------
    nn.Module
        (B, D) pooled features or (B, D, h, w) maps, float32 -> (B, K) float32 logits. Its state is what
        `head_logits` reads.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head: Any
        match kind:
            case "csra":
                from tagbox.models.heads.csra import Csra

                head = Csra(
                    scale, rates, attention=attention, heads=attention_heads, dropout=dropout
                )
            case "ml_decoder":
                from tagbox.models.heads.ml_decoder import MlDecoder

                head = MlDecoder(scale, rates, hidden=hidden, queries=queries, dropout=dropout)
            case "linear" | "mlp":
                width = hidden if kind == "mlp" else None
                head = PooledHead(scale, rates, hidden=width, dropout=dropout, seed=seed)
    if labels == "exclusive":
        # The softmax of the logarithms of shares is the shares.
        with torch.no_grad():
            head.output.bias.copy_(torch.from_numpy(np.log(rates)))
    trained: nn.Module = head
    return trained
