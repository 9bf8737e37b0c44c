"""Mosaic: four pictures on one canvas, as in YOLOv4 (Bochkovskiy et al., arXiv 2004.10934)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tagbox.images.geometry import PAD_VALUE
from tagbox.training.box_views import View, Window, through

_NEAREST = 0.3
"""How near to an edge the four pictures meet, as a share of the canvas's side."""


def mosaic(random: np.random.Generator, views: Sequence[View | None], size: int) -> View:
    """Four pictures around a point, each scaled down as far as it covers its cell, and cropped to it.

    Parameters
    ----------
    views
        Four; None leaves its cell grey. At least one is there.
    size
        Side of the square canvas, in pixels; the longest side of the pictures where that is shorter.
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
        part = through(view, _window(view, cell, position.tolist()), cell)
        image[top:bottom, left:right] = part.image
        parts.append((part, np.array([left, top, left, top], np.float64)))
    return View(
        image,
        np.concatenate([part.boxes + offset for part, offset in parts]),
        np.concatenate([part.labels for part, _ in parts]),
        np.concatenate([part.ignore + offset for part, offset in parts]),
        np.concatenate([part.left for part, _ in parts]),
    )


def _window(view: View, cell: tuple[int, int], position: Sequence[float]) -> Window:
    """What of a picture its cell shows, at `position` (0 to 1 in x and y) of all there is to choose from."""
    height, width = view.image.shape[:2]
    scale = min(1.0, max(cell[0] / width, cell[1] / height))
    seen = cell[0] / scale, cell[1] / scale
    left, top = (width - seen[0]) * position[0], (height - seen[1]) * position[1]
    return left, top, left + seen[0], top + seen[1]
