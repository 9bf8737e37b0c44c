"""Augmentation of training images, and of images with boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagbox.config.base import Config, require

Crop = Literal["auto", "boxes", "plain", "none"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """Augmentation of images; the random values follow from the seed, the epoch and the image."""

    flip: bool = True
    """Mirror half of the images left to right."""
    vertical_flip: bool = False
    """Flip half of the images upside down."""
    rotate: float = 0.0
    """Largest angle of the random rotation in degrees."""
    color: float = 0.0
    """Largest relative change of brightness, contrast and saturation."""
    randaugment: int = 0
    """RandAugment operations per image."""
    randaugment_magnitude: int = 9
    """Magnitude of RandAugment's operations, from 0 to 30."""
    crop: Crop = "auto"
    """Random resized crop. boxes: labels whose objects are outside the crop are dropped; plain: labels are
    kept; auto: boxes where the data has boxes, else none."""
    crop_scale: float = 0.5
    """Smallest area of a crop, as a share of the image's area."""
    crop_visible: float = 0.25
    """Smallest share of an object that must be inside a crop for its label to stay; below it the label is
    unknown."""
    cutout: float = 0.0
    """Side of the grey square cut out of each image, as a share of the image's side; 0 disables it."""
    mixup: float = 0.0
    """Alpha of mixup; 0 disables it."""
    cutmix: float = 0.0
    """Alpha of CutMix; 0 disables it."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
    """Augmentation of images with boxes; the random values follow from the seed, the epoch and the image."""

    flip: bool = True
    """Mirror half of the images left to right."""
    vertical_flip: bool = False
    """Flip half of the images upside down."""
    rotate: float = 0.0
    """Largest angle of the random rotation in degrees; boxes become the upright boxes around the rotated
    ones."""
    photometric: float = 0.5
    """Probability of a random change of brightness, contrast, saturation and hue."""
    zoom_out: float = 0.0
    """Probability of placing an image on a larger grey canvas."""
    iou_crop: float = 0.0
    """Probability of a random crop in which at least one box keeps a random minimum IoU."""
    scale_jitter: float = 0.0
    """Scale images by a random factor from 1 - `scale_jitter` to 1 + `scale_jitter`, and crop or pad them to
    the network's size."""
    mosaic: float = 0.0
    """Probability of a mosaic of four images."""
    min_visible: float = 0.3
    """Smallest share of a box that must stay in the image; a box with less becomes a region to ignore."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rotate <= 180, "rotate", self.rotate, "from 0 to 180 degrees")
        for name in ("photometric", "zoom_out", "iou_crop", "mosaic"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        require(0 <= self.scale_jitter < 1, "scale_jitter", self.scale_jitter, "in [0, 1)")
        require(0 < self.min_visible <= 1, "min_visible", self.min_visible, "in (0, 1]")


def resolve_crop(crop: Crop, has_boxes: bool) -> Crop:
    """Resolve ``auto``: ``boxes`` where the data has boxes, else ``none``."""
    if crop == "auto":
        return "boxes" if has_boxes else "none"
    return crop
