"""Training a detector, then evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tagbox.config import DetectorConfig
from tagbox.data.record_pixels import RecordPixels
from tagbox.data.training_boxes import TrainingBoxes, training_boxes
from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.evaluate_detections import evaluate_boxes, tune_score_thresholds
from tagbox.inference.detector import DetectorModel, in_records
from tagbox.models.bundle import DetectorBundle, DetectorSpec
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.progress import Progress
from tagbox.training.network import train_network
from tagbox.training.optim import optimizer_of
from tagbox.training.resolve_config import resolve_detector, steps
from tagbox.training.run_dir import RunDir, require_same_data
from tagbox.training.saved_run import Trained, versions
from tagbox.training.tensorboard import TensorBoardLog, Watch
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector
    from tagbox.training.box_batches import BoxBatches
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedDetector(Trained):
    """A trained detector."""

    config: DetectorConfig
    bundle: DetectorBundle
    predictions: Detections
    pixels: RecordPixels
    """Of the validation images."""


def train(
    train_val: TrainVal,
    config: DetectorConfig,
    *,
    run_dir: RunDir,
    runtime: Runtime,
    log: TensorBoardLog | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> TrainedDetector | None:
    """Train a detector, or resume from the checkpoint of ``run_dir.state``, and evaluate it.

    Parameters
    ----------
    on_epoch
        Called with each history row; an exception ends the training.

    Returns
    -------
    None on processes other than the main one.

    Raises
    ------
    TagboxError
        The codes of `data.training_boxes.training_boxes`, `models.detectors.create.create_detector`,
        `training.network.train_network` and `evaluation.evaluate_detections.evaluate_boxes`; ``resume-data``.
    """
    from tagbox.models.detectors.create import build_detector, create_detector
    from tagbox.training.detection_task import DetectionTask

    config = resolve_detector(config, progress)
    how = steps(config)
    truth = training_boxes(train_val.train, config.boxes)
    # Invalid validation boxes cannot stop a training: they are left out of its loss.
    validation_truth = training_boxes(train_val.validation, "drop")
    for sentence in truth.notes:
        progress.say(sentence)
    for sentence in validation_truth.pixels.notes:
        progress.say(f"validation: {sentence}")
    left_out: list[str] = []
    if run_dir.state is None:
        detector = create_detector(config, train_val.train.categories.names)
    else:
        require_same_data(run_dir.state, train_val)
        # Weights come from the checkpoint: neither a hub nor a file of weights is needed again.
        detector = build_detector(DetectorSpec(**run_dir.state["about"]["spec"]))
        left_out += run_dir.state["about"]["left_out"]
    detector.freeze(config.trainable_layers, train_norms=how.batch_norm == "train")

    def batches(how: Mapping[str, Any]) -> tuple[BoxBatches, BoxBatches]:
        return _batches(train_val, (truth, validation_truth), config, detector, how)

    trained = train_network(
        detector,
        config,
        train_val,
        runtime,
        run_dir,
        task=DetectionTask(detector, validation_truth.pixels),
        optimizer=_optimizer(detector, config),
        batches=batches,
        about={"spec": asdict(detector.spec)},
        left_out=left_out,
        watch=Watch(log),
        epoch_summary=_epoch_summary,
        on_epoch=on_epoch,
        progress=progress,
    )
    if not runtime.main:
        return None
    detector = trained.model.to("cpu").eval()
    bundle = DetectorBundle(
        spec=detector.spec,
        weights={k: v.detach().numpy() for k, v in detector.state_dict().items()},
        categories=train_val.train.categories,
        cuts=ScoreThresholds(),
        ema=how.ema,
        versions=versions(),
        data_fingerprint=train_val.train.fingerprint,
    )
    bundle, detections, metrics = evaluate_detector(
        bundle, detector, validation_truth.pixels, config, progress
    )
    return TrainedDetector(
        config=trained.config,
        bundle=bundle,
        train=train_val.train,
        validation=train_val.validation,
        predictions=detections,
        pixels=validation_truth.pixels,
        metrics=metrics,
        history=[dict(row) for row in trained.train_state.history],
        best_epoch=trained.train_state.best_epoch,
        parameters=trained.parameters,
        left_out=left_out,
        notes=truth.notes,
    )


def evaluate_detector(
    bundle: DetectorBundle,
    detector: Detector,
    pixels: RecordPixels,
    config: DetectorConfig,
    progress: Progress,
) -> tuple[DetectorBundle, Detections, dict[str, Any]]:
    """Detect in the validation images as prediction does, tune score thresholds and evaluate at them.

    Parameters
    ----------
    bundle, detector
        The trained detector, its score thresholds still to be tuned.
    pixels
        Of the validation images, in whose records' pixels detections are evaluated.

    Returns
    -------
    tuple of DetectorBundle, Detections and dict
        The bundle with its score thresholds, the detections, and the result of `evaluate_boxes`.

    Raises
    ------
    TagboxError
        The codes of `evaluate_boxes`.
    """
    model = DetectorModel(bundle, engine=config.engine, device=config.device, detector=detector)
    validation = pixels.dataset
    paths = [validation.images.path(row) for row in range(len(validation))]
    with progress.bar("detecting", len(paths), "pictures") as advance:
        # An image that was damaged since training is left out of the epochs' metrics, but not of these.
        outputs = model.detect(paths, skip_errors=True, progress=advance)
    detections = in_records(outputs.detections, pixels)
    cuts = tune_score_thresholds(match_boxes(ground_truth(validation), detections))
    metrics = evaluate_boxes(validation, detections, cuts=cuts, seed=config.seed)
    if cuts is None:
        progress.say(f"warning: {metrics['reasons'][-1]}")
    return replace(bundle, cuts=cuts or ScoreThresholds()), detections, metrics


def _batches(
    train_val: TrainVal,
    truth: tuple[TrainingBoxes, TrainingBoxes],
    config: DetectorConfig,
    detector: Detector,
    how: Mapping[str, Any],
) -> tuple[BoxBatches, BoxBatches]:
    """Augmented, shuffled training batches, and validation batches."""
    from tagbox.training.box_batches import BoxBatches

    spec = detector.spec
    letterbox: Mapping[str, Any] = {
        "size": spec.size,
        "multiple": spec.multiple,
        "fixed": spec.fixed,
    }
    train = BoxBatches(
        train_val.train,
        truth[0],
        augment=config.augment,
        seed=config.seed,
        parts=config.accumulate,
        **letterbox,
        **how,
    )
    return train, BoxBatches(train_val.validation, truth[1], **letterbox, **how)


def _optimizer(detector: Detector, config: DetectorConfig) -> Any:
    named = dict(detector.named_parameters())
    backbone = {name for stage in detector.stages() for name in stage}
    own = [p for name, p in named.items() if name not in backbone and p.requires_grad]
    return optimizer_of(named, detector.trained, own, steps(config))


def _epoch_summary(row: Row) -> str:
    """One line for an epoch."""
    words = [
        f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, validation {row['val_loss']:.3f}"
    ]
    for name, word in (("val_ap", "AP"), ("val_ap50", "AP50")):
        value = row.get(name)
        words.append(f"{word} {'none' if value is None else format(value, '.4f')}")
    return ", ".join(words)
