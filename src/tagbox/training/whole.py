"""The second stage: backbone and head trained together, saved and resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, HeadKind
from tagbox.data.dataset import Dataset
from tagbox.engines.encoder import Encoder, create_encoder
from tagbox.engines.features import as_head_takes, encode_images
from tagbox.errors import TagboxError
from tagbox.models.backbones import trained_backbone
from tagbox.progress import Progress
from tagbox.training.finetune import (
    build,
    empty_head,
    finetune,
    require_one_backbone,
    resolve_machine,
)
from tagbox.training.sides import Sides
from tagbox.training.stage import Stage
from tagbox.training.teacher import mixed_targets
from tagbox.training.tensorboard import TensorBoardLog
from tagbox.training.watch import watch_labels
from tagbox.training.work import Work, fingerprints, require_same_data, say_other_machine

if TYPE_CHECKING:
    from tagbox.training.history import Row
    from tagbox.training.loop import Fitted
    from tagbox.training.outputs import Outputs
    from tagbox.training.runtime import Runtime


def train_whole(
    first: Stage | None,
    sides: Sides,
    encoders: Sequence[Encoder],
    config: ClassifierConfig,
    runtime: Runtime,
    work: Work,
    *,
    teacher: NDArray[np.float32] | None,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> Stage:
    """Train the network from where `first` left its head, or from the checkpoint of ``work.state``.

    Raises
    ------
    TagboxError
        ``finetune-backbones``; ``resume-data``; the codes of `training.finetune.finetune`.
    """
    from tagbox.training.runtime import Runtime

    encoder = require_one_backbone(encoders)
    start: Fitted | None = None
    rows: tuple[NDArray[np.intp], NDArray[np.intp]] | None
    if first is not None:
        train, validation, rows = first.train, first.validation, first.rows
        assert rows is not None
        assert first.module is not None
        network = build(encoder.backbone, first.module, config)
        start, left_out = first.fitted, list(first.left_out)
        config = resolve_machine(config, network, runtime, progress)
        if runtime.main:
            work.begin(config)
    else:
        assert work.state is not None
        require_same_data(work.state, sides)
        about = work.state["about"]
        rows = (about["rows"][0], about["rows"][1])
        train, validation = sides.train.take(rows[0]), sides.validation.take(rows[1])
        network = build(encoder.backbone, empty_head(config, train, about["features"]), config)
        left_out = list(about["left_out"])
    runtime = Runtime(runtime.device.type, config.finetune.precision)  # type: ignore[arg-type]
    machine = runtime.machine() | {"parts of a batch": config.finetune.accumulate}
    if work.state is not None:
        say_other_machine(work.state, machine, progress)
    about = {
        "rows": [rows[0], rows[1]],
        "features": int(network.head.state_dict()["mean"].shape[0]),
        "left_out": left_out,
        "fingerprints": fingerprints(sides),
        "machine": machine,
    }
    parameters = {
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "total": sum(p.numel() for p in network.parameters()),
    }
    progress.say("parameters: {total:,} in all, {trainable:,} trained".format(**parameters))
    targets = None
    if teacher is not None:
        targets = mixed_targets(train.labels, teacher[rows[0]], config.teacher_weight)
    watch = watch_labels(config, train.categories.names, log if runtime.main else None)

    def after_epoch(row: Row, held: Outputs) -> None:
        watch.epoch(row, held)
        progress.say(_sentence(row, config))
        if on_epoch:
            on_epoch(row)

    def on_unreadable(error: TagboxError) -> None:
        left_out.append(str(error))
        progress.say(f"left out: {error}")

    trained = finetune(
        network,
        train,
        validation,
        config,
        runtime,
        start=start,
        checkpoints=work.checkpoints,
        state=work.state,
        about=about,
        targets=targets,
        on_batch=watch.batch,
        on_epoch=after_epoch,
        on_unreadable=on_unreadable,
        progress=progress,
    )
    final = create_encoder(
        trained_backbone(encoder.backbone, trained.backbone),
        geometry=encoder.geometry,
        pooling=encoder.pooling,
        engine=config.engine,
        device=config.device,
        precision=config.precision,
    )
    features = np.zeros((0, final.dim), np.float32)
    if runtime.main:
        # Judged by the very road that prediction takes. A picture damaged meanwhile is left out there too.
        validation, features = _encoded(validation, final, config.head, progress)
    return Stage(
        config=config,
        encoders=[final],
        train=train,
        validation=validation,
        head=trained.head,
        features=features,
        fitted=trained.fitted,
        ema=config.finetune.ema if _from_this_stage(trained.fitted) else 0.0,
        parameters=parameters,
        left_out=left_out,
    )


def _from_this_stage(fitted: Fitted) -> bool:
    """Whether the best epoch is one of the network's, not of the frozen stage before."""
    return fitted.best_epoch > len(fitted.history) - (fitted.epoch - 1)


def _encoded(
    validation: Dataset, encoder: Encoder, head: HeadKind, progress: Progress
) -> tuple[Dataset, NDArray[np.float32]]:
    """The validation images that can still be read, and their features."""
    paths = [validation.images.path(row) for row in range(len(validation))]
    with progress.bar("encoding validation pictures", len(paths), "images") as advance:
        encoding = encode_images(paths, [encoder], skip_errors=True, progress=advance)
    rows = np.flatnonzero(encoding.ok)
    features = as_head_takes(encoding.features[rows, 0], [encoder], head)
    return validation.take(rows), features


def _sentence(row: Row, config: ClassifierConfig) -> str:
    """An epoch in a line."""
    name = config.best_by if config.best_by == "val_loss" else f"val_{config.best_by}"
    figures = {
        "train_loss": row.get("train_loss"),
        "val_loss": row.get("val_loss"),
        name: row.get(name),
        "val_accuracy": row.get("val_accuracy"),
    }
    listed = ", ".join(f"{key} {value:.4f}" for key, value in figures.items() if value is not None)
    return f"epoch {row['epoch']}: {listed}"
