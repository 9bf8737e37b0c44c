"""Intervals: how far the figures would move with other images of the same kind.

Two methods, each where it covers best (`benchmarks/interval_coverage.py` measures it):

- ``percentile``: percentiles of a bootstrap over images. Predictions are matched with the truth once; a resample
  is one weight an image.
- ``jackknife``: the figure ± z times its delete-one jackknife standard error, for the challenge figures. Their
  weights go with 1/support: a bootstrap resample that happens to miss a rare category gives its
  weight away and understates the spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.evaluation.label_metrics import (
    LabelCounts,
    challenge_metrics,
    resampled_metrics,
)

Array = NDArray[np.float64]

CHALLENGE = ("challenge_f1", "challenge_precision", "challenge_recall")
WORK = 4e8
"""Resamples × images × categories above which fewer resamples are drawn, but 200 at least."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval of one metric.

    Attributes
    ----------
    low, high
        Its ends.
    level
        The share of intervals like it that are meant to hold the value for all images of the kind.
    method
        ``"percentile"`` or ``"jackknife"``.
    reliable
        False where simulated coverage at this support is outside 92-98 % (at level 0.95).
    """

    low: float
    high: float
    level: float
    method: str
    reliable: bool


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
    """Scores sorted once, for the mean average precision of many resamples.

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
                # Ties end where the score changes; precision is taken at the end of a tie.
                ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
                tie = np.searchsorted(ends, hits)
                cuts, group = np.unique(ends[tie], return_inverse=True)
                self._categories.append((rows[: cuts[-1] + 1], cuts, rows[hits], group))

    def mean_average_precision(self, weights: NDArray[np.float32]) -> Array:
        """(B,) mAP of (B, N) weights; categories without a positive in a resample leave its mean."""
        by_image = np.ascontiguousarray(weights.T)
        total = np.zeros(by_image.shape[1])
        count = np.zeros(by_image.shape[1])
        for rows, cuts, hit_rows, group in self._categories:
            starts = np.append(0, cuts[:-1] + 1)
            said = np.cumsum(np.add.reduceat(by_image[rows], starts, axis=0), axis=0)
            hit = by_image[hit_rows]
            first = np.append(0, np.flatnonzero(np.diff(group)) + 1)
            by_tie = np.add.reduceat(hit, first, axis=0)
            tp = np.cumsum(by_tie, axis=0)
            positives = tp[-1]
            with np.errstate(divide="ignore", invalid="ignore"):
                precision = np.where(said > 0, tp / said, 0.0)
                ap = (by_tie * precision).sum(axis=0) / positives
            total += np.where(positives > 0, ap, 0.0)
            count += positives > 0
        mean = np.full(len(count), np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        return mean


def bootstrap(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    scores: NDArray[np.floating[Any]] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Array]:
    """Every label metric, and ``map`` where there are scores, on resamples of the images.

    Returns
    -------
    dict
        (B,) float64 each; B is `resamples`, or fewer for large tables (see `WORK`).
    """
    count = allowed_resamples(truth.shape, resamples)
    ranked = None if scores is None else RankedScores(truth, scores)
    parts: dict[str, list[Array]] = {}
    for weights in resample_weights(len(truth), count, seed):
        values = resampled_metrics(truth, decisions, weights)
        if ranked is not None:
            values["map"] = ranked.mean_average_precision(weights)
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def allowed_resamples(shape: tuple[int, ...], resamples: int) -> int:
    """How many resamples a table of this (N, K) shape gets."""
    size = max(shape[0] * shape[1], 1)
    return min(resamples, max(200, int(WORK / size)))


def jackknife_errors(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> dict[str, float]:
    """Delete-one jackknife standard errors of the challenge figures."""
    present, known = truth == PRESENT, truth != UNKNOWN
    hit, said = decisions & present, decisions & known
    tp, told, positives = (
        mask.sum(axis=0) - mask.astype(np.float64) for mask in (hit, said, present)
    )
    without = LabelCounts(
        tp=tp, fp=told - tp, fn=positives - tp, known=known.sum() - known.sum(axis=1, dtype=float)
    )
    n = len(truth)
    values = challenge_metrics(without)
    return {name: float(np.sqrt((n - 1) * values[name].var())) for name in CHALLENGE}
