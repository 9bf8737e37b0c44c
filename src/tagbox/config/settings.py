"""Settings as keyword arguments of the Python API: their types, and how they change a configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from tagbox.config.augment import AugmentConfig, BoxAugmentConfig
from tagbox.config.base import Config
from tagbox.config.classifier import BestBy, Geometry, HeadSetting, Objective, Pooling
from tagbox.config.detector import DetectionMetric
from tagbox.config.finetune import AutoBool, FinetuneConfig
from tagbox.errors import TagboxError

C = TypeVar("C", bound=Config)

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate",),
    "lr0": ("learning_rate",),
    "wd": ("weight_decay",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "num_epochs": ("epochs",),
    "max_epochs": ("epochs",),
    "imgsz": ("size", "backbone"),
    "img_size": ("size", "backbone"),
    "image_size": ("size", "backbone"),
    "model": ("detector", "backbone"),
    "arch": ("detector", "backbone"),
    "optim": ("optimizer",),
    "criterion": ("loss",),
    "num_workers": ("workers",),
    "project": ("runs",),
}
"""What other tools call a setting -> the names here, the first that a configuration has."""


class ClassifierSettings(TypedDict, total=False):
    """Fields of `ClassifierConfig` as keyword arguments, without `val`."""

    val_images: Path | str | None
    allow_overlap: bool
    val_fraction: float
    folds: int | Literal["auto"]
    labels: Literal["auto", "multi", "exclusive"]
    backbone: str
    weights: str
    geometry: Geometry
    pooling: Pooling
    mirror: bool
    head: HeadSetting
    hidden: int
    queries: int | None
    attention: float
    attention_heads: int
    dropout: float
    loss: Literal["auto", "bce", "bce_weighted", "focal", "asymmetric", "cross_entropy"]
    anneal_epochs: int
    label_smoothing: float
    teacher: Path | str | None
    teacher_weight: float
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    best_by: BestBy
    objective: Objective
    at_least_one: bool
    top_k: int | None
    seed: int
    device: Literal["auto", "cuda", "mps", "cpu"]
    engine: Literal["auto", "openvino", "torch"]
    precision: Literal["fp32", "bf16"]
    tensorboard_categories: bool
    finetune: FinetuneConfig | Mapping[str, Any]
    augment: AugmentConfig | Mapping[str, Any]


class DetectorSettings(TypedDict, total=False):
    """Fields of `DetectorConfig` as keyword arguments, without `val`."""

    val_images: Path | str | None
    allow_overlap: bool
    val_fraction: float
    detector: str
    backbone: str
    weights: str
    size: int | None
    trainable_layers: str
    boxes: Literal["refuse", "drop"]
    epochs: int
    patience: int
    batch_size: int
    accumulate: int
    optimizer: Literal["adamw", "sgd"] | None
    learning_rate: float | None
    backbone_rate: float | None
    layer_decay: float
    weight_decay: float | None
    schedule: Literal["one_cycle", "cosine", "step", "multistep"] | None
    warmup: float | None
    clip: float | None
    ema: float | None
    batch_norm: Literal["train", "frozen"] | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    channels_last: AutoBool
    workers: int | None
    checkpoint_seconds: float
    keep_checkpoints: bool | int
    best_by: DetectionMetric
    seed: int
    device: Literal["auto", "cuda", "mps", "cpu"]
    engine: Literal["auto", "openvino", "torch"]
    augment: BoxAugmentConfig | Mapping[str, Any]


class DataSettings(TypedDict, total=False):
    """Fields of `DataConfig` as keyword arguments, without `split`."""

    images: Path | str | None
    format: Literal["auto", "coco", "cls", "labels", "csv", "yolo", "labelme", "voc", "folders"]
    names: Path | str | None
    categories: Sequence[str]
    group_by: Literal["supercategory"] | None
    mapping: Path | str | None
    max_images: int | None
    sample_seed: int
    crowd_is_present: bool


class SynthSettings(TypedDict, total=False):
    """Fields of `SynthConfig` as keyword arguments."""

    images: int
    val: int
    test: int
    width: int
    height: int
    seed: int
    categories: Sequence[str]
    format: Literal["coco", "cls"]


class CompareOptions(TypedDict, total=False):
    """Fields of `CompareSettings` as keyword arguments."""

    thresholds: float | Path | str | None
    at_least_one: bool
    top_k: int | None
    labels: Literal["auto", "multi", "exclusive"]
    missing: Literal["error", "empty"]
    extra: Literal["error", "ignore"]
    as_labels: bool
    seed: int


class ScoreOptions(CompareOptions, total=False):
    """Fields of `ScoreSettings` as keyword arguments."""

    objective: Objective
    intervals: bool
    resamples: int


class EnsembleSettings(TypedDict, total=False):
    """Fields of `EnsembleConfig` as keyword arguments."""

    flip: bool
    scales: Sequence[int]
    weights: Literal["auto", "equal"]
    objective: Objective | None
    device: Literal["auto", "cuda", "mps", "cpu"]


def with_settings(config: C, settings: Mapping[str, Any], arguments: Collection[str] = ()) -> C:
    """`config` with other values for some of its settings.

    Parameters
    ----------
    settings
        Field to value. A mapping for a group, such as ``finetune={"epochs": 3}``, changes these fields of
        the group and leaves the others.
    arguments
        Names of further arguments that the caller takes, for the hint on a misspelt one.

    Raises
    ------
    TagboxError
        ``config-field`` for a name that is no setting, ``config-value`` for a value that a setting does not take.
    """
    values: dict[str, Any] = {}
    known = [field.name for field in fields(config)]
    for name, value in settings.items():
        if name not in known:
            hint = _nearest(name, config, [*known, *arguments])
            raise TagboxError("config-field", "no such setting", where=name, hint=hint)
        group = getattr(config, name)
        if isinstance(group, Config) and isinstance(value, Mapping):
            try:
                value = with_settings(group, value)
            except TagboxError as error:
                raise error.replace(where=f"{name}.{error.where}") from error
        values[name] = value
    return replace(config, **values) if values else config


def _nearest(name: str, config: Config, known: Sequence[str]) -> str:
    """What an unknown name may have meant, for a hint."""
    for group in fields(config):
        inner = getattr(config, group.name)
        if isinstance(inner, Config) and name in (field.name for field in fields(inner)):
            return f"it is a setting of the group {group.name}: {group.name}={{{name!r}: ...}}"
    meant = next((each for each in OTHER_NAMES.get(name, ()) if each in known), None)
    if meant is not None:
        return f"it is called {meant!r} here"
    close = get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}"
    return f"the settings are {', '.join(sorted(known))}"
