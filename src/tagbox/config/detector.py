"""Settings of a detector and its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tagbox.config.augment import BoxAugmentConfig
from tagbox.config.base import Config, require, require_seed
from tagbox.config.finetune import AutoBool, require_stages, require_steps

DetectionMetric = Literal["ap", "ap50", "ap75", "val_loss"]
ON_A_BACKBONE = ("dense", "fcos", "retinanet", "fasterrcnn")
"""Detectors on any backbone."""
NANODET = "nanodet_g"
"""Small detector with COCO weights that come as a package."""
OF_TORCHVISION = (
    *("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"),
    *("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"),
    *("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"),
    *("ssd300_vgg16", "ssdlite320_mobilenet_v3_large"),
)
"""Detectors of torchvision, with a backbone and published weights of their own."""
HUGGINGFACE = "huggingface/"
"""Begins the name of a transformer of the hub."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(Config):
    """Settings of a detector and of its training."""

    val: Path | None = None
    """Validation dataset; when not given, the `val` that the training data states, else a stratified part of it."""
    val_images: Path | None = None
    """Folder of the validation images."""
    allow_overlap: bool = False
    """Train although validation images are training images too."""
    val_fraction: float = 0.1
    """Share of the training data used for validation when `val` is not given."""
    detector: str = "dense"
    """dense, fcos, retinanet or fasterrcnn on `backbone`; nanodet_g; a torchvision detector such as
    fasterrcnn_resnet50_fpn_v2; or huggingface/OWNER/NAME for a transformer."""
    backbone: str = "efficientnet_lite0"
    """Backbone of dense, fcos, retinanet and fasterrcnn: packaged, from torchvision or from timm."""
    weights: str = "default"
    """Pretrained weights: `default` (COCO weights where the detector has them, else the backbone's),
    `packaged`, `backbone`, `none`, or the path of a checkpoint."""
    size: int | None = None
    """Longest side of an image in the network, in pixels: larger images are scaled down, none is scaled up. When
    not given 320; 416 for nanodet_g, 640 for a transformer, 300 for ssd300_vgg16."""
    trainable_layers: str = "all"
    """Trained part of the backbone: none, all, or the number of its last stages."""
    boxes: Literal["refuse", "drop"] = "refuse"
    """Training boxes without area or outside their image: refuse stops and names them, drop leaves them out."""
    epochs: int = 20
    """Maximum number of epochs."""
    patience: int = 20
    """Epochs without improvement of `best_by` after which training stops."""
    batch_size: int = 8
    """Images per optimizer step, over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts that a batch is computed in (gradient accumulation); more parts need less memory."""
    optimizer: Literal["adamw", "sgd"] | None = None
    """Optimizer; sgd uses Nesterov momentum of 0.9. This and the next settings are, when not given, those that the
    detector was published with."""
    learning_rate: float | None = None
    """Peak learning rate of the detector's own layers; when not given in proportion to `batch_size`, but 0.002 for
    dense and nanodet_g."""
    backbone_rate: float | None = None
    """Learning rate of the backbone, as a share of `learning_rate`."""
    layer_decay: float = 1.0
    """Factor on the learning rate for each stage further from the head."""
    weight_decay: float | None = None
    """Weight decay, not applied to biases and norms."""
    schedule: Literal["one_cycle", "cosine", "step", "multistep"] | None = None
    """Learning-rate schedule: one_cycle; cosine after a linear warm-up; step (a tenth after each third); multistep
    (after a linear warm-up, a tenth after 16/26 and after 22/26 of the steps)."""
    warmup: float | None = None
    """Share of the steps in which the learning rate rises (not with step)."""
    clip: float | None = None
    """Maximum norm of the gradients; 0 disables clipping."""
    ema: float | None = None
    """Decay of the moving average of the weights, which is evaluated and saved; 0 disables it."""
    batch_norm: Literal["train", "frozen"] | None = None
    """Whether batch normalisation in the backbone's trained stages updates its statistics (train) or not
    (frozen); when not given frozen, but train without pretrained weights."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Floating-point format of training; auto is bf16 where the device computes it in hardware, else fp32."""
    channels_last: AutoBool = "auto"
    """Channels-last memory layout; auto is yes on a CPU, and on a GPU in reduced precision."""
    workers: int | None = None
    """Processes that read images; 0, the default on a CPU, reads in the training process."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints; 0 saves after every step."""
    keep_checkpoints: bool | int = False
    """Keep the newest checkpoints of the finished run: 2, or as many as given. Without it they are removed."""
    best_by: DetectionMetric = "ap"
    """Validation metric that selects the best epoch."""
    seed: int = 0
    """Random seed of the split, the new layers and the order of images."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Device to compute on."""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    """Inference engine of the trained detector; auto is OpenVINO on a CPU, torch elsewhere."""
    augment: BoxAugmentConfig = field(default_factory=BoxAugmentConfig)
    """Augmentation of images and their boxes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "between 0 and 1")
        require(
            self.size is None or 32 <= self.size <= 4096,
            "size",
            self.size,
            "from 32 to 4096 pixels",
        )
        require_stages(self.trainable_layers, "trainable_layers")
        require_steps(self)
