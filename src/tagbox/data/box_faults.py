"""What can be wrong with boxes, as masks over columns; for what trains on them and what checks them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Mask = NDArray[np.bool_]

EDGE = 1.0
"""Pixels a box may stand over the image's edge before it is a fault: annotation tools round."""
FEWEST = 3
"""Boxes below which nothing is said of how a whole file writes its boxes."""


def far_corners(boxes: Boxes) -> Boxes:
    """(M, 2) the corners of xywh boxes right below; infinite or NaN where a box is no box."""
    with np.errstate(over="ignore", invalid="ignore"):
        corners: Boxes = boxes[:, :2] + boxes[:, 2:]
    return corners


def without_area(boxes: Boxes) -> Mask:
    """(M,) whether an xywh box has no width, no height, or a side that is not finite."""
    far = far_corners(boxes)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(far).all(axis=1)
    # By its corners: next to x = 30 a width of 1e-20 is none.
    sided = far > boxes[:, :2]
    return ~(finite & sided[:, 0] & sided[:, 1])


def leaving(boxes: Boxes, sizes: Boxes) -> Mask:
    """(M,) whether an xywh box stands over its image by more than `EDGE`.

    Parameters
    ----------
    boxes
        (M, 4) float64.
    sizes
        (M, 2) width and height of each box's image; 0 where they are not known, and nothing is said.
    """
    over = (boxes[:, :2] < -EDGE) | (far_corners(boxes) > sizes + EDGE)
    return over.any(axis=1) & known(sizes)


def outside(boxes: Boxes, sizes: Boxes) -> Mask:
    """(M,) whether nothing of an xywh box with an area lies in its image; see `leaving`."""
    apart = (boxes[:, :2] >= sizes) | (far_corners(boxes) <= 0)
    return apart.any(axis=1) & known(sizes) & ~without_area(boxes)


def known(sizes: Boxes) -> Mask:
    """(M,) whether both sides of an image are known."""
    return (sizes[:, 0] > 0) & (sizes[:, 1] > 0)


def look_normalised(boxes: Boxes) -> bool:
    """Whether boxes are parts of their image in 0..1, and not pixels: all of them, and not one pixel large."""
    return len(boxes) >= FEWEST and bool(np.all((boxes >= -1e-3) & (boxes <= 1 + 1e-3)))


def look_like_corners(boxes: Boxes, sizes: Boxes) -> bool:
    """Whether boxes are two corners (x, y, x, y), and not a corner and a size.

    As corners nearly all of them lie in their image, the second right of and below the first; as
    corner and size most do not.
    """
    told = known(sizes)
    boxes, sizes = boxes[told], sizes[told]
    if len(boxes) < FEWEST or 2 * int(leaving(boxes, sizes).sum()) <= len(boxes):
        return False
    inside = (boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= sizes + EDGE)
    return float(np.mean(inside.all(axis=1) & (boxes[:, :2] >= -EDGE).all(axis=1))) >= 0.99
