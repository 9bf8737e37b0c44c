"""Paired differences of two models, or of two groups of models, on the same images.

What makes an image hard for both models cancels out: the standard error is that of the difference, by a jackknife over
the images. Two images more are assumed, on which one model is right and the other wrong, one for each: of two
proportions this is the interval of Bonett and Price ("Improved Confidence Intervals for the Difference Between
Binomial Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 2012), which unlike a
bootstrap's is no point where two models agree on all images. Where it matters which category they have, they have each
as often as the models disagree about it.

The challenge's class weights are held fixed: they are part of the question that its F1 asks, and with a category of 8
images the weights would vary more than the models' answers.

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
    move = move_of_precisions(after - before, support)
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
    without = [without_each(truth, each, fixed_weights=True) for each in (first, second)]
    more = [with_one_more(truth, each, fixed_weights=True) for each in (first, second)]
    apart = (first != second).sum(axis=0)
    support = (truth == PRESENT).sum(axis=0)
    found = {}
    for name in LABEL_METRICS:
        error = jackknife_error(without[1][name] - without[0][name])
        difference = after[name] - before[name]
        if name in more[0]:
            move = moves_of_counts(more[0][name], more[1][name], difference, apart)
        else:
            move = move_of_means(difference, len(truth))
        found[name] = _difference(name, before[name], after[name], error, move, support, len(truth))
    return found


@dataclass(frozen=True, kw_only=True)
class Move:
    """How far one more image on which two models differ moves the difference of a metric.

    Attributes
    ----------
    typical
        The root mean square over categories, each as often as the models disagree about it: for the width of an interval.
    largest
        In the category where it moves most: for whether the interval is called reliable.
    """

    typical: float
    largest: float


def moves_of_counts(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    difference: float,
    apart: NDArray[Any],
) -> Move:
    """Of a metric of counts.

    Parameters
    ----------
    first, second
        (4, K) values of `with_one_more` of each model.
    difference
        The second's metric minus the first's.
    apart
        (K,) images on which the models disagree about each category.
    """
    if not first.shape[1]:
        return Move(typical=0.0, largest=0.0)
    changes = np.stack([second[there] - first[here] for here, there in APART]) - difference
    often = (apart + 1) / (apart + 1).sum()
    typical = float(np.sqrt((changes**2).mean(axis=0) @ often))
    return Move(typical=typical, largest=float(np.abs(changes).max()))


def move_of_means(difference: float, images: int) -> Move:
    """Of a mean of values from 0 to 1 over images."""
    move = (1 + abs(difference)) / (images + 1)
    return Move(typical=move, largest=move)


def move_of_precisions(difference: float, support: NDArray[np.integer[Any]]) -> Move:
    """Of a mean of average precisions: of one more positive of the rarest category the precision is 1 and 0."""
    move = (1 + abs(difference)) * move_of_average_precision(1.0, support)
    return Move(typical=move, largest=move)


def paired_estimate(
    difference: float, error: float, move: Move, images: int
) -> tuple[float, float]:
    """The centre of the interval of a difference and its standard error, with the two images that are assumed."""
    return difference * images / (images + 2), (error**2 + 2 * move.typical**2) ** 0.5


def _difference(
    name: str,
    first: float,
    second: float,
    error: float | None,
    move: Move,
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
        centre, spread = paired_estimate(second - first, error, move, images)
        half = NormalDist().inv_cdf((1 + LEVEL) / 2) * spread
        low, high = max(centre - half, -1.0), min(centre + half, 1.0)
        reliable = not unreliable(name, images, support, error, move.largest)
    return Difference(
        first=first,
        second=second,
        difference=second - first,
        low=low,
        high=high,
        reliable=reliable,
    )
