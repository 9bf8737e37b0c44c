"""Where a probability becomes "this category is in the image": the values, and how they are tuned."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT
from tagbox.data.stratify import stratify
from tagbox.errors import TagboxError
from tagbox.evaluation.base_rates import base_rate, search_scaled
from tagbox.evaluation.label_metrics import count_labels
from tagbox.evaluation.threshold_search import (
    expit,
    logit,
    midway,
    objective_value,
    search_per_category,
    sweep_global,
)

Mode = Literal["saved", "global", "per_category"]
TUNED_MODES: tuple[Mode, Mode] = ("global", "per_category")
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
            raise TagboxError(
                error.code, error.found, file=str(file), where=error.where, hint=error.hint
            ) from error

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


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Tuned thresholds and what cross-fitting says of them.

    Attributes
    ----------
    thresholds
        The thresholds, tuned on everything given.
    report
        ``objective``, ``images``, ``folds``, ``repeats``; ``at_0.5``: the objective at 0.5; ``global`` and
        ``per_category``: ``tuned`` (on the images they were tuned on), ``cross_fitted`` (tuned on the other
        folds, scored on the held-out one, pooled), ``overstated`` (their difference); ``kept``:
        ``"global"`` or ``"per_category"``; ``reason``.
    """

    thresholds: Thresholds
    report: dict[str, Any]


def tune(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "challenge_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    seed: int = 0,
    folds: int = 5,
    repeats: int | None = None,
    at_least_one: bool = False,
    top_k: int | None = None,
) -> Tuned:
    """Tune a global threshold and one a category for `objective`, and check both by cross-fitting.

    A category's own threshold is the one that suits its images best, drawn (in log-odds) towards one in
    proportion to a power of its base rate, the more so the fewer positives it has.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    objective
        The metric to maximise.
    rates
        (K,) base rates of the training images; without them those of `truth` serve.
    seed
        Seed of the folds.
    folds, repeats
        Cross-fitting splits the images in `folds` parts, `repeats` times over; without `repeats`, four
        times up to 1,000 images and once above.
    at_least_one, top_k
        Fallbacks to put in the thresholds; the tuning itself does not see them.
    """
    if truth.shape != probabilities.shape or truth.ndim != 2:
        raise ValueError(
            f"truth {truth.shape} and probabilities {probabilities.shape}; (N, K) both"
        )
    if not (truth == PRESENT).any():
        thresholds = Thresholds(objective=objective, at_least_one=at_least_one, top_k=top_k)
        return Tuned(
            thresholds=thresholds,
            report={
                "objective": objective,
                "images": len(truth),
                "kept": "global",
                "reason": "no category is present in any image: nothing to tune on, 0.5 stays",
            },
        )
    probabilities = np.asarray(probabilities, np.float32)
    fitted = _fit(truth, probabilities, objective, rates)
    if repeats is None:
        repeats = 4 if len(truth) <= 1000 else 1
    report = _cross_fit(truth, probabilities, objective, fitted, rates, folds, repeats, seed)
    kept = replace(
        fitted,
        use_per_category=report["kept"] == "per_category",
        at_least_one=at_least_one,
        top_k=top_k,
    )
    return Tuned(thresholds=kept, report=report)


# Positives of a category at which its own threshold and the one by its base rate weigh the same.
SHRINKAGE = 10.0


def _fit(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    objective: Objective,
    rates: NDArray[np.float64] | None,
) -> Thresholds:
    value = _fit_global(truth, probabilities, objective)
    own = search_per_category(truth, probabilities, objective, value)
    scaled = search_scaled(
        truth, probabilities, objective, base_rate(truth) if rates is None else rates
    )
    support = (truth == PRESENT).sum(axis=0)
    share = support / (support + SHRINKAGE)
    mixed = expit(share * logit(own) + (1 - share) * logit(scaled))
    return Thresholds(
        value=value, per_category=tuple(map(float, mixed.astype(np.float32))), objective=objective
    )


def _fit_global(
    truth: NDArray[np.int8], probabilities: NDArray[np.float32], objective: Objective
) -> float:
    levels, values = sweep_global(truth, probabilities, objective)
    best = int(np.argmax(values))
    below = levels[best + 1] if best + 1 < len(levels) else 0.0
    return float(np.float32(midway(levels[best], below)))


def cross_fitted_decisions(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective = "challenge_f1",
    *,
    rates: NDArray[np.float64] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> dict[Mode, NDArray[np.bool_]]:
    """What thresholds tuned on the other folds say of each image: decisions that no tuning has seen.

    Returns
    -------
    dict
        ``"global"`` and ``"per_category"``, (N, K) bool each. One image alone is judged at 0.5.
    """
    said = {mode: np.zeros(truth.shape, bool) for mode in TUNED_MODES}
    folds = max(2, min(folds, len(truth)))
    part = stratify(truth, [1 / folds] * folds, seed)
    for fold in np.unique(part):
        held = part == fold
        other = Thresholds(per_category=(0.5,) * truth.shape[1], objective=objective)
        if (truth[~held] == PRESENT).any():
            seen = np.asarray(probabilities[~held], np.float32)
            other = _fit(truth[~held], seen, objective, rates)
        for mode in TUNED_MODES:
            said[mode][held] = other.decide(probabilities[held], mode)
    return said


def _cross_fit(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    objective: Objective,
    fitted: Thresholds,
    rates: NDArray[np.float64] | None,
    folds: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    pooled: dict[str, list[float]] = {mode: [] for mode in TUNED_MODES}
    for repeat in range(repeats if len(truth) > 1 else 0):
        said = cross_fitted_decisions(
            truth, probabilities, objective, rates=rates, folds=folds, seed=seed + repeat
        )
        for mode in TUNED_MODES:
            pooled[mode].append(_score(truth, said[mode], objective))
    report: dict[str, Any] = {
        "objective": objective,
        "images": len(truth),
        "folds": folds,
        "repeats": repeats,
        "at_0.5": _score(truth, fitted.decide(probabilities, 0.5), objective),
    }
    for mode in TUNED_MODES:
        tuned = _score(truth, fitted.decide(probabilities, mode), objective)
        crossed = float(np.mean(pooled[mode])) if pooled[mode] else None
        report[mode] = {
            "tuned": tuned,
            "cross_fitted": crossed,
            "overstated": None if crossed is None else tuned - crossed,
        }
    report |= _verdict(report["global"]["cross_fitted"], report["per_category"]["cross_fitted"])
    return report


def _verdict(one: float | None, many: float | None) -> dict[str, str]:
    if one is None or many is None:
        return {"kept": "global", "reason": "one image cannot be cross-fitted"}
    if many > one:
        return {"kept": "per_category", "reason": f"cross-fitted {many:.4f} against {one:.4f}"}
    return {
        "kept": "global",
        "reason": f"per category only {many:.4f} cross-fitted, {one:.4f} global",
    }


def _score(truth: NDArray[np.int8], said: NDArray[np.bool_], objective: Objective) -> float:
    return float(objective_value(objective, truth, said, count_labels(truth, said)))


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
