"""Which detection found which box: COCO's greedy matching, for all images and IoU thresholds at once.

The same matching that hotcoco counts with, as columns: curves, score cuts and intervals need each
detection's verdict, and fetching those one image at a time takes longer than matching all of them.
Images and categories do not touch each other, so the best detection of every image and category is
matched in one step, then every second best, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.coco_ground_truth import GroundTruth
from tagbox.evaluation.coco_metrics import IOUS, MOST, SIZES
from tagbox.predictions.predictions import Detections

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

PAIRS = 4_000_000
"""Pairs of a detection and a truth box looked at in one go."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches:
    """Verdicts on the detections that COCO counts: of each category and image the best 100.

    Attributes
    ----------
    rows
        (D,) rows of the detections, by category and in it by descending score; ties by image id, then in the
        order they were given.
    image_rows, category_rows
        (D,) of those.
    scores
        (D,) float64 of those.
    found
        (10, D) row of the truth box that each matches at each IoU of `IOUS`, or -1.
    ignored
        (10, D) bool; neither right nor wrong: it matches a crowd region, or a box of no COCO size.
    counted
        (M,) bool; truth boxes that are to be found.
    truth
        The boxes.
    """

    rows: Rows
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]
    scores: Array
    found: NDArray[np.int32]
    ignored: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    truth: GroundTruth

    @property
    def right(self) -> NDArray[np.bool_]:
        """(10, D) bool; true positives."""
        return (self.found >= 0) & ~self.ignored

    @property
    def positives(self) -> NDArray[np.int64]:
        """(K,) int64; boxes to be found of each category."""
        rows = self.truth.category_rows[self.counted]
        return np.bincount(rows, minlength=len(self.truth.dataset.categories)).astype(np.int64)

    def of_category(self, row: int) -> slice:
        """Where category `row` stands in the columns."""
        start, stop = np.searchsorted(self.category_rows, [row, row + 1])
        return slice(int(start), int(stop))


def match_boxes(truth: GroundTruth, detections: Detections) -> Matches:
    """Match as COCO does: best detection first, each with the box it overlaps most of those not yet taken.

    Parameters
    ----------
    truth, detections
        As in `score_boxes`.
    """
    categories = max(len(truth.dataset.categories), 1)
    number = truth.image_numbers()
    kept = np.flatnonzero(truth.scored[detections.image_rows])
    group = number[detections.image_rows[kept]] * categories + detections.category_rows[kept]
    order = np.lexsort((-detections.scores[kept], group))
    kept, group = kept[order], group[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    best = rank < MOST[-1]
    kept, group, rank = kept[best], group[best], rank[best]
    low, high = SIZES["all"]
    counted = ~truth.crowd & (truth.areas >= low) & (truth.areas <= high)
    found = np.full((len(IOUS), len(kept)), -1, np.int32)
    _match(found, truth, counted, detections.boxes[kept], group, rank, categories)
    areas = detections.boxes[kept, 2] * detections.boxes[kept, 3]
    # The row behind the last stands for -1.
    aside = np.append(~counted, False)
    ignored = np.where(found >= 0, aside[found], (areas < low) | (areas > high))
    final = np.lexsort(
        (
            kept,
            number[detections.image_rows[kept]],
            -detections.scores[kept],
            detections.category_rows[kept],
        )
    )
    rows = kept[final]
    return Matches(
        rows=rows,
        image_rows=detections.image_rows[rows],
        category_rows=detections.category_rows[rows],
        scores=detections.scores[rows],
        found=found[:, final],
        ignored=ignored[:, final],
        counted=counted,
        truth=truth,
    )


def _match(
    found: NDArray[np.int32],
    truth: GroundTruth,
    counted: NDArray[np.bool_],
    boxes: Array,
    group: NDArray[np.int64],
    rank: NDArray[np.int64],
    categories: int,
) -> None:
    """Fill `found` (10, D) for detections of the given group (image and category) and rank in it."""
    theirs = truth.image_numbers()[truth.image_rows] * categories + truth.category_rows
    pairs = list(_overlapping(boxes, group, truth, theirs))
    detection = np.concatenate([part[0] for part in pairs]) if pairs else np.zeros(0, np.intp)
    box = np.concatenate([part[1] for part in pairs]) if pairs else np.zeros(0, np.intp)
    iou = np.concatenate([part[2] for part in pairs]) if pairs else np.zeros(0)
    # Last of a detection's pairs is what it would take first: a box to be found before one that is
    # ignored, then the larger overlap, then the later box.
    order = np.lexsort((box, iou, counted[box], detection, rank[detection]))
    detection, box, iou = detection[order], box[order], iou[order]
    ends = np.searchsorted(rank[detection], np.arange(MOST[-1] + 1))
    taken = np.zeros((len(IOUS), len(truth)), bool)
    for start, stop in pairwise(ends):
        if start == stop:
            continue
        who, which, overlap = detection[start:stop], box[start:stop], iou[start:stop]
        for level, least in enumerate(np.minimum(IOUS, 1 - 1e-10)):
            free = (overlap >= least) & ~taken[level, which]
            # Of several values for one place the last one stays.
            found[level, who[free]] = which[free]
            got = found[level, who[free]]
            taken[level, got[~truth.crowd[got]]] = True


def _overlapping(
    boxes: Array, group: NDArray[np.int64], truth: GroundTruth, theirs: NDArray[np.int64]
) -> Iterator[tuple[Rows, Rows, Array]]:
    """Pairs of a detection and a truth box of its group whose IoU is the least threshold or more, in parts."""
    by_group = np.argsort(theirs, kind="stable")
    first = np.searchsorted(theirs[by_group], group, side="left")
    counts = np.searchsorted(theirs[by_group], group, side="right") - first
    total = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(group):
        stop = int(np.searchsorted(total, total[start] + PAIRS, side="right")) - 1
        stop = max(stop, start + 1)
        part = counts[start:stop]
        who = np.repeat(np.arange(start, stop), part)
        within = np.arange(len(who)) - np.repeat(total[start:stop] - total[start], part)
        which = by_group[first[who] + within]
        iou = box_iou(boxes[who], truth.boxes[which], truth.crowd[which])
        near = iou >= IOUS[0]
        yield who[near], which[near], iou[near]
        start = stop


def box_iou(boxes: Array, others: Array, crowd: NDArray[np.bool_] | None = None) -> Array:
    """(P,) IoU of xywh boxes pair by pair; over the first's area alone where the other is a crowd region."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    sides = ends - np.maximum(boxes[:, :2], others[:, :2])
    overlap = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    area = boxes[:, 2] * boxes[:, 3]
    union = area + others[:, 2] * others[:, 3] - overlap
    if crowd is not None:
        union = np.where(crowd, area, union)
    iou = np.zeros(len(boxes))
    np.divide(overlap, union, out=iou, where=overlap > 0)
    return iou
