"""Settings that depend on the data or the machine, decided once and written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.errors import TagboxError
from tagbox.training.sides import Sides

FREE = ("accumulate", "workers", "checkpoint_seconds", "keep_checkpoints")
"""Settings of fine-tuning that decide no figure, so that a resumed run may have others."""


def resolve(config: ClassifierConfig, sides: Sides) -> ClassifierConfig:
    """`config` with every ``auto`` decided that the data decides.

    Raises
    ------
    TagboxError
        ``labels-not-exclusive`` where exclusive labels are asked for and an image has none or several.
    """
    labels = config.labels
    if labels == "auto":
        labels = "exclusive" if exclusive(sides.train) and exclusive(sides.validation) else "multi"
    elif labels == "exclusive":
        for side in (sides.train, sides.validation):
            _require_exclusive(side)
    loss = config.loss
    if loss == "auto":
        loss = "cross_entropy" if labels == "exclusive" else "bce"
    if (loss == "cross_entropy") != (labels == "exclusive"):
        raise TagboxError(
            "config-value",
            f"{loss} is no loss for {'exclusive' if labels == 'exclusive' else 'multiple'} labels",
            where="loss",
            hint="leave --loss out, or change --labels",
        )
    if config.best_by == "accuracy" and labels != "exclusive":
        raise TagboxError(
            "config-value",
            "accuracy is a figure of exclusive labels",
            where="best_by",
            hint="choose another figure, such as map",
        )
    crop = config.augment.crop
    if crop == "auto":
        crop = "boxes" if bool(sides.train.annotations.has_box.any()) else "none"
    return replace(config, labels=labels, loss=loss, augment=replace(config.augment, crop=crop))


def with_free_settings(begun: ClassifierConfig, given: ClassifierConfig) -> ClassifierConfig:
    """What a run was begun with, but for the settings in `FREE`, which are those given now."""
    now = {name: getattr(given.finetune, name) for name in FREE}
    return replace(begun, finetune=replace(begun.finetune, **now))


def exclusive(dataset: Dataset) -> bool:
    """Whether the data says "one category an image": no boxes, and exactly one label everywhere."""
    labels = dataset.labels
    boxes = bool(dataset.annotations.has_box.any())
    one_each = bool(((labels == PRESENT).sum(axis=1) == 1).all()) and bool((labels >= 0).all())
    return not boxes and one_each and len(dataset) > 0 and labels.shape[1] > 1


def _require_exclusive(dataset: Dataset) -> None:
    counts = (dataset.labels == PRESENT).sum(axis=1)
    wrong = np.flatnonzero(counts != 1)
    if len(wrong):
        row = int(wrong[0])
        raise TagboxError(
            "labels-not-exclusive",
            f"{len(wrong)} images have none or several categories, such as "
            f"{dataset.images.files[row]} with {counts[row]}",
            file=dataset.source.path,
            hint="give every image one category, or pass --labels multi",
        )


def differences(saved: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The settings in which a run that is resumed would differ, as ``name: saved -> given``.

    ``auto`` is what was saved, whatever that is.
    """
    found = []
    for name, value in saved.items():
        path, other = f"{prefix}{name}", given.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found += differences(value, other, f"{path}.")
        elif path.removeprefix("finetune.") not in FREE and other != value and other != "auto":
            found.append(f"{path}: {value} -> {other}")
    return found
