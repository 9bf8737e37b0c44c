"""Pictures of a detector's report: detections and truth drawn, and in words which were right, wrong or missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tagbox.data.dataset import Annotations
from tagbox.evaluation.detections import Detections
from tagbox.images.boxes import Mark, draw_marks
from tagbox.images.verdicts import Outcome, Verdict
from tagbox.reports.box_choice import WRONG, JudgedPicture
from tagbox.reports.pictures import Kind, thumbnail
from tagbox.reports.words import figure

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
    judged: JudgedPicture,
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
        What `judge_pictures` made, and what it took.
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
