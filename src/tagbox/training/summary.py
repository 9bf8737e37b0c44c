"""What a training is about to do, in a sentence, and in another which of its epochs was kept and why."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tagbox.config import ClassifierConfig, DetectorConfig
from tagbox.config.detector import ON_A_BACKBONE
from tagbox.device import choose_device, choose_engine
from tagbox.training.history import Row, metric_column, penalty_text
from tagbox.training.resolve_config import resolve, steps
from tagbox.training.train_val import TrainVal


def plan(config: ClassifierConfig | DetectorConfig, train_val: TrainVal) -> str:
    """The model, the pictures, the epochs and the device of a training.

    Raises
    ------
    TagboxError
        ``device-missing``, ``engine-device``; the codes of `resolve`.
    """
    if isinstance(config, ClassifierConfig):
        config = resolve(config, train_val)
        engine, device = choose_engine(config.engine, config.device)
        model = f"{config.backbone} with the head {config.head}"
        epochs = f"at most {config.epochs} epochs of the head"
        if config.head == "ridge":
            epochs = "in closed form, without epochs"
        if config.finetune.active:
            epochs += f", then {config.finetune.epochs} of the network"
        machine = f"{_named(device)}, encoded by {engine}"
    else:
        device = choose_device(config.device, "torch")
        model = config.detector
        model += f" on {config.backbone}" if config.detector in ON_A_BACKBONE else ""
        model += "" if config.size is None else f", at most {config.size} pixels"
        epochs = f"at most {config.epochs} epochs"
        machine = _named(device)
    images = f"{len(train_val.train):,} images"
    if train_val.folds:
        images += f" in {train_val.folds} folds, then all of them"
    else:
        images += f", {len(train_val.validation):,} for validation"
    count = len(train_val.train.categories)
    categories = "1 category" if count == 1 else f"{count} categories"
    return f"training {model}: {images}, {categories}; {epochs}; on {machine}"


def _named(device: str) -> str:
    """The device in words, with what limits its speed."""
    if device != "cpu":
        return {"cuda": "the GPU (cuda)", "mps": "the GPU (mps)"}.get(device, device)
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows.
        cores = os.cpu_count() or 1
    return f"the CPU ({cores} core{'s' * (cores != 1)})"


def kept(
    config: ClassifierConfig | DetectorConfig,
    history: Sequence[Row],
    best_epoch: int,
) -> str:
    """Which epoch's weights were kept, by which metric, and why training ended where it did; of ridge its penalty.

    Parameters
    ----------
    history
        All rows, also those of a classifier's head before its network.
    """
    if isinstance(config, ClassifierConfig) and config.head == "ridge":
        return f"kept: {penalty_text(float(history[-1]['penalty'] or 0))}"
    column = metric_column(config.best_by)
    value = next((row.get(column) for row in history if row["epoch"] == best_epoch), None)
    reached = "" if value is None else f" ({column} {value:.4f})"
    sentence = f"kept: epoch {best_epoch} of {len(history)}, the best by {config.best_by}{reached}"
    head = isinstance(config, ClassifierConfig) and not config.finetune.active
    patience = config.patience if head else steps(config).patience
    planned = config.epochs if head else steps(config).epochs
    waited = len(history) - best_epoch
    if waited >= patience and (not head or len(history) < planned):
        sentence += f"; {waited} epochs without a better one ended the training"
    return sentence
