"""The classification task of the training loop: logits, the loss over known labels, metrics of a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.models.heads import activate
from tagbox.training.history import epoch_scores
from tagbox.training.task import Metrics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.distributed import Runtime
    from tagbox.training.losses import Loss


class ClassificationMetrics(Metrics["Batch"]):
    """Logits and targets of one pass, sorted by dataset row whatever order they came in.

    Parameters
    ----------
    labels
        ``multi`` (sigmoid) or ``exclusive`` (softmax): decides the activation and which metrics there are.
    """

    def __init__(self, labels: LabelKind = "multi") -> None:
        super().__init__()
        self.labels: LabelKind = labels
        self.rows: list[NDArray[np.intp]] = []
        self.logits: list[NDArray[np.float32]] = []
        self.targets: list[NDArray[np.int8]] = []

    def empty(self) -> Self:
        """Metrics of the same kind of labels."""
        return type(self)(self.labels)

    def add(self, part: Batch, outputs: Tensor) -> None:
        """Add (B, K) logits of a part, without padding rows (negative); mixed images are not counted."""
        if part.truth is None:
            return
        real = part.rows >= 0
        self.rows.append(part.rows[real])
        self.logits.append(outputs.float().cpu().numpy()[real])
        self.targets.append(part.truth.cpu().numpy().astype(np.int8)[real])

    @property
    def order(self) -> NDArray[np.intp]:
        """(N,) dataset rows of `truth` and `probabilities`, ascending."""
        return np.sort(np.concatenate(self.rows)) if self.rows else np.zeros(0, np.intp)

    @property
    def truth(self) -> NDArray[np.int8]:
        """(N, K): 1 present, 0 absent, -1 unknown."""
        return np.concatenate(self.targets)[self._order]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, K) float32."""
        return activate(np.concatenate(self.logits)[self._order], self.labels)

    def scores(self) -> dict[str, float | None]:
        """The mean loss per known label, and `epoch_scores` if outputs were added."""
        found: dict[str, float | None] = {"loss": self.loss_sum / max(self.loss_count, 1)}
        if self.rows:
            found |= epoch_scores(self.truth, self.probabilities, self.labels)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Rows, logits, targets and the loss."""
        return {
            "rows": list(self.rows),
            "logits": list(self.logits),
            "targets": list(self.targets),
            "loss": [self.loss_sum, self.loss_count],
        }

    def extend(self, state: dict[str, Any]) -> None:
        """Add the rows of another process's `state_dict`."""
        self.rows += state["rows"]
        self.logits += state["logits"]
        self.targets += state["targets"]

    @property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(np.concatenate(self.rows), kind="stable")


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images with their labels: this process's share of a batch, or a part of it.

    Attributes
    ----------
    rows
        (B,) rows of the dataset.
    inputs
        (B, ...) input of the model.
    targets
        (B, K) float32 in 0..1, or -1 for unknown: targets of the loss.
    truth
        (B, K) of 1, 0 and -1: ground truth of the metrics; None for mixed images.
    """

    rows: NDArray[np.intp]
    inputs: Tensor
    targets: Tensor
    truth: Tensor | None


@dataclass(frozen=True, eq=False)
class ClassificationTask:
    """A `training.task.Task` for models that return (B, K) logits.

    Attributes
    ----------
    loss, validation_loss
        The training loss, and the validation loss (without smoothing or annealing).
    labels
        As in `ClassificationMetrics`.
    """

    loss: Loss
    validation_loss: Loss
    labels: LabelKind = "multi"

    def start_epoch(self, epoch: int) -> None:
        """Tell the loss, which may be annealed over epochs."""
        self.loss.start_epoch(epoch)

    def count(self, part: Batch) -> float:
        """Number of known labels."""
        return float(self.loss.known(part.targets))

    def compute_loss(self, model: nn.Module, part: Batch, runtime: Runtime) -> tuple[Tensor, Any]:
        """The loss over known labels, and the logits."""
        loss = self.loss if model.training else self.validation_loss
        with runtime.autocast():
            logits = model(part.inputs.to(runtime.device)).float()
        return loss.total(logits, part.targets.to(runtime.device)), logits.detach()

    def metrics(self) -> ClassificationMetrics:
        """Empty metrics for a new pass."""
        return ClassificationMetrics(self.labels)
