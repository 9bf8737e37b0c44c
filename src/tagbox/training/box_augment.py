"""Augmentation of images with boxes: zoom out, IoU crop, scale jitter, mosaic, flips, rotation, colour.

Zoom, crop and scale choose one window of the image, so that it is resampled once. Pixels are transformed by
Pillow and torchvision (`transforms.v2.functional`) as in `training.augment`; random numbers come from NumPy
generators seeded per image. Mosaic puts four images into one, as in YOLOv4 (Bochkovskiy et al., arXiv
2004.10934).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import BoxAugmentConfig
from tagbox.data.training_boxes import ImageBoxes
from tagbox.errors import TagboxError
from tagbox.images.geometry import PAD_VALUE, fitted_size
from tagbox.training.box_views import Boxes, View, Window, areas_of, crop_and_resize, flip, rotate

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST_ZOOM_OUT = 4.0
"""Largest sides of a zoomed-out image in those of the original, as in SSD (Liu et al., arXiv 1512.02325)."""
LEAST_CROP = 0.3
"""Smallest sides of a crop in those of the image, as in SSD."""
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Minimum IoU of a box and the crop, drawn from these as in SSD; 1 keeps the whole image."""

_TRIALS, _DRAWS = 40, 10


def zoom_out(random: np.random.Generator, window: Window) -> Window:
    """A window up to `LARGEST_ZOOM_OUT` times as wide and high, containing this one at a random place."""
    return scale_window(random, window, float(random.uniform(1.0, LARGEST_ZOOM_OUT)))


def scale_jitter(random: np.random.Generator, window: Window, most: float) -> Window:
    """A window that scales objects by a random factor in 1 - `most` to 1 + `most`."""
    return scale_window(random, window, 1.0 / float(random.uniform(1 - most, 1 + most)))


