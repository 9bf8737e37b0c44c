"""Confidence intervals of label metrics: how far they would move with other images of the same kind.

Each metric has the method whose coverage is best in `benchmarks/interval_coverage.py`:

- ``percentile``: percentiles of a bootstrap over images, for means over images and for overall (micro)
  metrics. Predictions are compared with the truth once; a resample is one weight for each image.
- ``jackknife``: the value ± z standard errors of the delete-one jackknife, for averages over categories. Where a
  category has few positives a resample often holds none, drops the category from the average and understates the
  spread: percentiles of the challenge F1 of 277 images covered 83 % where 95 was meant.
- ``jackknife-bias``: for mAP, which is too high on average where positives are few (a positive is always part of
  its own precision): the jackknife's estimate of that bias lowers the low end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.metrics.multilabel import (
    LABEL_METRICS,
    LabelCounts,
    category_metrics,
    challenge_metrics,
    resampled_metrics,
)

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
"""Averages over categories, whose intervals are the jackknife's."""
OVER_PRECISIONS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "macro_precision",
    "cf1",
    "cp",
)
"""Those that one rare category can move far: weighted by 1/support, or means of precisions."""
THIN = 10
"""Positives below which a category is called thin."""
THIN_SHARE = 0.1
"""Part of the categories that may be thin before other averages over categories are unreliable."""
IMAGES = 100
"""Images below which no interval is called reliable."""
GROUPS = 100
"""Groups of images that the jackknife of mAP and AP leaves out in turn."""
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


def bootstrap(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Array]:
    """Every label metric on resamples of the images.

    Returns
    -------
    dict
        (B,) float64 each; B is `resamples`, or fewer for large tables (see `allowed_resamples`).
    """
    parts: dict[str, list[Array]] = {}
    for weights in resample_weights(len(truth), allowed_resamples(truth.shape, resamples), seed):
        for name, value in resampled_metrics(truth, decisions, weights).items():
            parts.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def allowed_resamples(shape: tuple[int, ...], resamples: int) -> int:
    """How many resamples a table of this (N, K) shape gets: fewer above `WORK`, but at least 200."""
    return min(resamples, max(200, int(WORK / max(shape[0] * shape[1], 1))))


def jackknife_errors(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> dict[str, float]:
    """Delete-one jackknife standard errors of the metrics in `OVER_CATEGORIES`."""
    present, known = truth == PRESENT, truth != UNKNOWN
    # Row i of each: the column sums without image i.
    tp, predicted, positives = (
        mask.sum(axis=0) - mask.astype(np.float64)
        for mask in (decisions & present, decisions & known, present)
    )
    without = LabelCounts(
        tp=tp,
        fp=predicted - tp,
        fn=positives - tp,
        known=known.sum() - known.sum(axis=1, dtype=float),
    )
    values = challenge_metrics(without) | category_metrics(without)
    images = len(truth)
    return {name: float(np.sqrt((images - 1) * values[name].var())) for name in OVER_CATEGORIES}


def group_jackknife(
    metrics: Callable[[NDArray[np.float32]], Mapping[str, Array]],
    scored: NDArray[np.bool_],
    seed: int,
) -> dict[str, tuple[float, float, float]] | None:
    """Value, standard error and bias of each metric by a jackknife that leaves out one group of images at a time.

    With ``v`` the value on all images and ``v_g`` that without group g of G, the standard error is
    ``√((G−1)/G · Σ (v_g − mean v_g)²)`` and the bias ``(G−1) · (mean v_g − v)`` (Efron and Tibshirani, *An
    Introduction to the Bootstrap*, 1993, chapter 11). Groups, as leaving out single images would mean as many
    evaluations as there are images.

    Parameters
    ----------
    metrics
        Metrics, (B,) each, of (B, N) weights of the images.
    scored
        (N,) bool; the images that are dealt to at most `GROUPS` groups.
    seed
        Of the groups.

    Returns
    -------
    dict or None
        None for fewer than two images, or where one group holds all positives there are.
    """
    rows = np.flatnonzero(scored)
    groups = min(len(rows), GROUPS)
    if groups < 2:
        return None
    group = np.full(len(scored), -1)
    group[rows] = np.random.default_rng(seed).permutation(len(rows)) % groups
    weights = np.vstack([np.ones(len(group)), group != np.arange(groups)[:, None]])
    found = {}
    for name, values in metrics(weights.astype(np.float32)).items():
        if np.isnan(values).any():
            return None
        value, without = float(values[0]), values[1:]
        error = float(np.sqrt((groups - 1) * without.var()))
        found[name] = value, error, (groups - 1) * (float(without.mean()) - value)
    return found


def bias_lowered_ends(value: float, error: float, bias: float, z: float) -> tuple[float, float]:
    """The interval ``value ± z · error``, its low end lowered by a positive `bias`."""
    return value - max(bias, 0.0) - z * error, value + z * error


def intervals(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    scores: NDArray[np.floating[Any]] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
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

    Returns
    -------
    dict
        By metric ``low``, ``high``, ``level``, ``method``, ``reliable``: see `reliable`. Empty for fewer than
        two images.
    """
    if len(truth) < 2:
        return {}
    z = NormalDist().inv_cdf((1 + level) / 2)
    drawn = bootstrap(truth, decisions, resamples=resamples, seed=seed)
    values = resampled_metrics(truth, decisions)
    errors = jackknife_errors(truth, decisions)
    support = (truth == PRESENT).sum(axis=0)
    ends: dict[str, tuple[float, float, str]] = {}
    if scores is not None:
        ranked = RankedScores(truth, scores)
        found = group_jackknife(
            lambda weights: {"map": ranked.mean_average_precision(weights)},
            np.ones(len(truth), bool),
            seed,
        )
        if found is not None:
            ends["map"] = (*bias_lowered_ends(*found["map"], z), "jackknife-bias")
    for name in LABEL_METRICS:
        if name in errors:
            value, error = float(values[name]), errors[name]
            ends[name] = (value - z * error, value + z * error, "jackknife")
        else:
            low, high = np.quantile(drawn[name], [(1 - level) / 2, (1 + level) / 2])
            ends[name] = (float(low), float(high), "percentile")
    return {
        name: {
            "low": min(max(low, 0.0), 1.0),
            "high": min(max(high, 0.0), 1.0),
            "level": level,
            "method": method,
            "reliable": reliable(name, len(truth), support),
        }
        for name, (low, high, method) in ends.items()
    }


def thin_categories(support: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Rows of the categories with a positive, but fewer than `THIN`."""
    return np.flatnonzero((support > 0) & (support < THIN))


def reliable(metric: str, images: int, support: NDArray[np.integer[Any]]) -> bool:
    """Whether simulated coverage is within 92-98 % at this support, for the 95 % interval of `metric`.

    The rule that `benchmarks/interval_coverage.py` bears out, on the safe side. From `IMAGES` images:
    overall figures and means over images always; the metrics in `OVER_PRECISIONS` where every category, those
    without a positive too, has at least `THIN`; other averages over categories, mAP among them,
    where at most `THIN_SHARE` of the supported categories have fewer.

    Parameters
    ----------
    metric
        A name in `LABEL_METRICS`, or ``map``.
    images
        Scored images.
    support
        (K,) positives of each category.
    """
    if images < IMAGES:
        return False
    if metric in OVER_PRECISIONS:
        return bool((support >= THIN).all())
    if metric in (*OVER_CATEGORIES, "map"):
        return len(thin_categories(support)) <= THIN_SHARE * int(np.count_nonzero(support))
    return True
