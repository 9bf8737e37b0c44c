"""Training a detector; `api.detect` evaluates it and writes the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tagbox.config import DetectorConfig
from tagbox.data.boxes import TrainingBoxes, training_boxes
from tagbox.data.dataset import Dataset
from tagbox.progress import Progress
from tagbox.training.network import train_network
from tagbox.training.optim import optimizer_of
from tagbox.training.resolve_config import resolve_machine
from tagbox.training.run_dir import RunDir, require_same_data
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector
    from tagbox.training.box_batches import BoxBatches
    from tagbox.training.detection_task import DetectionMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.tensorboard import TensorBoardLog


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedDetector:
    """The result of a training, in memory.

    Attributes
    ----------
    config
        The resolved configuration.
    detector
        With the weights of its best epoch, in eval mode on the CPU.
    train, validation
        The datasets.
    history, best_epoch
        The rows of `history.csv`; the epoch of the weights, from 1.
    parameters
        ``total`` and ``trainable`` numbers.
    left_out
        Why images were left out, a sentence each.
    notes
        What was changed in the training data; see `data.boxes.TrainingBoxes.notes`.
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
    """Train a detector, or resume from the checkpoint of ``run_dir.state``; None on all but the main process.

    Parameters
    ----------
    on_epoch
        Called with each history row; an exception ends the training.

    Raises
    ------
    TagboxError
        What `data.boxes.training_boxes` and `models.detectors.create.create_detector` raise;
        ``resume-data``; ``loss-not-finite``; what `training.failures.understood` knows; ``cannot-write``.
    """
    from tagbox.models.detectors.bundle import DetectorSpec
    from tagbox.models.detectors.create import build_detector, create_detector
    from tagbox.training.detection_task import DetectionTask

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

    def on_batch(step: int, loss: float) -> None:
        if log is not None:
            log.batch(step, loss)

    def after_epoch(row: Row, _: DetectionMetrics) -> None:
        if log is not None:
            log.epoch(int(row["epoch"] or 0), row)
        progress.say(_sentence(row))
        if on_epoch:
            on_epoch(row)

    def batches(how: Mapping[str, Any]) -> tuple[BoxBatches, BoxBatches]:
        return _batches(train_val, truth, config, detector, how)

    trained = train_network(
        detector,
        config,
        train_val,
        runtime,
        run_dir,
        task=DetectionTask(detector, train_val.validation),
        optimizer=_optimizer(detector, config),
        batches=batches,
        about={"spec": asdict(detector.spec)},
        left_out=left_out,
        on_batch=on_batch,
        on_epoch=after_epoch,
        progress=progress,
    )
    if not runtime.main:
        return None
    return TrainedDetector(
        config=config,
        detector=trained.model.to("cpu").eval(),
        train=train_val.train,
        validation=train_val.validation,
        history=[dict(row) for row in trained.train_state.history],
        best_epoch=trained.train_state.best_epoch,
        parameters=trained.parameters,
        left_out=left_out,
        notes=truth.notes,
    )


def _batches(
    train_val: TrainVal,
    truth: TrainingBoxes,
    config: DetectorConfig,
    detector: Detector,
    how: Mapping[str, Any],
) -> tuple[BoxBatches, BoxBatches]:
    """Augmented, shuffled training batches, and validation batches."""
    from tagbox.training.box_batches import BoxBatches

    spec = detector.spec
    canvas: Mapping[str, Any] = {"size": spec.size, "multiple": spec.multiple, "fixed": spec.fixed}
    train = BoxBatches(
        train_val.train,
        truth,
        augment=config.augment,
        seed=config.seed,
        parts=config.accumulate,
        **canvas,
        **how,
    )
    # Invalid validation boxes cannot stop a training: they are left out of its loss.
    validation_truth = training_boxes(train_val.validation, "drop")
    return train, BoxBatches(train_val.validation, validation_truth, **canvas, **how)


def _optimizer(detector: Detector, config: DetectorConfig) -> Any:
    named = dict(detector.named_parameters())
    backbone = {name for stage in detector.stages() for name in stage}
    own = [p for name, p in named.items() if name not in backbone and p.requires_grad]
    return optimizer_of(named, detector.trained, own, config)


def _sentence(row: Row) -> str:
    """One line for an epoch."""
    words = [
        f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, validation {row['val_loss']:.3f}"
    ]
    for name, word in (("val_ap", "AP"), ("val_ap50", "AP50")):
        value = row.get(name)
        words.append(f"{word} {'none' if value is None else format(value, '.4f')}")
    return ", ".join(words)
