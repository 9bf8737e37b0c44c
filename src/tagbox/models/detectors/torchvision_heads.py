"""torchvision's FCOS, RetinaNet and Faster R-CNN on the maps of any backbone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import (
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from tagbox.config.detector import DetectorConfig
from tagbox.config.detector_training import input_size
from tagbox.errors import TagboxError
from tagbox.models.detectors.base import DetectorSpec
from tagbox.models.detectors.pyramid import Pyramid, feature_maps
from tagbox.models.detectors.torchvision_adapter import OneStage, TorchvisionDetector, TwoStage
from tagbox.models.detectors.torchvision_detectors import DETECTIONS, LARGEST, SMALLEST

WIDTH = 256
"""Channels of the pyramid, as torchvision's detectors have them."""
MAPS = ("0", "1", "2")
ANCHORS = ((32,), (64,), (128,), (256,))
"""Sides in pixels of Faster R-CNN's anchors: four times the stride of each map, as RetinaNet has them."""
RATIOS = (0.5, 1.0, 2.0)
PROPOSALS = 300
"""Boxes of an image in the second stage of Faster R-CNN, as in its paper's experiments (Ren et al. 2015)."""
SAMPLES = 128
"""Of them those that a training step learns from, as in "Fast R-CNN" (Girshick, ICCV 2015): a quarter of torchvision's,
whose 512 take two thirds of a step's time on a CPU."""


@dataclass(frozen=True)
class Head:
    """One of torchvision's heads: the class that makes it a `Detector`, and the least score it gives."""

    face: type[TorchvisionDetector]
    score_threshold: float


HEADS = {
    "fcos": Head(OneStage, 0.05),
    "retinanet": Head(OneStage, 0.05),
    "fasterrcnn": Head(TwoStage, 0.05),
}


class PyramidBackbone(nn.Module):
    """A backbone and torchvision's feature pyramid on it.

    FCOS and RetinaNet use five levels (strides 8 to 128), Faster R-CNN four (8 to 64).
    """

    def __init__(self, pyramid: Pyramid, *, pooled: bool) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.fpn = FeaturePyramidNetwork(
            list(pyramid.channels),
            WIDTH,
            extra_blocks=LastLevelMaxPool() if pooled else LastLevelP6P7(WIDTH, WIDTH),
        )
        self.out_channels = WIDTH

    def forward(self, pixels: Tensor) -> OrderedDict[str, Tensor]:
        """The levels by name, from fine to coarse."""
        found: OrderedDict[str, Tensor] = self.fpn(
            OrderedDict(zip(MAPS, self.pyramid(pixels), strict=True))
        )
        return found


def create_on_pyramid(config: DetectorConfig, categories: int) -> TorchvisionDetector:
    """A new one on `config.backbone` with the backbone's weights; its own layers are drawn from the seed.

    Raises
    ------
    TagboxError
        ``detector-size``; the codes of `pyramid.feature_maps`.
    """
    if not SMALLEST <= input_size(config) <= LARGEST:
        raise TagboxError(
            "detector-size",
            f"{config.detector} takes sizes from {SMALLEST} to {LARGEST} pixels, not {input_size(config)}",
            where="size",
            hint="pass --size 320, or another between them",
        )
    weights = "default" if config.weights == "backbone" else config.weights
    pyramid = feature_maps(config.backbone, weights, input_size(config))
    head = HEADS[config.detector]
    options: dict[str, Any] = {"score_threshold": head.score_threshold, "detections": DETECTIONS}
    if head.face is TwoStage:
        options |= {"maps": [*MAPS, "pool"], "proposals": PROPOSALS}
    spec = DetectorSpec(
        detector=config.detector,
        backbone=config.backbone,
        categories=categories,
        size=input_size(config),
        fixed=False,
        multiple=pyramid.multiple,
        mean=pyramid.mean,
        std=pyramid.std,
        options=options,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _on(pyramid, spec)


def build_on_pyramid(spec: DetectorSpec) -> TorchvisionDetector:
    """An empty one for saved weights."""
    return _on(feature_maps(spec.backbone, "none", spec.size), spec)


def _on(pyramid: Pyramid, spec: DetectorSpec) -> TorchvisionDetector:
    head = HEADS[spec.detector]
    backbone = PyramidBackbone(pyramid, pooled=head.face is TwoStage)
    classes = spec.categories + head.face.background
    model: Any
    if spec.detector == "fcos":
        model = detection.FCOS(backbone, classes)
    elif spec.detector == "retinanet":
        model = detection.RetinaNet(backbone, classes)
    else:
        model = detection.FasterRCNN(
            backbone,
            classes,
            rpn_post_nms_top_n_test=spec.options["proposals"],
            box_batch_size_per_image=SAMPLES,
            rpn_anchor_generator=AnchorGenerator(ANCHORS, (RATIOS,) * len(ANCHORS)),
            box_roi_pool=MultiScaleRoIAlign(list(MAPS), output_size=7, sampling_ratio=2),
        )
    return head.face(spec, model, pyramid.stages("backbone.pyramid."))
