"""ML-Decoder: fixed queries attend to the feature map, and each predicts a group of categories.

References
----------
Ridnik, Sharir, Ben-Cohen, Ben-Baruch and Noy, "ML-Decoder: Scalable and Versatile Classification Head",
2021 (arXiv 2111.12933): a transformer's decoder layer (Vaswani et al., 2017, normalised after each
step) without self-attention, queries that are drawn once and not trained, group fully-connected pooling.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tagbox.models.heads.base import Head, log_odds
from tagbox.models.heads.numpy_forward import NORM_EPSILON, FeatureScale

ATTENTION_HEADS = 8
FEED_FORWARD = 2048
MOST_QUERIES = 100
FIRST_SPREAD = 0.3


class MlDecoder(Head):
    """Standardise, embed every position, one decoder layer, group decoding.

    Weights are torch's defaults for such layers, but for those of the output, which are small: at first its
    logits are within a few tenths of the base rates'. With zeros no gradient would reach the decoder in the
    first step, and short trainings end markedly worse.

    Parameters
    ----------
    rates
        (K,) float64 in (0, 1).
    hidden
        Width E of the embedding, a multiple of 8.
    queries
        At most so many; one a category, at most 100, when None. Fewer than K queries answer for
        ceil(K / queries) categories each, and only as many are made as then have any.
    dropout
        On attention weights, on what attention adds, and in and after the feed-forward layer, where
        the paper's program has 0.1.
    """

    queries: Tensor

    def __init__(
        self,
        scale: FeatureScale,
        rates: NDArray[np.float64],
        *,
        hidden: int,
        queries: int | None,
        dropout: float,
    ) -> None:
        super().__init__(scale)
        categories = len(rates)
        group = -(-categories // min(categories, queries or MOST_QUERIES))
        self.embed = nn.Linear(len(scale.mean), hidden)
        self.register_buffer("queries", torch.randn(-(-categories // group), hidden))
        self.decoder = DecoderLayer(hidden, dropout)
        self.output = nn.Linear(hidden, categories)
        with torch.no_grad():
            # Answers are normalised, so this is the spread of the first logits around the base rates.
            self.output.weight.normal_(0, FIRST_SPREAD / math.sqrt(hidden))
            self.output.bias.copy_(log_odds(rates))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) maps to (B, K) logits."""
        positions = self.standardised(maps).flatten(2).transpose(1, 2)  # (B, P, D)
        answers = self.decoder(self.queries, torch.relu(self.embed(positions)))
        return grouped(answers, self.output.weight) + self.output.bias


class DecoderLayer(nn.Module):
    """Queries attend to memory, then a feed-forward layer; each is added on and normalised.

    The authors' layer adds the queries to themselves where self-attention was; normalising takes that
    factor off again, so it is left out.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("attention_heads", torch.tensor([ATTENTION_HEADS]))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width, NORM_EPSILON) for _ in range(3))
        self.query = nn.Linear(width, width)
        # A bias would add the same to a query's match with every position, which softmax does not see.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.joined = nn.Linear(width, width)
        self.widen = nn.Linear(width, FEED_FORWARD)
        self.narrow = nn.Linear(FEED_FORWARD, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """(Q, E) queries and (B, P, E) memory to (B, Q, E)."""
        x = self.norm1(queries)
        x = self.norm2(x + self.dropout(self.attend(x, memory)))
        wide = self.dropout(torch.relu(self.widen(x)))
        answers: Tensor = self.norm3(x + self.dropout(self.narrow(wide)))
        return answers

    def attend(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Multi-head attention of (Q, E) queries over the positions of (B, P, E) memory: (B, Q, E)."""

        def heads(x: Tensor) -> Tensor:
            """(B, N, E) to (B, heads, N, E / heads)."""
            return x.reshape(*x.shape[:2], ATTENTION_HEADS, -1).transpose(1, 2)

        query = self.query(queries).expand(len(memory), -1, -1)
        found = functional.scaled_dot_product_attention(
            heads(query),
            heads(self.key(memory)),
            heads(self.value(memory)),
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        joined: Tensor = self.joined(found.transpose(1, 2).flatten(2))
        return joined


def grouped(answers: Tensor, weight: Tensor) -> Tensor:
    """Logits (B, K) without bias: category k is query ``k // ceil(K / Q)``'s to answer.

    Parameters
    ----------
    answers
        (B, Q, E).
    weight
        (K, E), each category's own.
    """
    queries, categories = answers.shape[1], len(weight)
    group = -(-categories // queries)
    padded = functional.pad(weight, (0, 0, 0, queries * group - categories))
    logits = torch.einsum("bqe,qge->bqg", answers, padded.view(queries, group, -1))
    return logits.flatten(1)[:, :categories]
