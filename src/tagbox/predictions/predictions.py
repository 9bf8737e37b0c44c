"""`Detections`: what a detector claims about a dataset, in flat columns.

`Predictions`: what somebody claims about a dataset, and how it is laid beside the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Claims about N images and K categories, aligned by name and never by position.

    Exactly one of `probabilities` and `decisions` is given by whoever makes the value.

    Attributes
    ----------
    images
        N keys: a file stem (``"000000000139"``) or a decimal image id (``"139"``).
    categories
        K category names.
    probabilities
        (N, K) float32 in [0, 1], or None where only label sets are claimed.
    decisions
        (N, K) bool label sets, or None where probabilities are claimed.
    source
        Where the claims came from, for messages.
    labels
        Whether they say exactly one category an image; None where nobody knows, as of a file.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    probabilities: NDArray[np.float32] | None = None
    decisions: NDArray[np.bool_] | None = None
    source: str = "predictions"
    labels: LabelKind | None = None

    def __post_init__(self) -> None:
        if (self.probabilities is None) == (self.decisions is None):
            raise ValueError("give probabilities or decisions, one of the two")
        table = self.table
        if table.shape != (len(self.images), len(self.categories)):
            raise ValueError(
                f"table is {table.shape} for {len(self.images)} images and "
                f"{len(self.categories)} categories"
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
    """D boxes in N images; aligned with a dataset by name and id, never by position.

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
        (D, 4) float64 xywh in pixels of the upright picture, as a COCO results file has them: a run and the
        file written from it are then equal to the last digit.
    scores
        (D,) float64.
    source
        Where the claims came from, for messages.
    """

    images: tuple[str, ...]
    categories: tuple[str, ...]
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    source: str = "detections"

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4):
            raise ValueError(f"boxes must be ({count}, 4), got {self.boxes.shape}")
        for column, limit in (
            (self.image_rows, len(self.images)),
            (self.category_rows, len(self.categories)),
        ):
            if len(column) != count:
                raise ValueError("columns differ in length")
            if count and not (int(column.min()) >= 0 and int(column.max()) < limit):
                raise ValueError("a detection points outside the images or categories")

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
