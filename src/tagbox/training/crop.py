"""The random crop of classification images, and the labels that remain true of the cropped image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Crop, Geometry
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Dataset

_STRETCH = math.log(4 / 3)
"""Most by which a crop's proportions differ from its picture's, as a logarithm."""


@dataclass(frozen=True)
class Objects:
    """The M annotations of one picture.

    Attributes
    ----------
    boxes
        (M, 4) float64 xywh in pixels of the picture; of any value where there is none.
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
        here = slice(self._starts[row], self._starts[row + 1])
        return Objects(
            boxes=self._annotations.boxes[here],
            category_rows=self._annotations.category_rows[here],
            has_box=self._annotations.has_box[here],
            crowd=self._annotations.crowd[here],
        )


@dataclass(frozen=True)
class Region:
    """A part of a picture, in pixels from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


def resolve_crop(crop: Crop, has_boxes: bool) -> Crop:
    """``auto`` is ``boxes`` where the data has boxes, else ``none``; the others are what they are."""
    if crop == "auto":
        return "boxes" if has_boxes else "none"
    return crop


def draw_crop(
    random: np.random.Generator, width: int, height: int, least: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random crop of a `width` x `height` picture, in whole pixels.

    Its share of the picture's area is uniform in [`least`, 1]. Its proportions are those of the
    picture times a factor, log-uniform from 3/4 to 4/3 as far as a crop of that share has room. (Taking
    them from the picture, not from a square, leaves a panorama as much choice as a square picture.)
    """
    share = random.uniform(least, 1.0)
    room = min(_STRETCH, math.log(1 / share))
    stretch = math.exp(random.uniform(-room, room))
    # As shares of the picture's sides: their product is the share of its area, their ratio the stretch.
    inner_width = min(max(round(width * math.sqrt(share * stretch)), 1), width)
    inner_height = min(max(round(height * math.sqrt(share / stretch)), 1), height)
    left = int(random.integers(width - inner_width + 1))
    top = int(random.integers(height - inner_height + 1))
    return left, top, left + inner_width, top + inner_height


def seen_region(crop: tuple[int, int, int, int], geometry: Geometry) -> Region:
    """What of a crop reaches the network: all of it, or the square in its middle (``crop``)."""
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
    """The labels of a `region` of a `width` x `height` picture, given those of the whole.

    A present category stays present where one of its boxes keeps a share of at least `visible` of its
    area in the region, where a crowd's box reaches into it, and where an annotation says nothing of
    the place. It is absent once all of its boxes are outside, unknown in between. Absent and unknown
    categories stay that: a part of a picture shows nothing that the whole did not.

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

    Only what of a box lies in the picture counts, so that the whole picture shows all of every box. A
    box without width or height is a line or a point: that much of its length, or all or nothing.
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
