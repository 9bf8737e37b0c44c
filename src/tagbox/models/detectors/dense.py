"""The default detector: one box and K scores at every position of three maps, light enough for two cores.

A feature pyramid (Lin et al., "Feature Pyramid Networks", CVPR 2017) with a way back down to the coarse
maps (Liu et al., "Path Aggregation Network", CVPR 2018), of depthwise separable convolutions; a head
without anchors whose boxes are offset and size of a cell (Ge et al., "YOLOX", 2021); trained as
`models.detectors.positions` has it. Normalisation is by groups of channels: no statistic of a batch enters, so
that parts of a batch and several processes give the losses of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tagbox.config import DetectorConfig
from tagbox.config.detector_training import input_size
from tagbox.models.detectors.base import DetectorSpec
from tagbox.models.detectors.positions import PRIOR, PositionDetector
from tagbox.models.detectors.pyramid import Pyramid, feature_maps

WIDTH = 96
"""Channels of pyramid and head."""
GROUPS = 8
LARGEST = 6.0
"""Limit of the logarithm of a box's size in cells, against overflow."""


class Separable(nn.Sequential):
    """A depthwise 5x5 and a pointwise convolution, normalised by groups, with SiLU."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(width, width, 5, stride, 2, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.SiLU(inplace=True),
        )


class Neck(nn.Module):
    """Maps of a backbone to as many maps of one width: from coarse to fine and back."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1, bias=False), nn.GroupNorm(GROUPS, width))
            for c in channels
        )
        steps = len(channels) - 1
        self.down = nn.ModuleList(Separable(width) for _ in range(steps))
        self.shrink = nn.ModuleList(Separable(width, stride=2) for _ in range(steps))
        self.up = nn.ModuleList(Separable(width) for _ in range(steps))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Fine to coarse in, fine to coarse out."""
        found = [layer(x) for layer, x in zip(self.lateral, maps, strict=True)]
        for level in reversed(range(len(found) - 1)):
            above = functional.interpolate(found[level + 1], scale_factor=2.0, mode="nearest")
            found[level] = self.down[level](found[level] + above)
        for level in range(len(found) - 1):
            below = self.shrink[level](found[level])
            found[level + 1] = self.up[level](found[level + 1] + below)
        return found


class Head(nn.Module):
    """Scores and boxes of one map: (B, K + 4, h, w)."""

    def __init__(self, width: int, categories: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            Separable(width), Separable(width), nn.Conv2d(width, categories, 1)
        )
        self.boxes = nn.Sequential(Separable(width), Separable(width), nn.Conv2d(width, 4, 1))
        last = self.scores[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, then offset and log size in cells."""
        return torch.cat([self.scores(x), self.boxes(x)], dim=1)


class Body(nn.Module):
    """Backbone, neck and head: normalised images to one map a level."""

    def __init__(self, pyramid: Pyramid, width: int, categories: int) -> None:
        super().__init__()
        self.backbone = pyramid
        self.neck = Neck(pyramid.channels, width)
        self.heads = nn.ModuleList(Head(width, categories) for _ in pyramid.channels)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, K + 4, H / s, W / s) for each stride s."""
        maps = self.neck(self.backbone(pixels))
        return tuple(head(x) for head, x in zip(self.heads, maps, strict=True))


class DenseDetector(PositionDetector):
    """See the module."""

    _body: Body

    def __init__(self, spec: DetectorSpec, pyramid: Pyramid) -> None:
        body = Body(pyramid, int(spec.options["width"]), spec.categories)
        super().__init__(spec, body, pyramid.strides)

    def stages(self) -> list[list[str]]:
        """See `Detector.stages`."""
        return self._body.backbone.stages("_body.backbone.")

    def boxes(self, outputs: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """See `PositionDetector.boxes`: offset of the centre and logarithm of half the size, in cells."""
        middle = points + outputs[..., :2] * strides[:, None]
        half = outputs[..., 2:].clamp(max=LARGEST).exp() * strides[:, None]
        return torch.cat([middle - half, middle + half], dim=-1)


def create_dense(config: DetectorConfig, categories: int) -> DenseDetector:
    """A new one on `config.backbone`, with the backbone's weights; its own layers are drawn from the seed.

    Raises
    ------
    TagboxError
        The codes of `models.detectors.pyramid.feature_maps`.
    """
    weights = "default" if config.weights == "backbone" else config.weights
    pyramid = feature_maps(config.backbone, weights, input_size(config))
    spec = DetectorSpec(
        detector="dense",
        backbone=config.backbone,
        categories=categories,
        size=input_size(config),
        fixed=False,
        multiple=pyramid.multiple,
        mean=pyramid.mean,
        std=pyramid.std,
        options={"width": WIDTH},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return DenseDetector(spec, pyramid)


def build_dense(spec: DetectorSpec) -> DenseDetector:
    """An empty one for saved weights."""
    return DenseDetector(spec, feature_maps(spec.backbone, "none", spec.size))
