"""`Predictions`: what somebody claims about a dataset, and how it is laid beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
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
