"""The classification task of the training loop: logits, the loss over known labels, metrics; batches of features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind, Objective
from tagbox.data.dataset import PRESENT
from tagbox.evaluation.threshold_search import sweep_global
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision
from tagbox.metrics.single_label import most_probable, one_hot
from tagbox.models.heads import activate
from tagbox.training.task import Metrics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.distributed import Runtime
    from tagbox.training.losses import Loss


EPOCH_METRICS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "challenge_accuracy",
    "micro_f1",
    "macro_f1",
    "weighted_f1",
    "samples_f1",
    "cf1",
    "of1",
)


class ClassificationMetrics(Metrics["Batch"]):
    """Logits and targets of one pass, sorted by dataset row whatever order they came in.

    Parameters
    ----------
    labels
        ``multi`` (sigmoid) or ``exclusive`` (softmax): decides the activation and which metrics there are.
    objective
        Metric that the threshold of the F1 metrics maximises.
    """

    def __init__(self, labels: LabelKind = "multi", objective: Objective = "micro_f1") -> None:
        super().__init__()
        self.labels: LabelKind = labels
        self.objective: Objective = objective
        self.rows: list[NDArray[np.intp]] = []
        self.logits: list[NDArray[np.float32]] = []
        self.targets: list[NDArray[np.int8]] = []

    def empty(self) -> Self:
        """Metrics of the same kind of labels."""
        return type(self)(self.labels, self.objective)

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
            found |= epoch_scores(self.truth, self.probabilities, self.labels, self.objective)
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


def epoch_scores(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    labels: LabelKind = "multi",
    objective: Objective = "micro_f1",
) -> dict[str, float | None]:
    """mAP, and the F1 family at the global threshold that is best for `objective` in this epoch.

    At a threshold of 0.5 the first epochs would have next to no predicted labels, and curves of noise.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) float32.
    labels
        Exclusive ones are evaluated at the most probable category, and have ``accuracy``.
    objective
        What the thresholds will be tuned for.

    Returns
    -------
    dict
        ``map`` (None where no category has a positive) and `EPOCH_METRICS`.
    """
    precision = mean_average_precision(average_precision(truth, probabilities))
    if labels == "exclusive":
        predicted = one_hot(most_probable(probabilities), truth.shape[1])
        at_top = label_metrics(truth, predicted)
        accuracy = float((truth[predicted] == PRESENT).sum() / max(len(truth), 1))
        return {
            "map": precision,
            "accuracy": accuracy,
            **{name: at_top[name] for name in EPOCH_METRICS},
        }
    levels, values = sweep_global(truth, probabilities, objective)
    level = levels[int(np.argmax(values))] if len(levels) else 0.5
    at_level = label_metrics(truth, probabilities >= np.float32(level))
    return {"map": precision, **{name: at_level[name] for name in EPOCH_METRICS}}


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
    labels, objective
        As in `ClassificationMetrics`.
    """

    loss: Loss
    validation_loss: Loss
    labels: LabelKind = "multi"
    objective: Objective = "micro_f1"

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
        return ClassificationMetrics(self.labels, self.objective)


class FeatureBatches:
    """Batches of features that were encoded once.

    Parameters
    ----------
    features
        (N, V, ...) float32; V views of each image (view 0 is the unmirrored image).
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    batch_size
        Images in a batch; the last one of a pass may be smaller.
    shuffle
        With it, the order and the view of each image are drawn anew every epoch from (`seed`, epoch);
        without, the order is that of the rows and the view is 0.
    seed
        Of the order.
    targets
        (N, K) float32 targets of the loss instead of the labels; see `training.teacher`.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int8],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        import torch

        self.features = torch.from_numpy(features)
        self.truth = torch.from_numpy(labels.astype(np.float32))
        self.targets = self.truth if targets is None else torch.from_numpy(targets)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """Batches of one part each, from batch `start` on; inputs are (B, ...) features."""
        import torch

        count, views = self.features.shape[:2]
        order, view = np.arange(count), torch.zeros(count, dtype=torch.long)
        if self.shuffle:
            random = np.random.default_rng([self.seed, epoch])
            order = random.permutation(count)
            view = torch.from_numpy(random.integers(views, size=count))
        for first in range(start * self.batch_size, count, self.batch_size):
            rows = order[first : first + self.batch_size]
            inputs = self.inputs(torch.from_numpy(rows), view[rows])
            yield [Batch(rows, inputs, self.targets[rows], self.truth[rows])]

    def inputs(self, rows: Tensor, views: Tensor) -> Tensor:
        """Input of the model for the images at `rows`."""
        return self.features[rows, views]
