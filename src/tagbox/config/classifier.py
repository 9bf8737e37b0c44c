"""How a classifier is trained.

How saved runs are put together, and how many views of a picture each of them gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tagbox.config.augment import AugmentConfig
from tagbox.config.base import Config, require
from tagbox.config.finetune import FinetuneConfig, require_rates

Geometry = Literal["squash", "pad", "crop"]
Pooling = Literal["mean", "max", "mean+max"]
HeadKind = Literal["linear", "mlp", "ml_decoder", "csra"]
LabelKind = Literal["multi", "exclusive"]
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
    "accuracy",
]
Objective = Literal["challenge_f1", "micro_f1", "macro_f1", "cf1", "of1", "samples_f1"]


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """How a classifier is trained."""

    val: Path | None = None
    """Validation dataset; without it a stratified part of the training data is held out."""
    val_images: Path | None = None
    """Folder of the validation pictures."""
    val_fraction: float = 0.1
    """Part held out when there is no `val`."""
    labels: Literal["auto", "multi", "exclusive"] = "auto"
    """Whether a picture has any number of categories or exactly one; auto looks at the data."""
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
    head: HeadKind = "linear"
    """Head: linear or mlp on pooled features; ml_decoder or csra, which look at the whole feature map."""
    hidden: int = 512
    """Width of the MLP's hidden layer, or of ML-Decoder's attention (a multiple of 8)."""
    queries: int | None = None
    """Group queries of ML-Decoder; one a category, at most 100, when not given."""
    attention: float = 0.2
    """Weight of CSRA's class-specific attention beside the mean over the map."""
    attention_heads: int = 1
    """CSRA: 1 takes the maximum over the map; 2, 4, 6 or 8 heads sharpen step by step."""
    dropout: float = 0.0
    """Dropout before the head's last layer; inside the layer of ML-Decoder, whose authors use 0.1."""
    loss: Literal["auto", "bce", "bce_weighted", "focal", "asymmetric", "cross_entropy"] = "auto"
    """Loss function; auto is bce, or cross_entropy where labels are exclusive."""
    anneal_epochs: int = 0
    """Epochs in which the asymmetric or focal loss goes from plain bce to its full focus."""
    label_smoothing: float = 0.0
    """Share by which targets move from 0 and 1 towards the middle."""
    teacher: Path | None = None
    """Another run, or a file of its predictions on the training pictures, to learn from as well."""
    teacher_weight: float = 0.5
    """Weight of the teacher's probabilities beside the labels; unknown labels are all the teacher's."""
    epochs: int = 30
    """Most passes over the training set with a frozen backbone."""
    batch_size: int = 64
    """Images a step with a frozen backbone."""
    learning_rate: float = 5e-4
    """Highest learning rate of AdamW with a frozen backbone."""
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
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """Training of the backbone."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation while the backbone is trained."""

    def __post_init__(self) -> None:
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        for name in ("epochs", "batch_size", "hidden", "patience"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require_rates(self.learning_rate, self.weight_decay)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        eighth = self.head != "ml_decoder" or self.hidden % 8 == 0
        require(eighth, "hidden", self.hidden, "a multiple of 8, as ml_decoder needs")
        require(self.queries is None or self.queries >= 1, "queries", self.queries, "at least 1")
        require(self.attention >= 0, "attention", self.attention, "at least 0")
        heads = self.attention_heads
        require(heads in (1, 2, 4, 6, 8), "attention_heads", heads, "1, 2, 4, 6 or 8")
        require(self.anneal_epochs >= 0, "anneal_epochs", self.anneal_epochs, "at least 0")
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, "label_smoothing", smoothing, "in [0, 1)")
        require(0 < self.teacher_weight <= 1, "teacher_weight", self.teacher_weight, "in (0, 1]")
        require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "at least 1")


SIZES = range(32, 2049)
"""Sides in pixels that a backbone may be asked to look at."""


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(Config):
    """Test-time views and the weights of runs that decide together."""

    flip: bool = False
    """Look at each picture's mirror image too."""
    scales: tuple[int, ...] = ()
    """Sides in pixels of the squares that each run looks at; its own size when not given."""
    weights: Literal["auto", "equal"] = "auto"
    """Weights of the runs; auto fits them on the validation pictures and keeps them where cross-fitting says
    that they help."""
    objective: Objective | None = None
    """What the thresholds are tuned for; that of the first run when not given."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        for size in self.scales:
            wanted = f"a number of pixels from {SIZES[0]} to {SIZES[-1]}"
            require(size in SIZES, "scales", size, wanted)
