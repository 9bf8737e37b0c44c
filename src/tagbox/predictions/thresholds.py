"""Where a probability becomes "this category is in the image": the values that a model carries.

From which score on a detection is said: the cuts that a detector carries.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.errors import TagboxError
from tagbox.predictions.predictions import Detections

Mode = Literal["saved", "global", "per_category"]
OBJECTIVES: tuple[str, ...] = typing.get_args(Objective)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The thresholds of a model; a category is said when its probability is at or above its threshold.

    Attributes
    ----------
    value
        The global threshold, in [0, 1].
    per_category
        K thresholds in the order of the model's categories, or None.
    use_per_category
        Whether ``mode="saved"`` means the K thresholds; only where cross-fitting showed that they help.
    objective
        What they were tuned for.
    at_least_one
        An image of which nothing would be said gets the category nearest to, or furthest over, its threshold.
    top_k
        At most this many categories an image, those furthest over their thresholds.
    """

    value: float = 0.5
    per_category: tuple[float, ...] | None = None
    use_per_category: bool = False
    objective: Objective = "challenge_f1"
    at_least_one: bool = False
    top_k: int | None = None

    def __post_init__(self) -> None:
        _require(_is_threshold(self.value), "value", self.value, "a number in [0, 1]")
        if self.per_category is not None:
            for row, value in enumerate(self.per_category):
                _require(_is_threshold(value), f"per_category[{row}]", value, "a number in [0, 1]")
        _require(
            type(self.use_per_category) is bool
            and (not self.use_per_category or self.per_category is not None),
            "use_per_category",
            self.use_per_category,
            "true or false, and true only with per_category",
        )
        _require(
            self.objective in OBJECTIVES,
            "objective",
            self.objective,
            f"one of {', '.join(OBJECTIVES)}",
        )
        _require(
            type(self.at_least_one) is bool, "at_least_one", self.at_least_one, "true or false"
        )
        _require(
            self.top_k is None or (type(self.top_k) is int and self.top_k >= 1),
            "top_k",
            self.top_k,
            "a whole number from 1, or null",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "value": self.value,
            "per_category": None if self.per_category is None else list(self.per_category),
            "use_per_category": self.use_per_category,
            "objective": self.objective,
            "at_least_one": self.at_least_one,
            "top_k": self.top_k,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: object = None) -> Thresholds:
        """Thresholds from plain values; missing ones take their defaults.

        Raises
        ------
        TagboxError
            ``thresholds-invalid`` for an unknown field or a value of the wrong kind.
        """
        try:
            _require(isinstance(values, Mapping), "thresholds", values, "an object")
            for name in values:
                _require(
                    name in cls.__dataclass_fields__,
                    str(name),
                    values[name],
                    f"a field of thresholds, which are {', '.join(cls.__dataclass_fields__)}",
                )
            given = dict(values)
            if given.get("per_category") is not None:
                listed = given["per_category"]
                _require(isinstance(listed, (list, tuple)), "per_category", listed, "a list")
                given["per_category"] = tuple(listed)
            return cls(**given)
        except TagboxError as error:
            if file is None:
                raise
            raise error.replace(file=file) from error

    def levels(self, categories: int, mode: Mode | float = "saved") -> NDArray[np.float32]:
        """(K,) float32; the threshold of each category in `mode`, or a plain number for all.

        Raises
        ------
        TagboxError
            ``thresholds-invalid`` when per-category ones are asked for and there are none, or their number
            is not `categories`.
        """
        if mode == "saved":
            mode = "per_category" if self.use_per_category else "global"
        if mode == "per_category":
            if self.per_category is None or len(self.per_category) != categories:
                found = 0 if self.per_category is None else len(self.per_category)
                raise TagboxError(
                    "thresholds-invalid",
                    f"{found} thresholds for {categories} categories",
                    where="per_category",
                    hint="tune them on this model's categories",
                )
            return np.asarray(self.per_category, np.float32)
        level = self.value if mode == "global" else mode
        return np.full(categories, level, np.float32)

    def decide(
        self, probabilities: NDArray[np.floating[Any]], mode: Mode | float = "saved"
    ) -> NDArray[np.bool_]:
        """Which categories are said.

        Parameters
        ----------
        probabilities
            (N, K) floats in [0, 1]; compared in float32.
        mode
            ``"saved"``: the ones to use; ``"global"``, ``"per_category"``; or a number, which is a plain
            threshold for all without `at_least_one` and `top_k`.

        Returns
        -------
        NDArray[np.bool_]
            (N, K).
        """
        scores = np.asarray(probabilities, np.float32)
        levels = self.levels(scores.shape[1], mode)
        said = scores >= levels
        if isinstance(mode, str) and scores.shape[1]:
            over = scores - levels
            if self.top_k is not None and self.top_k < scores.shape[1]:
                ranks = np.argsort(np.argsort(-over, axis=1, kind="stable"), axis=1)
                said &= ranks < self.top_k
            if self.at_least_one:
                silent = np.flatnonzero(~said.any(axis=1))
                said[silent, over[silent].argmax(axis=1)] = True
        return said

    def reordered(self, names: Sequence[str], wanted: Sequence[str]) -> Thresholds:
        """The thresholds of the categories `names` in the order `wanted`; a category that is new gets `value`."""
        if self.per_category is None:
            return self
        own = dict(zip(names, self.per_category, strict=True))
        return replace(self, per_category=tuple(own.get(name, self.value) for name in wanted))


def _is_threshold(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _require(ok: bool, field: str, value: object, wanted: str) -> None:
    if not ok:
        raise TagboxError(
            "thresholds-invalid",
            f"{value!r} is not {wanted}",
            where=field,
            hint="tune the thresholds again or correct the value",
        )


@dataclass(frozen=True, kw_only=True)
class ScoreThresholds:
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
        _require_cut(_is_cut(self.value), "value", self.value, "a finite number")
        for row, cut in enumerate(self.per_category or ()):
            _require_cut(_is_cut(cut), f"per_category[{row}]", cut, "a finite number")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = None if self.per_category is None else list(self.per_category)
        return {"value": self.value, "per_category": own}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: object = None) -> ScoreThresholds:
        """Cuts from plain values; missing ones take their defaults.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` for an unknown field or a value of the wrong kind.
        """
        try:
            _require_cut(isinstance(values, Mapping), "cuts", values, "an object")
            for name in values:
                known = name in cls.__dataclass_fields__
                _require_cut(known, str(name), values[name], "a field of cuts: value, per_category")
            given = dict(values)
            if given.get("per_category") is not None:
                listed = given["per_category"]
                _require_cut(isinstance(listed, (list, tuple)), "per_category", listed, "a list")
                given["per_category"] = tuple(listed)
            return cls(**given)
        except TagboxError as error:
            if file is None:
                raise
            raise error.replace(file=file) from error

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

    def reordered(self, names: Sequence[str], wanted: Sequence[str]) -> ScoreThresholds:
        """The cuts of the categories `names` in the order `wanted`; a category that is new gets `value`."""
        if self.per_category is None:
            return self
        own = dict(zip(names, self.levels(len(names)).tolist(), strict=True))
        return ScoreThresholds(
            value=self.value, per_category=tuple(own.get(name, self.value) for name in wanted)
        )


def _is_cut(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return bool(np.isfinite(float(value)))


def _require_cut(ok: bool, field: str, value: object, wanted: str) -> None:
    if not ok:
        raise TagboxError(
            "score-cuts-invalid",
            f"{value!r} is not {wanted}",
            where=field,
            hint="tune the cuts again or correct the value",
        )
