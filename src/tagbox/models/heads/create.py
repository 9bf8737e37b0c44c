"""A head by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import HeadKind, LabelKind
from tagbox.models.heads.numpy_forward import FeatureScale, Weights, kind_of

if TYPE_CHECKING:
    from torch import nn


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
    """A head whose first output is every category's base rate.

    Parameters
    ----------
    kind
        ``linear`` or ``mlp`` on pooled features; ``ml_decoder`` or ``csra`` on feature maps.
    scale
        `FeatureScale.of` the training features.
    rates
        (K,) float64 in (0, 1); see `metrics.multilabel.class_priors`.
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
        Whether the base rates are each output's sigmoid, or (``exclusive``) the softmax of all.

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
                from tagbox.models.heads.base import PooledHead

                width = hidden if kind == "mlp" else None
                head = PooledHead(scale, rates, hidden=width, dropout=dropout, seed=seed)
    if labels == "exclusive":
        # The softmax of the logarithms of shares is the shares.
        with torch.no_grad():
            head.output.bias.copy_(torch.from_numpy(np.log(rates)))
    trained: nn.Module = head
    return trained


def restore_head(weights: Weights) -> nn.Module:
    """The head of a saved state as a module in eval mode; its outputs are those of `head_logits`."""
    import torch

    kind = kind_of(weights)
    wide = {"mlp": "hidden.weight", "ml_decoder": "embed.weight"}.get(kind)
    head = create_head(
        kind,
        FeatureScale(mean=weights["mean"], scale=weights["scale"]),
        np.full(len(weights["output.bias"]), 0.5),
        hidden=512 if wide is None else len(weights[wide]),
        queries=len(weights["queries"]) if kind == "ml_decoder" else None,
        attention_heads=len(weights["temperatures"]) if kind == "csra" else 1,
    )
    head.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return head.eval()
