"""Training a head on features that were encoded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, LabelKind
from tagbox.evaluation.base_rates import base_rate
from tagbox.training.encoded import Encoded

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.history import Row
    from tagbox.training.loop import Fitted
    from tagbox.training.outputs import Outputs
    from tagbox.training.runtime import Runtime

WARM_UP = 0.3
"""Share of the steps in which the rate rises, as in torch's one-cycle."""
HELD_BATCH = 256


def train_head(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    targets: NDArray[np.float32] | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Outputs], None] | None = None,
) -> tuple[nn.Module, Fitted]:
    """Train a head of the configured kind; it holds the weights of its best epoch.

    Parameters
    ----------
    config
        Resolved: no ``auto`` for labels and loss.
    runtime
        Of one process: where there are several, each trains the same head.
    targets
        (N, K) float32 to learn instead of the labels; see `training.teacher`.
    """
    import torch

    from tagbox.models.heads import FeatureScale, create_head
    from tagbox.training.batches import FeatureBatches
    from tagbox.training.labelling import Labelling
    from tagbox.training.loop import Stop, Task, fit
    from tagbox.training.losses import create_losses
    from tagbox.training.optimizer import AdamW
    from tagbox.training.schedule import Schedule, one_cycle
    from tagbox.training.threads import threads_for

    torch.manual_seed(config.seed)
    labels = encoded.train.labels
    rates = base_rate(labels)
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
    held = FeatureBatches(
        encoded.validation_features,
        encoded.validation.labels,
        batch_size=HELD_BATCH,
        shuffle=False,
    )
    loss, validation_loss = create_losses(config, config.loss, torch.from_numpy(rates).float())
    optimizer = AdamW(head.parameters(), config.learning_rate, config.weight_decay)
    schedule = Schedule(optimizer, one_cycle(config.epochs * len(batches), WARM_UP))
    task = Task(
        model=head,
        criterion=Labelling(loss, validation_loss, label_kind(config)),
        optimizer=optimizer,
        schedule=schedule,
    )
    weights = sum(parameter.numel() for parameter in head.parameters())
    positions = math.prod(encoded.train_features.shape[3:])
    with threads_for(weights * positions * config.batch_size):
        fitted = fit(
            task,
            batches,
            held,
            stop=Stop(epochs=config.epochs, patience=config.patience, best_by=config.best_by),
            runtime=runtime,
            on_batch=on_batch,
            on_epoch=on_epoch,
        )
    return head, fitted


def label_kind(config: ClassifierConfig) -> LabelKind:
    """Whether categories exclude each other, of a resolved configuration."""
    return "exclusive" if config.labels == "exclusive" else "multi"
