"""Training a network on images, classifier or detector: setup, checkpoints, progress, the loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from tagbox.config import DetectorConfig
from tagbox.errors import TagboxError
from tagbox.progress import Progress, foretelling
from tagbox.training.resolve_config import Training, resolve_machine, steps
from tagbox.training.run_dir import RunDir, fingerprints, say_other_machine
from tagbox.training.tensorboard import Watch
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.task import Batches, Task, TrainState

MOST_WORKERS = 8
DIVERGED = 10.0
"""An epoch's loss, over that of the first batch, above which the training is said to diverge."""

TrainValBatches = Callable[[Mapping[str, Any]], "tuple[Batches[Any], Batches[Any]]"]
"""Keyword arguments of `training.batches.LoadedBatches` to training and validation batches."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedNetwork(Generic[Training]):
    """The model with its best epoch's weights, its resolved configuration, and how it was trained.

    `parameters` holds ``total`` and ``trainable`` numbers.
    """

    model: Any
    config: Training
    train_state: TrainState
    parameters: dict[str, int]


def train_network(
    network: Any,
    config: Training,
    train_val: TrainVal,
    runtime: Runtime,
    run_dir: RunDir,
    *,
    task: Task[Any],
    optimizer: Any,
    batches: TrainValBatches,
    about: Mapping[str, Any],
    left_out: list[str],
    start: TrainState | None = None,
    watch: Watch[Any],
    epoch_summary: Callable[[Row], str],
    on_epoch: Callable[[Row], None] | None,
    progress: Progress,
) -> TrainedNetwork[Training]:
    """Train `network`, or resume from the checkpoint of ``run_dir.state``.

    Parameters
    ----------
    network
        `models.classifier_network.Network` or a `Detector`, what is frozen decided.
    config
        Resolved, except for precision and memory layout, which are resolved here and written down.
    train_val
        The datasets; a resumed run compares their fingerprints.
    task, optimizer, batches
        What differs between the kinds of model.
    about
        What is needed to build the network again before a checkpoint's weights are loaded.
    left_out
        Sentences about images that cannot be read are appended; checkpoints hold the list.
    start
        State of an earlier stage of the training; when resuming, the checkpoint holds it.
    watch
        Receives every batch and epoch.
    epoch_summary
        A history row as one line, which `progress` is told.
    on_epoch
        Called with each history row; an exception ends the training.

    Raises
    ------
    TagboxError
        ``precision-device``; ``loss-not-finite``; what `training.failures.understood` knows; ``cannot-write``.
    """
    import torch

    from tagbox.training.checkpoint import Checkpointer
    from tagbox.training.distributed import Runtime
    from tagbox.training.failures import understood
    from tagbox.training.loop import Stop, fit
    from tagbox.training.optim import Ema, Schedule, create_course
    from tagbox.training.task import TrainSetup

    if run_dir.state is None:
        config = resolve_machine(config, runtime)
        if runtime.main:
            run_dir.begin(config)
    how = steps(config)
    runtime = Runtime(runtime.device.type, how.precision)  # type: ignore[arg-type]
    machine = runtime.machine() | {"parts of a batch": how.accumulate}
    if run_dir.state is not None:
        say_other_machine(run_dir.state, machine, progress)
    parameters = {
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in network.parameters()),
    }
    progress.say("parameters: {total:,} in all, {trainable:,} trained".format(**parameters))
    # Each process draws its own dropout and samples; augmentation has seeds of its own.
    torch.manual_seed(config.seed + runtime.rank)
    if how.channels_last == "yes":
        network.use_channels_last()
    if how.compile:
        network.compile()
    network.to(runtime.device)

    def on_unreadable(error: TagboxError) -> None:
        left_out.append(str(error))
        progress.say(f"left out: {error}")

    train_batches, val_batches = batches(
        {
            "batch_size": how.batch_size,
            "processes": runtime.processes,
            "rank": runtime.rank,
            "workers": _reading_processes(how.workers, runtime),
            "on_unreadable": on_unreadable,
        }
    )
    ema = Ema(network, how.ema) if how.ema else None
    total = how.epochs * len(train_batches)
    setup = TrainSetup(
        model=runtime.distribute(network),
        task=task,
        optimizer=optimizer,
        schedule=Schedule(optimizer, create_course(how.schedule, total, how.warmup)),
        clip=how.clip,
        ema=ema,
    )
    checkpointer = Checkpointer(
        run_dir.checkpoints,
        runtime,
        seconds=how.checkpoint_seconds,
        about={
            **about,
            "left_out": left_out,
            "fingerprints": fingerprints(train_val),
            "machine": machine,
        },
        resume_from=run_dir.state,
    )
    name = "detector" if isinstance(config, DetectorConfig) else "network"
    first_losses: list[float] = []
    with progress.bar(f"training the {name}", total, "steps") as advance, understood():
        told = foretelling(advance, total, "steps", "training takes at most", progress.say)
        told(0 if run_dir.state is None else int(run_dir.state["at"]["step"]))

        def after_batch(step: int, loss: float) -> None:
            told(1)
            watch.batch(step, loss)
            if step == 1:
                first_losses.append(loss)

        def after_epoch(row: Row, metrics: Any) -> None:
            watch.epoch(row, metrics)
            progress.say(epoch_summary(row))
            if (mean := row["train_loss"]) and any(mean > DIVERGED * loss for loss in first_losses):
                progress.say(_diverges(config, first_losses.pop(), mean, how.learning_rate))
            if on_epoch:
                on_epoch(row)

        train_state = fit(
            setup,
            train_batches,
            val_batches,
            stop=Stop(epochs=how.epochs, patience=how.patience, best_by=config.best_by),
            runtime=runtime,
            checkpointer=checkpointer,
            start=start,
            on_batch=after_batch,
            on_epoch=after_epoch,
        )
    return TrainedNetwork(
        model=setup.eval_model, config=config, train_state=train_state, parameters=parameters
    )


def _diverges(config: Training, first: float, mean: float, rate: float) -> str:
    """The sentence for a loss that explodes, once in a training."""
    flag = "--learning-rate" if isinstance(config, DetectorConfig) else "--finetune.learning-rate"
    return (
        f"the training diverges: the loss was {first:.3g} in the first batch and {mean:.3g} over this epoch; "
        f"stop it and lower {flag}, which is {rate:g}, or leave it out"
    )


def _reading_processes(requested: int | None, runtime: Runtime) -> int:
    """Data-loading processes: none by default on a CPU, where training needs every core."""
    if requested is not None:
        return requested
    if runtime.device.type == "cpu":
        return 0
    return min(MOST_WORKERS, (os.cpu_count() or 1) // runtime.processes)
