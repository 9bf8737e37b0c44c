"""The difference between two ways of making a model, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.metrics.intervals import RankedScores, allowed_resamples, resample_weights
from tagbox.metrics.multilabel import (
    LABEL_METRICS,
    average_precision,
    label_metrics,
    mean_average_precision,
    resampled_metrics,
)

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`second` against `first`.

    Attributes
    ----------
    first, second
        The figure of each side.
    difference, low, high
        ``second - first`` and the interval of it.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``win`` or ``loss`` of the second where the interval leaves zero out; else ``tie``."""
        if self.low > 0:
            return "win"
        return "loss" if self.high < 0 else "tie"


def paired_map_difference(
    truth: NDArray[np.int8],
    first: Sequence[NDArray[np.floating[Any]]],
    second: Sequence[NDArray[np.floating[Any]]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """The difference of two sides' mean mAP, with a percentile interval over resamples of the images.

    Both sides see the same resamples, so what makes an image hard for both cancels out. The interval is
    for these models: it holds the chance in the choice of test images, not that in further trainings.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) scores of each model of a side, such as of several seeds.
    """
    means = [
        float(
            np.mean([mean_average_precision(average_precision(truth, scores)) for scores in side])
        )
        for side in (first, second)
    ]
    ranked = [[RankedScores(truth, scores) for scores in side] for side in (first, second)]
    drawn = []
    for weights in resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed):
        ours, theirs = (
            np.mean([model.mean_average_precision(weights) for model in side], axis=0)
            for side in ranked
        )
        drawn.append(theirs - ours)
    return _difference(means[0], means[1], np.concatenate(drawn))


def paired_label_differences(
    truth: NDArray[np.int8],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """The difference of two models in every metric of `LABEL_METRICS`; otherwise as `paired_map_difference`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) bool decisions of each model.
    """
    whole = [label_metrics(truth, said) for said in (first, second)]
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in LABEL_METRICS}
    for weights in resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed):
        ours, theirs = (resampled_metrics(truth, said, weights) for said in (first, second))
        for name in LABEL_METRICS:
            drawn[name].append(theirs[name] - ours[name])
    return {
        name: _difference(whole[0][name], whole[1][name], np.concatenate(differences))
        for name, differences in drawn.items()
    }


def _difference(first: float, second: float, drawn: NDArray[np.float64]) -> Difference:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Difference(
        first=first, second=second, difference=second - first, low=float(low), high=float(high)
    )
