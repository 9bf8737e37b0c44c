"""From two sides of a dataset to a trained detector; `api.detect` judges it and makes a run of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tagbox.config import DetectorConfig
from tagbox.data.boxes import training_boxes
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.progress import Progress
from tagbox.training.optim import optimizer_of, reading_processes
from tagbox.training.resolve_config import resolve_machine
from tagbox.training.run_dir import RunDir, fingerprints, require_same_data, say_other_machine
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector
    from tagbox.training.box_batches import BoxPictureBatches
    from tagbox.training.detection_task import DetectionMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.tensorboard import TensorBoardLog


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedDetector:
    """What training leaves in memory.

    Attributes
    ----------
    config
        As it was given, with every ``auto`` decided.
    detector
        With the weights of its best epoch, in eval mode on the CPU.
    train, validation
        The two sides.
    history, best_epoch
        The rows of `history.csv`; which one the weights are of.
    parameters
        ``total`` and ``trainable`` numbers.
    left_out
        Why pictures were left out, a sentence each.
    notes
        What of the training data is not as its file has it; see `data.boxes.TrainingBoxes.notes`.
    """

    config: DetectorConfig
    detector: Detector
    train: Dataset
    validation: Dataset
    history: list[dict[str, float | int | None]]
    best_epoch: int
    parameters: dict[str, int]
    left_out: list[str]
    notes: list[str]


def train_on(
    train_val: TrainVal,
    config: DetectorConfig,
    runtime: Runtime,
    run_dir: RunDir,
    *,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> TrainedDetector | None:
    """Train a detector, or go on from the checkpoint of ``run_dir.state``; None on all processes but the main one.

    Parameters
    ----------
    on_epoch
        Called with each epoch's row; what it raises ends the training.

    Raises
    ------
    TagboxError
        What `data.boxes.training_boxes` and `models.detectors.create.create_detector` raise;
        ``resume-data``; ``loss-not-finite``; what `training.failures.understood` knows; ``cannot-write``.
    """
    import torch

    from tagbox.models.detectors.bundle import DetectorSpec
    from tagbox.models.detectors.create import build_detector, create_detector
    from tagbox.training.checkpoint import Checkpointer
    from tagbox.training.detection_task import DetectionTask
    from tagbox.training.distributed import Runtime
    from tagbox.training.failures import understood
    from tagbox.training.loop import Stop, TrainSetup, fit
    from tagbox.training.optim import Ema, Schedule, create_course

    truth = training_boxes(train_val.train, config.boxes)
    for sentence in truth.notes:
        progress.say(sentence)
    if run_dir.state is None:
        detector = create_detector(config, len(train_val.train.categories))
        left_out: list[str] = []
    else:
        require_same_data(run_dir.state, train_val)
        # Weights come from the checkpoint: neither a hub nor a file of weights is needed again.
        detector = build_detector(DetectorSpec(**run_dir.state["about"]["spec"]))
        left_out = list(run_dir.state["about"]["left_out"])
    detector.freeze(config.trainable_layers, train_norms=config.batch_norm == "train")
    if run_dir.state is None:
        config = resolve_machine(config, runtime)
        if runtime.main:
            run_dir.begin(config)
    runtime = Runtime(runtime.device.type, config.precision)  # type: ignore[arg-type]
    machine = runtime.machine() | {"parts of a batch": config.accumulate}
    if run_dir.state is not None:
        say_other_machine(run_dir.state, machine, progress)
    parameters = {
        "trainable": sum(p.numel() for p in detector.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in detector.parameters()),
    }
    progress.say("parameters: {total:,} in all, {trainable:,} trained".format(**parameters))

    # Each process draws its own dropout and samples; what is drawn for pictures follows from other seeds.
    torch.manual_seed(config.seed + runtime.rank)
    if config.channels_last == "yes":
        detector.use_channels_last()
    detector.to(runtime.device)

    def on_unreadable(error: TagboxError) -> None:
        left_out.append(str(error))
        progress.say(f"left out: {error}")

    batches, held = _batches(train_val, truth, config, detector, runtime, on_unreadable)
    optimizer = _optimizer(detector, config)
    ema = Ema(detector, config.ema) if config.ema else None
    total = config.epochs * len(batches)
    setup = TrainSetup(
        model=runtime.distribute(detector),
        task=DetectionTask(detector, train_val.validation),
        optimizer=optimizer,
        schedule=Schedule(optimizer, create_course(config.schedule, total, config.warmup)),
        clip=config.clip,
        ema=ema,
    )
    about = {
        "spec": asdict(detector.spec),
        "left_out": left_out,
        "fingerprints": fingerprints(train_val),
        "machine": machine,
    }
    checkpointer = Checkpointer(
        run_dir.checkpoints,
        runtime,
        seconds=config.checkpoint_seconds,
        about=about,
        resume_from=run_dir.state,
    )
    done = 0 if run_dir.state is None else int(run_dir.state["at"]["step"])
    with progress.bar("training the detector", total, "batches") as advance, understood():
        advance(done)

        def after_batch(step: int, value: float) -> None:
            advance(1)
            if log is not None:
                log.batch(step, value)

        def after_epoch(row: Row, held: DetectionMetrics) -> None:
            if log is not None:
                log.epoch(int(row["epoch"] or 0), row)
            progress.say(_sentence(row))
            if on_epoch:
                on_epoch(row)

        train_state = fit(
            setup,
            batches,
            held,
            stop=Stop(epochs=config.epochs, patience=config.patience, best_by=config.best_by),
            runtime=runtime,
            checkpointer=checkpointer,
            on_batch=after_batch,
            on_epoch=after_epoch,
        )
    if not runtime.main:
        return None
    trained: Any = setup.eval_model
    return TrainedDetector(
        config=config,
        detector=trained.to("cpu").eval(),
        train=train_val.train,
        validation=train_val.validation,
        history=[dict(row) for row in train_state.history],
        best_epoch=train_state.best_epoch,
        parameters=parameters,
        left_out=left_out,
        notes=truth.notes,
    )


def _batches(
    train_val: TrainVal,
    truth: Any,
    config: DetectorConfig,
    detector: Detector,
    runtime: Runtime,
    on_unreadable: Any,
) -> tuple[BoxPictureBatches, BoxPictureBatches]:
    """Training pictures, varied and shuffled; validation pictures as they are, in their order."""
    from tagbox.training.box_batches import BoxPictureBatches

    how: Mapping[str, Any] = {
        "size": detector.spec.size,
        "multiple": detector.spec.multiple,
        "fixed": detector.spec.fixed,
        "batch_size": config.batch_size,
        "processes": runtime.processes,
        "rank": runtime.rank,
        "workers": reading_processes(config.workers, runtime),
        "on_unreadable": on_unreadable,
    }
    train = BoxPictureBatches(
        train_val.train,
        truth,
        augment=config.augment,
        seed=config.seed,
        parts=config.accumulate,
        **how,
    )
    # What stands in the validation data cannot stop a training: odd boxes are left out of its loss.
    held = BoxPictureBatches(
        train_val.validation, training_boxes(train_val.validation, "drop"), **how
    )
    return train, held


def _optimizer(detector: Detector, config: DetectorConfig) -> Any:
    named = dict(detector.named_parameters())
    backbone = {name for stage in detector.stages() for name in stage}
    own = [p for name, p in named.items() if name not in backbone and p.requires_grad]
    return optimizer_of(named, detector.trained, own, config)


def _sentence(row: Row) -> str:
    """An epoch in a line."""
    said = [f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, validation {row['val_loss']:.3f}"]
    for name, word in (("val_ap", "AP"), ("val_ap50", "AP50")):
        value = row.get(name)
        said.append(f"{word} {'none' if value is None else format(value, '.4f')}")
    return ", ".join(said)
