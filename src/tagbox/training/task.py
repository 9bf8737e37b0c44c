"""What the training loop is given and keeps: a task of a kind of model, its batches and metrics, setup and state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from tagbox.training.distributed import Runtime, unwrapped

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.history import Row
    from tagbox.training.optim import Ema, Optimizer, Schedule

Part = TypeVar("Part")
"""Some images with their targets: this process's share of a batch, or one micro-batch of it."""
AnyPart = TypeVar("AnyPart", contravariant=True)


class Batches(Protocol[Part]):
    """The batches of a dataset; a batch is a list of parts, whose gradients are accumulated."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Part]]:
        """This process's parts of each batch, from batch `start` on."""


class Metrics(ABC, Generic[Part]):
    """Accumulates a model's outputs over one pass, as torchmetrics does, and computes metrics of them."""

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self.loss_count = 0.0

    def add_loss(self, total: float, count: float) -> None:
        """Add a sum of losses over `count` elements, already summed over all processes."""
        self.loss_sum += total
        self.loss_count += count

    def gathered(self, runtime: Runtime) -> Self:
        """The metrics of all processes together; each image counts once."""
        merged = self.empty()
        for other in runtime.gather(self.state_dict()):
            merged.extend(other)
        # Losses were summed over all processes as they came.
        merged.loss_sum, merged.loss_count = self.loss_sum, self.loss_count
        return merged

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what was accumulated by a `state_dict`."""
        vars(self).update(vars(self.empty()))
        self.extend(state)
        self.loss_sum, self.loss_count = state["loss"]

    @abstractmethod
    def empty(self) -> Self:
        """The same metrics before anything is added."""

    @abstractmethod
    def add(self, part: Part, outputs: Any) -> None:
        """Add the outputs of `Task.compute_loss` for a part on this process."""

    @abstractmethod
    def scores(self) -> dict[str, float | None]:
        """``loss`` and every other metric by name."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything accumulated so far, for a checkpoint or another process; ``loss`` is its sum and count."""

    @abstractmethod
    def extend(self, state: dict[str, Any]) -> None:
        """Add the outputs of another process's `state_dict`, but not its ``loss``."""


class Task(Protocol[AnyPart]):
    """What a kind of model is trained for: from its outputs to a loss and metrics."""

    def start_epoch(self, epoch: int) -> None:
        """Called before each training epoch, counted from 1."""

    def count(self, part: AnyPart) -> float:
        """Number of elements of a part that its sum of losses is divided by."""

    def compute_loss(self, model: nn.Module, part: AnyPart, runtime: Runtime) -> tuple[Tensor, Any]:
        """Apply the model to a part; the scalar sum of losses, and the outputs for `Metrics.add`.

        With the model in eval mode it is the validation loss: no label smoothing, annealing or noise.
        """

    def metrics(self) -> Metrics[Any]:
        """Empty metrics for a new pass."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainSetup:
    """A model and everything that a training step needs.

    Attributes
    ----------
    model
        Wrapped for several processes where there are any.
    task
        Computes loss and metrics.
    optimizer, schedule
        The schedule steps once per batch.
    clip
        Largest norm of all gradients together; 0 disables clipping.
    ema
        The moving average of the weights, evaluated and kept in place of the model.
    """

    model: nn.Module
    task: Task[Any]
    optimizer: Optimizer
    schedule: Schedule
    clip: float = 0.0
    ema: Ema | None = None

    @property
    def eval_model(self) -> nn.Module:
        """The model that is evaluated and kept: the moving average if there is one."""
        return unwrapped(self.model) if self.ema is None else self.ema.model


@dataclass
class TrainState:
    """Progress of a training; checkpoints hold it field by field.

    Attributes
    ----------
    history
        One row per epoch; those of an earlier stage come first.
    best_row, best_epoch
        The best row and its number from 1; None and 0 before there is one.
    step, epoch, batch
        Steps taken; the current epoch of this stage, from 1, and how many of its batches are done.
    over
        Whether the training has ended.
    """

    history: list[Row]
    _: KW_ONLY
    best_row: Row | None = None
    best_epoch: int = 0
    step: int = 0
    epoch: int = 1
    batch: int = 0
    over: bool = False
