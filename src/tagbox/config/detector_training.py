"""How each detector is trained: the settings that its authors published, in place of those that are not given.

Sources
-------
torchvision's ``references/detection`` (README and the pull requests that its weights name as their recipe): SGD
with a momentum of 0.9, a linear warm-up, a tenth of the rate after epochs 16 and 22 of 26; for 8 GPUs of 2 images, and
in proportion for others (``train.py``: "0.02/8*$NGPU"; Goyal et al., "Accurate, Large Minibatch SGD", 2017).
RT-DETR v2 and D-FINE: ``configs/*/include/optimizer.yml`` of their authors' code, 16 and 32 images: AdamW, the backbone
at a tenth of the rate, gradients clipped at a norm of 0.1. Their rate stays constant after the warm-up; here it falls on
a cosine, as a training on little data ends sooner.

``dense`` and NanoDet, whose losses here are those of ``dense``, have settings that were measured here.

torchvision clips no gradients; here all are held to a norm of 10, which the first steps from a backbone's weights alone
exceed eightfold: without it Faster R-CNN on EfficientNet-Lite0 became NaN where the warm-up ended.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tagbox.config.detector import DetectorConfig

USUAL_SIZE, TRANSFORMER_SIZE = 320, 640


@dataclass(frozen=True, kw_only=True)
class PublishedTraining:
    """Settings of training one detector.

    Attributes
    ----------
    source
        Where they are published; empty for our own.
    learning_rate, images
        The rate for batches of so many images; for others it is in proportion. With 0 images it is for any.
    size
        Side of the images that it takes, for those that were made for one.

    The others are fields of `DetectorConfig`.
    """

    source: str
    learning_rate: float
    images: int = 16
    optimizer: Literal["adamw", "sgd"] = "sgd"
    backbone_rate: float = 1.0
    weight_decay: float = 1e-4
    schedule: Literal["one_cycle", "cosine", "step", "multistep"] = "multistep"
    warmup: float = 0.05
    clip: float = 10.0
    ema: float = 0.0
    size: int = USUAL_SIZE


REFERENCES = "torchvision's references/detection"
FASTER_RCNN = PublishedTraining(source=REFERENCES, learning_rate=0.02)
ONE_STAGE = PublishedTraining(source=REFERENCES, learning_rate=0.01)
DENSE = PublishedTraining(
    source="",
    learning_rate=2e-3,
    images=0,
    optimizer="adamw",
    backbone_rate=0.25,
    weight_decay=0.02,
    schedule="cosine",
    ema=0.99,
)
NANODET = replace(DENSE, size=416)
TRANSFORMER = PublishedTraining(
    source="RT-DETR's and D-FINE's optimizer.yml",
    learning_rate=1e-4,
    optimizer="adamw",
    backbone_rate=0.1,
    schedule="cosine",
    clip=0.1,
    ema=0.9999,
    size=TRANSFORMER_SIZE,
)
PUBLISHED = {
    "dense": DENSE,
    "fasterrcnn": FASTER_RCNN,
    "fasterrcnn_resnet50_fpn": FASTER_RCNN,
    "fasterrcnn_mobilenet_v3_large_fpn": FASTER_RCNN,
    "fasterrcnn_mobilenet_v3_large_320_fpn": FASTER_RCNN,
    "fasterrcnn_resnet50_fpn_v2": PublishedTraining(
        source="torchvision's pull request 5763", learning_rate=0.1, images=64, weight_decay=4e-5
    ),
    "retinanet": ONE_STAGE,
    "retinanet_resnet50_fpn": ONE_STAGE,
    "retinanet_resnet50_fpn_v2": PublishedTraining(
        source="torchvision's pull request 5756",
        learning_rate=1e-4,
        optimizer="adamw",
        weight_decay=0.05,
    ),
    "nanodet_g": NANODET,
    "fcos": ONE_STAGE,
    "fcos_resnet50_fpn": ONE_STAGE,
    "ssd300_vgg16": PublishedTraining(
        source=REFERENCES, learning_rate=2e-3, images=32, weight_decay=5e-4, size=300
    ),
    "ssdlite320_mobilenet_v3_large": PublishedTraining(
        source=REFERENCES, learning_rate=0.15, images=192, weight_decay=4e-5, schedule="cosine"
    ),
}
"""Of each detector by name, but for transformers, whose names are those of a hub."""


def published_training(detector: str) -> PublishedTraining:
    """The published training of a detector by name; that of transformers for all other names."""
    return PUBLISHED.get(detector, TRANSFORMER)


def input_size(config: DetectorConfig) -> int:
    """The size that is configured, or else the detector's own."""
    return published_training(config.detector).size if config.size is None else config.size


def with_own_settings(config: DetectorConfig) -> DetectorConfig:
    """`config` with the detector's own settings in place of those that are None.

    Batch normalisation keeps its statistics, which belong to pretrained weights; without such weights it
    follows the batches, but for ``dense`` and NanoDet.
    """
    own = published_training(config.detector)
    settings: dict[str, Any] = asdict(own)
    del settings["source"], settings["images"]
    if own.images:
        settings["learning_rate"] = own.learning_rate * config.batch_size / own.images
    trained_norms = config.weights == "none" and own not in (DENSE, NANODET)
    settings["batch_norm"] = "train" if trained_norms else "frozen"
    missing = {name: value for name, value in settings.items() if getattr(config, name) is None}
    return replace(config, **missing) if missing else config


def own_settings_sentence(given: DetectorConfig, used: DetectorConfig) -> str | None:
    """What `with_own_settings` chose, on what evidence; None where that is our default, or all was given."""
    own = published_training(used.detector)
    names = [name for name in asdict(own) if name not in ("source", "images")]
    chosen = [name for name in (*names, "batch_norm") if getattr(given, name) is None]
    if not own.source or not chosen:
        return None
    words = {name: f"{name.replace('_', ' ')} {_plain(getattr(used, name))}" for name in chosen}
    if "learning_rate" in words:
        words["learning_rate"] += f" ({own.learning_rate:g} for {own.images} images)"
    if "clip" in words and own.clip == DENSE.clip:
        words["clip"] += " (added here)"
    return f"{used.detector} is trained as in {own.source}: {', '.join(words.values())}"


def _plain(value: Any) -> str:
    return format(value, "g") if isinstance(value, float) else str(value)
