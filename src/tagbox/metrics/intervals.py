"""Confidence intervals of metrics: how far they would move with other images of the same kind.

Every metric from 0 to 1 has Wilson's interval of a proportion with the metric's own standard error: that of as many
trials as a proportion of this value would need to vary as much (Korn and Graubard, "Confidence Intervals for
Proportions with Small Expected Number of Positive Counts Estimated from Survey Data", Survey Methodology 1998, have the
effective number of trials for samples in clusters, as labels of an image are). Near 0 and 1 it is wider towards the
middle, and where no image is wrong it is no point. Methods, each with the coverage that
`benchmarks/interval_coverage.py` counts:

- ``jackknife``: the standard error is that of the delete-one jackknife over images. Where a category has few
  positives a bootstrap often holds none, drops the category from the average and understates the spread.
- ``jackknife-bias``: for mAP, which is too high on average where positives are few (a positive is always part of
  its own precision): the jackknife's estimate of that bias lowers the low end.

Whether an interval is called reliable is decided in one place, `unreliable`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.metrics.jackknife import (
    group_jackknife,
    jackknife_errors,
    largest_moves,
    move_of_average_precision,
)
from tagbox.metrics.multilabel import LABEL_METRICS, label_metrics

Array = NDArray[np.float64]

OVER_CATEGORIES = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "weighted_f1",
    "weighted_precision",
    "weighted_recall",
    "cf1",
    "cp",
    "cr",
)
"""Averages over categories of label sets."""
OVER_PRECISIONS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "macro_precision",
    "cf1",
    "cp",
)
"""Those that one rare category can move far: weighted by 1/support, or means of precisions."""
AVERAGES = (*OVER_CATEGORIES, "map", "ap", "ap50", "ap75")
"""All averages over categories."""
THIN = 10
"""Positives below which a category is called thin."""
THIN_SHARE = 0.1
"""Part of the categories that may be thin before other averages over categories are unreliable."""
IMAGES = 100
"""Images below which no interval is called reliable."""
LEVERAGE = 0.3
"""How much of a standard error one more image may move a metric; with n wrong images of equal weight it is 1/√n."""
SLACK = 1.5
"""Wrong images added to those found, for the standard error: where they are few, chance has favoured samples with fewer."""
TOO_FEW_ERRORS = "too few images are wrong, or right: one more could move it by more than 0.3 of its standard error"
WORK = 4e8
"""Resamples × images × categories above which fewer resamples are drawn, but 200 at least."""


def resample_weights(
    images: int, resamples: int, seed: int, chunk: int = 256
) -> Iterator[NDArray[np.float32]]:
    """(b, N) float32 counts of each image in each of b resamples of N images, in chunks."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = random.integers(0, images, (size, images))
        drawn += np.arange(size)[:, None] * images
        yield (
            np.bincount(drawn.ravel(), minlength=size * images)
            .reshape(size, images)
            .astype(np.float32)
        )


