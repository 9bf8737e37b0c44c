"""Labels as a criterion of the loop: logits, a loss over known labels, figures over a whole pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.training.outputs import Outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.losses import Loss
    from tagbox.training.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images, all or a part of a batch on this process.

    Attributes
    ----------
    rows
        (B,) rows of the dataset.
    inputs
        (B, ...) what the model takes.
    targets
        (B, K) float32 in 0..1, or -1 for unknown: what the loss compares with.
    truth
        (B, K) of 1, 0 and -1: what figures compare with; None where pictures are mixed.
    """

    rows: NDArray[np.intp]
    inputs: Tensor
    targets: Tensor
    truth: Tensor | None


@dataclass(frozen=True, eq=False)
class Labelling:
    """See `training.loop.Criterion`; the model gives (B, K) logits.

    Attributes
    ----------
    loss, validation_loss
        The loss of training, and that of validation (without smoothing or annealing).
    labels
        Whether categories exclude each other.
    """

    loss: Loss
    validation_loss: Loss
    labels: LabelKind = "multi"

    def start_epoch(self, epoch: int) -> None:
        """See `Loss.start_epoch`."""
        self.loss.start_epoch(epoch)

    def count(self, part: Batch) -> float:
        """Known labels."""
        return float(self.loss.known(part.targets))

    def cost(self, model: nn.Module, part: Batch, runtime: Runtime) -> tuple[Tensor, Any]:
        """The loss over known labels, and the logits."""
        loss = self.loss if model.training else self.validation_loss
        with runtime.autocast():
            logits = model(part.inputs.to(runtime.device)).float()
        return loss.total(logits, part.targets.to(runtime.device)), logits.detach()

    def figures(self) -> Outputs:
        """See `training.outputs`."""
        return Outputs(self.labels)
