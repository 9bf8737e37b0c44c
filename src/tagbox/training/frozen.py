"""The first stage of a classifier: every image is encoded once, and a head is trained on the features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder
from tagbox.backends.features import as_head_takes, encode_images
from tagbox.config import ClassifierConfig, HeadSetting
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.device import threads_for
from tagbox.errors import TagboxError, no_readable_images
from tagbox.metrics.multilabel import class_priors
from tagbox.models.backbones import Arrays
from tagbox.models.heads import wants_map
from tagbox.progress import Progress, foretelling
from tagbox.training.history import epoch_summary
from tagbox.training.resolve_config import head_kind, label_kind
from tagbox.training.tensorboard import TensorBoardLog, watch_labels
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from torch import nn

    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.models.heads import FeatureScale
    from tagbox.training.classification_task import ClassificationMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.task import TrainState


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """Features of the readable training and validation images, and their datasets.

    Attributes
    ----------
    train_features, validation_features
        (N, V, D) float32, or (N, V, D, h, w) where the encoder gives maps; V is 1 for validation.
    train, validation
        The images of those features.
    train_rows, validation_rows
        Their rows in the datasets that were encoded.
    unreadable
        Why images were left out.
    sampled
        Whether only a sample was encoded, because not everything fitted into memory.
    fold_of
        (N,) the fold of each image, where the head is trained in folds; both sides are then the same images.
    """

    encoders: Sequence[Encoder]
    train_features: NDArray[np.float32]
    train: Dataset
    train_rows: NDArray[np.intp]
    validation_features: NDArray[np.float32]
    validation: Dataset
    validation_rows: NDArray[np.intp]
    unreadable: list[TagboxError]
    sampled: bool = False
    fold_of: NDArray[np.intp] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """A classifier after a stage of its training, and the images of that stage.

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
    out_of_fold
        (N, K) float32 probabilities of the images by heads that were not trained on them, where there are folds.
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
    out_of_fold: NDArray[np.float32] | None = None


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
    fitting = train_val
    if wants_map(config.head):
        from tagbox.training.memory import train_val_in_memory

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


def encode_train_val(
    train_val: TrainVal,
    encoders: Sequence[Encoder],
    *,
    head: HeadSetting,
    mirror: bool,
    cache: FeatureCache | None,
    progress: Progress,
    runtime: Runtime | None = None,
) -> Encoded:
    """Encode every training and validation image once; with `mirror`, mirrored training images too.

    Features have the shape that `head` takes. With a `runtime` of several processes each encodes its
    share, and all get everything.

    Raises
    ------
    TagboxError
        ``no-readable-images``; ``images-not-found``.
    """
    train, train_rows, unreadable = _encode(
        train_val.train, "training", encoders, mirror, cache, progress, runtime
    )
    fold_of = train_val.fold_of
    if fold_of is None:
        validation, validation_rows, more = _encode(
            train_val.validation, "validation", encoders, False, cache, progress, runtime
        )
    else:
        validation, validation_rows, more = train[:, :1], train_rows, []
        fold_of = fold_of[train_rows]
    for error in (*unreadable, *more):
        progress.say(f"left out: {error}")
    return Encoded(
        encoders=encoders,
        train_features=as_head_takes(train, encoders, head),
        train=train_val.train.take(train_rows),
        train_rows=train_rows,
        validation_features=as_head_takes(validation, encoders, head),
        validation=train_val.validation.take(validation_rows),
        validation_rows=validation_rows,
        unreadable=[*unreadable, *more],
        fold_of=fold_of,
    )


def _encode(
    data: Dataset,
    name: str,
    encoders: Sequence[Encoder],
    mirror: bool,
    cache: FeatureCache | None,
    progress: Progress,
    runtime: Runtime | None,
) -> tuple[NDArray[np.float32], NDArray[np.intp], list[TagboxError]]:
    """Features of the readable images, their rows, and the errors of the others."""
    require_images(data)
    rows = np.arange(len(data))
    if runtime is not None:
        rows = rows[runtime.rank :: runtime.processes]
    paths = [data.images.path(row) for row in rows.tolist()]
    with progress.bar(f"encoding {name} pictures", len(paths), "images") as advance:
        told = foretelling(
            advance, len(paths), "images", f"encoding {name} pictures takes", progress.say
        )
        encoding = encode_images(
            paths, encoders, mirror=mirror, cache=cache, skip_errors=True, progress=told
        )
    features, kept, errors = encoding.features, rows[encoding.ok], encoding.errors
    features = features[encoding.ok] if not encoding.ok.all() else features
    if runtime is not None and runtime.processes > 1:
        shares = runtime.gather((features, kept, errors))
        features = np.concatenate([share[0] for share in shares])
        kept = np.concatenate([share[1] for share in shares])
        errors = [error for share in shares for error in share[2]]
        order = np.argsort(kept)
        features, kept = features[order], kept[order]
    if not len(kept):
        raise no_readable_images(f"{len(data)} {name} pictures could be read", data.source.path)
    return features, kept, errors


