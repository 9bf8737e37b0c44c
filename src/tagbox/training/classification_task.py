"""Logits, targets and losses of one pass over the data, for figures over the whole of it.

Labels as a criterion of the loop: logits, a loss over known labels, figures over a whole pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.models.heads import activate
from tagbox.training.history import epoch_scores

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.distributed import Runtime
    from tagbox.training.losses import Loss


class Outputs:
    """What a model said in one pass; rows in the order of the dataset, whatever order they came in.

    Parameters
    ----------
    labels
        Whether categories exclude each other: what makes probabilities of logits, and which figures there are.
    """

    def __init__(self, labels: LabelKind = "multi") -> None:
        self.labels: LabelKind = labels
        self.rows: list[NDArray[np.intp]] = []
        self.logits: list[NDArray[np.float32]] = []
        self.targets: list[NDArray[np.int8]] = []
        self.loss_sum = 0.0
        self.loss_count = 0.0

    def add_loss(self, total: float, count: float) -> None:
        """A sum of losses over `count` elements, on all processes together."""
        self.loss_sum += total
        self.loss_count += count

    def add(self, part: Batch, said: Tensor) -> None:
        """(B, K) logits of a part; negative rows only fill it up, and mixed pictures stand in no figure."""
        if part.truth is None:
            return
        real = part.rows >= 0
        self.rows.append(part.rows[real])
        self.logits.append(said.float().cpu().numpy()[real])
        self.targets.append(part.truth.cpu().numpy().astype(np.int8)[real])

    def gathered(self, runtime: Runtime) -> Outputs:
        """The outputs of all processes together; each image counts once."""
        whole = Outputs(self.labels)
        for other in runtime.gather(self.state_dict()):
            whole.extend(other)
        # Losses were summed over all processes as they came.
        whole.loss_sum, whole.loss_count = self.loss_sum, self.loss_count
        return whole

    @property
    def order(self) -> NDArray[np.intp]:
        """(N,) dataset rows, ascending: what the rows of `truth` and `probabilities` are."""
        return np.sort(np.concatenate(self.rows)) if self.rows else np.zeros(0, np.intp)

    @property
    def truth(self) -> NDArray[np.int8]:
        """(N, K): 1 present, 0 absent, -1 unknown."""
        return np.concatenate(self.targets)[self._places]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, K) float32."""
        return activate(np.concatenate(self.logits)[self._places], self.labels)

    def scores(self) -> dict[str, float | None]:
        """The mean loss of a known element, and `epoch_scores` where rows were added."""
        found: dict[str, float | None] = {"loss": self.loss_sum / max(self.loss_count, 1)}
        if self.rows:
            found |= epoch_scores(self.truth, self.probabilities, self.labels)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything so far, for a checkpoint or another process."""
        return {
            "rows": list(self.rows),
            "logits": list(self.logits),
            "targets": list(self.targets),
            "loss": [self.loss_sum, self.loss_count],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.rows, self.logits, self.targets = [], [], []
        self.extend(state)
        self.loss_sum, self.loss_count = state["loss"]

    def extend(self, state: dict[str, Any]) -> None:
        """Add the rows of another process's `state_dict`."""
        self.rows += state["rows"]
        self.logits += state["logits"]
        self.targets += state["targets"]

    @property
    def _places(self) -> NDArray[np.intp]:
        return np.argsort(np.concatenate(self.rows), kind="stable")


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
class ClassificationTask:
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
        """See `training.classification_task`."""
        return Outputs(self.labels)
