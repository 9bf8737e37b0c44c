"""Likely causes of an AP near zero, above all mistakes in writing the results file.

Nearly always the detector works and its file is wrong: ids counted from 0, corners instead of a width and a
height, boxes as shares of the image, or in pixels of the network's input. Each interpretation is tried, and the
one under which the boxes fit the truth is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tagbox.data.text import some
from tagbox.evaluation.box_matching import box_iou
from tagbox.evaluation.coco_ground_truth import GroundTruth
from tagbox.predictions.predictions import Detections

Array = NDArray[np.float64]

LOW = 0.1
"""AP at an IoU of 0.5 below which causes are looked for."""
FITS = 0.3
"""Share of the truth boxes that an interpretation must find; it must also find twice as many as the file as it is."""
SAMPLE = 200
"""Images that are examined."""
BEST = 100
"""Detections of an image that are examined, those of the highest scores."""


def diagnose_ap(truth: GroundTruth, detections: Detections, ap50: float | None) -> list[str]:
    """Sentences that name the likely causes; none where `ap50` is `LOW` or more, or there is nothing to find.

    Parameters
    ----------
    truth, detections
        As in `score_boxes`.
    ap50
        AP at an IoU of 0.5.
    """
    if ap50 is None or ap50 >= LOW:
        return []
    images = np.flatnonzero(
        truth.scored
        & (np.bincount(truth.image_rows[~truth.crowd], minlength=len(truth.scored)) > 0)
    )
    detections = detections.take(truth.scored[detections.image_rows])
    boxes = int(truth.support.sum())
    if not len(detections):
        return [f"There are no detections at all, and {boxes:,} boxes to find."]
    reasons = []
    detected = np.isin(images, detections.image_rows)
    if not detected.any():
        return [
            "No detection lies in an image with a box to find: the two files have hardly any image in common."
        ]
    if detected.mean() < 0.5:
        reasons.append(
            f"Only {int(detected.sum()):,} of {len(images):,} images with a box to find have a detection."
        )
    sample = images[detected][:SAMPLE]
    pairs = list(_by_image(truth, detections, sample))
    as_written = _found(pairs, truth, lambda box, row: box)
    reading, share = _best_reading(pairs, truth, detections, as_written)
    if reading:
        reasons.append(
            f"{reading}: so read, {share:.0%} of the boxes are found (ignoring the category); as written, "
            f"{as_written:.0%}."
        )
    elif as_written >= FITS:
        reasons.append(_about_categories(pairs, truth, as_written))
    else:
        reasons.append(_about_overlap(pairs, truth))
    return reasons + _about_scores(detections) + _about_counts(truth, detections)


# (row of the image, rows of its truth boxes, boxes (D, 4) of its detections, their category rows).
_Pair = tuple[int, NDArray[np.intp], Array, NDArray[np.int32]]
_Reading = Callable[[Array, int], Array]


def _by_image(
    truth: GroundTruth, detections: Detections, images: NDArray[np.intp]
) -> Iterator[_Pair]:
    order = np.lexsort((-detections.scores, detections.image_rows))
    rows = detections.image_rows[order]
    own = np.flatnonzero(~truth.crowd)
    for image in images.tolist():
        start, stop = np.searchsorted(rows, [image, image + 1])
        best = order[start : min(stop, start + BEST)]
        boxes = own[truth.image_rows[own] == image]
        yield image, boxes, detections.boxes[best], detections.category_rows[best]


def _overlaps(truth: GroundTruth, rows: NDArray[np.intp], boxes: Array) -> Array:
    """(G, D) IoU of G truth boxes of an image with D `boxes`, whatever their categories."""
    pairs = np.repeat(truth.boxes[rows], len(boxes), axis=0)
    return box_iou(pairs, np.tile(boxes, (len(rows), 1))).reshape(len(rows), len(boxes))


def _found(pairs: list[_Pair], truth: GroundTruth, read: _Reading) -> float:
    """Share of the sample's boxes that some detection, interpreted by `read`, overlaps with an IoU of 0.5 or more."""
    best = [
        _overlaps(truth, rows, read(boxes, image)).max(axis=1) for image, rows, boxes, _ in pairs
    ]
    return float((np.concatenate(best) >= 0.5).mean())


def _best_reading(
    pairs: list[_Pair], truth: GroundTruth, detections: Detections, as_written: float
) -> tuple[str, float]:
    """The interpretation that finds the most boxes, and their share; an empty text where none does much better."""
    found = {
        name: _found(pairs, truth, read) for name, read in _readings(truth, detections).items()
    }
    name = max(found, key=lambda key: found[key])
    share = found[name]
    return (name, share) if share >= max(FITS, 2 * as_written) else ("", as_written)