WARM_UP = 0.3
"""Share of the steps in which the learning rate rises, as in torch's one-cycle."""
VAL_BATCH = 256


def configured_head(
    config: ClassifierConfig, scale: FeatureScale, rates: NDArray[np.float64]
) -> nn.Module:
    """A new head of the configured kind; `rates` are the (K,) class priors."""
    from tagbox.models.heads import create_head

    return create_head(
        head_kind(config),
        scale,
        rates,
        hidden=config.hidden,
        queries=config.queries,
        attention=config.attention,
        attention_heads=config.attention_heads,
        dropout=config.dropout,
        seed=config.seed,
        labels=label_kind(config),
    )


def train_head(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    targets: NDArray[np.float32] | None = None,
    only: int | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, ClassificationMetrics], None] | None = None,
) -> tuple[nn.Module, TrainState]:
    """Train a head of the configured kind; returns it with the weights of its best epoch.

    Parameters
    ----------
    config
        Resolved: no ``auto`` for labels and loss.
    runtime
        Of one process: with several, each trains the same head.
    targets
        (N, K) float32 targets of the loss instead of the labels; see `training.teacher`.
    only
        Train this many of the epochs, and keep the last one's weights.
    """
    import torch

    from tagbox.models.heads import FeatureScale
    from tagbox.training.classification_task import ClassificationTask, FeatureBatches
    from tagbox.training.loop import Stop, fit
    from tagbox.training.losses import create_losses
    from tagbox.training.optim import AdamW, Schedule, one_cycle
    from tagbox.training.task import TrainSetup

    torch.manual_seed(config.seed)
    labels = encoded.train.labels
    rates = class_priors(labels)
    scale = FeatureScale.of(encoded.train_features)
    head = configured_head(config, scale, rates).to(runtime.device)
    batches = FeatureBatches(
        encoded.train_features,
        labels,
        batch_size=config.batch_size,
        shuffle=True,
        seed=config.seed,
        targets=targets,
    )
    val_batches = FeatureBatches(
        encoded.validation_features,
        encoded.validation.labels,
        batch_size=VAL_BATCH,
        shuffle=False,
    )
    loss, validation_loss = create_losses(config, config.loss, torch.from_numpy(rates).float())
    optimizer = AdamW(head.parameters(), config.learning_rate, config.weight_decay)
    schedule = Schedule(optimizer, one_cycle(config.epochs * len(batches), WARM_UP))
    setup = TrainSetup(
        model=head,
        task=ClassificationTask(loss, validation_loss, label_kind(config), config.objective),
        optimizer=optimizer,
        schedule=schedule,
    )
    stop = Stop(epochs=config.epochs, patience=config.patience, best_by=config.best_by)
    if only is not None:
        stop = Stop(epochs=only, patience=only, best_by=None)
    weights = sum(parameter.numel() for parameter in head.parameters())
    positions = math.prod(encoded.train_features.shape[3:])
    with threads_for(weights * positions * config.batch_size):
        train_state = fit(
            setup,
            batches,
            val_batches,
            stop=stop,
            runtime=runtime,
            on_batch=on_batch,
            on_epoch=on_epoch,
        )
    return head, train_state


def train_frozen(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    teacher: NDArray[np.float32] | None,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None,
    progress: Progress,
    in_folds: Callable[..., tuple[nn.Module, TrainState, NDArray[np.float32] | None]] | None = None,
) -> Stage:
    """Train the head on the features; every process trains the same one.

    Parameters
    ----------
    teacher
        (N, K) float32 probabilities of the encoded training images by another model.
    on_epoch
        Called with each history row; an exception ends the training.
    in_folds
        `training.folds.train_in_folds`, where the images are in folds; `training.ridge_head.fit_ridge_head` for ridge.
    """
    targets = None
    if teacher is not None:
        from tagbox.training.teacher import mixed_targets

        targets = mixed_targets(encoded.train.labels, teacher, config.teacher_weight)
    watch = watch_labels(config, encoded.train.categories.names, log if runtime.main else None)
    out_of_fold = None
    heads = 1 if encoded.fold_of is None else len(np.unique(encoded.fold_of)) + 1
    bar = ("training the head", heads * config.epochs, "epochs")
    if config.head == "ridge":
        bar = ("computing the head", 1, "heads")
    with progress.bar(*bar) as advance:

        def after_epoch(row: Row, val_metrics: ClassificationMetrics) -> None:
            if in_folds is None:
                advance(1)
            watch.epoch(row, val_metrics)
            progress.say(epoch_summary(row, config.best_by))
            if on_epoch:
                on_epoch(row)

        how: dict[str, Any] = {
            "targets": targets,
            "on_batch": watch.batch,
            "on_epoch": after_epoch,
        }
        if in_folds is not None:
            head, train_state, out_of_fold = in_folds(
                encoded, config, runtime.alone(), advance=advance, **how
            )
        else:
            head, train_state = train_head(encoded, config, runtime.alone(), **how)
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
        out_of_fold=out_of_fold,
    )
