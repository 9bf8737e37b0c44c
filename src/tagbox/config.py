"""Typed configurations: the Python API takes them, the command line's flags are their fields, a run saves them.

A field's docstring is its help text on the command line. Values are validated where they are made,
so a bad value in a YAML file and a bad flag end in the same sentence.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from tagbox.errors import TagboxError

Geometry = Literal["squash", "pad", "crop"]
Pooling = Literal["mean", "max", "mean+max"]
Metric = Literal[
    "map",
    "val_loss",
    "challenge_f1",
    "micro_f1",
    "macro_f1",
    "weighted_f1",
    "samples_f1",
    "cf1",
    "of1",
]
Objective = Literal["challenge_f1", "micro_f1", "macro_f1", "cf1", "of1", "samples_f1"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations: to and from plain values, with every field checked."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON: paths as strings, tuples as lists."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: Path | None = None) -> Self:
        """Build from plain values.

        Raises
        ------
        TagboxError
            ``config-field`` for an unknown field, ``config-value`` for a value of the wrong type.
        """
        hints = typing.get_type_hints(cls)
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise TagboxError(
                    "config-field",
                    "no such setting",
                    file=file,
                    where=str(name),
                    hint=f"the settings are {', '.join(sorted(known))}",
                )
        return cls(**{k: _typed(v, hints[k], k, file) for k, v in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, hint: Any, name: str, file: Path | None) -> Any:
    """`value` as the type `hint`, or an error that names the field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _typed(value, next(a for a in arguments if a is not type(None)), name, file)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_typed(item, arguments[0], name, file) for item in value)
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    wanted = f"one of {', '.join(map(str, arguments))}" if origin is Literal else _type_name(hint)
    raise TagboxError(
        "config-value", f"{value!r} is not {wanted}", file=file, where=name, hint="change the value"
    )


def _type_name(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(
        hint, "a path" if hint is Path else "a list"
    )


def require(ok: bool, field: str, value: object, wanted: str) -> None:
    """Raise ``config-value`` for `field` unless `ok`."""
    if not ok:
        raise TagboxError(
            "config-value", f"{value!r} is not {wanted}", where=field, hint="change the value"
        )


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """How a dataset is read."""

    images: Path | None = None
    """Folder of the pictures; without it they are searched beside the labels."""
    format: Literal["auto", "coco", "cls", "labels", "csv", "yolo", "labelme", "folders"] = "auto"
    """Format of the dataset; recognised when not given."""
    names: Path | None = None
    """File of category names, one a line, for formats that only hold indices."""
    categories: tuple[str, ...] = ()
    """Keep only these categories."""
    group_by: Literal["supercategory"] | None = None
    """Merge categories into their supercategories."""
    mapping: Path | None = None
    """YAML file `old name: new name` that renames and merges categories; `null` drops one."""
    max_images: int | None = None
    """A seeded, stratified sample of this many images."""
    sample_seed: int = 0
    """Seed of that sample."""
    crowd_is_present: bool = True
    """Whether a crowd region counts as its category being in the image."""

    def __post_init__(self) -> None:
        require(
            self.max_images is None or self.max_images > 0, "max_images", self.max_images, "above 0"
        )


@dataclass(frozen=True, kw_only=True)
class SynthConfig(Config):
    """A generated dataset."""

    images: int = 1000
    """Training images."""
    val: int = 0
    """Validation images, in a part of their own."""
    test: int = 0
    """Test images, in a part of their own."""
    width: int = 640
    """Width of the pictures in pixels."""
    height: int = 480
    """Height of the pictures in pixels."""
    seed: int = 0
    """Seed; the same seed gives the same bytes."""
    format: Literal["coco", "cls"] = "coco"
    """COCO JSON files with pictures beside them, or a challenge folder with `.cls` labels."""

    def __post_init__(self) -> None:
        require(1 <= self.images <= 10**8, "images", self.images, "from 1 to 100000000")
        for name in ("val", "test"):
            value = getattr(self, name)
            require(0 <= value <= 10**8, name, value, "from 0 to 100000000")
        for name in ("width", "height"):
            require(32 <= getattr(self, name) <= 8192, name, getattr(self, name), "from 32 to 8192")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """How a multi-label classifier is trained."""

    val: Path | None = None
    """Validation dataset; without it a stratified part of the training data is held out."""
    val_images: Path | None = None
    """Folder of the validation pictures."""
    val_fraction: float = 0.1
    """Part held out when there is no `val`."""
    backbone: str = "efficientnet_lite2@448"
    """Backbone NAME or NAME@SIZE; several joined by + are used side by side."""
    weights: str = "default"
    """`default`, `packaged`, `none`, or the path of a checkpoint."""
    geometry: Geometry = "squash"
    """How a picture becomes a square: squash, pad, or centre crop."""
    pooling: Pooling = "mean+max"
    """How a feature map becomes a vector; the maximum finds small objects."""
    mirror: bool = True
    """Encode each training picture's mirror image too."""
    head: Literal["linear", "mlp"] = "linear"
    """Head on top of the features."""
    hidden: int = 512
    """Width of the MLP head's hidden layer."""
    dropout: float = 0.0
    """Dropout before the head's last layer."""
    loss: Literal["bce", "bce_weighted", "focal", "asymmetric"] = "bce"
    """Loss function."""
    epochs: int = 30
    """Most passes over the training set."""
    batch_size: int = 64
    """Images a step."""
    learning_rate: float = 5e-4
    """Highest learning rate of AdamW."""
    weight_decay: float = 0.05
    """AdamW weight decay, not on biases."""
    patience: int = 10
    """Epochs without a better `best_by` before training stops."""
    best_by: Metric = "map"
    """Validation metric that names the best epoch."""
    objective: Objective = "challenge_f1"
    """What the thresholds are tuned for."""
    at_least_one: bool = False
    """Give every image at least the category nearest to its threshold."""
    top_k: int | None = None
    """Say at most this many categories of an image."""
    seed: int = 0
    """Seed of the split, the head and the order of images."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """What encodes the pictures: OpenVINO on a CPU, torch elsewhere, when not given."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the encoder."""
    tensorboard_categories: bool = False
    """Write each category's average precision to TensorBoard too."""

    def __post_init__(self) -> None:
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        for name in ("epochs", "batch_size", "hidden", "patience"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "at least 1")
