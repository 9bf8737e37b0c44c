"""Example predictions of a detector: the images with the best and the worst detections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.images.box_drawing import DrawnBox
from tagbox.images.captions import LabelOutcome, Outcome
from tagbox.predictions.predictions import Detections
from tagbox.reports.examples import Example, Kind

WRONG, IGNORED = -1, -2
"""A detection without an object is a false positive, or in a crowd region and not counted."""
_OUTCOMES: dict[int, Outcome] = {WRONG: "false positive", IGNORED: "unjudged"}

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageMatches:
    """The detections of one image at or above their thresholds, matched with its objects at IoU 0.5.

    Attributes
    ----------
    row
        The image's row.
    truth
        (G,) rows of the truth boxes that count: no crowd regions.
    detections
        (D,) rows of the detections, highest score first.
    found
        (D,) row of the truth box that each detection matches, `WRONG` or `IGNORED`.
    """

    row: int
    truth: Rows
    detections: Rows
    found: Rows

    @property
    def right(self) -> int:
        """True positives."""
        return int((self.found >= 0).sum())

    @property
    def wrong(self) -> int:
        """False positives."""
        return int((self.found == WRONG).sum())

    @property
    def missed(self) -> int:
        """False negatives."""
        return len(self.truth) - self.right

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; 1 for an image without objects and detections."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0


def match_images(
    matches: Matches, thresholds: float | Sequence[float] | Array
) -> list[ImageMatches]:
    """The matches of every image, in their order.

    Parameters
    ----------
    matches
        Of all detections with the truth. Removing those below a threshold changes no other match, since
        higher scores are matched first.
    thresholds
        Score from which a detection counts: one, or one for each of the K categories.
    """
    truth = matches.truth
    levels = np.broadcast_to(np.asarray(thresholds, np.float64), (len(truth.dataset.categories),))
    kept = np.flatnonzero(matches.scores >= levels[matches.category_rows])
    # By image, the highest score first; of equal scores the earlier detection.
    kept = kept[np.lexsort((matches.rows[kept], -matches.scores[kept], matches.image_rows[kept]))]
    found = np.where(matches.ignored[0], IGNORED, matches.found[0])[kept]
    counted = np.flatnonzero(matches.counted)
    counted = counted[np.argsort(truth.image_rows[counted], kind="stable")]
    limits = np.arange(len(truth.dataset) + 1)
    starts = np.searchsorted(matches.image_rows[kept], limits)
    truth_starts = np.searchsorted(truth.image_rows[counted], limits)
    return [
        ImageMatches(
            row=row,
            truth=counted[truth_starts[row] : truth_starts[row + 1]],
            detections=matches.rows[kept[starts[row] : starts[row + 1]]],
            found=found[starts[row] : starts[row + 1]],
        )
        for row in range(len(truth.dataset))
    ]


def choose_examples(
    images: Sequence[ImageMatches], count: int = 12
) -> tuple[list[ImageMatches], list[ImageMatches]]:
    """Select the images with the best and the worst detections.

    Both are ordered by F1. Of equal ones the best with more objects come first, the worst with more
    errors, then the earlier image. The best have a true positive: an empty image without a detection shows
    nothing. The worst have an error.

    Returns
    -------
    best, worst
        At most `count` of each, the very best and the very worst first; no image is in both.
    """
    good = [image for image in images if image.right]
    best = sorted(good, key=lambda image: (-image.f1, -image.right, image.row))[:count]
    shown = {image.row for image in best}
    bad = [image for image in images if image.wrong + image.missed and image.row not in shown]
    worst = sorted(bad, key=lambda image: (image.f1, -image.wrong - image.missed, image.row))
    return best, worst[:count]


def make_example(
    image: NDArray[np.uint8],
    name: str,
    kind: Kind,
    matched: ImageMatches,
    matches: Matches,
    detections: Detections,
) -> Example:
    """The `Example` of an image that `choose_examples` selected.

    Of the true boxes only missed ones are named and have an outcome: the others are found by a detection.

    Parameters
    ----------
    image
        The whole image upright, (H, W, 3) uint8 RGB.
    matches, detections
        What `match_images` took, and their detections.
    """
    names, truth = detections.categories, matches.truth
    missed = np.setdiff1d(matched.truth, matched.found)
    boxes = [
        DrawnBox(
            name=names[truth.category_rows[row]],
            box=tuple(truth.boxes[row].tolist()),
            truth=True,
            named=row in missed,
            outcome="missed" if row in missed else "unjudged",
        )
        for row in matched.truth.tolist()
    ]
    boxes += [
        DrawnBox(
            name=names[detections.category_rows[row]],
            box=tuple(detections.boxes[row].tolist()),
            score=float(detections.scores[row]),
            outcome=_OUTCOMES.get(found, "true positive"),
        )
        for row, found in zip(matched.detections.tolist(), matched.found.tolist(), strict=True)
    ]

    labels = [
        *_counted(
            names,
            detections.category_rows[matched.detections[matched.found == WRONG]],
            "false positive",
        ),
        *_counted(names, truth.category_rows[missed], "missed"),
        *_counted(
            names, detections.category_rows[matched.detections[matched.found >= 0]], "true positive"
        ),
    ]
    return Example(
        image=image,
        name=name,
        kind=kind,
        score=matched.f1,
        labels=tuple(labels),
        boxes=tuple(boxes),
    )


def _counted(
    names: Sequence[str], category_rows: NDArray[np.int32], outcome: Outcome
) -> list[LabelOutcome]:
    """A label per category, the most frequent first, with their number where there are several."""
    return [
        LabelOutcome(names[k] if times == 1 else f"{times} × {names[k]}", None, outcome)
        for k, times in Counter(category_rows.tolist()).most_common()
    ]
