"""Training a classifier: a head on frozen features, optionally fine-tuning, then evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoders
from tagbox.backends.encoder import Encoder
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco import rows_of
from tagbox.device import choose_device
from tagbox.evaluation.class_priors import class_priors
from tagbox.models.backbones import Arrays
from tagbox.models.heads import activate, head_logits
from tagbox.progress import Progress
from tagbox.training.evaluate import ClassifierEvaluation, evaluate_classifier
from tagbox.training.failures import require_torch
from tagbox.training.frozen import (
    Encoded,
    encode_train_val,
    label_kind,
    train_head,
    train_val_in_memory,
)
from tagbox.training.resolve_config import kind_sentence, resolve
from tagbox.training.teacher import mixed_targets
from tagbox.training.tensorboard import TensorBoardLog, watch_labels
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.classification_task import ClassificationMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.loop import TrainState
    from tagbox.training.run_dir import RunDir


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """The result of a training stage: a trained model and its data.

    Attributes
    ----------
    encoders
        The backbones after the stage.
    train, validation
        The readable images.
    head
        State dict of the head at the best epoch.
    features
        (N, ...) float32 of the validation images.
    ema
        Decay of the moving average of the weights; 0 for none.
    parameters
        ``total`` and ``trainable`` numbers.
    left_out
        Why images were left out, a sentence each.
    rows, module
        Of the first stage: rows of the images in the datasets, and the head as a module.
    """

    config: ClassifierConfig
    encoders: Sequence[Encoder]
    train: Dataset
    validation: Dataset
    head: Arrays
    features: NDArray[np.float32]
    train_state: TrainState
    parameters: dict[str, int]
    left_out: list[str]
    ema: float = 0.0
    rows: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
    module: nn.Module | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The result of a training, in memory; `training.saved_run` writes the run directory.

    Attributes
    ----------
    config
        The resolved configuration.
    encoders
        The trained backbones.
    train, validation
        The readable images.
    head
        State dict of the head, as NumPy arrays.
    evaluation
        Probabilities of the validation images, thresholds and metrics.
    history, best_epoch
        The rows of `history.csv`; the epoch of the weights, from 1.
    ema
        Decay of the moving average of the weights; 0 for none.
    parameters
        ``total`` and ``trainable`` numbers of the model.
    left_out
        Why images were left out, a sentence each.
    """

    config: ClassifierConfig
    encoders: Sequence[Encoder]
    train: Dataset
    validation: Dataset
    head: Arrays
    evaluation: ClassifierEvaluation
    history: list[dict[str, float | int | None]]
    best_epoch: int
    ema: float
    parameters: dict[str, int]
    left_out: list[str]


