"""Thresholds of probabilities and of detection scores: the values that a model carries, and files of them."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.text import near
from tagbox.errors import TagboxError
from tagbox.predictions.predictions import Detections
from tagbox.text_files import decode_json, read_text, refuse_repeated_keys

Mode = Literal["saved", "global", "per_category"]
OBJECTIVES: tuple[str, ...] = typing.get_args(Objective)
SHRINKAGE = 20.0
"""Positives (boxes) of a category at which its own tuned threshold and the one shared by all weigh the same."""


@dataclass(frozen=True, kw_only=True)
class _PlainThresholds:
    """One value for all categories or one for each, checked, and their form in JSON."""

    value: float = 0.5
    per_category: tuple[float, ...] | None = None

    _code: ClassVar[str]
    _noun: ClassVar[str]
    _least: ClassVar[float]
    _most: ClassVar[float]
    _wanted: ClassVar[str]

    def __post_init__(self) -> None:
        self._require(self._is_level(self.value), "value", self.value, self._wanted)
        for row, value in enumerate(self.per_category or ()):
            self._require(self._is_level(value), f"per_category[{row}]", value, self._wanted)

    @classmethod
    def _is_level(cls, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return cls._least <= value <= cls._most

    @classmethod
    def _require(cls, ok: bool, field: str, value: object, wanted: str) -> None:
        if not ok:
            raise TagboxError(
                cls._code,
                f"{value!r} is not {wanted}",
                where=field,
                hint=f"tune the {cls._noun} again or correct the value",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        own = self.per_category
        return values | {"per_category": None if own is None else list(own)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: object = None) -> Self:
        """Build from plain values; missing ones take their defaults.

        Raises
        ------
        TagboxError
            ``thresholds-invalid``, of detections ``score-cuts-invalid``, for an unknown field or a value of the
            wrong kind; it names `file`.
        """
        names = [field.name for field in fields(cls)]
        try:
            cls._require(isinstance(values, Mapping), cls._noun, values, "an object")
            for name in values:
                known = f"a field of {cls._noun}, which are {', '.join(names)}"
                cls._require(name in names, str(name), values[name], known)
            listed = values.get("per_category")
            if listed is None:
                return cls(**values)
            cls._require(isinstance(listed, (list, tuple)), "per_category", listed, "a list")
            return cls(**{**values, "per_category": tuple(listed)})
        except TagboxError as error:
            if file is None:
                raise
            raise error.replace(file=str(file)) from error

    def reordered(self, names: Sequence[str], wanted: Sequence[str]) -> Self:
        """The thresholds of the categories `names` in the order `wanted`; a category not in `names` gets `value`.

        Raises
        ------
        TagboxError
            As `from_dict`, where there are per-category thresholds of another number than `names`.
        """
        if self.per_category is None:
            return self
        self._require_number(len(names))
        own = dict(zip(names, self.per_category, strict=True))
        return replace(self, per_category=tuple(own.get(name, self.value) for name in wanted))

    def _require_number(self, categories: int) -> None:
        found = len(self.per_category or ())
        if found != categories:
            raise TagboxError(
                self._code,
                f"{found} {self._noun} for {categories} categories",
                where="per_category",
                hint="tune them on this model's categories",
            )


T = TypeVar("T", bound=_PlainThresholds)


@dataclass(frozen=True, kw_only=True)
class Thresholds(_PlainThresholds):
    """Thresholds of a model; a category is predicted when its probability is at or above its threshold.

    Attributes
    ----------
    value
        The global threshold, in [0, 1].
    per_category
        K thresholds in the order of the model's categories, or None.
    use_per_category
        Whether ``mode="saved"`` means the K thresholds; only where cross-fitting showed that they help.
    objective
        The metric they were tuned for.
    at_least_one
        An image without a predicted category gets the one nearest to its threshold.
    top_k
        At most this many categories an image, those furthest above their thresholds.
    """

    use_per_category: bool = False
    objective: Objective = "micro_f1"
    at_least_one: bool = False
    top_k: int | None = None

    _code: ClassVar[str] = "thresholds-invalid"
    _noun: ClassVar[str] = "thresholds"
    _least: ClassVar[float] = 0.0
    _most: ClassVar[float] = 1.0
    _wanted: ClassVar[str] = "a number in [0, 1]"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            type(self.use_per_category) is bool
            and (not self.use_per_category or self.per_category is not None),
            "use_per_category",
            self.use_per_category,
            "true or false, and true only with per_category",
        )
        known = f"one of {', '.join(OBJECTIVES)}"
        self._require(self.objective in OBJECTIVES, "objective", self.objective, known)
        plain = type(self.at_least_one) is bool
        self._require(plain, "at_least_one", self.at_least_one, "true or false")
        self._require(
            self.top_k is None or (type(self.top_k) is int and self.top_k >= 1),
            "top_k",
            self.top_k,
            "a whole number from 1, or null",
        )

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
            self._require_number(categories)
            return np.asarray(self.per_category, np.float32)
        level = self.value if mode == "global" else mode
        return np.full(categories, level, np.float32)

    def decide(
        self, probabilities: NDArray[np.floating[Any]], mode: Mode | float = "saved"
    ) -> NDArray[np.bool_]:
        """The predicted categories.

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
        decisions = scores >= levels
        if isinstance(mode, str) and scores.shape[1]:
            above = scores - levels
            if self.top_k is not None and self.top_k < scores.shape[1]:
                # A stable sort, so that of equal margins the category that comes first is kept.
                ranks = np.argsort(np.argsort(-above, axis=1, kind="stable"), axis=1)
                decisions &= ranks < self.top_k
            if self.at_least_one:
                empty = np.flatnonzero(~decisions.any(axis=1))
                decisions[empty, above[empty].argmax(axis=1)] = True
        return decisions


