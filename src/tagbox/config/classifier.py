"""Settings of a classifier and its training, and of an ensemble of classifiers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tagbox.config.augment import AugmentConfig
from tagbox.config.base import Config, require, require_seed
from tagbox.config.finetune import FinetuneConfig, require_rates
from tagbox.errors import TagboxError

Geometry = Literal["squash", "pad", "crop"]
Pooling = Literal["mean", "max", "mean+max"]
HeadKind = Literal["linear", "mlp", "ml_decoder", "csra"]
HeadSetting = Literal["linear", "mlp", "ml_decoder", "csra", "ridge", "auto"]
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
BestBy = Literal["auto", Metric]
Objective = Literal["challenge_f1", "micro_f1", "macro_f1", "cf1", "of1", "samples_f1"]
VAL_FRACTION = 0.1
POOLED_HEADS: tuple[HeadSetting, ...] = ("linear", "mlp", "ridge")
"""Heads on pooled features, which are trained in seconds; auto is one of them."""
TRAINED = (
    *("anneal_epochs", "label_smoothing", "teacher", "dropout", "epochs", "batch_size"),
    *("learning_rate", "weight_decay", "patience"),
)
"""Settings of a head that is trained in epochs."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """Settings of a classifier and of its training."""

    val: Path | None = None
    """Validation dataset; when not given, the `val` that the training data states, else a stratified part of it."""
    val_images: Path | None = None
    """Folder of the validation images."""
    allow_overlap: bool = False
    """Train although validation images are training images too."""
    val_fraction: float = VAL_FRACTION
    """Share of the training data used for validation when `val` is not given."""
    folds: int | Literal["auto"] = "auto"
    """Folds of cross-validation where no `val` is given: predictions of heads that were not trained on an image
    choose the epoch and the thresholds, and the model's head is trained on all images; 0 holds out `val_fraction`
    instead. auto is 5 for a linear, mlp or ridge head on a frozen backbone, up to 5,000 images."""
    labels: Literal["auto", "multi", "exclusive"] = "auto"
    """Whether an image has any number of categories (multi) or exactly one (exclusive); auto decides by the
    data."""
    backbone: str = "efficientnet_lite2@448"
    """Backbone NAME or NAME@SIZE; the features of several joined by + are concatenated. nanodet_g adds a detector's
    scores of COCO's categories."""
    weights: str = "default"
    """Pretrained weights: `default`, `packaged`, `none`, or the path of a checkpoint."""
    geometry: Geometry = "squash"
    """How an image becomes a square: squash, pad, or centre crop."""
    pooling: Pooling = "mean+max"
    """Pooling of the feature map to a vector; the maximum finds small objects."""
    mirror: bool = True
    """Encode the mirror image of each training image as well."""
    head: HeadSetting = "linear"
    """Head: linear or mlp on pooled features; ml_decoder or csra on the whole feature map; ridge is a linear head
    computed in closed form, for few images. auto is ridge for 100 to 5,000 training images with independent labels if no
    setting of a training in epochs is given, else linear."""
    hidden: int = 512
    """Width of the MLP's hidden layer, or of ML-Decoder's attention (a multiple of 8)."""
    queries: int | None = None
    """Group queries of ML-Decoder; one per category, at most 100, when not given."""
    attention: float = 0.2
    """Weight of CSRA's class-specific attention, which is added to the mean over the feature map."""
    attention_heads: int = 1
    """Attention heads of CSRA: 1 is soft attention; 2, 4, 6 or 8 have increasing temperatures, up to the
    maximum over the feature map."""
    dropout: float = 0.0
    """Dropout before the head's last layer; inside the decoder layer of ML-Decoder, whose authors use 0.1."""
    loss: Literal["auto", "bce", "bce_weighted", "focal", "asymmetric", "cross_entropy"] = "auto"
    """Loss function; auto is bce, or cross_entropy where labels are exclusive."""
    anneal_epochs: int = 0
    """Epochs over which the asymmetric or focal loss goes from plain bce to its full focusing."""
    label_smoothing: float = 0.0
    """Label smoothing; 0 disables it."""
    teacher: Path | None = None
    """Run to distil from, by folder or name, or a file of its predictions on the training images."""
    teacher_weight: float = 0.5
    """Weight of the teacher's probabilities relative to the labels; an unknown label takes the teacher's
    alone."""
    epochs: int = 30
    """Maximum number of epochs with a frozen backbone."""
    batch_size: int = 64
    """Images per step with a frozen backbone."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW with a frozen backbone."""
    weight_decay: float = 0.05
    """Weight decay of AdamW, not applied to biases."""
    patience: int = 10
    """Epochs without improvement of `best_by` after which training stops."""
    best_by: BestBy = "auto"
    """Validation metric that selects the best epoch; auto is map in folds and when fine-tuning, else val_loss, because
    the mAP of a few validation images is chance."""
    objective: Objective = "micro_f1"
    """Metric that the thresholds maximise."""
    at_least_one: bool = False
    """Predict at least one category per image, the one nearest to its threshold."""
    top_k: int | None = None
    """Predict at most this many categories per image."""
    seed: int = 0
    """Random seed of the split, the head and the order of images."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Device to compute on."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """Inference engine of the encoder; auto is OpenVINO on a CPU, torch elsewhere."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Floating-point format of the encoder."""
    tensorboard_categories: bool = False
    """Write the average precision of each category to TensorBoard as well."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """Training of the backbone."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation while the backbone is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        self._require_folds()
        if self.head == "ridge":
            self._require_no_epochs()
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

    def _require_no_epochs(self) -> None:
        """Refuse settings of a training in epochs."""
        other = epoch_setting(self)
        if other is not None:
            raise TagboxError(
                "config-value",
                f"the head ridge is computed in closed form from the features of unaugmented images, without epochs "
                f"or a loss to choose, and {other} is set",
                where=other,
                hint="leave it out, or choose the head linear",
            )

    def _require_folds(self) -> None:
        """Refuse folds of one part, and settings that leave folds nothing to do."""
        if self.folds == "auto" or self.folds == 0:
            return
        require(self.folds >= 2, "folds", self.folds, "auto, 0, or at least 2")
        for name, given, hint in (
            ("val", self.val is not None, "the validation images are given"),
            ("val_fraction", self.val_fraction != VAL_FRACTION, "a part of the images is held out"),
            (
                "finetune.unfreeze",
                self.finetune.active,
                "only a head on a frozen backbone is trained in folds",
            ),
            (
                "head",
                self.head not in (*POOLED_HEADS, "auto"),
                f"only {', '.join(POOLED_HEADS[:-1])} and {POOLED_HEADS[-1]} heads are trained in folds",
            ),
        ):
            if given:
                raise TagboxError(
                    "config-value",
                    f"{self.folds} folds contradict {name}: {hint}",
                    where="folds",
                    hint="leave one of the two out, or set folds to 0",
                )


