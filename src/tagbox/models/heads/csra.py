"""Class-specific residual attention: the mean score over the map, plus that where the category scores highest.

References
----------
Zhu and Wu, "Residual Attention: A Simple but Effective Method for Multi-Label Recognition", ICCV 2021
(arXiv 2108.02456). With x_k the features of position k of P and m a category's weights::

    logit = m·(1/P Σ_k x_k) + λ Σ_k softmax_k(T m·x_k) m·x_k            (eq. 8)

Several heads, each with weights of its own and its temperature T, are summed. T = 99 stands for the
limit, the maximum over positions. The temperatures are those of the authors' program
(https://github.com/Kevinz-code/CSRA, ``pipeline/csra.py``). Two differences are on purpose: weights are used as
they are, as in the equations, where the program divides them by their norm, which a standardised feature map does not
need; and there is a bias, so that a head starts from the base rates.

A saved head keeps the temperatures it was trained with: before 2026-11 one head took the maximum.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tagbox.models.heads.base import Head, log_odds
from tagbox.models.heads.numpy_forward import MAXIMUM, FeatureScale

TEMPERATURES: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (1.0, MAXIMUM),
    4: (1.0, 2.0, 4.0, MAXIMUM),
    6: (1.0, 2.0, 3.0, 4.0, 5.0, MAXIMUM),
    8: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, MAXIMUM),
}
"""The authors', by the number of heads."""


class Csra(Head):
    """Standardise, dropout, scores of every position, their mean and their attended mean.

    Weights are 0 at first, so that the output is the base rates; each head's temperature sets it apart from
    the others from the second step on.

    Parameters
    ----------
    rates
        (K,) float64 in (0, 1).
    attention
        λ.
    heads
        A key of `TEMPERATURES`.
    """

    def __init__(
        self,
        scale: FeatureScale,
        rates: NDArray[np.float64],
        *,
        attention: float,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__(scale)
        # The buffers are for the saved model; here they are numbers that no device must hand over.
        self._temperatures, self._attention = TEMPERATURES[heads], attention
        self.register_buffer("temperatures", torch.tensor(self._temperatures))
        self.register_buffer("attention", torch.tensor([attention]))
        self.register_load_state_dict_post_hook(_take_over)  # type: ignore[no-untyped-call]
        self.dropout = nn.Dropout(dropout)
        self.output = _Output(heads, log_odds(rates), len(scale.mean))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) maps to (B, K) logits."""
        x = self.dropout(self.standardised(maps)).flatten(2)
        logits = self.output.bias
        for weight, temperature in zip(self.output.weight, self._temperatures, strict=True):
            scores = weight @ x  # (B, K, P)
            logits = logits + scores.mean(-1) + self._attention * attended(scores, temperature)
        return logits


def _take_over(head: Csra, keys: object) -> None:
    """Compute with the temperatures and the λ of the state that was loaded, whatever the constructor was given."""
    head._temperatures = tuple(head.get_buffer("temperatures").tolist())
    head._attention = float(head.get_buffer("attention"))


class _Output(nn.Module):
    """(H, K, D) weights, one bias for all heads together."""

    def __init__(self, heads: int, bias: Tensor, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, len(bias), width))
        self.bias = nn.Parameter(bias)


def attended(scores: Tensor, temperature: float) -> Tensor:
    """(..., P) scores to (...): their mean weighted by ``softmax(T scores)``, or their maximum."""
    if temperature >= MAXIMUM:
        return scores.amax(-1)
    return ((temperature * scores).softmax(-1) * scores).sum(-1)