def scale_window(random: np.random.Generator, window: Window, factor: float) -> Window:
    """A window of `factor` times the sides; the smaller of the two lies anywhere in the larger."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    x, y = random.random(2).tolist()
    left, top = left + (1 - factor) * width * x, top + (1 - factor) * height * y
    return left, top, left + factor * width, top + factor * height


def iou_crop(random: np.random.Generator, window: Window, boxes: Boxes) -> Window:
    """A crop of the window that holds the centre of a box and overlaps it by at least a drawn IoU.

    As in SSD and torchvision: a minimum IoU is drawn from `OVERLAPS`, then crops with sides of `LEAST_CROP`
    to 1 and aspect ratios of 1:2 to 2:1 are tried. Without boxes, or where none fits, the window stays.
    """
    left, top, right, bottom = window
    if not len(boxes):
        return window
    corner, extent = np.array([left, top]), np.array([right - left, bottom - top])
    for _ in range(_DRAWS):
        wanted = OVERLAPS[int(random.integers(len(OVERLAPS)))]
        if wanted >= 1:
            return window
        shares = random.uniform(LEAST_CROP, 1.0, size=(_TRIALS, 2))
        lows = corner + random.random((_TRIALS, 2)) * (1 - shares) * extent
        crops = np.hstack([lows, lows + shares * extent])
        good = np.flatnonzero(_proportioned(crops) & (_overlap(crops, boxes) >= wanted))
        if len(good):
            left, top, right, bottom = crops[good[0]].tolist()
            return left, top, right, bottom
    return window


def _proportioned(crops: Boxes) -> NDArray[np.bool_]:
    extent = crops[:, 2:] - crops[:, :2]
    return (extent[:, 0] <= 2 * extent[:, 1]) & (extent[:, 1] <= 2 * extent[:, 0])


def _overlap(crops: Boxes, boxes: Boxes) -> NDArray[np.float64]:
    """(T,) largest IoU of each crop with a box whose centre it holds; -1 where it holds none."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    low = np.maximum(crops[:, None, :2], boxes[None, :, :2])
    high = np.minimum(crops[:, None, 2:], boxes[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    union = areas_of(crops)[:, None] + areas_of(boxes)[None] - common
    holds = (centres[None] > crops[:, None, :2]) & (centres[None] < crops[:, None, 2:])
    overlap: NDArray[np.float64] = np.where(holds.all(axis=2), common / union, -1.0).max(axis=1)
    return overlap


_NEAREST = 0.3
"""Least distance from an edge to the point where the four images meet, as a share of the side."""


def mosaic(random: np.random.Generator, views: Sequence[View | None], size: int) -> View:
    """Four images around a point, each scaled down until it just covers its cell, and cropped to the cell.

    Parameters
    ----------
    views
        Four, of which at least one is not None; the cell of None is grey.
    size
        Side of the mosaic in pixels; the longest side of the images where that is shorter.
    """
    side = min(size, max(max(view.image.shape[:2]) for view in views if view is not None))
    side = max(side, 2)
    x, y = np.clip(np.round(random.uniform(_NEAREST, 1 - _NEAREST, 2) * side), 1, side - 1)
    across, down = int(x), int(y)
    image = np.full((side, side, 3), PAD_VALUE, np.uint8)
    parts = []
    for number, view in enumerate(views):
        left, right = (0, across) if number % 2 == 0 else (across, side)
        top, bottom = (0, down) if number < 2 else (down, side)
        position = random.random(2)
        if view is None:
            continue
        cell = right - left, bottom - top
        part = crop_and_resize(view, _window(view, cell, position.tolist()), cell)
        image[top:bottom, left:right] = part.image
        parts.append((part, np.array([left, top, left, top], np.float64)))
    return View(
        image,
        np.concatenate([part.boxes + offset for part, offset in parts]),
        np.concatenate([part.labels for part, _ in parts]),
        np.concatenate([part.ignore + offset for part, offset in parts]),
        np.concatenate([part.visible for part, _ in parts]),
    )


def _window(view: View, cell: tuple[int, int], position: Sequence[float]) -> Window:
    """The window of an image that its cell shows, at `position` (0 to 1 in x and y) of the possible ones."""
    height, width = view.image.shape[:2]
    scale = min(1.0, max(cell[0] / width, cell[1] / height))
    shown = cell[0] / scale, cell[1] / scale
    left, top = (width - shown[0]) * position[0], (height - shown[1]) * position[1]
    return left, top, left + shown[0], top + shown[1]


_STREAM = 3
"""Sets these draws apart from others that are seeded with the same numbers."""


@dataclass(frozen=True, eq=False)
class Others:
    """The other images of a mosaic.

    Attributes
    ----------
    rows
        (R,) rows to choose from.
    read
        The image of a row and its boxes in pixels of it; where it raises `TagboxError` the cell is grey.
    """

    rows: NDArray[np.intp]
    read: Callable[[int], tuple[NDArray[np.uint8], ImageBoxes]]


class BoxAugment:
    """Augmentation as a deterministic function of (image, epoch, row).

    Every draw for an image follows from (seed, epoch, row) alone, whatever the order, process or thread
    in which images are loaded. No global generator is read or written.

    Parameters
    ----------
    config
        What to vary, and how much.
    size
        Longest side of an image in the network, in pixels.
    seed
        At least 0.
    fixed
        Whether images are stretched to `size` x `size`.
    others
        The other images of a mosaic; needed where `config.mosaic` is above 0.
    """

    def __init__(
        self,
        config: BoxAugmentConfig,
        size: int,
        *,
        seed: int,
        fixed: bool = False,
        others: Others | None = None,
    ) -> None:
        if config.mosaic and others is None:
            raise ValueError("a mosaic needs other images")
        self.config, self.size, self.seed, self.fixed = config, size, seed, fixed
        self.others = others

    @property
    def least_shown(self) -> float:
        """The smallest share of an image's side that may be enlarged to the whole."""
        crop = LEAST_CROP if self.config.iou_crop else 1.0
        return crop / (1.0 + self.config.scale_jitter)

    def __call__(
        self, image: NDArray[np.uint8], truth: ImageBoxes, *, epoch: int, row: int
    ) -> tuple[NDArray[np.uint8], ImageBoxes]:
        """The augmented image of this epoch at the network's input size, and its boxes.

        The order is: mosaic, scale, zoom out, crop, flips, rotation, colours. The result has the longest
        side that the whole image would have. Boxes less visible than `min_visible` become ignore regions.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        truth
            In pixels of `image`.
        epoch, row
            At least 0; each pair has draws of its own.

        Returns
        -------
        tuple of (H', W', 3) uint8 and ImageBoxes
            New; every box lies in the image and has an area of at least a pixel.
        """
        config = self.config
        sequence = np.random.SeedSequence((self.seed, epoch, row), spawn_key=(_STREAM,))
        random = np.random.default_rng(sequence)
        view = View.of(image, truth)
        if config.mosaic and random.random() < config.mosaic:
            view = mosaic(random, [view, *self._drawn(random)], self.size)
        window = self._window(random, view)
        view = crop_and_resize(view, window, self._output_size(view, window))
        if config.flip and random.random() < 0.5:
            view = flip(view)
        if config.vertical_flip and random.random() < 0.5:
            view = flip(view, upside_down=True)
        if config.rotate:
            view = rotate(view, float(random.uniform(-config.rotate, config.rotate)))
        if config.photometric and random.random() < config.photometric:
            view = _distorted(view, random)
        return np.array(view.image, order="C"), view.truth(config.min_visible)

    def _drawn(self, random: np.random.Generator) -> list[View | None]:
        """Three other images."""
        assert self.others is not None
        views: list[View | None] = []
        for row in random.choice(self.others.rows, 3).tolist():
            try:
                views.append(View.of(*self.others.read(row)))
            except TagboxError:  # Reported when the image itself is loaded.
                views.append(None)
        return views

    def _window(self, random: np.random.Generator, view: View) -> Window:
        config = self.config
        height, width = view.image.shape[:2]
        window = (0.0, 0.0, float(width), float(height))
        if config.scale_jitter:
            window = scale_jitter(random, window, config.scale_jitter)
        if config.zoom_out and random.random() < config.zoom_out:
            window = zoom_out(random, window)
        if config.iou_crop and random.random() < config.iou_crop:
            window = iou_crop(random, window, view.boxes[areas_of(view.boxes) > 0])
        return window

    def _output_size(self, view: View, window: Window) -> tuple[int, int]:
        """Width and height of the augmented image: the aspect of the window, the longest side of the whole image."""
        height, width = view.image.shape[:2]
        if self.fixed:
            return fitted_size(width, height, self.size, fixed=True)
        extent = window[2] - window[0], window[3] - window[1]
        scale = max(fitted_size(width, height, self.size)) / max(extent)
        return max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale))


def _distorted(view: View, random: np.random.Generator) -> View:
    """Brightness, contrast, saturation and hue changed, each in half of the cases, as in SSD."""
    from PIL import Image
    from torchvision.transforms.v2 import functional

    def contrast(picture: Picture) -> Picture:
        return functional.adjust_contrast(picture, factors[1]) if drawn[1] else picture

    drawn = random.random(4) < 0.5
    factors = random.uniform((0.875, 0.5, 0.5, -0.05), (1.125, 1.5, 1.5, 0.05)).tolist()
    first = random.random() < 0.5
    picture = Image.fromarray(np.ascontiguousarray(view.image))
    if drawn[0]:
        picture = functional.adjust_brightness(picture, factors[0])
    if first:
        picture = contrast(picture)
    if drawn[2]:
        picture = functional.adjust_saturation(picture, factors[2])
    if drawn[3]:
        picture = functional.adjust_hue(picture, factors[3])
    return replace(view, image=np.asarray(picture if first else contrast(picture)))
