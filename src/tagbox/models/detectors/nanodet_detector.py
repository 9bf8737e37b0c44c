"""NanoDet-g as a detector in torch: new for any categories, with the weights of COCO's, and its training."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tagbox.config import DetectorConfig
from tagbox.config.detector_training import input_size
from tagbox.errors import TagboxError
from tagbox.models.backbones.base import Arrays
from tagbox.models.bundle import DetectorSpec
from tagbox.models.detectors.nanodet import (
    BINS,
    SLOPE,
    STAGES,
    STRIDES,
    WIDTH,
    Stage,
    nanodet_spec,
    openvino_model,
)
from tagbox.models.detectors.nanodet_weights import load_weights
from tagbox.models.detectors.positions import PRIOR, PositionDetector

DISTRIBUTION_WEIGHT = 0.25
"""Weight of the distribution focal loss relative to the score loss, as published."""
_SCORES = r"heads\.\d\.last\."
"""Names of the layers whose first K outputs are scores."""


class Block(nn.Module):
    """(B, C, H, W) to the same shape: half of the channels after one convolution, half after two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // 2, 3, 1, 1)
        self.deep = nn.Conv2d(channels // 2, channels // 2, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        narrow = _activated(self.narrow(x))
        return torch.cat([_activated(self.deep(narrow)), narrow], dim=1)


class CspStage(nn.Module):
    """(B, C, H, W) to (B, 2C, H / stride, W / stride)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        c = stage.channels
        self.first = nn.Conv2d(c, c, 3, stage.stride, 1)
        self.blocks = nn.Sequential(*(Block(c) for _ in range(stage.blocks)))
        self.last = nn.Conv2d(c, c, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        first = _activated(self.first(x))
        return torch.cat([_activated(self.last(self.blocks(first))), first], dim=1)


class Head(nn.Module):
    """(B, WIDTH, h, w) to (B, K + 4 * BINS, h, w)."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.last = nn.Conv2d(WIDTH, categories + 4 * BINS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        outputs: Tensor = self.last(_activated(self.first(x)))
        return outputs


class Backbone(nn.Module):
    """Normalised (B, 3, H, W) to three maps of strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STAGES[0].channels, 3, 2, 1)
        self.stages = nn.ModuleList(CspStage(stage) for stage in STAGES)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        x = functional.max_pool2d(_activated(self.stem(pixels)), 3, 2, 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class Body(nn.Module):
    """Backbone, pyramid and heads: normalised images to one map (B, K + 4 * BINS, H / s, W / s) for each stride s."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.laterals = nn.ModuleList(nn.Conv2d(2 * s.channels, WIDTH, 1) for s in STAGES[1:])
        self.heads = nn.ModuleList(Head(categories) for _ in STRIDES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        maps = [layer(x) for layer, x in zip(self.laterals, self.backbone(pixels), strict=True)]
        for level in (1, 0):
            maps[level] = maps[level] + _resized(maps[level + 1], 2.0)
        for level in (1, 2):
            maps[level] = maps[level] + _resized(maps[level - 1], 0.5)
        return tuple(head(x) for head, x in zip(self.heads, maps, strict=True))


def _activated(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


def _resized(x: Tensor, factor: float) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class NanoDet(PositionDetector):
    """See the module. The assignment of positions to objects is `positions.assign`, not the published one (ATSS)."""

    _body: Body

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__(spec, Body(spec.categories), STRIDES)

    def draw(self) -> None:
        """Draw all weights: the convolutions for their rectifiers, the last layers as small as published."""
        for name, parameter in self._body.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.startswith("heads"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.kaiming_normal_(parameter, a=SLOPE)
            if re.fullmatch(_SCORES + "bias", name):
                nn.init.constant_(parameter[: self.spec.categories], -math.log((1 - PRIOR) / PRIOR))

    def take(self, arrays: Arrays, known: Sequence[str], names: Sequence[str]) -> None:
        """Take weights for the categories `known`, for its own `names`; other categories' scores stay as they are.

        Without names the scores are taken where there are as many.
        """
        state = {name: torch.from_numpy(array.copy()).float() for name, array in arrays.items()}
        inside = dict(self._body.named_parameters())
        rows = {name: row for row, name in enumerate(known)}
        pairs = [(row, rows[name]) for row, name in enumerate(names) if name in rows]
        with torch.no_grad():
            for name, value in state.items():
                own, given = inside[name], len(value) - 4 * BINS
                if not re.match(_SCORES, name) or (not known and given == len(names)):
                    own.copy_(value)
                    continue
                own[len(names) :] = value[given:]
                for row, published in pairs:
                    own[row] = value[published]

    def openvino_model(self, shape: Sequence[int]) -> Any:
        """See `Detector.openvino_model`: built from the description."""
        return openvino_model({k: v.numpy() for k, v in self._body.state_dict().items()}, shape)

    def stages(self) -> list[list[str]]:
        """See `Detector.stages`: the stem, then the four stages."""
        names = [name for name, _ in self.named_parameters()]
        starts = ["_body.backbone.stem."] + [
            f"_body.backbone.stages.{i}." for i in range(len(STAGES))
        ]
        return [[name for name in names if name.startswith(start)] for start in starts]

    def boxes(self, outputs: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """See `PositionDetector.boxes`: the mean of each side's distribution is its distance."""
        bins = torch.arange(BINS, dtype=outputs.dtype, device=outputs.device)
        mean = (outputs.reshape(*outputs.shape[:-1], 4, BINS).softmax(dim=-1) * bins).sum(dim=-1)
        away = mean * strides[:, None]
        return torch.cat([points - away[..., :2], points + away[..., 2:]], dim=-1)

    def box_losses(
        self, outputs: Tensor, points: Tensor, strides: Tensor, boxes: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        """``distribution``: cross-entropy of the two bins around each side's distance, weighted by their nearness."""
        apart = torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], dim=1) / strides[:, None]
        apart = apart.clamp(0, BINS - 1 - 1e-2)
        low = apart.long()
        share = (apart - low).flatten()
        logits = outputs.reshape(-1, BINS)
        cost = functional.cross_entropy(logits, low.flatten(), reduction="none") * (1 - share)
        cost = cost + functional.cross_entropy(logits, low.flatten() + 1, reduction="none") * share
        return {
            "distribution": DISTRIBUTION_WEIGHT * (cost.reshape(-1, 4).mean(dim=1) * weight).sum()
        }


def create_nanodet(config: DetectorConfig, names: Sequence[str]) -> NanoDet:
    """A new one for these categories, with the weights of `config.weights`.

    A category that the weights know by name keeps its score layer; the others' are drawn from the seed.

    Raises
    ------
    TagboxError
        ``detector-size`` for a size that is no multiple of 32; the codes of `nanodet_weights.load_weights`.
    """
    size = input_size(config)
    if size % STRIDES[-1]:
        near = max(1, round(size / STRIDES[-1])) * STRIDES[-1]
        raise TagboxError(
            "detector-size",
            f"{config.detector} takes multiples of {STRIDES[-1]} pixels, not {size}",
            where="size",
            hint=f"pass --size {near}",
        )
    loaded = None if config.weights == "none" else load_weights(config.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        detector = NanoDet(nanodet_spec(len(names), size))
        detector.draw()
    if loaded is not None:
        detector.take(*loaded, names)
    return detector


def build_nanodet(spec: DetectorSpec) -> NanoDet:
    """An empty one for saved weights."""
    return NanoDet(spec)
