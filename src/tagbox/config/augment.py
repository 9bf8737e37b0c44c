"""How training pictures are varied while the whole network is trained.

How training pictures and their boxes are varied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagbox.config.base import Config, require

Crop = Literal["auto", "boxes", "plain", "none"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """Augmentation of pictures; each picture's draws follow from the seed, the epoch and the picture."""

    flip: bool = True
    """Mirror half of the pictures left to right."""
    vertical_flip: bool = False
    """Turn half of the pictures upside down."""
    rotate: float = 0.0
    """Rotate by up to this many degrees."""
    color: float = 0.0
    """Change brightness, contrast and saturation by up to this share."""
    randaugment: int = 0
    """RandAugment operations on each picture."""
    randaugment_magnitude: int = 9
    """Strength of RandAugment's operations, 0 to 30."""
    crop: Crop = "auto"
    """Random resized crop. boxes: a label whose objects left the picture is dropped; auto: that where the
    data has boxes, else none."""
    crop_scale: float = 0.5
    """Smallest share of the picture's area that a crop keeps."""
    crop_visible: float = 0.25
    """Share of an object that must be in a crop for its label to stay; below it the label is unknown."""
    cutout: float = 0.0
    """Side of the grey square cut out of each picture, as a share of the picture's side."""
    mixup: float = 0.0
    """Alpha of mixup; 0 is off."""
    cutmix: float = 0.0
    """Alpha of CutMix; 0 is off."""

    def __post_init__(self) -> None:
        require(0 <= self.rotate <= 180, "rotate", self.rotate, "from 0 to 180 degrees")
        require(0 <= self.color < 1, "color", self.color, "in [0, 1)")
        require(0 <= self.randaugment <= 10, "randaugment", self.randaugment, "from 0 to 10")
        magnitude = self.randaugment_magnitude
        require(0 <= magnitude <= 30, "randaugment_magnitude", magnitude, "from 0 to 30")
        require(0 < self.crop_scale <= 1, "crop_scale", self.crop_scale, "in (0, 1]")
        require(0 < self.crop_visible <= 1, "crop_visible", self.crop_visible, "in (0, 1]")
        require(0 <= self.cutout < 1, "cutout", self.cutout, "in [0, 1)")
        require(self.mixup >= 0, "mixup", self.mixup, "at least 0")
        require(self.cutmix >= 0, "cutmix", self.cutmix, "at least 0")


@dataclass(frozen=True, kw_only=True)
class BoxAugmentConfig(Config):
    """Augmentation with boxes; each picture's draws follow from the seed, the epoch and the picture."""

    flip: bool = True
    """Mirror half of the pictures left to right."""
    vertical_flip: bool = False
    """Turn half of the pictures upside down."""
    rotate: float = 0.0
    """Rotate by up to this many degrees; boxes become the upright boxes around the turned ones."""
    photometric: float = 0.5
    """Share of pictures whose brightness, contrast, saturation and hue are changed."""
    zoom_out: float = 0.0
    """Share of pictures put on a larger grey canvas."""
    iou_crop: float = 0.0
    """Share of pictures cropped so that at least one box keeps a drawn overlap."""
    scale_jitter: float = 0.0
    """Scale pictures by a factor from 1 - this to 1 + this, cropped or padded to the network's size."""
    mosaic: float = 0.0
    """Share of pictures put together from four."""
    min_visible: float = 0.3
    """Share of a box that must stay in the picture; below it the box goes, as a region to ignore."""

    def __post_init__(self) -> None:
        require(0 <= self.rotate <= 180, "rotate", self.rotate, "from 0 to 180 degrees")
        for name in ("photometric", "zoom_out", "iou_crop", "mosaic"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        require(0 <= self.scale_jitter < 1, "scale_jitter", self.scale_jitter, "in [0, 1)")
        require(0 < self.min_visible <= 1, "min_visible", self.min_visible, "in (0, 1]")
