"""`Predictions` of labels and `Detections` of boxes, whoever made them, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.text import some
from tagbox.errors import TagboxError, bad_value


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Predicted labels of N images and K categories; exactly one of `probabilities` and `decisions` is given.

    Attributes
    ----------
    images
        N keys: a file stem (``"000000000139"``) or a decimal image id (``"139"``).
    categories
        K category names.
    probabilities
        (N, K) float32 in [0, 1], or None where there are only label sets.
    decisions
        (N, K) bool label sets, or None where there are probabilities.
    source
        The file or run they came from, for messages.
    labels
        Whether an image has exactly one category; None where it is not known, as for a file.
    transfer
        ``COCO transfer (…)`` where the model uses what was trained on COCO; None where it does not, or is not known.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    probabilities: NDArray[np.float32] | None = None
    decisions: NDArray[np.bool_] | None = None
    source: str = "predictions"
    labels: LabelKind | None = None
    transfer: str | None = None

    def __post_init__(self) -> None:
        _require_arrays(
            self, *(n for n in ("probabilities", "decisions") if getattr(self, n) is not None)
        )
        if (self.probabilities is None) == (self.decisions is None):
            raise _unfit("predictions", "give probabilities or decisions, one of the two")
        table = self.table
        if table.shape != (len(self.images), len(self.categories)):
            raise _unfit(
                "predictions",
                f"table is {table.shape} for {len(self.images)} images and "
                f"{len(self.categories)} categories",
            )

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def table(self) -> NDArray[np.float32] | NDArray[np.bool_]:
        """(N, K); whichever of the two is there."""
        table = self.probabilities if self.probabilities is not None else self.decisions
        assert table is not None
        return table


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections:
    """D predicted boxes in N images.

    The order of the rows is kept: where scores tie, COCO's evaluation counts the earlier one first.

    Attributes
    ----------
    images
        N keys, those without a box among them: a path, a file stem, or a decimal image id (``"139"``).
    categories
        K category names.
    image_rows, category_rows
        (D,) int32; rows of `images` and `categories`.
    boxes
        (D, 4) float64 xywh in pixels of the upright image, as a COCO results file has them, so that a run and the
        file written from it are equal to the last digit.
    scores
        (D,) float64.
    source
        The file or run they came from, for messages.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    source: str = "detections"

    def __post_init__(self) -> None:
        _require_arrays(self, "image_rows", "category_rows", "boxes", "scores")
        count = len(self.scores)
        if self.boxes.shape != (count, 4):
            raise _unfit("boxes", f"boxes must be ({count}, 4), got {self.boxes.shape}")
        for column, limit in (
            (self.image_rows, len(self.images)),
            (self.category_rows, len(self.categories)),
        ):
            if len(column) != count:
                raise _unfit("image_rows", "columns differ in length")
            if count and not (int(column.min()) >= 0 and int(column.max()) < limit):
                raise _unfit("image_rows", "a detection points outside the images or categories")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The detections at `rows`, in that order; images and categories stay."""
        return replace(
            self,
            image_rows=self.image_rows[rows],
            category_rows=self.category_rows[rows],
            boxes=self.boxes[rows],
            scores=self.scores[rows],
        )


def as_labels(detections: Detections) -> Predictions:
    """A detector as a tagger: the highest score of a category in an image, 0 where none was detected.

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
    scores = detections.scores.astype(np.float32)
    np.maximum.at(table, (detections.image_rows, detections.category_rows), scores)
    return Predictions(
        images=detections.images,
        categories=detections.categories,
        probabilities=table,
        source=detections.source,
        labels="multi",
    )


def same_labels(decisions: NDArray[np.bool_], categories: Sequence[str]) -> str | None:
    """In words that every one of several images gets the same labels; None where they do not.

    Parameters
    ----------
    decisions
        (N, K) bool predicted labels; fewer than three images are too few to say anything.
    categories
        K names.
    """
    if len(decisions) < 3 or not decisions.shape[1] or (decisions != decisions[0]).any():
        return None
    given = [name for name, said in zip(categories, decisions[0], strict=True) if said]
    if not given:
        return f"none of the {len(decisions):,} images gets a label"
    return f"all {len(decisions):,} images get the same labels: {some(given)}"


def weighted_mean(
    tables: Sequence[NDArray[np.float32]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The weighted mean of probabilities.

    It is computed entry by entry, so that parts of a table give the same bits as the whole.

    Parameters
    ----------
    tables
        M tables (N, K) of floats in [0, 1].
    weights
        M numbers >= 0 that sum to 1; equal ones when not given.

    Returns
    -------
    NDArray[np.float32]
        (N, K) in [0, 1].
    """
    if weights is None:
        weights = equal_weights(len(tables))
    total = np.zeros(tables[0].shape)
    for table, weight in zip(tables, weights, strict=True):
        total += np.float64(weight) * table
    return total.astype(np.float32)


def equal_weights(count: int) -> tuple[float, ...]:
    """`count` times one over `count`."""
    return (1 / count,) * count


def _require_arrays(value: Predictions | Detections, *names: str) -> None:
    """Refuse columns that are no arrays, and keys and names that are no tuples or lists of texts."""
    for name in ("images", "categories"):
        keys = getattr(value, name)
        if not isinstance(keys, (tuple, list)) or not all(isinstance(key, str) for key in keys):
            raise bad_value(keys, "a tuple of texts", name)
    for name in names:
        if not isinstance(getattr(value, name), np.ndarray):
            raise bad_value(getattr(value, name), "an array", name)


def _unfit(where: str, found: str) -> TagboxError:
    hint = "give arrays that fit each other"
    return TagboxError("config-value", found, where=where, hint=hint)
