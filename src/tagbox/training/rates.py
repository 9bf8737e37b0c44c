"""Which weights are trained at which rate, and what a step on pictures needs besides."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tagbox.config import DetectorConfig, FinetuneConfig

if TYPE_CHECKING:
    from tagbox.training.runtime import Runtime

MOST_WORKERS = 8
MOMENTUM = 0.9


def optimizer_of(
    backbone: Mapping[str, Any],
    trained: Sequence[Sequence[str]],
    own: Sequence[Any],
    config: FinetuneConfig | DetectorConfig,
) -> Any:
    """torch's optimizer; rates fall from the head to the picture, biases and norms do not decay.

    A stage at distance d from the head, the last stage being at 0, learns at
    ``learning_rate * backbone_rate * layer_decay ** d``.

    Parameters
    ----------
    backbone
        Parameters by name.
    trained
        Names of the trained stages' parameters, from the picture on.
    own
        Parameters that are not the backbone's.
    """
    import torch

    groups = _groups(own, config.learning_rate, config.weight_decay)
    for distance, names in enumerate(reversed(trained)):
        rate = config.learning_rate * config.backbone_rate * config.layer_decay**distance
        groups += _groups([backbone[name] for name in names], rate, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups)


def _groups(parameters: Sequence[Any], rate: float, decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "lr": rate, "weight_decay": decay},
        {"params": vectors, "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def reading_processes(asked: int | None, runtime: Runtime) -> int:
    """Processes that read pictures: on a CPU the training itself needs every core."""
    if asked is not None:
        return asked
    if runtime.device.type == "cpu":
        return 0
    return min(MOST_WORKERS, (os.cpu_count() or 1) // runtime.processes)
