"""Checks of boxes, of a whole file and one by one: places, sizes, areas, segmentations, repetitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.findings import Findings
from tagbox.data.box_faults import (
    annotation_place,
    far_corners,
    format_box,
    known,
    leaving,
    look_like_corners,
    look_normalised,
    outside,
    without_area,
)
from tagbox.data.dataset import Dataset
from tagbox.data.record_pixels import image_sizes
from tagbox.data.segmentation import SegmentationError

TINY = 1.0
"""Pixels; a box with a shorter side is tiny."""
TOLERANCE = 2.0
"""Pixels between the edge of a box and that of its segmentation: masks and boxes are rounded."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxColumns:
    """Columns of the M annotations of one dataset that the checks of boxes need.

    Attributes
    ----------
    boxes
        (M, 4) float64 xywh; all NaN where there is none, x alone NaN where it cannot be read.
    outlines
        (M, 4) float64 xywh around the segmentations; NaN where there is none.
    faults
        M errors of segmentations that cannot be read; None where there is none.
    sizes
        (M, 2) width and height of each annotation's image; 0 where they are not known.
    image_of, category_of
        (M,) integers that identify images and categories.
    crowd, areas
        (M,) bool; (M,) float64 pixels², NaN where not stated.
    place
        ``place(row, field)`` is the place of a field of an annotation, for messages.
    """

    boxes: NDArray[np.float64]
    outlines: NDArray[np.float64]
    faults: Sequence[SegmentationError | None]
    sizes: NDArray[np.float64]
    image_of: NDArray[np.integer]
    category_of: NDArray[np.integer]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    place: Callable[[int, str], str]

    def describe(self, found: str) -> Callable[[int], tuple[str, str]]:
        """Function from a row to the place of its box, and the box followed by `found`."""
        return lambda row: (self.place(row, "bbox"), f"{format_box(self.boxes[row])} {found}")


def columns_of(dataset: Dataset, *, read_sizes: bool = False) -> BoxColumns:
    """The columns of a dataset whose format has no segmentations beside its boxes.

    With `read_sizes`, sizes that are not stated are read from the files.
    """
    annotations = dataset.annotations
    sizes = image_sizes(dataset, np.arange(len(dataset)) if read_sizes else None)
    return BoxColumns(
        boxes=annotations.boxes,
        outlines=np.full_like(annotations.boxes, np.nan),
        faults=[None] * len(annotations),
        sizes=sizes[annotations.image_rows],
        image_of=annotations.image_rows,
        category_of=annotations.category_rows,
        crowd=annotations.crowd,
        areas=annotations.areas,
        place=lambda row, field: annotation_place(dataset, row, field),
    )


def check_boxes(
    columns: BoxColumns, path: Path, findings: Findings, *, repeats: bool = True
) -> None:
    """Add a finding for every fault of boxes, areas and segmentations; with `repeats` also for repeated boxes."""
    boxed = ~np.isnan(columns.boxes[:, 0])
    _check_segmentations(columns, boxed, path, findings)
    _check_areas(columns, path, findings)
    if not boxed.any():
        return
    if columns.crowd[boxed].all():
        found = (
            f"all {boxed.sum():,} boxes are of crowd regions (iscrowd 1), which a detector ignores"
        )
        findings.add("only-crowds", path, found, "annotations[].iscrowd")
    _check_each(columns, boxed, path, findings)
    if look_normalised(columns.boxes[boxed]):
        found = f"all {boxed.sum():,} boxes lie within 0 to 1"
        findings.add("boxes-normalised", path, found, "annotations[].bbox")
        # Taken as pixels nearly all would be tiny: further findings would only repeat this one.
        return
    _check_places(columns, boxed, path, findings)
    _check_sizes(columns, path, findings)
    if repeats:
        _check_repeats(columns, path, findings)


def _check_each(
    columns: BoxColumns, boxed: NDArray[np.bool_], path: Path, findings: Findings
) -> None:
    """Check single boxes: negative sides, no area, no box at all."""
    boxes = columns.boxes
    negative = boxed & (boxes[:, 2:] < 0).any(axis=1)
    findings.add_rows("bad-box", path, negative, columns.describe("has a negative width or height"))
    empty = boxed & ~negative & without_area(boxes)
    findings.add_rows("box-degenerate", path, empty, columns.describe("has no area"))
    findings.add_rows(
        "annotation-without-box",
        path,
        np.isnan(boxes).all(axis=1)
        & np.isnan(columns.outlines[:, 0])
        & np.array([fault is None for fault in columns.faults], bool),
        lambda row: (columns.place(row, "bbox"), "there is no box, though others have one"),
    )


