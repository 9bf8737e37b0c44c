"""Training a head on a frozen backbone: encode every image once, then train on the cached features.

Before encoding it is checked that the features fit into memory; small steps run on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.features import as_head_takes, encode_images
from tagbox.config import ClassifierConfig, HeadKind, LabelKind
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.data.split import stratified_split
from tagbox.errors import TagboxError, no_readable_images
from tagbox.evaluation.class_priors import class_priors
from tagbox.models.heads import wants_map
from tagbox.progress import Progress
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.classification_task import ClassificationMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.loop import TrainState


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


def encode_train_val(
    train_val: TrainVal,
    encoders: Sequence[Encoder],
    *,
    head: HeadKind,
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
    validation, validation_rows, more = _encode(
        train_val.validation, "validation", encoders, False, cache, progress, runtime
    )
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
        encoding = encode_images(
            paths, encoders, mirror=mirror, cache=cache, skip_errors=True, progress=advance
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


SHARE = 0.5
"""Of the available memory; the rest is for the network, the batches and other programs."""
LIMITS = (
    # Limit, usage and statistics of this process's group, and the name of its reclaimable memory.
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files under /sys/fs/cgroup of cgroup v2 and v1, as a container sees them."""


def require_room(
    train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig
) -> None:
    """Refuse feature maps that would need more than half of the available memory.

    Raises
    ------
    TagboxError
        ``features-too-large``.
    """
    needed, available = _needed(train_val, encoders, config), available_memory()
    if needed > SHARE * available:
        shape = "x".join(map(str, encoders[0].map_shape))
        raise TagboxError(
            "features-too-large",
            f"the feature maps of {len(train_val.train):,} pictures ({shape}) need {_gigabytes(needed)} of memory, and "
            f"half of what is free is {_gigabytes(SHARE * available)}",
            where="head",
            hint="use a smaller --backbone NAME@SIZE, a pooled head such as --head linear, or "
            "--no-mirror, which leaves the mirror images out",
        )


def train_val_in_memory(
    train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig, progress: Progress
) -> TrainVal:
    """`train_val`, or before fine-tuning a stratified sample whose feature maps fit into memory.

    Raises
    ------
    TagboxError
        ``features-too-large`` if only the head is trained.
    """
    if not config.finetune.active:
        require_room(train_val, encoders, config)
        return train_val
    share = SHARE * available_memory() / max(_needed(train_val, encoders, config), 1)
    if share >= 1:
        return train_val
    samples = [
        data.take(stratified_split(data.labels, share, config.seed)[1])
        for data in (train_val.train, train_val.validation)
    ]
    progress.say(
        f"the head begins on {len(samples[0]):,} of {len(train_val.train):,} pictures, whose feature maps "
        "fit into memory"
    )
    return replace(train_val, train=samples[0], validation=samples[1])


def _needed(train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig) -> int:
    """Bytes of all feature maps; 0 for a head that takes pooled features."""
    if not wants_map(config.head):
        return 0
    views = len(train_val.train) * (2 if config.mirror else 1) + len(train_val.validation)
    return 4 * views * sum(encoder.dim for encoder in encoders)


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory available without swapping, within the limits of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used, statistics, inactive in LIMITS:
        try:
            most, taken = (int((groups / name).read_text()) for name in (limit, used))
            lines = (groups / statistics).read_text().splitlines()
            given_back = int(dict(line.split() for line in lines).get(inactive, "0"))
        except (OSError, ValueError):  # No such interface, or its limit is "max".
            continue
        free = min(free, max(0, most - taken + given_back))
    return free


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


SMALL_STEP = 3e7
"""Multiplications of a forward pass below which several threads are slower than one.

A linear head's step takes a millisecond on one core. On a busy machine of two cores, two threads took four to
five times as long as one.
"""


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Context in which torch uses one thread if a step is small, and all of its threads otherwise."""
    import torch

    before = torch.get_num_threads()
    if multiplications < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


WARM_UP = 0.3
"""Share of the steps in which the learning rate rises, as in torch's one-cycle."""
VAL_BATCH = 256


def train_head(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    targets: NDArray[np.float32] | None = None,
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
    """
    import torch

    from tagbox.models.heads import FeatureScale, create_head
    from tagbox.training.batches import FeatureBatches
    from tagbox.training.classification_task import ClassificationTask
    from tagbox.training.loop import Stop, TrainSetup, fit
    from tagbox.training.losses import create_losses
    from tagbox.training.optim import AdamW, Schedule, one_cycle

    torch.manual_seed(config.seed)
    labels = encoded.train.labels
    rates = class_priors(labels)
    head = create_head(
        config.head,
        FeatureScale.of(encoded.train_features),
        rates,
        hidden=config.hidden,
        queries=config.queries,
        attention=config.attention,
        attention_heads=config.attention_heads,
        dropout=config.dropout,
        seed=config.seed,
        labels=label_kind(config),
    ).to(runtime.device)
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
        task=ClassificationTask(loss, validation_loss, label_kind(config)),
        optimizer=optimizer,
        schedule=schedule,
    )
    weights = sum(parameter.numel() for parameter in head.parameters())
    positions = math.prod(encoded.train_features.shape[3:])
    with threads_for(weights * positions * config.batch_size):
        train_state = fit(
            setup,
            batches,
            val_batches,
            stop=Stop(epochs=config.epochs, patience=config.patience, best_by=config.best_by),
            runtime=runtime,
            on_batch=on_batch,
            on_epoch=on_epoch,
        )
    return head, train_state


def label_kind(config: ClassifierConfig) -> LabelKind:
    """Whether categories exclude each other, of a resolved configuration."""
    return "exclusive" if config.labels == "exclusive" else "multi"
