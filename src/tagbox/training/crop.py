"""Random crops of classification images, and the labels of the cropped image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Geometry
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Dataset

_STRETCH = math.log(4 / 3)
"""Largest logarithm of the ratio of a crop's aspect to its image's."""


@dataclass(frozen=True)
class Objects:
    """The M annotations of one image.

    Attributes
    ----------
    boxes
        (M, 4) float64 xywh in pixels of the image; undefined without a box.
    category_rows
        (M,) int32.
    has_box, crowd
        (M,) bool.
    """

    boxes: NDArray[np.float64]
    category_rows: NDArray[np.int32]
    has_box: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


class ObjectsByImage:
    """The objects of each image of a dataset, found without a search through all annotations.

    Crowds are left out where the dataset says that they do not make a category present.
    """

    def __init__(self, dataset: Dataset) -> None:
        annotations = dataset.annotations
        if not dataset.crowd_is_present:
            annotations = annotations.take(np.flatnonzero(~annotations.crowd))
        self._annotations, self._starts = annotations.by_image(len(dataset))

    def __getitem__(self, row: int) -> Objects:
        """The objects of image `row`."""
        own = slice(self._starts[row], self._starts[row + 1])
        return Objects(
            boxes=self._annotations.boxes[own],
            category_rows=self._annotations.category_rows[own],
            has_box=self._annotations.has_box[own],
            crowd=self._annotations.crowd[own],
        )


@dataclass(frozen=True)
class Region:
    """A part of an image, in pixels from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


def draw_crop(
    random: np.random.Generator, width: int, height: int, least: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random crop of a `width` x `height` image, in whole pixels.

    Its share of the image's area is uniform in [`least`, 1]. Its aspect ratio is that of the image times a
    factor, log-uniform from 3/4 to 4/3 as far as a crop of that share fits. (With aspect ratios relative to
    the image, not to a square, crops of a panorama vary as much as those of a square image.)
    """
    share = random.uniform(least, 1.0)
    room = min(_STRETCH, math.log(1 / share))
    stretch = math.exp(random.uniform(-room, room))
    # As shares of the image's sides: their product is the share of its area, their ratio the stretch.
    inner_width = min(max(round(width * math.sqrt(share * stretch)), 1), width)
    inner_height = min(max(round(height * math.sqrt(share / stretch)), 1), height)
    left = int(random.integers(width - inner_width + 1))
    top = int(random.integers(height - inner_height + 1))
    return left, top, left + inner_width, top + inner_height


def visible_region(crop: tuple[int, int, int, int], geometry: Geometry) -> Region:
    """The part of a crop that the network sees: all of it, or its centre square (``crop``)."""
    left, top, right, bottom = crop
    if geometry != "crop":
        return Region(left, top, right, bottom)
    side = min(right - left, bottom - top)
    x, y = left + (right - left - side) / 2, top + (bottom - top - side) / 2
    return Region(x, y, x + side, y + side)


def labels_in_region(
    objects: Objects,
    labels: NDArray[np.int8],
    region: Region,
    *,
    width: int,
    height: int,
    visible: float,
) -> NDArray[np.int8]:
    """The labels of a `region` of a `width` x `height` image, given those of the whole image.

    A present category stays present if a share of at least `visible` of one of its boxes is in the region,
    if a box of a crowd overlaps the region, or if one of its annotations has no box. It becomes absent
    if all of its boxes are outside, and unknown otherwise. Absent and unknown categories stay so.

    Parameters
    ----------
    labels
        (K,) int8: 1 present, 0 absent, -1 unknown.

    Returns
    -------
    (K,) int8
        A new array.
    """
    placed = objects.has_box
    share = _visible_share(objects.boxes[placed], region, width, height)
    category, crowd = objects.category_rows[placed], objects.crowd[placed]
    has_boxes, touched, kept = (np.zeros(len(labels), bool) for _ in range(3))
    has_boxes[category] = True
    touched[category[share > 0]] = True
    kept[category[(share >= visible) | (crowd & (share > 0))]] = True
    kept[objects.category_rows[~placed]] = True
    lost = (labels == PRESENT) & has_boxes & ~kept
    changed = labels.copy()
    changed[lost] = ABSENT
    changed[lost & touched] = UNKNOWN
    return changed


def _visible_share(
    boxes: NDArray[np.float64], region: Region, width: int, height: int
) -> NDArray[np.float64]:
    """(B,) share of each xywh box's area that lies in the region.

    Boxes are clipped to the image first, so that the whole image holds all of every box. Of a box without
    width or height it is the share of its length, or all or nothing of a point.
    """
    low = np.clip(boxes[:, :2], 0.0, (width, height))
    high = np.clip(boxes[:, :2] + np.maximum(boxes[:, 2:], 0.0), 0.0, (width, height))
    first = np.maximum(low, (region.left, region.top))
    last = np.minimum(high, (region.right, region.bottom))
    side = high - low
    share = np.where(
        side > 0, np.maximum(last - first, 0.0) / np.where(side > 0, side, 1.0), last >= first
    )
    product: NDArray[np.float64] = share.prod(axis=1)
    return product