def train(
    train_val: TrainVal,
    config: ClassifierConfig,
    *,
    cache: FeatureCache | None,
    run_dir: RunDir | None = None,
    runtime: Runtime | None = None,
    teacher: NDArray[np.float32] | None = None,
    encoded: Encoded | None = None,
    log: TensorBoardLog | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> Trained | None:
    """Encode all images, train the head, fine-tune if configured, and evaluate.

    Parameters
    ----------
    run_dir
        The run directory, for checkpoints; needed for fine-tuning.
    runtime
        The group of processes, if a launcher started several.
    teacher
        (N, K) float32 probabilities of the training images by another model.
    encoded
        Features that an earlier training of the same backbones encoded.
    on_epoch
        Called with each history row of the last stage; an exception ends the training.

    Returns
    -------
    None on processes other than the main one.
    """
    # Importing torch needs one core for about as long as encoding a hundred images: do both at once.
    importing = threading.Thread(target=require_torch, daemon=True)
    importing.start()
    requested, config = config, resolve(config, train_val)
    sentence = kind_sentence(requested, config, train_val)
    if sentence is not None:
        progress.say(sentence)
    encoders = create_encoders(config) if encoded is None else encoded.encoders
    device = choose_device(config.device, config.engine)
    first = None
    if run_dir is None or run_dir.state is None:
        if encoded is None:
            encoded = encode(train_val, encoders, config, cache, progress, runtime)
        importing.join()
        runtime = runtime or _runtime(device)
        alone = None if config.finetune.active else on_epoch
        # The encoded images may be a subset of the training data: match them by id.
        rows_seen = rows_of(encoded.train.images.ids, train_val.train.images.ids)
        taught = None if teacher is None else teacher[rows_seen]
        first = _first_stage(encoded, config, runtime, taught, log, alone, progress)
        if encoded.sampled:
            # The head was trained on a sample; the network is trained on all images.
            rows = np.arange(len(train_val.train)), np.arange(len(train_val.validation))
            first = replace(
                first, train=train_val.train, validation=train_val.validation, rows=rows
            )
    importing.join()
    runtime = runtime or _runtime(device)
    if config.finetune.active:
        from tagbox.training.finetune import finetune

        assert run_dir is not None
        trained = finetune(
            first,
            train_val,
            encoders,
            config,
            runtime,
            run_dir,
            teacher=teacher,
            log=log,
            on_epoch=on_epoch,
            progress=progress,
        )
        return _finished(trained, runtime)
    assert first is not None
    return _finished(first, runtime)


def encode(
    train_val: TrainVal,
    encoders: Sequence[Encoder],
    config: ClassifierConfig,
    cache: FeatureCache | None,
    progress: Progress,
    runtime: Runtime | None = None,
) -> Encoded:
    """`encode_train_val` for a training configuration, of as many images as fit into memory.

    Raises
    ------
    TagboxError
        The codes of `train_val_in_memory` and `encode_train_val`.
    """
    fitting = train_val_in_memory(train_val, encoders, config, progress)
    encoded = encode_train_val(
        fitting,
        encoders,
        head=config.head,
        mirror=config.mirror,
        cache=cache,
        progress=progress,
        runtime=runtime,
    )
    return replace(encoded, sampled=fitting is not train_val)


def _first_stage(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    teacher: NDArray[np.float32] | None,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None,
    progress: Progress,
) -> Stage:
    """Train the head on frozen features; every process trains the same one."""
    targets = None
    if teacher is not None:
        targets = mixed_targets(encoded.train.labels, teacher, config.teacher_weight)
    watch = watch_labels(config, encoded.train.categories.names, log if runtime.main else None)
    with progress.bar("training the head", config.epochs, "epochs") as advance:

        def after_epoch(row: Row, val_metrics: ClassificationMetrics) -> None:
            advance(1)
            watch.epoch(row, val_metrics)
            if on_epoch:
                on_epoch(row)

        head, train_state = train_head(
            encoded,
            config,
            runtime.alone(),
            targets=targets,
            on_batch=watch.batch,
            on_epoch=after_epoch,
        )
    trainable = sum(p.numel() for p in head.parameters() if p.requires_grad)
    total = trainable + sum(encoder.parameters for encoder in encoded.encoders)
    progress.say(f"parameters: {total:,} in all, {trainable:,} trained")
    return Stage(
        config=config,
        encoders=encoded.encoders,
        train=encoded.train,
        validation=encoded.validation,
        head={name: value.cpu().numpy() for name, value in head.state_dict().items()},
        features=encoded.validation_features[:, 0],
        train_state=train_state,
        parameters={"trainable": trainable, "total": total},
        left_out=[str(error) for error in encoded.unreadable],
        rows=(encoded.train_rows, encoded.validation_rows),
        module=head,
    )


def _finished(stage: Stage, runtime: Runtime) -> Trained | None:
    """Evaluate the model as prediction computes it: probabilities, thresholds, metrics."""
    if not runtime.main:
        return None
    config = stage.config
    probabilities = activate(head_logits(stage.head, stage.features), label_kind(config))
    return Trained(
        config=config,
        encoders=stage.encoders,
        train=stage.train,
        validation=stage.validation,
        head=stage.head,
        evaluation=evaluate_classifier(
            stage.validation, probabilities, class_priors(stage.train.labels), config
        ),
        history=[dict(row) for row in stage.train_state.history],
        best_epoch=stage.train_state.best_epoch,
        ema=stage.ema,
        parameters=stage.parameters,
        left_out=stage.left_out,
    )


def _runtime(device: str) -> Runtime:
    require_torch()
    from tagbox.training.distributed import Runtime

    return Runtime(device)
