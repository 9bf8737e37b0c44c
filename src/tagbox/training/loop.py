"""The one training loop: readable in a minute, stops on a loss that is not finite, keeps the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.errors import TagboxError
from tagbox.training.outputs import Outputs
from tagbox.training.runtime import Runtime, unwrapped
from tagbox.training.scores import is_better

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.ema import Ema
    from tagbox.training.history import Row
    from tagbox.training.keeper import Keeper
    from tagbox.training.losses import Loss
    from tagbox.training.optimizer import Optimizer
    from tagbox.training.schedule import Schedule


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


class Batches(Protocol):
    """One side of the data."""

    def __len__(self) -> int:
        """How many batches one pass has."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """One pass from batch `start` on: this process's parts of each batch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What is trained, and how a step is taken.

    Attributes
    ----------
    model
        Inputs of a batch -> (B, K) logits.
    loss, validation_loss
        The loss of training, and that of validation (without smoothing or annealing).
    optimizer, schedule
        The schedule steps once a batch.
    labels
        Whether categories exclude each other.
    clip
        Largest norm of all gradients together; 0 does not clip.
    ema
        The moving average that is evaluated in the model's place, and kept.
    """

    model: nn.Module
    loss: Loss
    validation_loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    labels: LabelKind = "multi"
    clip: float = 0.0
    ema: Ema | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The model whose figures count."""
        return unwrapped(self.model) if self.ema is None else self.ema.model


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When training ends: after `epochs`, or `patience` epochs without a better `best_by`."""

    epochs: int
    patience: int
    best_by: str


@dataclass
class Fitted:
    """Where a training is; in the end, what it leaves.

    Attributes
    ----------
    history
        A row an epoch; those of an earlier stage come first.
    best_row, best_epoch
        The best row and its number from 1; None and 0 before there is one.
    step, epoch, batch
        Steps taken; the epoch of this stage under way, from 1, and how many of its batches are done.
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


def fit(
    task: Task,
    train: Batches,
    validation: Batches,
    *,
    stop: Stop,
    runtime: Runtime,
    keeper: Keeper | None = None,
    start: Fitted | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Outputs], None] | None = None,
) -> Fitted:
    """Train, and leave ``task.evaluated`` with the weights of its best epoch.

    Parameters
    ----------
    train, validation
        The two sides. Training figures are those of the very batches trained on, while the weights
        move: no second pass over the training set.
    keeper
        Saves checkpoints, and takes the training up where one left it.
    start
        An earlier stage, whose weights the model holds and whose best row must be beaten.
    on_batch, on_epoch
        Called with (step, loss), and with the epoch's row and the outputs on the validation side.

    Raises
    ------
    TagboxError
        ``loss-not-finite`` as soon as a batch's loss is infinite or NaN.
    """
    at = Fitted(history=[])
    if start is not None:
        at = Fitted(list(start.history), best_row=start.best_row, best_epoch=start.best_epoch)
    seen = Outputs(task.labels)
    best = keeper.begin(task, at, seen) if keeper else _copy(task.evaluated)
    before = len(at.history) - at.epoch + 1  # Rows of the earlier stage.
    while not at.over:
        task.model.train()
        task.loss.start_epoch(at.epoch)
        for parts in train.epoch(at.epoch, at.batch):
            value = train_step(task, parts, seen, runtime)
            if not math.isfinite(value):
                raise _not_finite(value, before + at.epoch, at.batch + 1)
            at.step, at.batch = at.step + 1, at.batch + 1
            if on_batch:
                on_batch(at.step, value)
            if keeper and at.batch < len(train):
                keeper.after_step(task, at, seen)

        held = run(task.evaluated, validation, task.validation_loss, runtime, task.labels)
        row: dict[str, float | int | None] = {"epoch": before + at.epoch}
        row |= {f"train_{name}": v for name, v in seen.gathered(runtime).scores().items()}
        row |= {f"val_{name}": figure for name, figure in held.scores().items()}
        row["learning_rate"] = float(max(task.schedule.get_last_lr()))
        at.history.append(row)
        if on_epoch:
            on_epoch(row, held)
        if is_better(row, at.best_row, stop.best_by):
            at.best_row, at.best_epoch, best = row, before + at.epoch, _copy(task.evaluated)
            if keeper:
                keeper.keep_best(at.best_epoch, best)
        waited = len(at.history) - max(at.best_epoch, before)
        at.over = at.epoch >= stop.epochs or waited >= stop.patience
        at.epoch, at.batch, seen = at.epoch + 1, 0, Outputs(task.labels)
        if keeper:
            keeper.after_epoch(task, at, seen)
    task.evaluated.load_state_dict(best)
    return at


def train_step(task: Task, parts: list[Batch], seen: Outputs, runtime: Runtime) -> float:
    """One optimizer step on the parts of a batch; returns the batch's mean loss.

    The gradient is that of the mean over the known elements of the whole batch, whatever parts and
    processes it is computed in.
    """
    known = sum(task.loss.known(part.targets) for part in parts)
    (count,) = runtime.total(float(known))
    task.optimizer.zero_grad(set_to_none=True)
    own = 0.0
    for number, part in enumerate(parts, start=1):
        with runtime.accumulating(task.model, last=number == len(parts)):
            with runtime.autocast():
                logits = task.model(part.inputs.to(runtime.device))
            value = task.loss.total(logits.float(), part.targets.to(runtime.device))
            # The exchange between processes averages; what is wanted is the sum.
            runtime.backward(value * (runtime.processes / max(count, 1.0)))
        own += value.item()
        if part.truth is not None:
            seen.add(part.rows, logits.detach(), part.truth)
    (total,) = runtime.total(own)
    seen.add_loss(total, count)
    mean = total / max(count, 1.0)
    if math.isfinite(mean):
        parameters = [p for g in task.optimizer.param_groups for p in g.get("params", ())]
        runtime.update(task.optimizer, parameters, task.clip)
        task.schedule.step()
        if task.ema is not None:
            task.ema.update(unwrapped(task.model))
    return mean


def run(
    model: nn.Module, batches: Batches, loss: Loss, runtime: Runtime, labels: LabelKind = "multi"
) -> Outputs:
    """The outputs of `model` in eval mode over one pass, of all processes together."""
    import torch

    runtime.share_statistics(model)
    model.eval()
    seen = Outputs(labels)
    with torch.no_grad():
        for parts in batches.epoch(0):
            for part in parts:
                with runtime.autocast():
                    logits = model(part.inputs.to(runtime.device)).float()
                value = loss.total(logits, part.targets.to(runtime.device)).item()
                seen.add_loss(*runtime.total(value, float(loss.known(part.targets))))
                if part.truth is not None:
                    seen.add(part.rows, logits, part.truth)
    return seen.gathered(runtime)


def _not_finite(value: float, epoch: int, batch: int) -> TagboxError:
    return TagboxError(
        "loss-not-finite",
        f"the loss became {value} in epoch {epoch}, batch {batch}",
        where="learning_rate",
        hint="lower --learning-rate or --finetune.learning-rate, and look for odd pictures with tagbox check",
    )


def _copy(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