@dataclass(frozen=True, kw_only=True)
class ScoreThresholds(_PlainThresholds):
    """Score thresholds of a detector; a box is shown when its score is at or above its category's.

    Attributes
    ----------
    value
        The threshold for all categories: a finite number, of whatever scale the scores have.
    per_category
        K thresholds in the order of the detector's categories, used in its place; or None.
    """

    _code: ClassVar[str] = "score-cuts-invalid"
    _noun: ClassVar[str] = "score thresholds"
    _least: ClassVar[float] = -sys.float_info.max
    _most: ClassVar[float] = sys.float_info.max
    _wanted: ClassVar[str] = "a finite number"

    def levels(self, categories: int) -> NDArray[np.float64]:
        """(K,) float64: the threshold of each category.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` where there are thresholds of another number of categories.
        """
        if self.per_category is None:
            return np.full(categories, self.value, np.float64)
        self._require_number(categories)
        return np.array(self.per_category, np.float64)

    def decide(self, detections: Detections) -> NDArray[np.bool_]:
        """(D,) bool: which detections are at or above their threshold; see `levels` for what it raises."""
        levels = self.levels(len(detections.categories))
        shown: NDArray[np.bool_] = detections.scores >= levels[detections.category_rows]
        return shown

    def of_labels(self, categories: int) -> Thresholds:
        """The same values for `as_labels` of the detections: an image has a category where one of its boxes is shown.

        Raises
        ------
        TagboxError
            ``score-cuts-invalid`` as `levels`, ``thresholds-invalid`` for values outside 0 to 1.
        """
        levels = tuple(self.levels(categories).tolist())
        return Thresholds(value=self.value, per_category=levels, use_per_category=True)


def read_thresholds(path: Path, categories: Sequence[str]) -> Thresholds:
    """Thresholds from a JSON file: an object of `Thresholds` fields, or ``{"thresholds": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names.

    Raises
    ------
    TagboxError
        ``thresholds-invalid``, ``unknown-category``, ``missing-category``, and what reading raises.
    """

    def missing(name: str, _: object) -> float:
        raise TagboxError(
            "missing-category",
            f"no threshold for {name!r}",
            file=path,
            where="per_category",
            hint="give one for every category",
        )

    return _read(path, Thresholds, "thresholds", categories, missing)


def read_score_thresholds(path: Path, categories: Sequence[str]) -> ScoreThresholds:
    """Score thresholds from a JSON file: an object of `ScoreThresholds` fields, or ``{"cuts": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names; a category that it does not
    name gets ``value``.

    Raises
    ------
    TagboxError
        ``score-cuts-invalid``, ``unknown-category``, and what reading raises.
    """

    def missing(_: str, values: dict[str, Any]) -> Any:
        return values.get("value", ScoreThresholds().value)

    return _read(path, ScoreThresholds, "cuts", categories, missing)


def _read(
    path: Path,
    kind: type[T],
    key: str,
    categories: Sequence[str],
    missing: Callable[[str, dict[str, Any]], object],
) -> T:
    """The thresholds in the file, also from under `key`.

    `missing` gives the threshold of a category that an object of names leaves out, from the other values.
    """
    content = read_text(path).encode()
    values = decode_json(content, path)
    refuse_repeated_keys(content, path)
    if isinstance(values, dict) and isinstance(values.get(key), dict):
        values = values[key]
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name != "source"}
        named = values.get("per_category")
        if isinstance(named, dict):
            for name in named:
                if name not in categories:
                    raise TagboxError(
                        "unknown-category",
                        f"there is no category {name!r}",
                        file=path,
                        where="per_category",
                        hint=near(name, categories, noun="categories"),
                    )
            values["per_category"] = [
                named[name] if name in named else missing(name, values) for name in categories
            ]
    thresholds = kind.from_dict(values, file=path)
    own = thresholds.per_category
    if own is not None and len(own) != len(categories):
        raise TagboxError(
            kind._code,
            f"{len(own)} {kind._noun} for {len(categories)} categories",
            file=path,
            where="per_category",
            hint="give one for every category",
        )
    return thresholds
