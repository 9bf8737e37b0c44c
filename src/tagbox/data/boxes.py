"""`training_boxes`: the truth that a detector learns from, each box in its picture and with an area.

What can be wrong with boxes, as masks over columns; for what trains on them and what checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.data.image_files import image_sizes
from tagbox.errors import TagboxError

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


DROP = "or leave such annotations out with --boxes drop"
_KINDS = ("annotation-without-box", "box-degenerate", "box-outside")
_WORDS = {
    "annotation-without-box": ("annotation without a box", "annotations without a box"),
    "box-degenerate": ("box without area", "boxes without area"),
    "box-outside": ("box outside its picture", "boxes outside their picture"),
}


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """The truth of one picture, in pixels of that picture.

    Attributes
    ----------
    boxes
        (G, 4) float64 xyxy.
    labels
        (G,) int64 category rows.
    ignore
        (I, 4) float64 xyxy: crowd regions, in which a detection is neither right nor wrong.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float64]

    def scaled(self, x: float, y: float) -> ImageBoxes:
        """The same in a picture that is scaled by `x` and `y`."""
        scale = np.array([x, y, x, y])
        return ImageBoxes(self.boxes * scale, self.labels, self.ignore * scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBoxes:
    """The truth of a dataset for detection; ``truth[row]`` is that of image `row`.

    Attributes
    ----------
    rows
        (R,) intp: images to learn from, ascending, those without objects among them.
    unlabelled
        Images that nobody labelled; they are not in `rows`.
    unplaced
        Images left out because one of their objects has no box: what shows it is no background.
    dropped
        Annotations left out, by the code of their fault.
    """

    rows: NDArray[np.intp]
    unlabelled: int
    unplaced: int
    dropped: Mapping[str, int]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    starts: NDArray[np.intp]

    def __getitem__(self, row: int) -> ImageBoxes:
        """The boxes of image `row`, as they stand in the file but for what stuck out."""
        here = slice(self.starts[row], self.starts[row + 1])
        boxes, crowd = self.boxes[here], self.crowd[here]
        return ImageBoxes(boxes[~crowd], self.labels[here][~crowd], boxes[crowd])

    @property
    def negatives(self) -> int:
        """Images to learn from that hold no object."""
        objects = np.concatenate([[0], np.cumsum(~self.crowd)])[self.starts]
        return int((np.diff(objects)[self.rows] == 0).sum())

    @property
    def notes(self) -> list[str]:
        """What is not as the file has it, a line each, for a person."""
        said = [
            f"{count:,} {_WORDS[code][count != 1]} left out" for code, count in self.dropped.items()
        ]
        if self.unplaced:
            said.append(f"{_images(self.unplaced)} with such an annotation left out")
        if self.unlabelled:
            said.append(f"{_images(self.unlabelled)} without labels left out")
        if self.negatives:
            said.append(f"{_images(self.negatives)} without objects kept")
        return said


def training_boxes(dataset: Dataset, policy: Literal["refuse", "drop"] = "refuse") -> TrainingBoxes:
    """The truth of a dataset for detection.

    Boxes are clipped to their picture. A picture's size is what the dataset states; where it states
    none, the file's header is read.

    Parameters
    ----------
    dataset
        With boxes; labelled images without objects are kept, unlabelled ones are left out.
    policy
        What to do about an annotation without a box, a box without area (or not finite) and a box wholly
        outside its picture: ``refuse`` names the first, ``drop`` leaves them out, and with an annotation
        without a box its whole picture.

    Raises
    ------
    TagboxError
        ``no-boxes`` when no object has a box, ``boxes-normalised`` when all boxes are parts of their
        picture; unless they are dropped ``boxes-corners`` when boxes are two corners,
        ``annotation-without-box``, ``box-degenerate``, ``box-outside``.
    """
    at = dataset.annotations
    asked = dataset.images.labelled[at.image_rows]
    boxed = asked & at.has_box
    _require_boxes(dataset, bool((boxed & ~at.crowd).any()))
    sizes = image_sizes(dataset, np.unique(at.image_rows[boxed]))[at.image_rows]
    _require_pixels(dataset, at.boxes[boxed])
    if policy == "refuse":
        _require_no_corners(dataset, at.boxes[boxed], sizes[boxed])
    faults = {
        "annotation-without-box": asked & ~at.has_box,
        "box-degenerate": boxed & without_area(at.boxes),
        "box-outside": boxed & outside(at.boxes, sizes),
    }
    if policy == "refuse":
        _require_sound(dataset, faults, sizes)
    unplaced = np.unique(at.image_rows[faults["annotation-without-box"]])
    kept = boxed & ~np.isin(at.image_rows, unplaced)
    for mask in faults.values():
        kept &= ~mask
    if not (kept & ~at.crowd).any():
        raise TagboxError(
            "no-boxes",
            "of no object a box is left",
            file=dataset.source.path,
            hint="see what tagbox check says of the boxes",
        )
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(at.image_rows[rows], kind="stable")]
    limits = np.where(sizes[rows] > 0, sizes[rows], np.inf)[:, [0, 1, 0, 1]]
    xyxy = np.hstack([at.boxes[rows, :2], at.boxes[rows, :2] + at.boxes[rows, 2:]])
    learnt = dataset.images.labelled.copy()
    learnt[unplaced] = False
    return TrainingBoxes(
        rows=np.flatnonzero(learnt),
        unlabelled=int((~dataset.images.labelled).sum()),
        unplaced=len(unplaced),
        dropped={code: int(mask.sum()) for code, mask in faults.items() if mask.any()},
        boxes=np.clip(xyxy, 0.0, limits),
        labels=at.category_rows[rows].astype(np.int64),
        crowd=at.crowd[rows],
        starts=np.searchsorted(at.image_rows[rows], np.arange(len(dataset) + 1)),
    )


