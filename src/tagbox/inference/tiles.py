"""Large pictures in parts: windows that overlap, and one list of boxes out of what each of them shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError

SAME = 0.5
"""Overlap (intersection over union) from which two boxes of a category are one object."""
COVERED = 0.5
"""Share of a cut-off box that a whole one must cover to stand for it."""
NEARLY_AS_SURE = 0.5
"""Share of a cut-off box's score that the whole one must have."""

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the picture."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a large picture is cut up.

    Attributes
    ----------
    side
        Of a window, in pixels of the picture.
    overlap
        Least share of a window's side that its neighbour shows too. An object smaller than this is whole
        in at least one window.
    """

    side: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.side < 32:
            raise _option("--tiles", self.side, "a number of pixels from 32")
        if not 0 <= self.overlap <= 0.9:
            raise _option("--tile-overlap", self.overlap, "a share from 0 to 0.9")


def windows(width: int, height: int, tiles: Tiles) -> list[Window]:
    """The windows over a picture, row by row, spread evenly; one as large as itself where it fits in one."""
    return [
        (left, top, min(left + tiles.side, width), min(top + tiles.side, height))
        for top in _starts(height, tiles)
        for left in _starts(width, tiles)
    ]


def _starts(length: int, tiles: Tiles) -> list[int]:
    room = length - tiles.side
    if room <= 0:
        return [0]
    # Rounded starts may stand a pixel further apart than even ones.
    step = max(1, math.floor(tiles.side * (1 - tiles.overlap)) - 1)
    return [int(start) for start in np.linspace(0, room, math.ceil(room / step) + 1).round()]


def cut_off(
    boxes: NDArray[np.float64], window: Window, width: int, height: int, margin: float
) -> NDArray[np.bool_]:
    """Which boxes of a window touch a border of it that is not the picture's.

    Parameters
    ----------
    boxes
        (D, 4) xyxy in pixels of the picture.
    margin
        Pixels from the border within which a box touches it.
    """
    left, top, right, bottom = window
    touches = (
        (boxes[:, 0] <= left + margin) & (left > 0),
        (boxes[:, 1] <= top + margin) & (top > 0),
        (boxes[:, 2] >= right - margin) & (right < width),
        (boxes[:, 3] >= bottom - margin) & (bottom < height),
    )
    found: NDArray[np.bool_] = np.logical_or.reduce(touches)
    return found


def merge(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    cut: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Rows of the boxes that remain of all windows', best first.

    A cut-off box goes where a whole one of its category, nearly as sure, covers most of it; of boxes
    that are one object the best remains (non-maximum suppression within each category).

    Parameters
    ----------
    boxes
        (D, 4) xyxy in pixels of the picture.
    scores, labels
        (D,) scores in 0..1 and category rows.
    cut
        (D,) which boxes were cut off by their window; see `cut_off`.
    """
    import torch
    from torchvision.ops import batched_nms

    kept = np.flatnonzero(~_stood_for(boxes, scores, labels, cut))
    rows = batched_nms(
        torch.from_numpy(boxes[kept]),
        torch.from_numpy(scores[kept]),
        torch.from_numpy(labels[kept]),
        SAME,
    )
    best: NDArray[np.intp] = kept[rows.numpy()]
    return best


def _stood_for(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    cut: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(D,) bool: the cut-off boxes that a whole one stands for."""
    gone = np.zeros(len(boxes), np.bool_)
    for row in np.flatnonzero(cut):
        others = np.flatnonzero(
            ~cut & (labels == labels[row]) & (scores >= NEARLY_AS_SURE * scores[row])
        )
        corner = np.maximum(boxes[others, :2], boxes[row, :2])
        sides = np.maximum(np.minimum(boxes[others, 2:], boxes[row, 2:]) - corner, 0)
        area = (boxes[row, 2:] - boxes[row, :2]).prod()
        gone[row] = bool((sides.prod(axis=1) >= COVERED * area).any())
    return gone


def _option(flag: str, value: object, wanted: str) -> TagboxError:
    return TagboxError(
        "option-value", f"{value!r} is not {wanted}", where=flag, hint="change the value"
    )