def epoch_setting(config: ClassifierConfig) -> str | None:
    """The first setting, other than its default, that only a training in epochs has; None if none is."""
    for name, given in (
        # What auto becomes, by which validation images are judged, is no choice.
        ("loss", config.loss not in ("auto", "bce", "cross_entropy")),
        *((name, getattr(config, name) != getattr(ClassifierConfig, name)) for name in TRAINED),
        ("finetune.unfreeze", config.finetune.active),
        # The crop is resolved for every training.
        ("augment", replace(config.augment, crop="auto") != AugmentConfig()),
    ):
        if given:
            return name
    return None


SIZES = range(32, 2049)
"""Sides in pixels of a backbone's square input."""


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(Config):
    """Settings of an ensemble: test-time views of the images, and weights of the runs."""

    flip: bool = False
    """Predict on the mirror image of each image as well."""
    scales: tuple[int, ...] = ()
    """Input sizes in pixels at which each run predicts; its own size when not given."""
    weights: Literal["auto", "equal"] = "auto"
    """Weights of the runs; auto fits them on the validation images, and keeps them where cross-fitting shows
    a gain."""
    objective: Objective | None = None
    """Metric that the thresholds maximise; that of the first run when not given."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Device to compute on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in self.scales:
            wanted = f"a number of pixels from {SIZES[0]} to {SIZES[-1]}"
            require(size in SIZES, "scales", size, wanted)
