"""The default detector: one box and K scores at every position of three maps, light enough for two cores.

A feature pyramid (Lin et al., "Feature Pyramid Networks", CVPR 2017) with a way back down to the coarse
maps (Liu et al., "Path Aggregation Network", CVPR 2018), of depthwise separable convolutions; a head
without anchors whose boxes are offset and size of a cell (Ge et al., "YOLOX", 2021); positions assigned by
`models.detectors.assignment`. Normalisation is by groups of channels: no statistic of a batch enters, so
that parts of a batch and several processes give the losses of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tagbox.config import DetectorConfig
from tagbox.models.detectors.assignment import assign
from tagbox.models.detectors.base import Detector, DetectorSpec, Found, Target
from tagbox.models.detectors.pyramid import Pyramid, feature_maps

WIDTH = 96
"""Channels of pyramid and head."""
GROUPS = 8
FOCUS = 2.0
"""Exponent of the quality focal loss (Li et al., "Generalized Focal Loss", NeurIPS 2020)."""
BOX_WEIGHT = 2.0
"""Of the box part beside the score part, as TOOD has it."""
PRIOR = 0.01
"""Score of every position before training."""
LARGEST = 6.0
"""Limit of the logarithm of a box's size in cells, against overflow."""
LEAST_SCORE, CANDIDATES, MOST, NMS_IOU = 0.005, 1000, 100, 0.6
"""Detections below the score are none; the best of the rest are suppressed class by class, and at most 100 kept."""


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
        for place in reversed(range(len(found) - 1)):
            above = functional.interpolate(found[place + 1], scale_factor=2.0, mode="nearest")
            found[place] = self.down[place](found[place] + above)
        for place in range(len(found) - 1):
            below = self.shrink[place](found[place])
            found[place + 1] = self.up[place](found[place + 1] + below)
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
    """Backbone, neck and head: normalised pictures to one map a level."""

    def __init__(self, pyramid: Pyramid, width: int, categories: int) -> None:
        super().__init__()
        self.backbone = pyramid
        self.neck = Neck(pyramid.channels, width)
        self.heads = nn.ModuleList(Head(width, categories) for _ in pyramid.channels)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(B, K + 4, H / s, W / s) for each stride s."""
        maps = self.neck(self.backbone(pixels))
        return tuple(head(x) for head, x in zip(self.heads, maps, strict=True))


class DenseDetector(Detector):
    """See the module."""

    def __init__(self, spec: DetectorSpec, pyramid: Pyramid) -> None:
        super().__init__(spec)
        self.strides = tuple(pyramid.strides)
        self._body = Body(pyramid, int(spec.options["width"]), spec.categories)

    @property
    def body(self) -> nn.Module:
        """See `Body`."""
        return self._body

    def stages(self) -> list[list[str]]:
        """See `Detector.stages`."""
        return self._body.backbone.stages("_body.backbone.")

    def loss_count(self, targets: Sequence[Target]) -> float:
        """Boxes; a batch without any is divided by 1."""
        return float(sum(len(target.boxes) for target in targets))

    def losses(
        self,
        parts: Sequence[Tensor],
        pixels: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """``score``: quality focal loss; ``box``: generalised IoU, weighted by the target score."""
        from torchvision.ops import generalized_box_iou_loss

        logits, boxes, points, strides = self._positions(parts)
        with torch.no_grad():
            wanted = assign(logits.sigmoid(), boxes, points, strides, targets)
        known = wanted.known & _on_picture(points, sizes)
        focus = (wanted.scores - logits.sigmoid()).abs().pow(FOCUS)
        cost = functional.binary_cross_entropy_with_logits(logits, wanted.scores, reduction="none")
        positive = wanted.weight > 0
        apart = generalized_box_iou_loss(boxes[positive], wanted.boxes[positive])
        return {
            "score": (focus * cost).sum(dim=2)[known].sum(),
            "box": BOX_WEIGHT * (apart * wanted.weight[positive]).sum(),
        }

    def found(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Found]:
        """See `Detector.found`."""
        with torch.no_grad():
            logits, boxes, points, _ = self._positions([part.float() for part in parts])
            on_picture = _on_picture(points, sizes)
            return [
                _best(scores[there], own[there], size)
                for scores, own, there, size in zip(
                    logits.sigmoid(), boxes, on_picture, sizes, strict=True
                )
            ]

    def _positions(self, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All levels in one row: logits (B, A, K), boxes (B, A, 4) xyxy, centres (A, 2), strides (A,)."""
        flat, points, strides = [], [], []
        for part, stride in zip(parts, self.strides, strict=True):
            height, width = part.shape[-2:]
            flat.append(part.float().flatten(2).transpose(1, 2))
            y, x = torch.meshgrid(
                torch.arange(height, device=part.device),
                torch.arange(width, device=part.device),
                indexing="ij",
            )
            points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
            strides.append(torch.full((height * width,), float(stride), device=part.device))
        said, centres, steps = torch.cat(flat, dim=1), torch.cat(points), torch.cat(strides)
        categories = self.spec.categories
        offset, size = said[..., categories : categories + 2], said[..., categories + 2 :]
        middle = centres + offset * steps[:, None]
        half = size.clamp(max=LARGEST).exp() * steps[:, None]
        boxes = torch.cat([middle - half, middle + half], dim=-1)
        return said[..., :categories], boxes, centres, steps


def _on_picture(points: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, A) bool: positions whose centre lies on the picture, not on what fills it up."""
    limits = torch.tensor([(w, h) for h, w in sizes], device=points.device)
    return (points[None] < limits[:, None]).all(dim=-1)


def _best(scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> Found:
    """The detections of a picture of (height, width): scores (A, K), boxes (A, 4)."""
    from torchvision.ops import batched_nms, clip_boxes_to_image

    positions, labels = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    values = scores[positions, labels]
    order = values.sort(descending=True, stable=True).indices[:CANDIDATES]
    positions, labels, values = positions[order], labels[order], values[order]
    own = clip_boxes_to_image(boxes[positions], size)
    kept = batched_nms(own, values, labels, NMS_IOU)[:MOST]
    return Found(own[kept], values[kept], labels[kept])


def create_dense(config: DetectorConfig, categories: int) -> DenseDetector:
    """A new one on `config.backbone`, with the backbone's weights; its own layers are drawn from the seed.

    Raises
    ------
    TagboxError
        The codes of `models.detectors.pyramid.feature_maps`.
    """
    weights = "default" if config.weights == "backbone" else config.weights
    pyramid = feature_maps(config.backbone, weights, config.size)
    spec = DetectorSpec(
        detector="dense",
        backbone=config.backbone,
        categories=categories,
        size=config.size,
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
