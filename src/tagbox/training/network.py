"""Training the backbone with the head, after the head was trained on frozen features.

The second stage: backbone and head trained together, saved and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder, create_encoder
from tagbox.backends.features import as_head_takes, encode_images
from tagbox.config import ClassifierConfig, FinetuneConfig, HeadKind
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.class_priors import class_priors
from tagbox.models.backbones import Arrays, Backbone, trained_backbone
from tagbox.progress import Progress
from tagbox.training.classifier import Stage
from tagbox.training.frozen import label_kind
from tagbox.training.optim import optimizer_of, reading_processes
from tagbox.training.resolve_config import resolve_machine
from tagbox.training.run_dir import RunDir, fingerprints, require_same_data, say_other_machine
from tagbox.training.teacher import mixed_targets
from tagbox.training.tensorboard import TensorBoardLog, watch_labels
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from torch import nn

    from tagbox.models.classifier_network import Network
    from tagbox.training.checkpoint import Checkpoints
    from tagbox.training.classification_task import ClassificationMetrics
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.loop import TrainState


def train_whole(
    first: Stage | None,
    train_val: TrainVal,
    encoders: Sequence[Encoder],
    config: ClassifierConfig,
    runtime: Runtime,
    run_dir: RunDir,
    *,
    teacher: NDArray[np.float32] | None,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> Stage:
    """Train the network from where `first` left its head, or from the checkpoint of ``run_dir.state``.

    Raises
    ------
    TagboxError
        ``finetune-backbones``; ``resume-data``; the codes of `training.network.finetune`.
    """
    from tagbox.training.distributed import Runtime

    encoder = require_one_backbone(encoders)
    start: TrainState | None = None
    rows: tuple[NDArray[np.intp], NDArray[np.intp]] | None
    if first is not None:
        train, validation, rows = first.train, first.validation, first.rows
        assert rows is not None
        assert first.module is not None
        network = build(encoder.backbone, first.module, config)
        start, left_out = first.train_state, list(first.left_out)
        config = resolve_machine(config, runtime)
        if runtime.main:
            run_dir.begin(config)
    else:
        assert run_dir.state is not None
        require_same_data(run_dir.state, train_val)
        about = run_dir.state["about"]
        rows = (about["rows"][0], about["rows"][1])
        train, validation = train_val.train.take(rows[0]), train_val.validation.take(rows[1])
        network = build(encoder.backbone, empty_head(config, train, about["features"]), config)
        left_out = list(about["left_out"])
    runtime = Runtime(runtime.device.type, config.finetune.precision)  # type: ignore[arg-type]
    machine = runtime.machine() | {"parts of a batch": config.finetune.accumulate}
    if run_dir.state is not None:
        say_other_machine(run_dir.state, machine, progress)
    about = {
        "rows": [rows[0], rows[1]],
        "features": int(network.head.state_dict()["mean"].shape[0]),
        "left_out": left_out,
        "fingerprints": fingerprints(train_val),
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

    def after_epoch(row: Row, held: ClassificationMetrics) -> None:
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
        checkpoints=run_dir.checkpoints,
        state=run_dir.state,
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
        train_state=trained.train_state,
        ema=config.finetune.ema if _from_this_stage(trained.train_state) else 0.0,
        parameters=parameters,
        left_out=left_out,
    )


def _from_this_stage(train_state: TrainState) -> bool:
    """Whether the best epoch is one of the network's, not of the frozen stage before."""
    return train_state.best_epoch > len(train_state.history) - (train_state.epoch - 1)


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Finetuned:
    """The best epoch's weights, and the whole history; the first stage's rows come first."""

    backbone: Arrays
    head: Arrays
    train_state: TrainState


def require_one_backbone(encoders: Sequence[Encoder]) -> Encoder:
    """The one backbone that is to be trained.

    Raises
    ------
    TagboxError
        ``finetune-backbones`` where there are several.
    """
    if len(encoders) > 1:
        raise TagboxError(
            "finetune-backbones",
            f"{len(encoders)} backbones side by side cannot be trained",
            where="backbone",
            hint="train them one by one and join the runs with tagbox ensemble",
        )
    return encoders[0]


def build(backbone: Backbone, head: nn.Module, config: ClassifierConfig) -> Network:
    """The network with the configured part of it trainable."""
    from tagbox.models.classifier_network import Network

    return Network(
        backbone,
        head,
        head_kind=config.head,
        pooling=config.pooling,
        unfreeze=config.finetune.unfreeze,
        train_norms=config.finetune.batch_norm == "train",
    )