def _check_places(
    columns: BoxColumns, boxed: NDArray[np.bool_], path: Path, findings: Findings
) -> None:
    """Check that boxes lie in their image; one finding for all where they seem to be two corners."""
    boxes, sizes = columns.boxes, columns.sizes
    if look_like_corners(boxes[boxed], sizes[boxed]):
        count = int(leaving(boxes, sizes).sum())
        found = (
            f"{count:,} of {boxed.sum():,} boxes leave their image, "
            "and hardly any does when read as two corners x, y, x, y"
        )
        findings.add("boxes-corners", path, found, "annotations[].bbox")
        return

    def describe(verb: str) -> Callable[[int], tuple[str, str]]:
        def at(row: int) -> tuple[str, str]:
            width, height = sizes[row]
            found = f"{format_box(boxes[row])} {verb} the image of {width:g}×{height:g}"
            return columns.place(row, "bbox"), found

        return at

    not_negative = (boxes[:, 2:] >= 0).all(axis=1)
    apart = not_negative & outside(boxes, sizes)
    findings.add_rows("box-outside", path, apart, describe("lies outside"))
    partly = ~without_area(boxes) & ~apart & leaving(boxes, sizes)
    findings.add_rows("box-leaves-image", path, partly, describe("leaves"))


def _check_sizes(columns: BoxColumns, path: Path, findings: Findings) -> None:
    """Check for boxes below a pixel, and as large as their image."""
    boxes, sizes = columns.boxes, columns.sizes
    sound = ~without_area(boxes)

    tiny = sound & (boxes[:, 2:] < TINY).any(axis=1)
    findings.add_rows("box-tiny", path, tiny, columns.describe("has a side of less than a pixel"))
    filled = np.all((boxes[:, :2] <= 1) & (far_corners(boxes) >= sizes - 1), axis=1)
    filled &= sound & known(sizes) & ~columns.crowd & (sizes > 2).all(axis=1)
    findings.add_rows("box-whole-image", path, filled, columns.describe("is the whole image"))


def _check_repeats(columns: BoxColumns, path: Path, findings: Findings) -> None:
    """Check for the same box of the same category in the same image.

    Annotations are sorted by box, category and image, so that equal ones are neighbours.
    """
    rows = np.flatnonzero(~without_area(columns.boxes))
    keys = [*columns.boxes[rows].T, columns.category_of[rows], columns.image_of[rows]]
    order = np.lexsort(keys)  # Stable: the first of equal annotations in the file comes first.
    differs = np.ones(len(rows), bool)
    differs[1:] = np.logical_or.reduce([np.diff(key[order]) != 0 for key in keys])
    # For each position the last one before it that differs from its predecessor: the first equal one.
    first = rows[order][np.maximum.accumulate(np.where(differs, np.arange(len(rows)), 0))]
    earlier = dict(zip(rows[order][~differs].tolist(), first[~differs].tolist(), strict=True))
    findings.add_rows(
        "duplicate-box",
        path,
        np.array(sorted(earlier), np.intp),
        lambda row: (
            columns.place(row, "bbox"),
            f"{format_box(columns.boxes[row])} of the same category stands already at "
            f"{columns.place(earlier[row], 'bbox')}",
        ),
    )


def _check_areas(columns: BoxColumns, path: Path, findings: Findings) -> None:
    areas, (w, h) = columns.areas, columns.boxes[:, 2:].T
    findings.add_rows(
        "bad-area",
        path,
        areas < 0,
        lambda row: (columns.place(row, "area"), f"the area {areas[row]:g} is negative"),
    )
    # A pixel more on each side, since some tools count both edges; 1 % more for rounding.
    findings.add_rows(
        "area-unlike-box",
        path,
        ~without_area(columns.boxes) & (areas > 1.01 * (w + 1) * (h + 1)),
        lambda row: (
            columns.place(row, "area"),
            f"the area {areas[row]:g} is larger than the box, {w[row] * h[row]:g}",
        ),
    )


def _check_segmentations(
    columns: BoxColumns, boxed: NDArray[np.bool_], path: Path, findings: Findings
) -> None:
    """Check segmentations: unreadable ones, those without a box beside them, and boxes that do not fit them."""
    for row, fault in enumerate(columns.faults):
        if fault is not None:
            code = "segmentation-broken" if boxed[row] else fault.code
            where = columns.place(row, f"segmentation{fault.place}")
            findings.add(code, path, str(fault), where)
    outlines, boxes = columns.outlines, columns.boxes
    outlined = ~np.isnan(outlines[:, 0])
    findings.add_rows(
        "box-from-segmentation",
        path,
        outlined & ~boxed,
        lambda row: (
            columns.place(row, "bbox"),
            f"there is none; that of the segmentation is {format_box(outlines[row])}",
        ),
    )
    distance = np.maximum(
        np.abs(outlines[:, :2] - boxes[:, :2]), np.abs(far_corners(outlines) - far_corners(boxes))
    )
    findings.add_rows(
        "box-unlike-segmentation",
        path,
        outlined & ~without_area(boxes) & (distance > TOLERANCE).any(axis=1),
        lambda row: (
            columns.place(row, "bbox"),
            f"{format_box(boxes[row])} is not around the segmentation, which spans "
            f"{format_box(outlines[row])}",
        ),
    )
