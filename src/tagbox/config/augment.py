"""How training pictures are varied while the whole network is trained."""

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
