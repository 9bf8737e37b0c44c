"""Which window of a picture is shown: wider than the picture, a crop of it, nearer or further."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagbox.training.box_views import Boxes, Window, areas_of

LARGEST_CANVAS = 4.0
"""Sides of the canvas of `zoomed_out` in those of the picture, as in SSD (Liu et al., arXiv 1512.02325)."""
LEAST_CROP = 0.3
"""Sides of a crop in those of the picture, as in SSD."""
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Overlaps that a box may have to keep, as in SSD; 1 leaves the picture whole."""

_TRIALS, _DRAWS = 40, 10


def zoomed_out(random: np.random.Generator, window: Window) -> Window:
    """A window up to `LARGEST_CANVAS` times as wide and high, with this one anywhere in it."""
    return scaled(random, window, float(random.uniform(1.0, LARGEST_CANVAS)))


def jittered(random: np.random.Generator, window: Window, most: float) -> Window:
    """A window through which all is 1 - `most` to 1 + `most` times as large."""
    return scaled(random, window, 1.0 / float(random.uniform(1 - most, 1 + most)))


def scaled(random: np.random.Generator, window: Window, factor: float) -> Window:
    """A window of `factor` times the sides; the smaller of the two lies anywhere in the larger."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    x, y = random.random(2).tolist()
    left, top = left + (1 - factor) * width * x, top + (1 - factor) * height * y
    return left, top, left + factor * width, top + factor * height


def cropped(random: np.random.Generator, window: Window, boxes: Boxes) -> Window:
    """A crop of the window with the centre of a box in it, which overlaps the crop by a drawn IoU at least.

    SSD's, as torchvision draws it: of `OVERLAPS` one is drawn, then crops with sides of `LEAST_CROP` to 1
    and proportions of 1:2 to 2:1 are tried. Without boxes, or without luck, the window stays.
    """
    left, top, right, bottom = window
    if not len(boxes):
        return window
    corner, sides = np.array([left, top]), np.array([right - left, bottom - top])
    for _ in range(_DRAWS):
        wanted = OVERLAPS[int(random.integers(len(OVERLAPS)))]
        if wanted >= 1:
            return window
        shares = random.uniform(LEAST_CROP, 1.0, size=(_TRIALS, 2))
        lows = corner + random.random((_TRIALS, 2)) * (1 - shares) * sides
        crops = np.hstack([lows, lows + shares * sides])
        good = np.flatnonzero(_proportioned(crops) & (_overlap(crops, boxes) >= wanted))
        if len(good):
            left, top, right, bottom = crops[good[0]].tolist()
            return left, top, right, bottom
    return window


def _proportioned(crops: Boxes) -> NDArray[np.bool_]:
    sides = crops[:, 2:] - crops[:, :2]
    return (sides[:, 0] <= 2 * sides[:, 1]) & (sides[:, 1] <= 2 * sides[:, 0])


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
