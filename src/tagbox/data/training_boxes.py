"""`training_boxes`: the boxes that a detector is trained on, each inside its image and with an area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.data.box_faults import (
    annotation_place,
    format_box,
    leaving,
    look_like_corners,
    look_normalised,
    outside,
    require_readable_segmentations,
    without_area,
)
from tagbox.data.dataset import ONLY_CROWDS_HINT, Dataset
from tagbox.data.record_pixels import RecordPixels, record_pixels
from tagbox.errors import TagboxError

DROP = "or leave such annotations out with --boxes drop"
_KINDS = ("annotation-without-box", "box-degenerate", "box-outside")
_WORDS = {
    "annotation-without-box": ("annotation without a box", "annotations without a box"),
    "box-degenerate": ("box without area", "boxes without area"),
    "box-outside": ("box outside its picture", "boxes outside their picture"),
}


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """The objects of one image, in its pixels.

    Attributes
    ----------
    boxes
        (G, 4) float64 xyxy.
    labels
        (G,) int64 category rows.
    ignore
        (I, 4) float64 xyxy: crowd regions, in which a detection counts neither as true nor as false.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float64]

    def scaled(self, x: float, y: float) -> ImageBoxes:
        """The objects after the image is scaled by `x` and `y`."""
        scale = np.array([x, y, x, y])
        return ImageBoxes(self.boxes * scale, self.labels, self.ignore * scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBoxes:
    """The objects of a dataset for detection; ``truth[row]`` are those of image `row`.

    Attributes
    ----------
    rows
        (R,) intp: images to train on, ascending, including those without objects.
    unlabelled
        Number of images without labels; they are not in `rows`.
    unplaced
        Number of images left out because an object without a box would count as background.
    dropped
        Number of annotations left out, by the code of their fault.
    clipped
        Number of boxes that leave their image by more than `box_faults.EDGE`, and were clipped to it.
    boxes, labels, crowd
        (B, 4) float64 xyxy, (B,) int64 category rows and (B,) bool, sorted by image.
    starts
        (N + 1,) intp: the boxes of image `row` are ``starts[row]`` to ``starts[row + 1]``.
    pixels
        Where the boxes of the records lie in the files.
    """

    rows: NDArray[np.intp]
    unlabelled: int
    unplaced: int
    dropped: Mapping[str, int]
    clipped: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    starts: NDArray[np.intp]
    pixels: RecordPixels

    def __getitem__(self, row: int) -> ImageBoxes:
        """The objects of image `row`, their boxes clipped to it."""
        own = slice(self.starts[row], self.starts[row + 1])
        boxes, crowd = self.boxes[own], self.crowd[own]
        return ImageBoxes(boxes[~crowd], self.labels[own][~crowd], boxes[crowd])

    @property
    def negatives(self) -> int:
        """Number of images to train on without objects."""
        objects = np.concatenate([[0], np.cumsum(~self.crowd)])[self.starts]
        return int((np.diff(objects)[self.rows] == 0).sum())

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, a line each, for a person."""
        lines = self.pixels.notes
        lines += [
            f"{count:,} {_WORDS[code][count != 1]} left out" for code, count in self.dropped.items()
        ]
        if self.clipped:
            verb = (
                "box leaves its picture and is"
                if self.clipped == 1
                else "boxes leave their picture and are"
            )
            lines.append(f"{self.clipped:,} {verb} clipped to it")
        if self.unplaced:
            lines.append(f"{_images(self.unplaced)} with such an annotation left out")
        if self.unlabelled:
            lines.append(f"{_images(self.unlabelled)} without labels left out")
        if self.negatives:
            lines.append(f"{_images(self.negatives)} without objects kept")
        return lines


def training_boxes(
    dataset: Dataset,
    policy: Literal["refuse", "drop"] = "refuse",
    pixels: RecordPixels | None = None,
) -> TrainingBoxes:
    """The objects of a dataset for detection, in pixels of the upright files.

    Boxes are clipped to their image. The size of an image is that in the header of its file, else the one that
    the dataset states.

    Parameters
    ----------
    dataset
        With boxes; labelled images without objects are kept, unlabelled ones are left out.
    policy
        How to treat an annotation without a box, a box without area (or with a side that is not finite)
        and a box wholly outside its image: ``refuse`` raises for the first, ``drop`` leaves them out,
        and with an annotation without a box its whole image.
    pixels
        `record_pixels` of the dataset, where it is already made.

    Raises
    ------
    TagboxError
        ``size-mismatch`` when a record contradicts its file, ``no-boxes`` when no object has a box, ``boxes-normalised`` when all boxes lie within 0 to 1;
        unless they are dropped ``boxes-corners`` when boxes are two corners,
        ``annotation-without-box``, ``box-degenerate``, ``box-outside``.
    """
    pixels = pixels or record_pixels(dataset)
    pixels.require()
    dataset = pixels.in_file()
    annotations, labelled = dataset.annotations, dataset.images.labelled
    considered = labelled[annotations.image_rows]
    boxed = considered & annotations.has_box
    _require_boxes(dataset, bool((boxed & ~annotations.crowd).any()))
    sizes = pixels.sizes[annotations.image_rows]
    _require_pixels(dataset, annotations.boxes[boxed])
    faults = {
        "annotation-without-box": considered & ~annotations.has_box,
        "box-degenerate": boxed & without_area(annotations.boxes),
        "box-outside": boxed & outside(annotations.boxes, sizes),
    }
    if policy == "refuse":
        _require_no_corners(dataset, annotations.boxes[boxed], sizes[boxed])
        _require_sound(dataset, faults, sizes)
    unplaced = np.unique(annotations.image_rows[faults["annotation-without-box"]])
    kept = boxed & ~np.isin(annotations.image_rows, unplaced)
    kept &= ~np.logical_or.reduce([*faults.values()])
    if not (kept & ~annotations.crowd).any():
        raise TagboxError(
            "no-boxes",
            "no box of an object is left",
            file=dataset.source.path,
            hint="see what tagbox check says of the boxes",
        )
    trained = labelled.copy()
    trained[unplaced] = False
    sizes = sizes[kept][np.argsort(annotations.image_rows[kept], kind="stable")]
    annotations, starts = annotations.take(np.flatnonzero(kept)).by_image(len(dataset))
    limits = np.where(sizes > 0, sizes, np.inf)[:, [0, 1, 0, 1]]
    xyxy = np.hstack(
        [annotations.boxes[:, :2], annotations.boxes[:, :2] + annotations.boxes[:, 2:]]
    )
    return TrainingBoxes(
        rows=np.flatnonzero(trained),
        unlabelled=int((~labelled).sum()),
        unplaced=len(unplaced),
        dropped={code: int(mask.sum()) for code, mask in faults.items() if mask.any()},
        clipped=int(leaving(annotations.boxes, sizes).sum()),
        boxes=np.clip(xyxy, 0.0, limits),
        labels=annotations.category_rows.astype(np.int64),
        crowd=annotations.crowd,
        starts=np.array(starts, np.intp),
        pixels=pixels,
    )


def _require_boxes(dataset: Dataset, any_object: bool) -> None:
    if any_object:
        return
    annotations = dataset.annotations
    count = len(annotations)
    found = f"none of its {count:,} annotations has a box" if count else "it has no annotations"
    hint = "a detector learns from boxes; train a classifier, or give a dataset with boxes"
    crowds = int((annotations.has_box & annotations.crowd).sum())
    if crowds:
        found = f"all of its {crowds:,} boxes are of crowd regions (iscrowd 1), which are ignored"
        hint = ONLY_CROWDS_HINT
    raise TagboxError("no-boxes", found, file=dataset.source.path, hint=hint)


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
    """Raise for the first faulty annotation, with the number of further ones like it."""
    wrong = np.flatnonzero(np.logical_or.reduce([faults[code] for code in _KINDS]))
    if not len(wrong):
        return
    if faults["annotation-without-box"].any():
        require_readable_segmentations(dataset)
    row = int(wrong[0])
    code = next(code for code in _KINDS if faults[code][row])
    box = dataset.annotations.boxes[row]
    found, hint = {
        "annotation-without-box": ("there is no box", "draw it"),
        "box-degenerate": (f"the box {format_box(box)} has no area", "draw it again"),
        "box-outside": (
            f"the box {format_box(box)} lies outside the picture of "
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
        hint=f"{hint}, {DROP}",
    )


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
