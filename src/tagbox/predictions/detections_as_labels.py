"""A detector as a tagger: what its best box of each category says of the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tagbox.errors import TagboxError
from tagbox.predictions.predictions import Detections, Predictions
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds


def as_labels(
    detections: Detections,
    images: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
) -> Predictions:
    """The highest score of a category in an image as its label score; 0 where nothing of it was detected.

    Parameters
    ----------
    detections
        Scores from 0 to 1.
    images, categories
        Keys of `detections` to speak of, in the order wanted; all of them when not given.

    Raises
    ------
    TagboxError
        ``score-range`` for a score outside 0 to 1.
    """
    wrong = ~((detections.scores >= 0) & (detections.scores <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TagboxError(
            "score-range",
            f"the score {detections.scores[row]:g} is not from 0 to 1, as a label's must be",
            file=detections.source,
            where=f"[{row}].score",
            hint="write probabilities, not logits or per cent",
        )
    table = np.zeros((len(detections.images), len(detections.categories)), np.float32)
    np.maximum.at(
        table,
        (detections.image_rows, detections.category_rows),
        detections.scores.astype(np.float32),
    )
    rows = _places(detections.images, images)
    columns = _places(detections.categories, categories)
    return Predictions(
        images=tuple(detections.images[row] for row in rows),
        categories=tuple(detections.categories[column] for column in columns),
        probabilities=table[np.ix_(rows, columns)],
        source=detections.source,
        labels="multi",
    )


def label_thresholds(cuts: ScoreThresholds, categories: int) -> Thresholds:
    """The same cuts as thresholds: a category is said where one of its boxes is.

    Raises
    ------
    TagboxError
        ``score-cuts-invalid`` for cuts of another number of categories, ``thresholds-invalid`` outside 0 to 1.
    """
    levels = cuts.levels(categories)
    return Thresholds(value=cuts.value, per_category=tuple(levels.tolist()), use_per_category=True)


def _places(keys: tuple[str, ...], wanted: Sequence[str] | None) -> list[int]:
    place = {key: row for row, key in enumerate(keys)}
    return list(range(len(keys))) if wanted is None else [place[key] for key in wanted]
