"""Paired differences of two models, or of two groups of models, on the same images."""

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
        The metric of each.
    difference, low, high
        ``second - first`` and the ends of its interval.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float

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
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """The difference of the mean mAP of two groups of models, with a percentile interval over resamples of the images.

    Both groups are evaluated on the same resamples, so what makes an image hard for both cancels out. The interval is
    for these models: it covers the choice of test images, not further trainings.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    first, second
        (N, K) scores of each model of a group, such as of several seeds.
    """
    means = [
        float(
            np.mean([mean_average_precision(average_precision(truth, scores)) for scores in group])
        )
        for group in (first, second)
    ]
    ranked = [[RankedScores(truth, scores) for scores in group] for group in (first, second)]
    drawn = []
    for weights in resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed):
        before, after = (
            np.mean([model.mean_average_precision(weights) for model in group], axis=0)
            for group in ranked
        )
        drawn.append(after - before)
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
    values = [label_metrics(truth, decisions) for decisions in (first, second)]
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in LABEL_METRICS}
    for weights in resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed):
        before, after = (
            resampled_metrics(truth, decisions, weights) for decisions in (first, second)
        )
        for name in LABEL_METRICS:
            drawn[name].append(after[name] - before[name])
    return {
        name: _difference(values[0][name], values[1][name], np.concatenate(differences))
        for name, differences in drawn.items()
    }


def _difference(first: float, second: float, drawn: NDArray[np.float64]) -> Difference:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Difference(
        first=first, second=second, difference=second - first, low=float(low), high=float(high)
    )
