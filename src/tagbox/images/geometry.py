"""Geometry of network inputs: squares by squash, pad or crop for classifiers, letterboxes for detectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Geometry

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

T = TypeVar("T", bound=np.generic)
PAD_VALUE = 128
"""Grey of the padding, which is close to zero after the normalisation of any backbone."""


@dataclass(frozen=True)
class Placement:
    """The map from coordinates of an image to those of a square, in pixels from the upper left corner.

    ``square = image * scale + offset``, for x and y each. Coordinates outside ``0..size`` are cropped off.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_square(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) image points x, y to points of the square."""
        scale = np.array([self.scale_x, self.scale_y])
        offset = np.array([self.offset_x, self.offset_y])
        square: NDArray[np.float64] = np.asarray(points, np.float64) * scale + offset
        return square


def placement(width: int, height: int, size: int, geometry: Geometry) -> Placement:
    """The placement of a `width` x `height` image in a square of `size` pixels.

    `squash` stretches the image to the square; `pad` scales it to fit, centred between grey borders;
    `crop` scales its shorter side to the square and crops the longer one at the centre.
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
    """Convert an (H, W, 3) uint8 image to (size, size, 3) uint8 with an antialiased bicubic filter."""
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
    image: PILImage, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> PILImage:
    from PIL import Image

    # Pillow's filters are antialiased; the packaged weights were trained with the bicubic one.
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height in pixels of the image scaled to fit into the square."""
    longer = max(width, height)
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


ASPECT = 0.75
"""Shorter side of an oblong letterbox over the longer one: most photographs are 4:3 or 3:2."""
LEAST = 64
"""Side in pixels below which a letterbox is not halved."""


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """The input of a detector: an image in the upper left corner, scaled down to fit, and grey beside it.

    See `models.bundle.DetectorSpec` for the fields.
    """

    size: int
    fixed: bool
    multiple: int

    def inner(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of a `width` x `height` image inside its letterbox."""
        return fitted_size(width, height, self.size, fixed=self.fixed)

    def outer(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in pixels of the letterbox for images of at most `width` x `height` inside it.

        There are few shapes, since an engine compiles each: square, or wide or tall by `ASPECT`, with a longer
        side of `size`, or for small images a half, a quarter and so on of it. Training and inference use the
        same, since the padding influences a network that normalises over the whole input.
        """
        side = float(self.size)
        while not self.fixed and side / 2 >= max(width, height, LEAST):
            side /= 2
        long, short = self._multiple(side), self._multiple(side if self.fixed else side * ASPECT)
        if height <= short:
            return long, short
        return (short, long) if width <= short else (long, long)

    def _multiple(self, pixels: float) -> int:
        return math.ceil(pixels / self.multiple) * self.multiple


def fitted_size(width: int, height: int, size: int, *, fixed: bool = False) -> tuple[int, int]:
    """Width and height of an image scaled down to a longest side of at most `size`; `fixed` is a square of it."""
    if fixed:
        return size, size
    scale = min(1.0, size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def letterboxed(
    image: NDArray[np.uint8], inner: tuple[int, int], outer: tuple[int, int]
) -> NDArray[np.uint8]:
    """Scale an (H, W, 3) uint8 image to `inner` and pad it with grey to `outer` (widths first)."""
    from PIL import Image

    if image.shape[1::-1] != inner:
        image = np.asarray(_resize(Image.fromarray(image), inner))
    if inner == outer:
        return np.array(image)  # Pillow's pixels are read-only, which torch warns of.
    padded = np.full((outer[1], outer[0], 3), PAD_VALUE, np.uint8)
    padded[: inner[1], : inner[0]] = image
    return padded


def turned_upright(image: NDArray[T], orientation: int) -> NDArray[T]:
    """An (H, W, ...) image after one of the eight EXIF orientations is undone."""
    axes = (1, 0, *range(2, image.ndim))
    turned = {
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(axes),
        6: lambda x: x.transpose(axes)[:, ::-1],
        7: lambda x: x[::-1, ::-1].transpose(axes),
        8: lambda x: x.transpose(axes)[::-1],
    }.get(orientation)
    return image if turned is None else np.ascontiguousarray(turned(image))