def empty_head(config: ClassifierConfig, train: Dataset, features: int) -> nn.Module:
    """A head of the configured kind for D = `features`, whose weights come from a checkpoint."""
    from tagbox.models.heads import FeatureScale, create_head

    return create_head(
        config.head,
        FeatureScale(mean=np.zeros(features, np.float32), scale=np.ones(features, np.float32)),
        class_priors(train.labels),
        hidden=config.hidden,
        queries=config.queries,
        attention=config.attention,
        attention_heads=config.attention_heads,
        dropout=config.dropout,
        seed=config.seed,
        labels=label_kind(config),
    )


def finetune(
    network: Network,
    train: Dataset,
    validation: Dataset,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    start: TrainState | None,
    checkpoints: Checkpoints,
    state: Mapping[str, Any] | None = None,
    about: Mapping[str, Any],
    targets: NDArray[np.float32] | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, ClassificationMetrics], None] | None = None,
    on_unreadable: Callable[[TagboxError], object] = lambda _: None,
    progress: Progress,
) -> Finetuned:
    """Train the network on pictures.

    Parameters
    ----------
    network
        Made by `build`, its head trained on frozen features.
    train, validation
        The images that can be read.
    config
        Resolved, precision and memory layout too.
    start
        The first stage; with `state`, the checkpoint holds it.
    checkpoints, about
        Where to save, and what beside the loop's state; see `training.checkpoint`.
    state
        The checkpoint to go on from.

    Raises
    ------
    TagboxError
        ``loss-not-finite``; what `training.failures.understood` knows; ``cannot-write``.
    """
    import torch

    from tagbox.training.checkpoint import Checkpointer
    from tagbox.training.classification_task import ClassificationTask
    from tagbox.training.failures import understood
    from tagbox.training.image_batches import PictureBatches
    from tagbox.training.loop import Stop, TrainSetup, fit
    from tagbox.training.losses import create_losses
    from tagbox.training.optim import Ema, Schedule, create_course

    how = config.finetune
    # Each process draws its own dropout; what is drawn for pictures follows from other seeds.
    torch.manual_seed(config.seed + runtime.rank)
    if how.channels_last == "yes":
        network.use_channels_last()
    if how.compile:
        network.compile()
    network.to(runtime.device)
    own_pictures = partial(
        PictureBatches,
        size=network.spec.size,
        geometry=config.geometry,
        batch_size=how.batch_size,
        processes=runtime.processes,
        rank=runtime.rank,
        workers=reading_processes(how.workers, runtime),
        on_unreadable=on_unreadable,
    )
    batches = own_pictures(
        train, parts=how.accumulate, augment=config.augment, seed=config.seed, targets=targets
    )
    held = own_pictures(validation)
    rates = torch.from_numpy(class_priors(train.labels)).float()
    loss, validation_loss = create_losses(config, config.loss, rates)
    optimizer = create_optimizer(network, how)
    ema = Ema(network, how.ema) if how.ema else None
    total = how.epochs * len(batches)
    setup = TrainSetup(
        model=runtime.distribute(network),
        task=ClassificationTask(loss, validation_loss, label_kind(config)),
        optimizer=optimizer,
        schedule=Schedule(optimizer, create_course(how.schedule, total, how.warmup)),
        clip=how.clip,
        ema=ema,
    )
    checkpointer = Checkpointer(
        checkpoints, runtime, seconds=how.checkpoint_seconds, about=about, resume_from=state
    )
    done = 0 if state is None else int(state["at"]["step"])
    with progress.bar("training the network", total, "batches") as advance, understood():
        advance(done)

        def after_batch(step: int, value: float) -> None:
            advance(1)
            if on_batch:
                on_batch(step, value)

        train_state = fit(
            setup,
            batches,
            held,
            stop=Stop(epochs=how.epochs, patience=how.patience, best_by=config.best_by),
            runtime=runtime,
            checkpointer=checkpointer,
            start=start,
            on_batch=after_batch,
            on_epoch=on_epoch,
        )
    trained: Any = setup.eval_model
    return Finetuned(
        backbone=_arrays(trained.backbone), head=_arrays(trained.head), train_state=train_state
    )


def create_optimizer(network: Network, config: FinetuneConfig) -> Any:
    """torch's optimizer for a classifier; see `training.optim.optimizer_of`."""
    return optimizer_of(
        dict(network.backbone.named_parameters()),
        network.trained,
        [p for p in network.head.parameters() if p.requires_grad],
        config,
    )


def _arrays(module: nn.Module) -> Arrays:
    """Weights and statistics under the architecture's own names."""
    inner: Any = getattr(module, "network", module)
    return {name: value.detach().cpu().numpy() for name, value in inner.state_dict().items()}
