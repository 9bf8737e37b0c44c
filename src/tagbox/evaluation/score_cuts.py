"""From which score on a detection is said: one cut a category, chosen for the best F1.

AP looks at every detection, a picture shows those above a cut. The cut is where F1 at an IoU of 0.5 is
greatest on validation images. The best cut of a category with three boxes is luck, so each category's own is
averaged with the cut that is best for all of them together, weighted by its boxes against `SHRINKAGE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.detections import Detections

Array = NDArray[np.float64]

SHRINKAGE = 20.0
"""Boxes of a category at which its own cut and the one for all weigh the same; as for `Thresholds`."""


@dataclass(frozen=True, kw_only=True)
class ScoreCuts:
    """A detection is said when its score is at or above its category's cut.

    Attributes
    ----------
    value
        The cut for categories that have none of their own.
    per_category
        K cuts in the order of the model's categories, or None.
    """

    value: float = 0.5
    per_category: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require(_is_score(self.value), "value", self.value, "a finite number")
        for row, value in enumerate(self.per_category or ()):
            _require(_is_score(value), f"per_category[{row}]", value, "a finite number")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = self.per_category
        return {"value": self.value, "per_category": None if own is None else list(own)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: object = None) -> ScoreCuts:
        """Cuts from plain values; missing ones take their defaults.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` for an unknown field or a value of the wrong kind.
        """
        try:
            _require(isinstance(values, Mapping), "score cuts", values, "an object")
            fields = ", ".join(cls.__dataclass_fields__)
            for name in values:
                known = name in cls.__dataclass_fields__
                _require(known, str(name), values[name], f"a field of score cuts, which are {fields}")
            given = dict(values)
            if given.get("per_category") is not None:
                listed = given["per_category"]
                _require(isinstance(listed, (list, tuple)), "per_category", listed, "a list")
                given["per_category"] = tuple(listed)
            return cls(**given)
        except TagboxError as error:
            if file is None:
                raise
            raise TagboxError(
                error.code, error.found, file=str(file), where=error.where, hint=error.hint
            ) from error

    def levels(self, categories: int) -> Array:
        """(K,) float64; the cut of each category.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` when there are cuts for another number of categories.
        """
        if self.per_category is None:
            return np.full(categories, self.value)
        if len(self.per_category) != categories:
            raise TagboxError(
                "score-cuts-invalid",
                f"{len(self.per_category)} cuts for {categories} categories",
                where="per_category",
                hint="choose them on this model's categories",
            )
        return np.array(self.per_category, np.float64)

    def decide(self, detections: Detections) -> NDArray[np.bool_]:
        """(D,) bool; which detections are said. Their categories are in the order of the cuts."""
        return detections.scores >= self.levels(len(detections.categories))[detections.category_rows]

    def reordered(self, names: Sequence[str], wanted: Sequence[str]) -> ScoreCuts:
        """The cuts of the categories `names` in the order `wanted`; a new name gets `value`."""
        if self.per_category is None:
            return self
        own = dict(zip(names, self.levels(len(names)).tolist(), strict=True))
        return ScoreCuts(
            value=self.value, per_category=tuple(own.get(name, self.value) for name in wanted)
        )


def choose_cuts(matches: Matches) -> ScoreCuts:
    """The cuts of best F1 at an IoU of 0.5 on these very images.

    A category without a box to find keeps the cut for all; without any detection to cut that is 0.5.
    """
    counted = ~matches.ignored[0]
    right = matches.right[0]
    positives = matches.positives
    for_all = _best_cut(matches.scores[counted], right[counted], int(positives.sum()))
    if for_all is None:
        return ScoreCuts()
    levels = []
    for row, boxes in enumerate(positives.tolist()):
        part = matches.of_category(row)
        rows = counted[part]
        own = _best_cut(matches.scores[part][rows], right[part][rows], boxes)
        if own is None:
            levels.append(for_all)
        else:
            levels.append((boxes * own + SHRINKAGE * for_all) / (boxes + SHRINKAGE))
    return ScoreCuts(value=for_all, per_category=tuple(levels))


def _best_cut(scores: Array, right: NDArray[np.bool_], positives: int) -> float | None:
    """Midway between the last score said and the first not said where F1 is greatest; None without a hit."""
    if not positives or not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    said = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(right) / (said + positives)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # A cut does not divide a tie.
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else scores[best]
    cut = float((scores[best] + below) / 2)
    # Of two neighbouring floats the mean is one of the two.
    return cut if cut > below else float(scores[best])


def _is_score(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _require(ok: bool, field: str, value: object, wanted: str) -> None:
    if not ok:
        raise TagboxError(
            "score-cuts-invalid",
            f"{value!r} is not {wanted}",
            where=field,
            hint="choose the cuts again or correct the value",
        )
