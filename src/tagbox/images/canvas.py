"""Where a picture lies in a detector's input: its upper left corner, scaled down to fit, never up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagbox.images.geometry import PAD_VALUE

FLAT = 0.75
"""Shorter side of an oblong canvas as a share of the longer one: most photographs are 4:3 or 3:2."""
LEAST = 64
"""Pixels that the side of a canvas is not halved below."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a detector takes; see `models.detectors.spec.DetectorSpec` for its fields."""

    size: int
    fixed: bool
    multiple: int

    def inner(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of a `width` x `height` picture inside its canvas."""
        return fitted(width, height, self.size, fixed=self.fixed)

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of the canvas of pictures that are at most `width` x `height` inside it.

        One of few, so that an engine compiled for a shape is compiled seldom: square, or lying or standing at
        `FLAT`; its longer side is `size`, or for small pictures a half, a quarter and so on of it. Training
        and detecting take the same, since a network that normalises over the canvas sees the grey too.
        """
        side = float(self.size)
        while not self.fixed and side / 2 >= max(width, height, LEAST):
            side /= 2
        whole, flat = self._multiple(side), self._multiple(side if self.fixed else side * FLAT)
        if height <= flat:
            return whole, flat
        return (flat, whole) if width <= flat else (whole, whole)

    def _multiple(self, pixels: float) -> int:
        return math.ceil(pixels / self.multiple) * self.multiple


def fitted(width: int, height: int, size: int, *, fixed: bool = False) -> tuple[int, int]:
    """Width and height of a picture whose longest side is at most `size`; `fixed` stretches it to a square.

    A smaller picture stays as it is: none is scaled up, but where it is stretched.
    """
    if fixed:
        return size, size
    scale = min(1.0, size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def on_canvas(
    image: NDArray[np.uint8], inner: tuple[int, int], canvas: tuple[int, int]
) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 picture scaled to `inner` and filled up with grey to `canvas` (widths first)."""
    from PIL import Image

    if image.shape[1::-1] != inner:
        # As `images.geometry` does: Pillow's filters widen when they shrink, so nothing aliases.
        picture = Image.fromarray(image).resize(inner, Image.Resampling.BICUBIC)
        image = np.asarray(picture)
    if inner == canvas:
        return np.array(image)  # Pillow's pixels cannot be written to, which torch minds.
    filled = np.full((canvas[1], canvas[0], 3), PAD_VALUE, np.uint8)
    filled[: inner[1], : inner[0]] = image
    return filled