def _readings(truth: GroundTruth, detections: Detections) -> dict[str, _Reading]:
    """Interpretations of the file's boxes, in words, and how each becomes x, y, width, height in pixels."""
    images = truth.dataset.images
    # Where the file states no size, the boxes' own extent is what there is.
    ends = truth.boxes[:, :2] + truth.boxes[:, 2:]
    extent = np.stack([images.widths, images.heights], axis=1).astype(np.float64)
    if not (extent > 0).all():
        np.maximum.at(extent, truth.image_rows, ends)
    reach = float(np.max(detections.boxes[:, :2] + detections.boxes[:, 2:]))
    side = max(reach, 1e-9)

    def corners(box: Array, row: int) -> Array:
        return np.column_stack([box[:, :2], np.maximum(box[:, 2:] - box[:, :2], 0)])

    def centres(box: Array, row: int) -> Array:
        return np.column_stack([box[:, :2] - box[:, 2:] / 2, box[:, 2:]])

    def shares(box: Array, row: int) -> Array:
        return np.asarray(box * np.tile(extent[row], 2))

    def longest(box: Array, row: int) -> Array:
        return np.asarray(box * (extent[row].max() / side))

    def square(box: Array, row: int) -> Array:
        return np.asarray(box * np.tile(extent[row] / side, 2))

    def rows_first(box: Array, row: int) -> Array:
        return box[:, [1, 0, 3, 2]]

    readings: dict[str, _Reading] = {
        "The boxes look like corners (x1, y1, x2, y2), where x, y, width, height are wanted": corners,
        "The boxes look like a centre with width and height, where the corner top left is wanted": centres,
        "The boxes look like y, x, height, width": rows_first,
    }
    if reach <= 2.0:
        readings = {
            "The boxes look like shares of the image (0 to 1), where pixels are wanted": shares,
            "The boxes look like corners as shares of the image (0 to 1), where pixels are wanted": (
                lambda box, row: shares(corners(box, row), row)
            ),
            "The boxes look like centres as shares of the image (0 to 1), where pixels are wanted": (
                lambda box, row: shares(centres(box, row), row)
            ),
        }
    else:
        size = f"{reach:.0f}"
        readings |= {
            f"The boxes look like pixels of an image scaled to a longest side of about {size}": longest,
            f"The boxes look like pixels of an image stretched to about {size} x {size}": square,
        }
    return readings


def _about_categories(pairs: list[_Pair], truth: GroundTruth, share: float) -> str:
    """How the categories of the boxes that fit differ from the truth."""
    ids = truth.dataset.categories.ids
    names = truth.dataset.categories.names
    true_rows, predicted_rows = [], []
    for _, rows, boxes, categories in pairs:
        overlaps = _overlaps(truth, rows, boxes)
        fits = overlaps.max(axis=1) >= 0.5
        true_rows.append(truth.category_rows[rows[fits]])
        predicted_rows.append(categories[overlaps.argmax(axis=1)[fits]])
    true, predicted = np.concatenate(true_rows), np.concatenate(predicted_rows)
    start = f"{share:.0%} of the boxes are found when the category is ignored"
    wrong = true != predicted
    if wrong.mean() < 0.5:
        return (
            f"{start}, and most under the right one: other detections with higher scores are wrong."
        )
    for what, column in (("ids", ids), ("rows, counted in the file's order,", np.arange(len(ids)))):
        shifts, counts = np.unique(column[predicted] - column[true], return_counts=True)
        most = int(np.argmax(counts))
        # A single category may simply be confused with the one of the next id.
        if shifts[most] and counts[most] > 0.5 * len(true) and len(np.unique(true[wrong])) > 1:
            return f"{start}, and the category {what} are off by {int(shifts[most]):+d}."
    called, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    most_often = np.zeros(len(ids), np.intp)
    np.maximum.at(most_often, called[0], counts)
    # Other ids map each category to one other name; a detector that learned little predicts several.
    renamed = most_often.sum() > 0.7 * len(true)
    a, b = called[:, int(np.argmax(np.where(called[0] != called[1], counts, 0)))]
    return (
        f"{start}, but {wrong.mean():.0%} of those are predicted as another category, most often "
        f"{names[a]!r} is predicted as {names[b]!r}: "
        + (
            "compare the category ids of the two files."
            if renamed
            else "the detector does not tell the categories apart."
        )
    )


def _about_overlap(pairs: list[_Pair], truth: GroundTruth) -> str:
    best = np.concatenate(
        [_overlaps(truth, rows, boxes).max(axis=1) for _, rows, boxes, _ in pairs]
    )
    return (
        "The boxes are elsewhere: the best overlap of a box to find with any detection, whatever its "
        f"category, is an IoU of {np.median(best):.2f} in the middle and {(best >= 0.5).mean():.0%} reach 0.5; "
        "the detector has learned little, or its boxes are of other images."
    )


def _about_scores(detections: Detections) -> list[str]:
    low, high = float(detections.scores.min()), float(detections.scores.max())
    if low == high and len(detections) > 1:
        return [f"All scores are {low:g}, so the order of the detections is arbitrary."]
    if high < 0.05:
        return [f"The highest score is {high:.3g}: the detector is confident of nothing."]
    return []


def _about_counts(truth: GroundTruth, detections: Detections) -> list[str]:
    names = truth.dataset.categories.names
    detected = np.bincount(detections.category_rows, minlength=len(names))
    missing = np.flatnonzero((truth.support > 0) & (detected == 0))
    if not len(missing):
        return []
    listed = [f"{names[row]} ({truth.support[row]:,} to find)" for row in missing.tolist()]
    there = int((truth.support > 0).sum())
    return [
        f"Of {there} categories with boxes, {len(missing)} without any detection: {some(listed)}."
    ]
