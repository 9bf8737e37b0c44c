"""How a detector is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tagbox.config.augment import BoxAugmentConfig
from tagbox.config.base import Config, require
from tagbox.config.finetune import AutoBool, require_stages, require_steps

DetectionMetric = Literal["ap", "ap50", "ap75", "val_loss"]
ON_A_BACKBONE = ("dense", "fcos", "retinanet", "fasterrcnn")
"""Detectors that stand on any backbone."""
OF_TORCHVISION = (
    *("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"),
    *("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    *("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"),
    *("ssd300_vgg16", "ssdlite320_mobilenet_v3_large"),
)
"""Detectors of torchvision, with a backbone and published weights of their own."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(Config):
    """How a detector is trained."""

    val: Path | None = None
    """Validation dataset; without it a stratified part of the training data is held out."""
    val_images: Path | None = None
    """Folder of the validation pictures."""
    val_fraction: float = 0.1
    """Part held out when there is no `val`."""
    detector: str = "dense"
    """dense, fcos, retinanet or fasterrcnn on `backbone`; a detector of torchvision's, such as
    fasterrcnn_resnet50_fpn_v2; or huggingface/OWNER/NAME for a transformer."""
    backbone: str = "efficientnet_lite0"
    """Backbone of the detectors that stand on any: packaged, torchvision's or timm's."""
    weights: str = "default"
    """`default` (COCO weights where the detector has them, else the backbone's), `packaged`, `backbone`,
    `none`, or the path of a checkpoint."""
    size: int = 320
    """Longest side of a picture in the network, in pixels: larger ones are scaled down, none is scaled up."""
    trainable_layers: str = "all"
    """What of the backbone is trained: none, all, or how many of its last stages."""
    boxes: Literal["refuse", "drop"] = "refuse"
    """Training boxes without area or outside their picture: stop and name them, or leave them out."""
    epochs: int = 20
    """Most passes over the training pictures."""
    patience: int = 20
    """Epochs without a better `best_by` before training stops."""
    batch_size: int = 8
    """Images an optimizer step, over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts that a batch is computed in; more parts need less memory."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Optimizer; sgd has Nesterov momentum of 0.9."""
    learning_rate: float = 2e-3
    """Highest learning rate of the detector's own layers."""
    backbone_rate: float = 0.25
    """The backbone's learning rate as a share of it."""
    layer_decay: float = 1.0
    """Factor on the rate for each stage further from the head."""
    weight_decay: float = 0.02
    """Weight decay, not on biases and norms."""
    schedule: Literal["one_cycle", "cosine", "step"] = "cosine"
    """Course of the learning rate: one-cycle, cosine after a warm-up, or a tenth after each third."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises (one-cycle, cosine)."""
    clip: float = 10.0
    """Largest norm of all gradients together; 0 does not clip."""
    ema: float = 0.99
    """Decay of the moving average of the weights, which is what is evaluated and saved; 0 is off."""
    batch_norm: Literal["train", "frozen"] = "frozen"
    """Whether batch normalisation of the backbone's trained stages follows the batches."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of a training step; auto is bf16 where the device computes it in hardware, else fp32."""
    channels_last: AutoBool = "auto"
    """Channels-last memory layout; auto is yes on a CPU, and on a GPU in reduced precision."""
    workers: int | None = None
    """Processes that read pictures; 0 reads in the training process, which is the default on a CPU."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints; 0 saves after every step."""
    keep_checkpoints: int = 2
    """Checkpoints kept, the best epoch's weights aside."""
    best_by: DetectionMetric = "ap"
    """Validation figure that names the best epoch."""
    seed: int = 0
    """Seed of the split, the new layers and the order of images."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """What detects once the detector is trained: OpenVINO on a CPU, torch elsewhere, when not given."""
    augment: BoxAugmentConfig = field(default_factory=BoxAugmentConfig)
    """Augmentation of pictures and their boxes."""

    def __post_init__(self) -> None:
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        require(32 <= self.size <= 4096, "size", self.size, "from 32 to 4096 pixels")
        require_stages(self.trainable_layers, "trainable_layers")
        require_steps(self)
