"""Training the backbone with the head, after the head was trained on frozen features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, FinetuneConfig
from tagbox.data.dataset import Dataset
from tagbox.engines.encoder import Encoder
from tagbox.errors import TagboxError
from tagbox.evaluation.base_rates import base_rate
from tagbox.models.backbones import Arrays, Backbone
from tagbox.progress import Progress
from tagbox.training.head import label_kind
from tagbox.training.rates import optimizer_of, reading_processes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.models.network import Network
    from tagbox.training.checkpoint import Checkpoints
    from tagbox.training.history import Row
    from tagbox.training.loop import Fitted
    from tagbox.training.outputs import Outputs
    from tagbox.training.runtime import Runtime


@dataclass(frozen=True, eq=False, kw_only=True)
class Finetuned:
    """The best epoch's weights, and the whole history; the first stage's rows come first."""

    backbone: Arrays
    head: Arrays
    fitted: Fitted


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
    from tagbox.models.network import Network

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
        base_rate(train.labels),
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
    start: Fitted | None,
    checkpoints: Checkpoints,
    state: Mapping[str, Any] | None = None,
    about: Mapping[str, Any],
    targets: NDArray[np.float32] | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Outputs], None] | None = None,
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
        Where to save, and what beside the loop's state; see `training.keeper`.
    state
        The checkpoint to go on from.

    Raises
    ------
    TagboxError
        ``loss-not-finite``; what `training.failures.understood` knows; ``cannot-write``.
    """
    import torch

    from tagbox.training.ema import Ema
    from tagbox.training.failures import understood
    from tagbox.training.keeper import Keeper
    from tagbox.training.labelling import Labelling
    from tagbox.training.loop import Stop, Task, fit
    from tagbox.training.losses import create_losses
    from tagbox.training.pictures import PictureBatches
    from tagbox.training.schedule import Schedule, create_course

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
    rates = torch.from_numpy(base_rate(train.labels)).float()
    loss, validation_loss = create_losses(config, config.loss, rates)
    optimizer = create_optimizer(network, how)
    ema = Ema(network, how.ema) if how.ema else None
    total = how.epochs * len(batches)
    task = Task(
        model=runtime.distribute(network),
        criterion=Labelling(loss, validation_loss, label_kind(config)),
        optimizer=optimizer,
        schedule=Schedule(optimizer, create_course(how.schedule, total, how.warmup)),
        clip=how.clip,
        ema=ema,
    )
    keeper = Keeper(checkpoints, runtime, seconds=how.checkpoint_seconds, about=about, state=state)
    done = 0 if state is None else int(state["at"]["step"])
    with progress.bar("training the network", total, "batches") as advance, understood():
        advance(done)

        def after_batch(step: int, value: float) -> None:
            advance(1)
            if on_batch:
                on_batch(step, value)

        fitted = fit(
            task,
            batches,
            held,
            stop=Stop(epochs=how.epochs, patience=how.patience, best_by=config.best_by),
            runtime=runtime,
            keeper=keeper,
            start=start,
            on_batch=after_batch,
            on_epoch=on_epoch,
        )
    trained: Any = task.evaluated
    return Finetuned(backbone=_arrays(trained.backbone), head=_arrays(trained.head), fitted=fitted)


def on_noise(images: int, size: int) -> Callable[[Network], Tensor]:
    """What a step of a network computes, on noise of that size."""
    import torch

    noise = torch.randint(
        0, 256, (images, size, size, 3), generator=torch.Generator().manual_seed(0)
    ).to(torch.uint8)

    def forward(network: Network) -> Tensor:
        logits: Tensor = network(noise.to(next(network.parameters()).device))
        return logits.float().square().mean()

    return forward


def create_optimizer(network: Network, config: FinetuneConfig) -> Any:
    """torch's optimizer for a classifier; see `training.rates.optimizer_of`."""
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


def resolve_machine(
    config: ClassifierConfig, network: Network, runtime: Runtime, progress: Progress
) -> ClassifierConfig:
    """`config` with ``auto`` decided by a short measurement of the main process, the same on all."""
    from tagbox.training.speed import resolve_speed

    how, decided = config.finetune, None
    if runtime.main:
        images = max(1, how.batch_size // (how.accumulate * runtime.processes))
        decided = resolve_speed(
            how,
            network,
            on_noise(images, network.spec.size),
            device=runtime.device.type,
            say=progress.say,
        )
    return replace(config, finetune=runtime.from_main(decided))
