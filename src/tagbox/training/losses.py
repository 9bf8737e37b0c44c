"""Losses: mean over known elements, so that no value scales with batch or categories.

A target may lie between 0 and 1 (mixup, a teacher): each loss is linear in the target, so the loss of mixed
targets is the mixture of their losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tagbox.config import ClassifierConfig

if TYPE_CHECKING:
    from torch import Tensor

FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25
ASYMMETRIC_GAMMA_POSITIVE, ASYMMETRIC_GAMMA_NEGATIVE, ASYMMETRIC_CLIP = 0.0, 4.0, 0.05
POSITIVE_WEIGHT_CAP = 20.0


class Loss(ABC):
    """Logits and targets of a batch to a sum over known elements, and their number.

    Sum and number are separate because a batch may be computed in parts, on several processes: the
    gradient divides by the number of known elements in the whole batch.

    Parameters
    ----------
    smoothing
        Targets t become t (1 - smoothing) + smoothing / outcomes: two for a label, K exclusive ones.
    anneal_epochs
        Epochs in which `focus` rises from 0, which is plain binary cross-entropy, to 1.
    """

    def __init__(self, *, smoothing: float = 0.0, anneal_epochs: int = 0) -> None:
        self.smoothing = smoothing
        self.anneal_epochs = anneal_epochs
        self.focus = 1.0
        """Weight of the focusing on hard elements, for losses that have it (`FocusedLoss`)."""

    def start_epoch(self, epoch: int) -> None:
        """Set `focus` for the epoch, counted from 1."""
        if self.anneal_epochs:
            self.focus = min(1.0, (epoch - 1) / self.anneal_epochs)

    def known(self, targets: Tensor) -> int:
        """How many elements of (B, K) targets are known."""
        return int(self.mask(targets).sum().item())

    def total(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar: the sum over known elements.

        Parameters
        ----------
        logits
            (B, K) float32.
        targets
            (B, K) float32 in 0..1; -1 is unknown and takes no part.
        """
        known = self.mask(targets)
        values = self.elements(logits, self._smoothed(targets.clamp(min=0)))
        return (values * known).sum()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar: the mean over known elements; 0 where there are none."""
        return self.total(logits, targets) / max(self.known(targets), 1)

    @abstractmethod
    def mask(self, targets: Tensor) -> Tensor:
        """Bool, of the shape of `elements`: which of them are known."""

    @abstractmethod
    def elements(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each element; targets in 0..1."""

    @abstractmethod
    def _smoothed(self, targets: Tensor) -> Tensor: ...


class LabelLoss(Loss):
    """A loss with one element for each label: (B, K)."""

    def mask(self, targets: Tensor) -> Tensor:
        """(B, K) bool: which labels are known."""
        return targets >= 0

    def _smoothed(self, targets: Tensor) -> Tensor:
        return targets * (1 - self.smoothing) + self.smoothing / 2 if self.smoothing else targets


class BinaryCrossEntropy(LabelLoss):
    """-log p of a present label, -log(1 - p) of an absent one."""

    def elements(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) loss of each label."""
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


class WeightedBinaryCrossEntropy(LabelLoss):
    """Positives weighted by the negatives per positive, capped so that a rare label cannot outweigh a batch."""

    def __init__(self, positive_rate: Tensor, **settings: float) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.weight = ((1 - positive_rate) / positive_rate).clamp(1.0, POSITIVE_WEIGHT_CAP)

    def elements(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) loss of each label."""
        from torch.nn import functional

        weight = self.weight.to(logits.device)
        return functional.binary_cross_entropy_with_logits(
            logits, targets, pos_weight=weight, reduction="none"
        )


class FocusedLoss(LabelLoss):
    """A loss with more weight on hard elements; while annealing, binary cross-entropy has the rest of the weight.

    Annealing the exponents themselves would pass through infinite slopes.
    """

    def elements(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) loss of each label."""
        from torch.nn import functional

        values = self.focused(logits, targets)
        if self.focus == 1:
            return values
        plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return self.focus * values + (1 - self.focus) * plain

    @abstractmethod
    def focused(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each element, in full focus."""


class Focal(FocusedLoss):
    """Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5."""

    def focused(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) loss of each label."""
        from torch.nn import functional

        probability = logits.sigmoid()
        positive = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * functional.logsigmoid(logits)
        negative = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * functional.logsigmoid(-logits)
        return -(targets * positive + (1 - targets) * negative)


class Asymmetric(FocusedLoss):
    """Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021, eq. 7."""

    def focused(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) loss of each label."""
        from torch.nn import functional

        probability = logits.sigmoid()
        shifted = (probability - ASYMMETRIC_CLIP).clamp(min=0)
        positive = (1 - probability) ** ASYMMETRIC_GAMMA_POSITIVE * functional.logsigmoid(logits)
        negative = shifted**ASYMMETRIC_GAMMA_NEGATIVE * (-shifted).log1p()
        return -(targets * positive + (1 - targets) * negative)


class CrossEntropy(Loss):
    """-log of the softmax at the category of an image; one element for each image: (B,)."""

    def mask(self, targets: Tensor) -> Tensor:
        """(B,) bool: the images whose categories are all known."""
        return (targets >= 0).all(dim=1)

    def elements(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) loss of each image."""
        return -(targets * logits.log_softmax(dim=1)).sum(dim=1)

    def _smoothed(self, targets: Tensor) -> Tensor:
        if not self.smoothing:
            return targets
        return targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]


def create_loss(
    name: str, positive_rate: Tensor, *, smoothing: float = 0.0, anneal_epochs: int = 0
) -> Loss:
    """The loss called `name` in `ClassifierConfig.loss`, resolved.

    Parameters
    ----------
    name
        ``bce``, ``bce_weighted``, ``focal``, ``asymmetric`` or ``cross_entropy``.
    positive_rate
        (K,) float; part of the training images in which each category is present.
    smoothing, anneal_epochs
        See `Loss`.
    """
    if name == "bce_weighted":
        return WeightedBinaryCrossEntropy(
            positive_rate, smoothing=smoothing, anneal_epochs=anneal_epochs
        )
    kinds: dict[str, type[Loss]] = {
        "bce": BinaryCrossEntropy,
        "focal": Focal,
        "asymmetric": Asymmetric,
        "cross_entropy": CrossEntropy,
    }
    return kinds[name](smoothing=smoothing, anneal_epochs=anneal_epochs)


def create_losses(config: ClassifierConfig, name: str, positive_rate: Tensor) -> tuple[Loss, Loss]:
    """The training loss, and the validation loss: without smoothing or annealing."""
    smoothing, epochs = config.label_smoothing, config.anneal_epochs
    training = create_loss(name, positive_rate, smoothing=smoothing, anneal_epochs=epochs)
    return training, create_loss(name, positive_rate)
