"""Geometric transforms of an image together with its boxes: crop and resize, flip, rotate.

Boxes are xyxy in pixels from the image's upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tagbox.data.training_boxes import ImageBoxes
from tagbox.images.geometry import PAD_VALUE

Boxes = NDArray[np.float64]
Window = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of an image; it may extend beyond the image."""

LEAST_AREA = 1.0
"""Smallest area in pixels² of a training box."""


@dataclass(frozen=True, eq=False)
class View:
    """An image being augmented, and its boxes.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    boxes, labels, ignore
        As in `ImageBoxes`, in pixels of `image` and clipped to it; a box outside has no area.
    visible
        (G,) float64 share of each box's area that is still visible.
    """

    image: NDArray[np.uint8]
    boxes: Boxes
    labels: NDArray[np.int64]
    ignore: Boxes
    visible: Boxes

    @classmethod
    def of(cls, image: NDArray[np.uint8], truth: ImageBoxes) -> View:
        """The image before augmentation."""
        height, width = image.shape[:2]
        boxes, ignore = (clipped(b, 0, 0, width, height) for b in (truth.boxes, truth.ignore))
        return cls(image, boxes, truth.labels, ignore, np.ones(len(boxes)))

    def truth(self, min_visible: float) -> ImageBoxes:
        """Training boxes, of which a share of `min_visible` is visible; the others become ignore regions."""
        areas = areas_of(self.boxes)
        kept = (self.visible >= min_visible) & (areas >= LEAST_AREA)
        ignore = np.concatenate([self.ignore, self.boxes[~kept]])
        return ImageBoxes(
            self.boxes[kept], self.labels[kept], ignore[areas_of(ignore) >= LEAST_AREA]
        )


def crop_and_resize(view: View, window: Window, size: tuple[int, int]) -> View:
    """Crop to `window` and resize to `size` (width, height).

    Parameters
    ----------
    window
        Must overlap the image; what lies outside the image is grey.
    """
    from PIL import Image

    height, width = view.image.shape[:2]
    part = (
        max(window[0], 0.0),
        max(window[1], 0.0),
        min(window[2], float(width)),
        min(window[3], float(height)),
    )
    left, right = _pixel_range(part[0], part[2], window[0], window[2], size[0])
    top, bottom = _pixel_range(part[1], part[3], window[1], window[3], size[1])
    image = view.image
    if part != (0.0, 0.0, width, height) or (right - left, bottom - top) != (width, height):
        full = Image.fromarray(image)
        # As in `images.geometry`: Pillow's filters widen when they shrink, so nothing aliases.
        image = np.asarray(
            full.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=part)
        )
    if image.shape[1::-1] != size:
        filled = np.full((size[1], size[0], 3), PAD_VALUE, np.uint8)
        filled[top:bottom, left:right] = image
        image = filled
    # The scale of the rounded pixel sizes, so that boxes stay aligned with the pixels.
    scale = (right - left) / (part[2] - part[0]), (bottom - top) / (part[3] - part[1])
    moves = np.array([left - part[0] * scale[0], top - part[1] * scale[1]] * 2)

    def moved(boxes: Boxes) -> Boxes:
        changed: Boxes = boxes * np.array([*scale, *scale]) + moves
        return changed

    visible = (left, top, right, bottom)
    return _clipped(view, image, moved(view.boxes), moved(view.ignore), visible)


def flip(view: View, *, upside_down: bool = False) -> View:
    """Flip horizontally, or vertically."""
    side = view.image.shape[0 if upside_down else 1]
    low, high = (1, 3) if upside_down else (0, 2)

    def moved(boxes: Boxes) -> Boxes:
        changed = boxes.copy()
        changed[:, low], changed[:, high] = side - boxes[:, high], side - boxes[:, low]
        return changed

    image = view.image[::-1] if upside_down else view.image[:, ::-1]
    return replace(view, image=image, boxes=moved(view.boxes), ignore=moved(view.ignore))


def rotate(view: View, degrees: float) -> View:
    """Rotate counter-clockwise about the centre; boxes become the bounding boxes of the rotated ones."""
    from PIL import Image
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = view.image.shape[:2]
    rotated = functional.rotate(
        Image.fromarray(view.image),
        degrees,
        interpolation=InterpolationMode.BILINEAR,
        fill=[PAD_VALUE] * 3,
    )
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([width / 2, height / 2])

    def moved(boxes: Boxes) -> Boxes:
        corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
        corners = (corners - middle) @ turn.T + middle
        return np.hstack([corners.min(axis=1), corners.max(axis=1)])

    visible = (0, 0, width, height)
    return _clipped(view, np.asarray(rotated), moved(view.boxes), moved(view.ignore), visible)


def areas_of(boxes: Boxes) -> Boxes:
    """(G,) areas of xyxy boxes, 0 for degenerate ones."""
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    product: Boxes = extent[:, 0] * extent[:, 1]
    return product


def clipped(boxes: Boxes, left: float, top: float, right: float, bottom: float) -> Boxes:
    """The boxes clipped to a region."""
    kept: Boxes = np.clip(boxes, (left, top, left, top), (right, bottom, right, bottom))
    return kept


def _clipped(
    view: View,
    image: NDArray[np.uint8],
    boxes: Boxes,
    ignore: Boxes,
    visible: tuple[int, int, int, int],
) -> View:
    """The view with boxes clipped to the visible region, and their visible shares updated."""
    kept = clipped(boxes, *visible)
    before = areas_of(boxes)
    share = np.divide(areas_of(kept), before, out=np.zeros(len(boxes)), where=before > 0)
    return View(image, kept, view.labels, clipped(ignore, *visible), view.visible * share)


def _pixel_range(
    low: float, high: float, first: float, last: float, pixels: int
) -> tuple[int, int]:
    """First and end pixel, of `pixels` for `first` to `last`, of the part `low` to `high`; at least one pixel."""
    scale = pixels / (last - first)
    start = min(round((low - first) * scale), pixels - 1)
    return start, max(round((high - first) * scale), start + 1)
