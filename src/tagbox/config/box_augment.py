"""How training pictures and their boxes are varied."""

from __future__ import annotations

from dataclasses import dataclass

from tagbox.config.base import Config, require


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
