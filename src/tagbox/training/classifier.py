"""From a dataset to a run: encode once, train a head, tune thresholds, evaluate, save, report."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import Dataset
from tagbox.data.locate import require_images
from tagbox.engines.cache import FeatureCache
from tagbox.engines.encoder import Encoder, create_encoders
from tagbox.engines.features import as_head_takes, encode_images
from tagbox.errors import TagboxError
from tagbox.evaluation.base_rates import base_rate
from tagbox.evaluation.evaluate import evaluate_labels
from tagbox.evaluation.ranking import average_precision
from tagbox.evaluation.tuning import Tuned, tune
from tagbox.progress import Progress
from tagbox.training.history import Row
from tagbox.training.memory import require_room
from tagbox.training.sides import Sides
from tagbox.training.tensorboard import TensorBoardLog


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """What training leaves in memory; `training.run.write_run` makes a folder of it.

    Attributes
    ----------
    head
        The head's state, NumPy arrays.
    probabilities
        (N, K) float32 of the validation images that could be read.
    features
        (N, D) float32 of the same images, view 0.
    tuned
        Thresholds and what cross-fitting says of them.
    metrics
        `evaluate_labels` of the validation images at the thresholds.
    history, best_epoch
        The rows of `history.csv`; which one the head is of.
    parameters
        ``total`` and ``trainable`` numbers of the model.
    unreadable
        Pictures that were left out, with the reason.
    """

    encoders: Sequence[Encoder]
    train: Dataset
    validation: Dataset
    head: dict[str, NDArray[Any]]
    probabilities: NDArray[np.float32]
    tuned: Tuned
    metrics: dict[str, Any]
    history: list[dict[str, float | int | None]]
    best_epoch: int
    parameters: dict[str, int]
    unreadable: list[TagboxError]


def train(
    sides: Sides,
    config: ClassifierConfig,
    *,
    cache: FeatureCache | None,
    log: TensorBoardLog | None = None,
    progress: Progress,
) -> Trained:
    """Encode both sides once, train the head on the features, tune and evaluate."""
    # Importing torch takes about as long as encoding some hundred pictures and needs one core.
    importing = threading.Thread(target=_import_torch, daemon=True)
    importing.start()
    encoders = create_encoders(config)
    require_room(sides, encoders, config)
    (train_features, train_data), (val_features, val_data), unreadable = _encode(
        sides, encoders, config, cache, progress
    )
    importing.join()
    _import_torch()
    return _train_head(
        encoders,
        (train_features, train_data),
        (val_features, val_data),
        config,
        log=log,
        progress=progress,
        unreadable=unreadable,
    )


def _train_head(
    encoders: Sequence[Encoder],
    train: tuple[NDArray[np.float32], Dataset],
    validation: tuple[NDArray[np.float32], Dataset],
    config: ClassifierConfig,
    *,
    log: TensorBoardLog | None,
    progress: Progress,
    unreadable: list[TagboxError],
) -> Trained:
    import torch

    from tagbox.models.heads import FeatureScale, create_head
    from tagbox.training.batches import FeatureBatches
    from tagbox.training.loop import Outputs, fit, run
    from tagbox.training.losses import create_loss
    from tagbox.training.optimizer import AdamW, OneCycle

    (train_features, train_data), (val_features, val_data) = train, validation
    torch.manual_seed(config.seed)
    rates = base_rate(train_data.labels)
    head = create_head(
        config.head,
        FeatureScale.of(train_features),
        rates,
        hidden=config.hidden,
        queries=config.queries,
        attention=config.attention,
        attention_heads=config.attention_heads,
        dropout=config.dropout,
        seed=config.seed,
    )
    batches = FeatureBatches(
        train_features,
        train_data.labels,
        batch_size=config.batch_size,
        shuffle=True,
        seed=config.seed,
    )
    held = FeatureBatches(val_features, val_data.labels, batch_size=256, shuffle=False)
    optimizer = AdamW(head.parameters(), config.weight_decay)
    scheduler = OneCycle(optimizer, config.learning_rate, config.epochs * len(batches))
    loss = create_loss(config.loss, torch.from_numpy(rates).float())
    parameters = {"trainable": sum(p.numel() for p in head.parameters())}
    parameters["total"] = parameters["trainable"] + sum(e.parameters for e in encoders)
    progress.say("parameters: {total:,} in all, {trainable:,} trained".format(**parameters))
    with progress.bar("training the head", config.epochs, "epochs") as advance:

        def on_epoch(row: Row, held: Outputs) -> None:
            advance(1)
            if log is None:
                return
            log.epoch(int(row["epoch"] or 0), row)
            if config.tensorboard_categories:
                ap = average_precision(held.truth, held.probabilities)
                names = train_data.categories.names
                log.per_category(int(row["epoch"] or 0), "average_precision", names, ap)

        fitted = fit(
            head,
            batches,
            held,
            loss=loss,
            optimizer=optimizer,
            scheduler=scheduler,
            epochs=config.epochs,
            patience=config.patience,
            best_by=config.best_by,
            on_batch=log.batch if log else None,
            on_epoch=on_epoch,
        )
    probabilities = run(head, held, loss).probabilities
    tuned = tune(
        val_data.labels,
        probabilities,
        config.objective,
        rates=rates,
        seed=config.seed,
        at_least_one=config.at_least_one,
        top_k=config.top_k,
    )
    metrics = evaluate_labels(
        val_data.labels,
        categories=val_data.categories.names,
        probabilities=probabilities,
        thresholds=tuned.thresholds,
        seed=config.seed,
    )
    return Trained(
        encoders=encoders,
        train=train_data,
        validation=val_data,
        head={name: value.numpy() for name, value in head.state_dict().items()},
        probabilities=probabilities,
        tuned=tuned,
        metrics=metrics,
        history=[dict(row) for row in fitted.history],
        best_epoch=fitted.best_epoch,
        parameters=parameters,
        unreadable=unreadable,
    )


def _encode(
    sides: Sides,
    encoders: Sequence[Encoder],
    config: ClassifierConfig,
    cache: FeatureCache | None,
    progress: Progress,
) -> tuple[
    tuple[NDArray[np.float32], Dataset], tuple[NDArray[np.float32], Dataset], list[TagboxError]
]:
    """(N, V, D) training and (N, 1, D) validation features, of the pictures that could be read.

    For a head that wants maps they are (N, V, D, h, w).
    """
    unreadable: list[TagboxError] = []
    encoded = []
    for data, mirror, name in (
        (sides.train, config.mirror, "training"),
        (sides.validation, False, "validation"),
    ):
        require_images(data)
        paths = [data.images.path(row) for row in range(len(data))]
        with progress.bar(f"encoding {name} pictures", len(paths), "images") as advance:
            encoding = encode_images(
                paths,
                encoders,
                mirror=mirror,
                cache=cache,
                skip_errors=True,
                progress=advance,
            )
        for error in encoding.errors:
            progress.say(f"left out: {error}")
        unreadable += encoding.errors
        rows = np.flatnonzero(encoding.ok)
        if not len(rows):
            raise TagboxError(
                "no-readable-images",
                f"none of the {len(paths)} {name} pictures could be read",
                file=data.source.path,
                hint="run tagbox check on the dataset",
            )
        # Maps are large: only where pictures are left out is there a copy.
        features = encoding.features if encoding.ok.all() else encoding.features[rows]
        encoded.append((as_head_takes(features, encoders, config.head), data.take(rows)))
    return encoded[0], encoded[1], unreadable


def _import_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise TagboxError(
            "extra-missing",
            "training needs torch, which is not installed",
            hint='run: pip install "tagbox[train]"',
        ) from error