def annotation_place(dataset: Dataset, row: int, field: str) -> str:
    """Where annotation `row` stands: ``annotations[3] (id 17).bbox``, or ``a.jpg, annotation 2 of it``."""
    at, source = dataset.annotations, dataset.source
    if source.format in ("coco", "memory"):
        return f"annotations[{source.annotation_positions[row]}] (id {at.ids[row]}).{field}"
    image = int(at.image_rows[row])
    number = int((at.image_rows[: row + 1] == image).sum())
    return f"{dataset.images.files[image]}, annotation {number} of it"


def said_box(box: NDArray[np.float64]) -> str:
    """A box for a message: ``[1, 2, 0, 5]``."""
    return "[" + ", ".join(f"{side:g}" for side in box.tolist()) + "]"


def _require_boxes(dataset: Dataset, there: bool) -> None:
    if not there:
        count = len(dataset.annotations)
        raise TagboxError(
            "no-boxes",
            f"none of its {count:,} annotations has a box" if count else "it has no annotations",
            file=dataset.source.path,
            hint="a detector learns from boxes; train a classifier, or give a dataset with boxes",
        )


def _require_pixels(dataset: Dataset, boxes: NDArray[np.float64]) -> None:
    if look_normalised(boxes):
        raise TagboxError(
            "boxes-normalised",
            f"all {len(boxes):,} boxes lie within 0 to 1",
            file=dataset.source.path,
            where="annotations[].bbox",
            hint="write them in pixels: parts times the picture's width and height",
        )


def _require_no_corners(
    dataset: Dataset, boxes: NDArray[np.float64], sizes: NDArray[np.float64]
) -> None:
    if look_like_corners(boxes, sizes):
        raise TagboxError(
            "boxes-corners",
            "most boxes leave their picture, and hardly any does when read as two corners x, y, x, y",
            file=dataset.source.path,
            where="annotations[].bbox",
            hint="write them as x, y, width, height; if they are that, --boxes drop takes them as they are",
        )


def _require_sound(
    dataset: Dataset, faults: Mapping[str, NDArray[np.bool_]], sizes: NDArray[np.float64]
) -> None:
    """Name the first faulty annotation, and say how many more are like it."""
    wrong = np.flatnonzero(np.logical_or.reduce([faults[code] for code in _KINDS]))
    if not len(wrong):
        return
    row = int(wrong[0])
    code = next(code for code in _KINDS if faults[code][row])
    box = dataset.annotations.boxes[row]
    found, mend = {
        "annotation-without-box": ("there is no box", "draw it"),
        "box-degenerate": (f"the box {said_box(box)} has no area", "draw it again"),
        "box-outside": (
            f"the box {said_box(box)} lies outside the picture of "
            f"{sizes[row, 0]:g}×{sizes[row, 1]:g}",
            "correct it",
        ),
    }[code]
    more = int(faults[code].sum()) - 1
    others = f" (and {more:,} more like it)" if more else ""
    raise TagboxError(
        code,
        found + others,
        file=dataset.source.path,
        where=annotation_place(dataset, row, "bbox"),
        hint=f"{mend}, {DROP}",
    )


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
