"""The interface of a detector: a body that runs on any engine, and its detections and loss; crowd regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from tagbox.models.bundle import DetectorSpec as DetectorSpec
from tagbox.models.freezing import last_stages, still_modules


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of one image, in pixels of that image as it lies in the batch.

    Attributes
    ----------
    boxes
        (G, 4) float32 xyxy, each with an area; (0, 4) for an image without objects.
    labels
        (G,) int64 category rows 0..K-1.
    ignore
        (I, 4) float32 xyxy: crowd regions, in which a detection is neither right nor wrong.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor

    def to(self, device: torch.device | str) -> Target:
        """The same on another device."""
        return Target(self.boxes.to(device), self.labels.to(device), self.ignore.to(device))


@dataclass(frozen=True, eq=False)
class Found:
    """What was detected in one image, best first.

    Attributes
    ----------
    boxes
        (D, 4) float32 xyxy in pixels of the image as it lay in the batch, clipped to it.
    scores
        (D,) float32 in 0..1.
    labels
        (D,) int64 category rows.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Detector(nn.Module, ABC):
    """A detector of K categories.

    Images come as (B, H, W, 3) uint8, each in the upper left corner of its square, filled up to the
    right and below; `sizes` are their own (height, width).
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.channels_last = False
        self.trained: list[Sequence[str]] = []
        self._still: list[nn.Module] = []

    def freeze(self, trainable_layers: str, *, train_norms: bool) -> None:
        """Leave `trainable_layers` of the backbone trainable (``none``, ``all``, a number of its last stages).

        Raises
        ------
        TagboxError
            ``config-value`` where the backbone has fewer stages.
        """
        stages = self.stages()
        self.trained = last_stages(
            stages, trainable_layers, name=self.spec.detector, where="trainable_layers"
        )
        trained = {name for stage in self.trained for name in stage}
        frozen = {name for stage in stages for name in stage} - trained
        parameters = dict(self.named_parameters())
        for name in frozen:
            parameters[name].requires_grad_(False)
        learned = {name for name, parameter in parameters.items() if parameter.requires_grad}
        self._still = still_modules(self, learned, train_norms)

    def train(self, mode: bool = True) -> Self:
        """Training mode for what is trained; the rest stays in eval."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def use_channels_last(self) -> Self:
        """Keep weights and images in the memory layout that convolutions like better on most devices."""
        self.channels_last = True
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        return self

    @property
    @abstractmethod
    def body(self) -> nn.Module:
        """Normalised float32 (B, 3, H, W) -> a tuple of float32 tensors: all that is worth an engine of its own."""

    def openvino_model(self, shape: Sequence[int]) -> Any:
        """The `openvino.Model` of the body for normalised pixels of that shape, (B, 3, H, W)."""
        from tagbox.models.backbones.torch_backbones import convert_module

        return convert_module(self.body, list(shape))

    @abstractmethod
    def found(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Found]:
        """Detections from what `body` gave, (0, 4) boxes where there are none; no gradient.

        `pixels` is what `body` took.
        """

    @abstractmethod
    def losses(
        self,
        parts: Sequence[Tensor],
        pixels: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Each part of the loss as a scalar sum, to be divided by `loss_count` over the whole batch."""

    @abstractmethod
    def loss_count(self, targets: Sequence[Target]) -> float:
        """What sums of losses are divided by: boxes, or images; at least the sum over parts of a batch is exact."""

    @abstractmethod
    def stages(self) -> list[list[str]]:
        """Names of the backbone's parameters in this module, stage by stage from the image on."""

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target] | None = None,
    ) -> tuple[dict[str, Tensor], list[Found] | None]:
        """Losses where there are targets; detections in eval mode."""
        pixels = self.normalise(images)
        parts = self.body(pixels)
        losses = {} if targets is None else self.losses(parts, pixels, sizes, targets)
        return losses, None if self.training else self.found(parts, pixels, sizes)

    def normalise(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 to normalised float32 (B, 3, H, W); what fills up an image is treated like it."""
        mean = torch.tensor(self.spec.mean, device=images.device) * 255
        std = torch.tensor(self.spec.std, device=images.device) * 255
        pixels = ((images.float() - mean) / std).permute(0, 3, 1, 2)
        form = torch.channels_last if self.channels_last else torch.contiguous_format
        return pixels.contiguous(memory_format=form)


CROWDED = 0.5
"""Share of a box's area in a crowd region from which on it is not trained as background."""
CERTAIN = 30.0
"""A logit whose probability is 1 in float32, with a loss of 0."""


def crowded(boxes: Tensor, target: Target) -> Tensor:
    """(A,) bool: which of (A, 4) xyxy boxes lie at least half in a crowd region and touch no object."""
    if not len(target.ignore):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    inside = _shared(boxes, target.ignore).amax(dim=1) >= CROWDED * area
    if not len(target.boxes):
        return inside
    return inside & (_shared(boxes, target.boxes).amax(dim=1) == 0)


def _shared(boxes: Tensor, others: Tensor) -> Tensor:
    """(A, G) areas of intersections."""
    upper = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    lower = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (lower - upper).clamp(min=0).prod(dim=2)
