"""Paired differences of two models, or of two groups of models, on the same images.

What makes an image hard for both models cancels out: the standard error is that of the difference, by a jackknife over
the images. Two images more are assumed, on which one model is right and the other wrong, one for each: of two
proportions this is the interval of Bonett and Price ("Improved Confidence Intervals for the Difference Between
Binomial Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 2012), which unlike a
bootstrap's is no point where two models agree on all images.

An interval is for these models: it covers the choice of test images, not further trainings. Whether it is called
reliable is decided as for the metrics themselves, in `metrics.intervals.unreliable`; a difference needs images on which
the models differ. `benchmarks/interval_coverage.py` counts how often intervals hold the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT
from tagbox.metrics.intervals import RankedScores, unreliable
from tagbox.metrics.jackknife import (
    FALSE_ALARM,
    HIT,
    MISS,
    REJECTION,
    group_jackknife,
    jackknife_error,
    move_of_average_precision,
    with_one_more,
    without_each,
)
from tagbox.metrics.multilabel import (
    LABEL_METRICS,
    average_precision,
    label_metrics,
    mean_average_precision,
)

LEVEL = 0.95
APART = ((HIT, MISS), (MISS, HIT), (REJECTION, FALSE_ALARM), (FALSE_ALARM, REJECTION))
"""What one more label is to both models where one of them is right and the other wrong."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`second` against `first`.

    Attributes
    ----------
    first, second
        The metric of each.
    difference, low, high
        ``second - first`` and the ends of its interval.
    reliable
        Whether about 95 % of such intervals hold the difference for all images of the kind.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    reliable: bool

    @property
    def outcome(self) -> str:
        """``win`` or ``loss`` of the second where the interval excludes zero; else ``tie``."""
        if self.low > 0:
            return "win"
        return "loss" if self.high < 0 else "tie"


def paired_map_difference(
    truth: NDArray[np.int8],
    first: Sequence[NDArray[np.floating[Any]]],
    second: Sequence[NDArray[np.floating[Any]]],
    *,
    seed: int = 0,
) -> Difference:
    """The difference of the mean mAP of two groups of models.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) scores of each model of a group, such as of several seeds.
    seed
        Of the groups of images that the jackknife leaves out.
    """
    before, after = (
        float(
            np.mean([mean_average_precision(average_precision(truth, scores)) for scores in group])
        )
        for group in (first, second)
    )
    ranked = [[RankedScores(truth, scores) for scores in group] for group in (first, second)]

    def differences(weights: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        means = [
            np.mean([model.mean_average_precision(weights) for model in group], axis=0)
            for group in ranked
        ]
        return {"map": means[1] - means[0]}

    estimates = group_jackknife(differences, np.ones(len(truth), bool), seed)
    support = (truth == PRESENT).sum(axis=0)
    error = None if estimates is None else estimates["map"][1]
    # Of one more positive of the rarest category one model has a precision of 1, the other of 0.
    move = (1 + abs(after - before)) * move_of_average_precision(1.0, support)
    return _difference("map", before, after, error, move, support, len(truth))


def paired_label_differences(
    truth: NDArray[np.int8], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> dict[str, Difference]:
    """The difference of two models in every metric of `LABEL_METRICS`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) bool decisions of each model.
    """
    before, after = (label_metrics(truth, decisions) for decisions in (first, second))
    without = [without_each(truth, decisions) for decisions in (first, second)]
    more = [with_one_more(truth, decisions) for decisions in (first, second)]
    support = (truth == PRESENT).sum(axis=0)
    found = {}
    for name in LABEL_METRICS:
        error = jackknife_error(without[1][name] - without[0][name])
        difference = after[name] - before[name]
        if name in more[0]:
            changes = [more[1][name][there] - more[0][name][here] for here, there in APART]
            move = float(np.abs(np.stack(changes) - difference).max(initial=0.0))
        else:
            move = (1 + abs(difference)) / (len(truth) + 1)
        found[name] = _difference(name, before[name], after[name], error, move, support, len(truth))
    return found


def _difference(
    name: str,
    first: float,
    second: float,
    error: float | None,
    move: float,
    support: NDArray[np.integer[Any]],
    images: int,
) -> Difference:
    """The difference of a metric from 0 to 1.

    Parameters
    ----------
    error
        Its standard error; None where it is unknown, and the interval is all that is possible.
    move
        How far one more image on which the models differ could move it.
    support
        (K,) positives of each category.
    """
    low, high, reliable = -1.0, 1.0, False
    if error is not None:
        half = NormalDist().inv_cdf((1 + LEVEL) / 2) * (error**2 + 2 * move**2) ** 0.5
        centre = (second - first) * images / (images + 2)
        low, high = max(centre - half, -1.0), min(centre + half, 1.0)
        reliable = not unreliable(name, images, support, error, move)
    return Difference(
        first=first,
        second=second,
        difference=second - first,
        low=low,
        high=high,
        reliable=reliable,
    )
