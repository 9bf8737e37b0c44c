"""Faults of boxes, as masks over the annotations of a dataset; training and ``tagbox check`` share them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError

Boxes = NDArray[np.float64]
Mask = NDArray[np.bool_]

EDGE = 1.0
"""Pixels by which a box may leave its image without being a fault: annotation tools round."""
FEWEST = 3
"""With fewer boxes than this, no conclusion is drawn about how a whole file writes its boxes."""


def far_corners(boxes: Boxes) -> Boxes:
    """(M, 2) the lower right corners of xywh boxes; infinite or NaN where a side is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        corners: Boxes = boxes[:, :2] + boxes[:, 2:]
    return corners


def without_area(boxes: Boxes) -> Mask:
    """(M,) whether an xywh box has no width, no height, or a side that is not finite."""
    far = far_corners(boxes)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(far).all(axis=1)
    # Compared by corners, since a width of 1e-20 vanishes beside x = 30.
    sided = far > boxes[:, :2]
    return ~(finite & sided[:, 0] & sided[:, 1])


def leaving(boxes: Boxes, sizes: Boxes) -> Mask:
    """(M,) whether an xywh box leaves its image by more than `EDGE`.

    Parameters
    ----------
    boxes
        (M, 4) float64.
    sizes
        (M, 2) width and height of each box's image; 0 where they are not known: never a fault.
    """
    over = (boxes[:, :2] < -EDGE) | (far_corners(boxes) > sizes + EDGE)
    return over.any(axis=1) & known(sizes)


def outside(boxes: Boxes, sizes: Boxes) -> Mask:
    """(M,) whether an xywh box with an area lies wholly outside its image; parameters as of `leaving`."""
    apart = (boxes[:, :2] >= sizes) | (far_corners(boxes) <= 0)
    return apart.any(axis=1) & known(sizes) & ~without_area(boxes)


def known(sizes: Boxes) -> Mask:
    """(M,) whether both sides of an image are known."""
    return (sizes[:, 0] > 0) & (sizes[:, 1] > 0)


def look_normalised(boxes: Boxes) -> bool:
    """Whether all boxes lie within 0 to 1: they are shares of their image, not pixels."""
    return len(boxes) >= FEWEST and bool(np.all((boxes >= -1e-3) & (boxes <= 1 + 1e-3)))


def look_like_corners(boxes: Boxes, sizes: Boxes) -> bool:
    """Whether boxes seem to be two corners (x, y, x, y) and not xywh.

    That is so when most leave their image as xywh, while as two corners at least 99 % lie in their
    image, with the second corner right of and below the first.
    """
    sized = known(sizes)
    boxes, sizes = boxes[sized], sizes[sized]
    if len(boxes) < FEWEST or 2 * int(leaving(boxes, sizes).sum()) <= len(boxes):
        return False
    inside = (boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= sizes + EDGE)
    return float(np.mean(inside.all(axis=1) & (boxes[:, :2] >= -EDGE).all(axis=1))) >= 0.99


def annotation_place(dataset: Dataset, row: int, field: str) -> str:
    """The place of annotation `row` in messages: ``annotations[3] (id 17).bbox``, or ``a.jpg, annotation 2 of it``."""
    annotations, source = dataset.annotations, dataset.source
    if source.format in ("coco", "memory"):
        return (
            f"annotations[{source.annotation_positions[row]}] (id {annotations.ids[row]}).{field}"
        )
    image = int(annotations.image_rows[row])
    number = int((annotations.image_rows[: row + 1] == image).sum())
    return f"{dataset.images.files[image]}, annotation {number} of it"


def format_box(box: NDArray[np.float64]) -> str:
    """A box for a message: ``[1, 2, 0, 5]``."""
    return "[" + ", ".join(f"{side:g}" for side in box.tolist()) + "]"


def require_readable_segmentations(dataset: Dataset) -> None:
    """Raise ``bad-polygon`` or ``bad-rle`` where an annotation has no box since its segmentation cannot be read."""
    for note in dataset.source.notes:
        if note.code in ("bad-polygon", "bad-rle"):
            raise TagboxError(
                note.code,
                note.found,
                file=dataset.source.path,
                where=note.where,
                hint="correct it, or give the annotation a bbox",
            )
