"""The training loop of every model: epochs, steps, validation, early stopping, the best epoch's weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tagbox.errors import TagboxError
from tagbox.training.checkpoint import Checkpointer
from tagbox.training.distributed import Runtime, unwrapped
from tagbox.training.history import Row, is_better
from tagbox.training.task import Batches, Metrics, Part, Task, TrainSetup, TrainState

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When training ends: after `epochs`, or `patience` epochs without a better `best_by`.

    With None for `best_by` the last epoch is kept.
    """

    epochs: int
    patience: int
    best_by: str | None


def fit(
    setup: TrainSetup,
    train: Batches[Any],
    val: Batches[Any],
    *,
    stop: Stop,
    runtime: Runtime,
    checkpointer: Checkpointer | None = None,
    start: TrainState | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Any], None] | None = None,
) -> TrainState:
    """Train, and load the weights of the best epoch into ``setup.eval_model``.

    Parameters
    ----------
    train, val
        Training metrics are those of the batches trained on, while the weights change: there is no
        second pass over the training set.
    checkpointer
        Saves checkpoints, and restores the one it resumes from.
    start
        State of an earlier stage, whose weights the model holds and whose best row must be beaten.
    on_batch, on_epoch
        Called with (step, loss), and with (history row, validation metrics).

    Raises
    ------
    TagboxError
        ``loss-not-finite`` as soon as a batch's loss is infinite or NaN.
    """
    state = TrainState(history=[])
    if start is not None:
        state = TrainState(
            list(start.history), best_row=start.best_row, best_epoch=start.best_epoch
        )
    train_metrics = setup.task.metrics()
    if checkpointer:
        best = checkpointer.begin(setup, state, train_metrics)
    else:
        best = _copy(setup.eval_model)
    before = len(state.history) - state.epoch + 1  # Rows of the earlier stage.
    while not state.over:
        setup.model.train()
        setup.task.start_epoch(state.epoch)
        for parts in train.epoch(state.epoch, state.batch):
            loss = train_step(setup, parts, train_metrics, runtime)
            if not math.isfinite(loss):
                peak = max(group["peak"] for group in setup.optimizer.param_groups)
                raise _not_finite(loss, before + state.epoch, state.batch + 1, peak)
            state.step, state.batch = state.step + 1, state.batch + 1
            if on_batch:
                on_batch(state.step, loss)
            if checkpointer and state.batch < len(train):
                checkpointer.save_if_due(setup, state, train_metrics)

        val_metrics = evaluate(setup.eval_model, val, setup.task, runtime)
        row: dict[str, float | int | None] = {"epoch": before + state.epoch}
        row |= {f"train_{name}": v for name, v in train_metrics.gathered(runtime).scores().items()}
        row |= {f"val_{name}": value for name, value in val_metrics.scores().items()}
        row["learning_rate"] = float(max(setup.schedule.get_last_lr()))
        state.history.append(row)
        if on_epoch:
            on_epoch(row, val_metrics)
        if stop.best_by is None or is_better(row, state.best_row, stop.best_by):
            state.best_row, state.best_epoch = row, before + state.epoch
            best = _copy(setup.eval_model)
            if checkpointer:
                checkpointer.keep_best(state.best_epoch, best)
        waited = len(state.history) - max(state.best_epoch, before)
        state.over = state.epoch >= stop.epochs or waited >= stop.patience
        state.epoch, state.batch, train_metrics = state.epoch + 1, 0, setup.task.metrics()
        if checkpointer:
            checkpointer.save_if_due(setup, state, train_metrics)
    setup.eval_model.load_state_dict(best)
    return state


def train_step(
    setup: TrainSetup, parts: list[Any], metrics: Metrics[Any], runtime: Runtime
) -> float:
    """One optimizer step on the parts of a batch; returns the batch's mean loss.

    The gradient is that of the sum of losses over the count of the whole batch, however the batch is
    divided into parts and among processes. A loss that is not finite changes no weight.
    """
    (count,) = runtime.total(float(sum(setup.task.count(part) for part in parts)))
    setup.optimizer.zero_grad(set_to_none=True)
    own_total = 0.0
    for number, part in enumerate(parts, start=1):
        with runtime.accumulating(setup.model, last=number == len(parts)):
            loss, outputs = setup.task.compute_loss(setup.model, part, runtime)
            # DistributedDataParallel averages gradients over processes; times their number it is the sum.
            runtime.backward(loss * (runtime.processes / max(count, 1.0)))
        own_total += loss.item()
        metrics.add(part, outputs)
    (total,) = runtime.total(own_total)
    metrics.add_loss(total, count)
    mean = total / max(count, 1.0)
    if math.isfinite(mean):
        parameters = [p for g in setup.optimizer.param_groups for p in g.get("params", ())]
        runtime.update(setup.optimizer, parameters, setup.clip)
        setup.schedule.step()
        if setup.ema is not None:
            setup.ema.update(unwrapped(setup.model))
    return mean


def evaluate(
    model: nn.Module, batches: Batches[Part], task: Task[Part], runtime: Runtime
) -> Metrics[Part]:
    """The metrics of `model` in eval mode over one pass, of all processes together."""
    import torch

    runtime.share_statistics(model)
    model.eval()
    metrics = task.metrics()
    with torch.no_grad():
        for parts in batches.epoch(0):
            for part in parts:
                loss, outputs = task.compute_loss(model, part, runtime)
                metrics.add_loss(*runtime.total(loss.item(), float(task.count(part))))
                metrics.add(part, outputs)
    return metrics.gathered(runtime)


def _not_finite(loss: float, epoch: int, batch: int, rate: float) -> TagboxError:
    return TagboxError(
        "loss-not-finite",
        f"the loss became {loss} in epoch {epoch}, batch {batch}",
        where="learning_rate",
        hint=f"lower --learning-rate, which was {rate:g}, or --clip the gradients (--finetune.learning-rate and "
        "--finetune.clip when fine-tuning a classifier), and look for odd pictures with tagbox check",
    )


def _copy(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
