"""A real detector whose answers are known: patches of pure red, green and blue, found to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from tagbox.data.dataset import Categories
from tagbox.models.bundle import DetectorBundle
from tagbox.models.detectors.base import Detector, DetectorSpec, Found, Target
from tagbox.predictions.thresholds import ScoreThresholds

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = tuple(COLOURS)


def patch_spec(size: int = 128, *, fixed: bool = False, multiple: int = 32) -> DetectorSpec:
    return DetectorSpec(
        detector="patches",
        backbone="",
        categories=3,
        size=size,
        fixed=fixed,
        multiple=multiple,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
        options={},
    )


class PatchDetector(Detector):
    """A 1x1 convolution says how pure each colour is; connected pixels above a half are an object."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__(spec)
        # One colour less the two others, of the pixels before they were normalised.
        weight = 2 * torch.eye(3) - 1
        conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            conv.weight.copy_((weight * torch.tensor(spec.std))[:, :, None, None])
            conv.bias.copy_(weight @ torch.tensor(spec.mean))
        self.layers = nn.Sequential(conv, nn.ReLU())
        self.register_buffer("seen", torch.tensor(7))

    @property
    def body(self) -> nn.Module:
        return _Parts(self.layers)

    def found(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Found]:
        assert len(parts) == 2 and torch.equal(parts[1], 2 * parts[0])
        return [
            _patches(one[:, :height, :width].numpy())
            for one, (height, width) in zip(parts[0].cpu(), sizes, strict=True)
        ]

    def losses(self, *_: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    def loss_count(self, targets: Sequence[Target]) -> float:
        raise NotImplementedError

    def stages(self) -> list[list[str]]:
        return []


class _Parts(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        purity = self.layers(pixels)
        return purity, 2 * purity


def _patches(purity: NDArray[np.float32]) -> Found:
    boxes, scores, labels = [], [], []
    for label, one in enumerate(purity):
        regions, _ = ndimage.label(one > 0.5)
        for region, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            # Processors differ in the last bit of a pure colour; equal patches have equal scores.
            scores.append(round(float(np.clip(one[regions == region].mean(), 0, 1)), 5))
            labels.append(label)
    order = np.argsort(-np.array(scores), kind="stable")
    return Found(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)[order],
        scores=torch.tensor(scores, dtype=torch.float32)[order],
        labels=torch.tensor(labels, dtype=torch.int64)[order],
    )


def patch_bundle(
    spec: DetectorSpec | None = None, cuts: ScoreThresholds | None = None
) -> DetectorBundle:
    spec = spec or patch_spec()
    state = PatchDetector(spec).state_dict()
    return DetectorBundle(
        spec=spec,
        weights={name: value.numpy() for name, value in state.items()},
        categories=Categories(names=NAMES, ids=np.array([3, 1, 90]), supercategories=("",) * 3),
        cuts=cuts or ScoreThresholds(value=0.5),
    )


def scene(
    width: int, height: int, patches: Sequence[tuple[str, tuple[int, int, int, int]]]
) -> NDArray[np.uint8]:
    """A grey picture with patches of a colour at x, y, width, height."""
    image = np.full((height, width, 3), 90, np.uint8)
    for name, (x, y, w, h) in patches:
        image[y : y + h, x : x + w] = COLOURS[name]
    return image
