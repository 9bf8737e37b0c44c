"""From a picture to the square a network sees, and back: squash, pad, or centre crop.

Where a picture lies in a detector's input: its upper left corner, scaled down to fit, never up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Geometry

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PAD_VALUE = 128
"""Grey of the borders that `pad` adds: close to zero after any backbone's normalisation."""


@dataclass(frozen=True)
class Placement:
    """How picture coordinates map to those of the square, both in pixels from the upper left corner.

    ``square = picture * scale + offset``, for x and y each. Coordinates outside ``0..size`` fell off
    (`crop`); squares' pixels outside the picture's image are border (`pad`).
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_square(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) picture points x, y to points of the square."""
        return np.asarray(points, np.float64) * self._scale + self._offset

    def to_picture(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) points of the square to picture points x, y."""
        return (np.asarray(points, np.float64) - self._offset) / self._scale

    @property
    def _scale(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y])

    @property
    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.offset_x, self.offset_y])


def placement(width: int, height: int, size: int, geometry: Geometry) -> Placement:
    """Where a `width` x `height` picture lies in a square of `size` pixels.

    `squash` stretches the picture over the whole square; `pad` fits it in, centred, with its
    proportions (to the pixel) and grey borders; `crop` covers the square and loses what hangs over.
    """
    if geometry == "squash":
        return Placement(size / width, size / height, 0.0, 0.0)
    if geometry == "pad":
        inner_width, inner_height = _fitted(width, height, size)
        left, top = (size - inner_width) // 2, (size - inner_height) // 2
        return Placement(inner_width / width, inner_height / height, left, top)
    scale = size / min(width, height)
    return Placement(scale, scale, (size - width * scale) / 2, (size - height * scale) / 2)


def to_square(image: NDArray[np.uint8], size: int, geometry: Geometry) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 picture as (size, size, 3) uint8; resized by an antialiased bicubic filter."""
    from PIL import Image

    height, width = image.shape[:2]
    if geometry == "squash" and (width, height) == (size, size):
        return image
    picture = Image.fromarray(image)
    if geometry == "pad":
        inner = _fitted(width, height, size)
        left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
        square = np.full((size, size, 3), PAD_VALUE, np.uint8)
        square[top : top + inner[1], left : left + inner[0]] = _resize(picture, inner)
        return square
    box = (0.0, 0.0, float(width), float(height))
    if geometry == "crop":
        side = min(width, height)
        left_edge, top_edge = (width - side) / 2, (height - side) / 2
        box = (left_edge, top_edge, left_edge + side, top_edge + side)
    return np.asarray(_resize(picture, (size, size), box))


def _resize(
    picture: Picture, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Picture:
    from PIL import Image

    # Pillow's filters widen when they shrink, so nothing aliases; the packaged weights saw bicubic.
    return picture.resize(size, Image.Resampling.BICUBIC, box=box)


def _fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Whole-pixel width and height of the picture fitted into the square."""
    longer = max(width, height)
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


FLAT = 0.75
"""Shorter side of an oblong canvas as a share of the longer one: most photographs are 4:3 or 3:2."""
LEAST = 64
"""Pixels that the side of a canvas is not halved below."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a detector takes; see `models.bundle.DetectorSpec` for its fields."""

    size: int
    fixed: bool
    multiple: int

    def inner(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of a `width` x `height` picture inside its canvas."""
        return fitted_size(width, height, self.size, fixed=self.fixed)

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


def fitted_size(width: int, height: int, size: int, *, fixed: bool = False) -> tuple[int, int]:
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
