"""The one training loop: readable in a minute, stops on a loss that is not finite, keeps the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tagbox.errors import TagboxError
from tagbox.training.distributed import Runtime, unwrapped
from tagbox.training.history import is_better

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.checkpoint import Checkpointer
    from tagbox.training.history import Row
    from tagbox.training.optim import Ema, Optimizer, Schedule

Part = TypeVar("Part")
"""Some images with their truth: all or a part of a batch on this process."""
AnyPart = TypeVar("AnyPart", contravariant=True)


class Batches(Protocol[Part]):
    """One side of the data."""

    def __len__(self) -> int:
        """How many batches one pass has."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Part]]:
        """One pass from batch `start` on: this process's parts of each batch."""


class Figures(Protocol[AnyPart]):
    """What a model said in one pass, and the figures that follow from the whole of it."""

    def add_loss(self, total: float, count: float) -> None:
        """A sum of losses and what it is divided by, of all processes together."""

    def add(self, part: AnyPart, said: Any) -> None:
        """What the model said of a part on this process."""

    def gathered(self, runtime: Runtime) -> Figures[AnyPart]:
        """The same of all processes together; each image counts once."""

    def scores(self) -> dict[str, float | None]:
        """``loss`` and every other figure."""

    def state_dict(self) -> dict[str, Any]:
        """Everything so far, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""

    def extend(self, state: dict[str, Any]) -> None:
        """Add what another process's `state_dict` holds."""


class Criterion(Protocol[AnyPart]):
    """How a model is applied to a part of a batch, and what that costs."""

    def start_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 1."""

    def count(self, part: AnyPart) -> float:
        """What the sum of losses over a batch is divided by, as far as this part goes."""

    def cost(self, model: nn.Module, part: AnyPart, runtime: Runtime) -> tuple[Tensor, Any]:
        """Scalar sum of losses, and what the model said, for `Figures.add`.

        A model in eval mode is judged: without smoothing, annealing or noise.
        """

    def figures(self) -> Figures[Any]:
        """For a new pass."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What is trained, and how a step is taken.

    Attributes
    ----------
    model
        What `criterion` applies.
    criterion
        See `Criterion`.
    optimizer, schedule
        The schedule steps once a batch.
    clip
        Largest norm of all gradients together; 0 does not clip.
    ema
        The moving average that is evaluated in the model's place, and kept.
    """

    model: nn.Module
    criterion: Criterion[Any]
    optimizer: Optimizer
    schedule: Schedule
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
class TrainState:
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
    train: Batches[Any],
    validation: Batches[Any],
    *,
    stop: Stop,
    runtime: Runtime,
    checkpointer: Checkpointer | None = None,
    start: TrainState | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Any], None] | None = None,
) -> TrainState:
    """Train, and leave ``task.evaluated`` with the weights of its best epoch.

    Parameters
    ----------
    train, validation
        The two sides. Training figures are those of the very batches trained on, while the weights
        move: no second pass over the training set.
    checkpointer
        Saves checkpoints, and takes the training up where one left it.
    start
        An earlier stage, whose weights the model holds and whose best row must be beaten.
    on_batch, on_epoch
        Called with (step, loss), and with the epoch's row and the figures of the validation side.

    Raises
    ------
    TagboxError
        ``loss-not-finite`` as soon as a batch's loss is infinite or NaN.
    """
    at = TrainState(history=[])
    if start is not None:
        at = TrainState(list(start.history), best_row=start.best_row, best_epoch=start.best_epoch)
    seen = task.criterion.figures()
    best = checkpointer.begin(task, at, seen) if checkpointer else _copy(task.evaluated)
    before = len(at.history) - at.epoch + 1  # Rows of the earlier stage.
    while not at.over:
        task.model.train()
        task.criterion.start_epoch(at.epoch)
        for parts in train.epoch(at.epoch, at.batch):
            value = train_step(task, parts, seen, runtime)
            if not math.isfinite(value):
                raise _not_finite(value, before + at.epoch, at.batch + 1)
            at.step, at.batch = at.step + 1, at.batch + 1
            if on_batch:
                on_batch(at.step, value)
            if checkpointer and at.batch < len(train):
                checkpointer.after_step(task, at, seen)

        held = run(task.evaluated, validation, task.criterion, runtime)
        row: dict[str, float | int | None] = {"epoch": before + at.epoch}
        row |= {f"train_{name}": v for name, v in seen.gathered(runtime).scores().items()}
        row |= {f"val_{name}": figure for name, figure in held.scores().items()}
        row["learning_rate"] = float(max(task.schedule.get_last_lr()))
        at.history.append(row)
        if on_epoch:
            on_epoch(row, held)
        if is_better(row, at.best_row, stop.best_by):
            at.best_row, at.best_epoch, best = row, before + at.epoch, _copy(task.evaluated)
            if checkpointer:
                checkpointer.keep_best(at.best_epoch, best)
        waited = len(at.history) - max(at.best_epoch, before)
        at.over = at.epoch >= stop.epochs or waited >= stop.patience
        at.epoch, at.batch, seen = at.epoch + 1, 0, task.criterion.figures()
        if checkpointer:
            checkpointer.after_epoch(task, at, seen)
    task.evaluated.load_state_dict(best)
    return at


def train_step(task: Task, parts: list[Any], seen: Figures[Any], runtime: Runtime) -> float:
    """One optimizer step on the parts of a batch; returns the batch's mean loss.

    The gradient is that of the sum of losses over the count of the whole batch, whatever parts and
    processes it is computed in.
    """
    (count,) = runtime.total(float(sum(task.criterion.count(part) for part in parts)))
    task.optimizer.zero_grad(set_to_none=True)
    own = 0.0
    for number, part in enumerate(parts, start=1):
        with runtime.accumulating(task.model, last=number == len(parts)):
            value, said = task.criterion.cost(task.model, part, runtime)
            # The exchange between processes averages; what is wanted is the sum.
            runtime.backward(value * (runtime.processes / max(count, 1.0)))
        own += value.item()
        seen.add(part, said)
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
    model: nn.Module, batches: Batches[Part], criterion: Criterion[Part], runtime: Runtime
) -> Figures[Part]:
    """The figures of `model` in eval mode over one pass, of all processes together."""
    import torch

    runtime.share_statistics(model)
    model.eval()
    seen = criterion.figures()
    with torch.no_grad():
        for parts in batches.epoch(0):
            for part in parts:
                value, said = criterion.cost(model, part, runtime)
                seen.add_loss(*runtime.total(value.item(), float(criterion.count(part))))
                seen.add(part, said)
    return seen.gathered(runtime)


def _not_finite(value: float, epoch: int, batch: int) -> TagboxError:
    return TagboxError(
        "loss-not-finite",
        f"the loss became {value} in epoch {epoch}, batch {batch}",
        where="learning_rate",
        hint="lower --learning-rate (--finetune.learning-rate of a whole classifier), and look for odd pictures "
        "with tagbox check",
    )


def _copy(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
