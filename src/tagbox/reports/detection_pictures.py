"""Which pictures a detector got most right and most wrong: the F1 of each picture's boxes.

A detection is right where it finds an object of its category with an IoU of at least 0.5 that no surer
detection has found: COCO's matching at that IoU, without its limit on detections a picture.

Pictures of a detector's report: detections and truth drawn, and in words which were right, wrong or missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tagbox.data.dataset import Annotations
from tagbox.images.draw import Mark, draw_marks
from tagbox.images.outcomes import Outcome, Verdict
from tagbox.predictions.predictions import Detections
from tagbox.reports.page import figure
from tagbox.reports.pictures import Kind, thumbnail

IOU = 0.5
WRONG, IGNORED = -1, -2
"""What a detection that found no object has in its place: it is wrong, or it lies in a crowd region."""

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPicture:
    """The detections at or above their cuts of one picture, beside what is there.

    Attributes
    ----------
    row
        The image's row.
    truth
        (G,) rows of the annotations that count: with a box, and no crowd region.
    found
        (D,) rows of the detections, surest first.
    matches
        (D,) intp; the place in `truth` of the object a detection found, `WRONG` or `IGNORED`.
    """

    row: int
    truth: Rows
    found: Rows
    matches: Rows

    @property
    def right(self) -> int:
        """Objects that were found."""
        return int((self.matches >= 0).sum())

    @property
    def wrong(self) -> int:
        """Detections that are no object's."""
        return int((self.matches == WRONG).sum())

    @property
    def missed(self) -> int:
        """Objects that were not found."""
        return len(self.truth) - self.right

    @property
    def f1(self) -> float:
        """``2 right / (2 right + wrong + missed)``; 1 where nothing is there and nothing was said."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0


def match_pictures(
    annotations: Annotations,
    detections: Detections,
    cuts: float | Sequence[float] | Array,
) -> list[MatchedPicture]:
    """Judge the detections of every picture at the cuts that are used.

    Parameters
    ----------
    annotations
        The truth; annotations without a box are left out.
    detections
        Whose images and categories are the dataset's, row for row.
    cuts
        Scores from which a detection is said: one, or one for each of the K categories.

    Returns
    -------
    list of JudgedPicture
        One an image, in their order.
    """
    count = len(detections.images)
    levels = np.broadcast_to(np.asarray(cuts, np.float64), (len(detections.categories),))
    said = np.flatnonzero(detections.scores >= levels[detections.category_rows])
    # By image, the surest first; of equal scores the earlier row.
    said = said[np.lexsort((-detections.scores[said], detections.image_rows[said]))]
    boxed = np.flatnonzero(annotations.has_box)
    boxed = boxed[np.argsort(annotations.image_rows[boxed], kind="stable")]
    images = np.arange(count + 1)
    first_said = np.searchsorted(detections.image_rows[said], images)
    first_boxed = np.searchsorted(annotations.image_rows[boxed], images)
    judged = []
    for row in range(count):
        found = said[first_said[row] : first_said[row + 1]]
        there = boxed[first_boxed[row] : first_boxed[row + 1]]
        crowd = annotations.crowd[there]
        truth, crowds = there[~crowd], there[crowd]
        matches = match(
            detections.boxes[found],
            detections.category_rows[found],
            annotations.boxes[truth],
            annotations.category_rows[truth],
        )
        inside = overlap(detections.boxes[found], annotations.boxes[crowds], of_first=True) >= IOU
        same = detections.category_rows[found, None] == annotations.category_rows[crowds]
        matches[(matches == WRONG) & (inside & same).any(axis=1)] = IGNORED
        judged.append(MatchedPicture(row=row, truth=truth, found=found, matches=matches))
    return judged


def match(
    boxes: Array, categories: NDArray[np.int32], truth: Array, truth_categories: NDArray[np.int32]
) -> Rows:
    """Each detection in turn takes the object of its category that it overlaps most and that is still free.

    Parameters
    ----------
    boxes, truth
        (D, 4), surest first, and (G, 4) xywh.
    categories, truth_categories
        (D,) and (G,) rows.

    Returns
    -------
    (D,) intp
        Places in `truth`, `WRONG` where there is none with an IoU of at least 0.5. Of equal IoUs the later
        one is taken, as pycocotools does.
    """
    found = np.full(len(boxes), WRONG, np.intp)
    shared = overlap(boxes, truth)
    shared[categories[:, None] != truth_categories] = 0.0
    for place in np.flatnonzero((shared >= IOU).any(axis=1)).tolist():
        best = len(truth) - 1 - int(np.argmax(shared[place, ::-1]))
        if shared[place, best] >= IOU:
            found[place] = best
            shared[:, best] = 0.0
    return found


def overlap(first: Array, second: Array, *, of_first: bool = False) -> Array:
    """(D, G) intersection of (D, 4) and (G, 4) boxes xywh over their union, or over the area of `first`."""
    a, b = first[:, None], second[None]
    corner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = np.maximum(corner - np.maximum(a[..., :2], b[..., :2]), 0.0)
    shared: Array = sides.prod(axis=-1)
    area = a[..., 2:].prod(axis=-1)
    whole = area if of_first else area + b[..., 2:].prod(axis=-1) - shared
    parts: Array = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return parts


def choose_box_pictures(
    judged: Sequence[MatchedPicture], count: int = 12
) -> tuple[list[MatchedPicture], list[MatchedPicture]]:
    """The pictures a detector got most right and most wrong; the same ones whenever it is asked.

    Both are ordered by F1. Of equal ones the best with more objects come first, the worst with more
    mistakes, then the earlier picture. The best have an object that was found: an empty picture of which
    nothing is said teaches nothing. The worst have a mistake.

    Returns
    -------
    best, worst
        At most `count` of each, the very best and the very worst first; no picture is in both.
    """
    good = [picture for picture in judged if picture.right]
    best = sorted(good, key=lambda p: (-p.f1, -p.right, p.row))[:count]
    shown = {picture.row for picture in best}
    bad = [p for p in judged if p.wrong + p.missed and p.row not in shown]
    worst = sorted(bad, key=lambda p: (p.f1, -p.wrong - p.missed, p.row))[:count]
    return best, worst


WIDTH, HEIGHT = 560, 420
"""Pixels that a picture is fitted into; the page shows all of them at one scale, and so the names."""
_TEXT, _NARROWEST = 18, 140


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxPicture:
    """A picture of the report with what is there and what was detected.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    name
        The file's name.
    kind
        ``best`` or ``worst``.
    score
        The F1 of its boxes.
    marks
        Boxes to draw, in pixels of `image`.
    right, wrong, missed
        Names of categories, one an object or detection.
    """

    image: NDArray[np.uint8]
    name: str
    kind: Kind
    score: float
    marks: tuple[Mark, ...]
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


def make_box_picture(
    image: NDArray[np.uint8],
    name: str,
    kind: Kind,
    judged: MatchedPicture,
    annotations: Annotations,
    detections: Detections,
) -> BoxPicture:
    """The `BoxPicture` of an image that `choose_box_pictures` chose.

    Of the truth only what was missed bears its name: what was found has that of its detection.

    Parameters
    ----------
    image
        The whole picture upright, (H, W, 3) uint8 RGB.
    judged, annotations, detections
        What `match_pictures` made, and what it took.
    """
    names = detections.categories
    missed = np.setdiff1d(np.arange(len(judged.truth)), judged.matches)
    marks = [
        Mark(
            name=names[annotations.category_rows[row]],
            box=tuple(annotations.boxes[row].tolist()),
            truth=True,
            tagged=place in missed,
        )
        for place, row in enumerate(judged.truth.tolist())
    ]
    marks += [
        Mark(
            name=names[detections.category_rows[row]],
            box=tuple(detections.boxes[row].tolist()),
            score=float(detections.scores[row]),
        )
        for row in judged.found.tolist()
    ]

    def named(chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(names[k] for k in detections.category_rows[judged.found[chosen]].tolist())

    return BoxPicture(
        image=image,
        name=name,
        kind=kind,
        score=judged.f1,
        marks=tuple(marks),
        right=named(judged.matches >= 0),
        wrong=named(judged.matches == WRONG),
        missed=tuple(marks[place].name for place in missed.tolist()),
    )


def picture_groups(pictures: Sequence[BoxPicture]) -> list[dict[str, Any]]:
    """What the page shows of them: the worst, then the best."""
    groups = []
    for kind, words in (("worst", "Where it fails"), ("best", "Where it works")):
        cards = [_card(picture) for picture in pictures if picture.kind == kind]
        if cards:
            groups.append({"title": words, "cards": cards})
    return groups


def _card(picture: BoxPicture) -> dict[str, Any]:
    height, width = picture.image.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    width = max(round(width * scale), _NARROWEST)
    scale = width / picture.image.shape[1]
    drawn = Image.fromarray(picture.image).resize((width, max(1, round(height * scale))))
    draw_marks(drawn, picture.marks, scale=scale, size=_TEXT)
    uri, width, height = thumbnail(np.asarray(drawn), max(drawn.size))
    return {
        "uri": uri,
        "width": width,
        "height": height,
        "name": picture.name,
        "score": figure(picture.score, 2),
        "labels": _counted(picture.wrong, "wrong")
        + _counted(picture.missed, "missed")
        + _counted(picture.right, "right"),
    }


def _counted(names: Sequence[str], outcome: Outcome) -> list[Verdict]:
    """A label a category, with their number where there are several."""
    return [
        Verdict(name if number == 1 else f"{number} × {name}", None, outcome)
        for name, number in Counter(names).most_common()
    ]
