"""Assignment of detections to truth boxes: COCO's greedy matching, for all images and IoU thresholds at once.

It is the matching that hotcoco counts with, as columns: curves, score thresholds and intervals need the outcome of each
detection, and fetching those one image at a time takes longer than matching all of them.
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
"""Pairs of a detection and a truth box whose IoU is computed at once; bounds the memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches:
    """Outcomes of the detections that COCO counts, unless told otherwise: the 100 of highest score in each image and
    category, at the ten IoUs of `IOUS`.

    Attributes
    ----------
    rows
        (D,) rows of the detections, ordered by category, then by descending score; ties by image id, then in the
        order they were given.
    image_rows, category_rows
        (D,) of those.
    scores
        (D,) float64 of those.
    found
        (10, D) row of the truth box that each matches at each IoU of `IOUS`, or -1.
    ignored
        (10, D) bool; neither true nor false positive: it matches a crowd region, or a box of no COCO size.
    counted
        (M,) bool; truth boxes to find: neither crowd regions nor of no COCO size.
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
        """(K,) int64; boxes to find of each category."""
        rows = self.truth.category_rows[self.counted]
        return np.bincount(rows, minlength=len(self.truth.dataset.categories)).astype(np.int64)

    def of_category(self, row: int) -> slice:
        """The slice of the columns that holds category `row`."""
        start, stop = np.searchsorted(self.category_rows, [row, row + 1])
        return slice(int(start), int(stop))


def match_boxes(
    truth: GroundTruth,
    detections: Detections,
    *,
    ious: Array = IOUS,
    most: int | None = MOST[-1],
) -> Matches:
    """Match as COCO does: by descending score, each detection takes the free box that it overlaps most.

    Parameters
    ----------
    truth, detections
        As in `score_boxes`.
    ious
        Ascending IoU thresholds; `Matches` has a row for each.
    most
        Detections counted in each image and category, best first; all where None.
    """
    categories = max(len(truth.dataset.categories), 1)
    number = truth.image_numbers()
    kept = np.flatnonzero(truth.scored[detections.image_rows])
    group = number[detections.image_rows[kept]] * categories + detections.category_rows[kept]
    order = np.lexsort((-detections.scores[kept], group))
    kept, group = kept[order], group[order]
    # A group is an image and a category; `rank` counts a group's detections from the highest score down.
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    if most is not None:
        best = rank < most
        kept, group, rank = kept[best], group[best], rank[best]
    low, high = SIZES["all"]
    counted = ~truth.crowd & (truth.areas >= low) & (truth.areas <= high)
    found = np.full((len(ious), len(kept)), -1, np.int32)
    _match(found, truth, counted, detections.boxes[kept], group, rank, categories, ious)
    areas = detections.boxes[kept, 2] * detections.boxes[kept, 3]
    # A match with an ignored box is ignored; without a match the detection's own area decides. `found` is -1 where
    # there is no match, and then indexes the appended False, which is not used.
    ignored_boxes = np.append(~counted, False)
    ignored = np.where(found >= 0, ignored_boxes[found], (areas < low) | (areas > high))
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
    ious: Array,
) -> None:
    """Fill `found` (I, D) at `ious` (I,) for detections of the given group (image and category) and rank in it.

    Groups do not interact, so the detections of rank 0 of all groups are matched in one step, then those of rank 1, and
    so on: 100 steps, unless more are counted, whatever the number of images.
    """
    truth_group = truth.image_numbers()[truth.image_rows] * categories + truth.category_rows
    pairs = list(overlapping(boxes, group, truth, truth_group, ious[0]))
    detection = np.concatenate([part[0] for part in pairs]) if pairs else np.zeros(0, np.intp)
    box = np.concatenate([part[1] for part in pairs]) if pairs else np.zeros(0, np.intp)
    iou = np.concatenate([part[2] for part in pairs]) if pairs else np.zeros(0)
    # Sorted by rank, then detection, then preference: the last pair of a detection is its first choice. COCO prefers
    # a box to find to an ignored one, then the larger IoU, then the box that comes later in the file.
    order = np.lexsort((box, iou, counted[box], detection, rank[detection]))
    detection, box, iou = detection[order], box[order], iou[order]
    ends = np.searchsorted(rank[detection], np.arange(rank.max(initial=-1) + 2))
    taken = np.zeros((len(ious), len(truth)), bool)
    for start, stop in pairwise(ends):
        if start == stop:
            continue
        candidates, targets, overlaps = detection[start:stop], box[start:stop], iou[start:stop]
        # COCO's own bound: an IoU of 1 may come out a little below.
        for level, least in enumerate(np.minimum(ious, 1 - 1e-10)):
            free = (overlaps >= least) & ~taken[level, targets]
            # Assigned several times, an element keeps the last value: the detection's first choice of the free boxes.
            found[level, candidates[free]] = targets[free]
            matched = found[level, candidates[free]]
            # A crowd region may match any number of detections, so it is never taken.
            taken[level, matched[~truth.crowd[matched]]] = True


def overlapping(
    boxes: Array,
    group: NDArray[np.int64],
    truth: GroundTruth,
    truth_group: NDArray[np.int64],
    least: float,
) -> Iterator[tuple[Rows, Rows, Array]]:
    """Pairs (detections, truth boxes, IoUs) within a group at an IoU of `least` or more, in parts of about `PAIRS`."""
    by_group = np.argsort(truth_group, kind="stable")
    first = np.searchsorted(truth_group[by_group], group, side="left")
    counts = np.searchsorted(truth_group[by_group], group, side="right") - first
    total = np.concatenate([[0], np.cumsum(counts)])
    start = 0
    while start < len(group):
        stop = int(np.searchsorted(total, total[start] + PAIRS, side="right")) - 1
        stop = max(stop, start + 1)
        part = counts[start:stop]
        # Each detection as often as its group has truth boxes, beside those boxes.
        candidates = np.repeat(np.arange(start, stop), part)
        within = np.arange(len(candidates)) - np.repeat(total[start:stop] - total[start], part)
        targets = by_group[first[candidates] + within]
        iou = box_iou(boxes[candidates], truth.boxes[targets], truth.crowd[targets])
        near = iou >= least
        yield candidates[near], targets[near], iou[near]
        start = stop


def box_iou(boxes: Array, others: Array, crowd: NDArray[np.bool_] | None = None) -> Array:
    """(P,) IoU of P pairs of xywh boxes, each (P, 4); with a crowd region the overlap over the first box's own area."""
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
