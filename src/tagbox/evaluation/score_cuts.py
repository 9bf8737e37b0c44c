"""From which score on a detection is said: the cuts that a detector carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.evaluation.detections import Detections


@dataclass(frozen=True, kw_only=True)
class ScoreCuts:
    """The score cuts of a detector; a box is said when its score is at or above its category's cut.

    Attributes
    ----------
    value
        The cut for all categories: a finite number, of whatever scale the scores have.
    per_category
        K cuts in the order of the detector's categories, used in its place; or None.
    """

    value: float = 0.5
    per_category: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require(_is_cut(self.value), "value", self.value, "a finite number")
        for row, cut in enumerate(self.per_category or ()):
            _require(_is_cut(cut), f"per_category[{row}]", cut, "a finite number")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = None if self.per_category is None else list(self.per_category)
        return {"value": self.value, "per_category": own}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: object = None) -> ScoreCuts:
        """Cuts from plain values; missing ones take their defaults.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` for an unknown field or a value of the wrong kind.
        """
        try:
            _require(isinstance(values, Mapping), "cuts", values, "an object")
            for name in values:
                known = name in cls.__dataclass_fields__
                _require(known, str(name), values[name], "a field of cuts: value, per_category")
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

    def levels(self, categories: int) -> NDArray[np.float64]:
        """(K,) float64: the cut of each category.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` where there are cuts of another number of categories.
        """
        if self.per_category is None:
            return np.full(categories, self.value, np.float64)
        if len(self.per_category) != categories:
            raise TagboxError(
                "score-cuts-invalid",
                f"{len(self.per_category)} cuts for {categories} categories",
                where="per_category",
                hint="tune them on this detector's categories",
            )
        return np.array(self.per_category, np.float64)

    def decide(self, detections: Detections) -> NDArray[np.bool_]:
        """(D,) bool: which detections are said; see `levels` for what it raises."""
        levels = self.levels(len(detections.categories))
        said: NDArray[np.bool_] = detections.scores >= levels[detections.category_rows]
        return said

    def reordered(self, names: Sequence[str], wanted: Sequence[str]) -> ScoreCuts:
        """The cuts of the categories `names` in the order `wanted`; a category that is new gets `value`."""
        if self.per_category is None:
            return self
        own = dict(zip(names, self.levels(len(names)).tolist(), strict=True))
        return ScoreCuts(
            value=self.value, per_category=tuple(own.get(name, self.value) for name in wanted)
        )


def _is_cut(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return bool(np.isfinite(float(value)))


def _require(ok: bool, field: str, value: object, wanted: str) -> None:
    if not ok:
        raise TagboxError(
            "score-cuts-invalid",
            f"{value!r} is not {wanted}",
            where=field,
            hint="tune the cuts again or correct the value",
        )
