"""The difference of one metric between two models, or two recipes: interval, probability, verdict, images to settle it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.comparison import (
    LEVEL,
    Move,
    move_of_means,
    move_of_precisions,
    moves_of_counts,
    paired_estimate,
)
from tagbox.evaluation.model_outcomes import ModelOutcomes, ScoredImages
from tagbox.metrics.intervals import unreliable
from tagbox.metrics.jackknife import jackknife_error
from tagbox.metrics.multiple_comparisons import student_cdf, student_quantile

LOWER_IS_BETTER = ("hamming_loss", "log_loss", "calibration_error")
POWER = 0.8
"""The chance of telling models apart that further images are counted for."""
CANNOT_TELL = "cannot tell"
_MEANS = (
    *("samples_f1", "samples_precision", "samples_recall", "subset_accuracy"),
    *("accuracy", "top5_accuracy"),
)
"""Means over images of values from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class PairEstimate:
    """The difference of a pair in one metric: first minus second.

    Attributes
    ----------
    values
        Of the first and of the second.
    centre
        Of the interval, with the two images that are assumed (`evaluation.comparison`).
    image_variance, run_variance
        Variance of the difference over images, and over trainings of recipes.
    degrees
        Of freedom of their sum; infinite where only the images vary.
    tail_degrees
        Of freedom of the variance over images: few where few images make up most of it.
    lower_is_better, bounded
        Whether a small value is good, and whether values are from 0 to 1.
    reason
        Why the interval is not called reliable; empty where it is.
    """

    values: tuple[float, float]
    centre: float
    image_variance: float
    run_variance: float
    degrees: float
    tail_degrees: float
    lower_is_better: bool
    bounded: bool
    reason: str

    @property
    def spread(self) -> float:
        """The standard error of the difference."""
        return float((self.image_variance + self.run_variance) ** 0.5)

    @property
    def t(self) -> float:
        """The difference in standard errors."""
        return self.centre / self.spread if self.spread > 0 else 0.0

    @property
    def p_value(self) -> float:
        """Two-sided, of one pair alone."""
        return 2 * self._cdf(-abs(self.t))

    @property
    def tail_z(self) -> float:
        """`t` as the normal deviate of the same probability under Student's t with `tail_degrees`.

        A correction for many pairs reaches far into the tails, which are heavy where a few images of rare categories decide.
        """
        tail = student_cdf(-abs(self.t), self.tail_degrees)
        return -NormalDist().inv_cdf(min(max(tail, 1e-300), 0.5))

    def _cdf(self, t: float) -> float:
        return student_cdf(t, self.degrees)

    def quantile(self, level: float) -> float:
        """How many standard errors a two-sided interval of this level reaches."""
        if self.degrees >= 1e6:
            return NormalDist().inv_cdf((1 + level) / 2)
        return student_quantile((1 + level) / 2, self.degrees)

    def to_dict(self, p_corrected: float, critical: float, images: int) -> dict[str, Any]:
        """Plain values.

        Parameters
        ----------
        p_corrected
            The p value with the correction for the number of pairs, which the verdict is by.
        critical
            The standard errors that a difference must exceed for a verdict.
        images
            Scored images.
        """
        half = self.quantile(LEVEL) * self.spread
        limit = 1.0 if self.bounded else np.inf
        above = self._cdf(self.t)
        first_ahead = (self.centre < 0) if self.lower_is_better else (self.centre > 0)
        verdict = CANNOT_TELL
        if p_corrected <= 1 - LEVEL:
            verdict = "first" if first_ahead else "second"
        return {
            "first": self.values[0],
            "second": self.values[1],
            "difference": self.values[0] - self.values[1],
            "low": max(self.centre - half, -limit),
            "high": min(self.centre + half, limit),
            "level": LEVEL,
            "p_first_better": 1 - above if self.lower_is_better else above,
            "p_value": self.p_value,
            "p_corrected": min(max(p_corrected, self.p_value), 1.0),
            "verdict": verdict,
            "reliable": not self.reason,
            **({"reason": self.reason} if self.reason else {}),
            **(self._more_images(critical, images) if verdict == CANNOT_TELL else {}),
        }

    def _more_images(self, critical: float, images: int) -> dict[str, Any]:
        """About how many further images would tell the pair apart with probability `POWER`, at the difference seen.

        The variance of the images falls with their number, that of the trainings does not; None where no number of images
        would do.
        """
        square = ((self.values[0] - self.values[1]) / (critical + NormalDist().inv_cdf(POWER))) ** 2
        if square <= self.run_variance or square == 0:
            return {"more_images": None}
        more = images * self.image_variance / (square - self.run_variance) - images
        return {"more_images": _rounded(max(more, 1.0))}


def _rounded(count: float) -> int:
    """To two digits."""
    return round(float(f"{count:.1e}"))


def estimate_pair(
    name: str, first: ModelOutcomes, second: ModelOutcomes, images: ScoredImages
) -> PairEstimate:
    """The difference of two models, or of two recipes, whose `spread` counts, in one metric."""
    values = first.values[name], second.values[name]
    difference, count = values[0] - values[1], len(images.names)
    without = first.without[name] - second.without[name]
    error = jackknife_error(without)
    move = _move(name, first, second, difference, without, images)
    centre, spread = paired_estimate(difference, error, move, count)
    variances = [(spread**2, len(without) - 1)]
    variances += [(m.spread[name], m.runs - 1) for m in (first, second) if m.spread]
    total = sum(variance for variance, _ in variances)
    degrees = float("inf")
    if len(variances) > 1 and total > 0:
        degrees = total**2 / sum(variance**2 / most for variance, most in variances)
    squares = (without - without.mean()) ** 2
    peaked = len(without) * float((squares**2).sum()) / max(float(squares.sum()) ** 2, 1e-300)
    reason = unreliable(name, count, images.support, error, move.largest, images.unit)
    return PairEstimate(
        values=values,
        centre=centre,
        image_variance=variances[0][0],
        run_variance=total - variances[0][0],
        degrees=degrees,
        # The variance of a sample variance of n values of kurtosis k is about (k - 1)/n of its square.
        tail_degrees=max(2 * len(without) / max(peaked - 1, 1e-6), 1.0),
        lower_is_better=name in LOWER_IS_BETTER,
        bounded=name != "log_loss",
        reason=reason,
    )


def _move(
    name: str,
    first: ModelOutcomes,
    second: ModelOutcomes,
    difference: float,
    without: NDArray[np.float64],
    images: ScoredImages,
) -> Move:
    if name in first.more:
        apart = np.abs(first.errors - second.errors).sum(axis=0)
        return moves_of_counts(second.more[name], first.more[name], difference, apart)
    if name in _MEANS:
        return move_of_means(difference, len(images.names))
    if name == "log_loss":
        # A loss has no upper end: one image more is taken to matter as much as the one that matters most here.
        return Move(typical=0.0, largest=float(np.abs(without - without.mean()).max(initial=0.0)))
    return move_of_precisions(difference, images.support)
