"""Losses for multi-label targets: mean over elements, so that no value scales with batch or categories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]

FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25
ASYMMETRIC_GAMMA_POSITIVE, ASYMMETRIC_GAMMA_NEGATIVE, ASYMMETRIC_CLIP = 0.0, 4.0, 0.05
POSITIVE_WEIGHT_CAP = 20.0


def create_loss(name: str, positive_rate: Tensor) -> Loss:
    """The loss called `name` in `ClassifierConfig.loss`.

    Parameters
    ----------
    name
        ``bce``, ``bce_weighted``, ``focal`` or ``asymmetric``.
    positive_rate
        (K,) float; part of the training images in which each category is present.

    Returns
    -------
    Callable
        ``(logits (B, K) float, targets (B, K) float) -> scalar``; a target of -1 is unknown and
        takes no part.
    """
    from torch.nn import functional

    def bce(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def weighted(logits: Tensor, targets: Tensor) -> Tensor:
        # Negatives per positive, capped: without the cap one rare label outweighs a batch.
        weight = ((1 - positive_rate) / positive_rate).clamp(1.0, POSITIVE_WEIGHT_CAP)
        return functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=weight, reduction="none"
        )

    def focal(logits: Tensor, targets: Tensor) -> Tensor:
        """Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5."""
        probability = logits.sigmoid()
        truth = probability * targets + (1 - probability) * (1 - targets)
        alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
        return alpha * (1 - truth) ** FOCAL_GAMMA * bce(logits, targets)

    def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
        """Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, eq. 7."""
        probability = logits.sigmoid()
        shifted = (probability - ASYMMETRIC_CLIP).clamp(min=0)
        positive = targets * (1 - probability) ** ASYMMETRIC_GAMMA_POSITIVE
        positive = positive * functional.logsigmoid(logits)
        negative = (1 - targets) * shifted**ASYMMETRIC_GAMMA_NEGATIVE * (-shifted).log1p()
        return -(positive + negative)

    elementwise = {
        "bce": bce,
        "bce_weighted": weighted,
        "focal": focal,
        "asymmetric": asymmetric,
    }[name]

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        known = targets >= 0
        values = elementwise(logits, targets.clamp(min=0))
        return (values * known).sum() / known.sum().clamp(min=1)

    return loss