class RankedScores:
    """Scores sorted once, for the mean average precision of many resamples of the images.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    scores
        (N, K) floats.
    """

    def __init__(self, truth: NDArray[np.int8], scores: NDArray[np.floating[Any]]) -> None:
        self._categories = []
        for k in range(truth.shape[1]):
            rows = np.flatnonzero(truth[:, k] != UNKNOWN)
            rows = rows[np.argsort(-scores[rows, k], kind="stable")]
            ordered = scores[rows, k]
            hits = np.flatnonzero(truth[rows, k] == PRESENT)
            if len(hits):
                # Precision is taken at the end of a tie, and only ties with a positive count: what is kept are
                # their ends, and of each positive which of them it belongs to.
                ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
                tie = np.searchsorted(ends, hits)
                stops, group = np.unique(ends[tie], return_inverse=True)
                self._categories.append((rows[: stops[-1] + 1], stops, rows[hits], group))

    def mean_average_precision(self, weights: NDArray[np.float32]) -> Array:
        """(B,) mAP of (B, N) weights; a category without a positive in a resample is left out of its mean."""
        by_image = np.ascontiguousarray(weights.T)
        total = np.zeros(by_image.shape[1])
        count = np.zeros(by_image.shape[1])
        for rows, stops, hit_rows, group in self._categories:
            starts = np.append(0, stops[:-1] + 1)
            predicted = np.cumsum(np.add.reduceat(by_image[rows], starts, axis=0), axis=0)
            hit = by_image[hit_rows]
            first = np.append(0, np.flatnonzero(np.diff(group)) + 1)
            by_tie = np.add.reduceat(hit, first, axis=0)
            tp = np.cumsum(by_tie, axis=0)
            positives = tp[-1]
            with np.errstate(divide="ignore", invalid="ignore"):
                precision = np.where(predicted > 0, tp / predicted, 0.0)
                ap = (by_tie * precision).sum(axis=0) / positives
            total += np.where(positives > 0, ap, 0.0)
            count += positives > 0
        mean = np.full(len(count), np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        return mean


def allowed_resamples(shape: tuple[int, ...], resamples: int) -> int:
    """How many resamples a table of this (N, K) shape gets: fewer above `WORK`, but at least 200."""
    return min(resamples, max(200, int(WORK / max(shape[0] * shape[1], 1))))


def wilson(share: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 1927) of a number of trials that need not be whole.

    Unlike a bootstrap's it does not shrink to a point where every trial is a success; that of 95 % covers
    92-98 % from one expected failure on, whatever the number of trials (Brown, Cai and DasGupta,
    "Interval Estimation for a Binomial Proportion", 2001, recommend it).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    # The ends are exact where nothing, or everything, is a success.
    return (0.0 if share <= 0 else centre - half), (1.0 if share >= 1 else centre + half)


def interval(
    value: float, error: float, move: float, *, bias: float = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """The ends for a metric from 0 to 1.

    Parameters
    ----------
    value, error
        The metric and its standard error.
    move
        How far one more image could move it; where `error` is 0 its inverse is the number of trials.
    bias
        How much too high the metric is; the low end is lowered by it where it is positive.
    """
    spread = value * (1 - value)
    square = error**2 + SLACK * move**2
    trials = spread / square if error > 0 and spread > 0 else 1 / max(move, 1e-12)
    low, high = wilson(value, trials, level)
    return max(low - max(bias, 0.0), 0.0), high


def intervals(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    scores: NDArray[np.floating[Any]] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """An interval for every label metric, and for ``map`` where there are scores.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.
    scores
        (N, K) floats, or None.
    level
        The share of such intervals that is meant to hold the value for all images of the kind.
    seed
        Of the groups of images that mAP's jackknife leaves out.

    Returns
    -------
    dict
        By metric ``low``, ``high``, ``level``, ``method``, ``reliable``: see `unreliable`. Empty for fewer than
        two images.
    """
    images = len(truth)
    if images < 2:
        return {}
    support = (truth == PRESENT).sum(axis=0)
    found: dict[str, dict[str, Any]] = {}

    def add(name: str, value: float, error: float, bias: float, move: float, method: str) -> None:
        low, high = interval(value, error, move, bias=bias, level=level)
        found[name] = {
            "low": low,
            "high": high,
            "level": level,
            "method": method,
            "reliable": not unreliable(name, images, support, error, move),
        }

    if scores is not None:
        ranked = RankedScores(truth, scores)
        estimates = group_jackknife(
            lambda weights: {"map": ranked.mean_average_precision(weights)},
            np.ones(images, bool),
            seed,
        )
        if estimates is not None:
            value, error, bias = estimates["map"]
            move = move_of_average_precision(value, support)
            add("map", value, error, bias, move, "jackknife-bias")
    values = label_metrics(truth, decisions)
    errors, moves = jackknife_errors(truth, decisions), largest_moves(truth, decisions)
    for name in LABEL_METRICS:
        add(name, values[name], errors[name], 0.0, moves[name], "jackknife")
    return found


def thin_categories(support: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Rows of the categories with a positive, but fewer than `THIN`."""
    return np.flatnonzero((support > 0) & (support < THIN))


def unreliable(
    metric: str,
    images: int,
    support: NDArray[np.integer[Any]],
    error: float,
    move: float,
    what: str = "positives",
) -> str:
    """Why the 95 % interval of `metric` is not called reliable; empty where simulated coverage is within 92-98 %.

    The rule that `benchmarks/interval_coverage.py` and `benchmarks/box_interval_coverage.py` bear out, on the safe
    side. An interval is reliable

    - from `IMAGES` images on,
    - where one more image could move the metric by at most `LEVERAGE` standard errors. That takes about eleven wrong
      images, and eleven right ones, of those that weigh most; one rare category that decides the metric is too few;
    - for averages over categories where at most `THIN_SHARE` of the supported ones have fewer than `THIN`; for the
      metrics in `OVER_PRECISIONS` where every category, those without a positive too, has at least `THIN`.

    Parameters
    ----------
    metric
        A name in `LABEL_METRICS`, ``map``, ``ap``, ``ap50``, ``ap75``, or an accuracy.
    images
        Scored images.
    support
        (K,) positives, or boxes to be found, of each category.
    error, move
        The metric's standard error, and how far one more image could move it.
    what
        What `support` counts, for the sentence.
    """
    thin, there = len(thin_categories(support)), int(np.count_nonzero(support))
    if images < IMAGES:
        return f"there are {images:,} images, fewer than {IMAGES}"
    if metric in OVER_PRECISIONS and (support < THIN).any():
        return f"{int((support < THIN).sum())} of {len(support)} categories have fewer than {THIN} {what}"
    if metric in AVERAGES and thin > THIN_SHARE * there:
        return f"{thin} of {there} categories have fewer than {THIN} {what}"
    if error == 0:
        return "no image changes it, so its spread is unknown"
    if move > LEVERAGE * error:
        return TOO_FEW_ERRORS
    return ""
