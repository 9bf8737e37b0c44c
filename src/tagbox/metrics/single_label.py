"""Metrics of exclusive labels: every image has one category, and the most probable one is predicted.

Conventions:

- Of categories that are equally probable, the one that comes first ranks higher.
- A row of zeros is an image without a prediction, which counts as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT
from tagbox.metrics.intervals import (
    allowed_resamples,
    intervals,
    resample_weights,
    unreliable,
    wilson,
)
from tagbox.metrics.jackknife import move_of_mean
from tagbox.predictions.thresholds import Thresholds

Floats = NDArray[np.floating[Any]]

MOST_PROBABLE = Thresholds(value=0.0, at_least_one=True, top_k=1)
"""Thresholds that predict exactly one category for every image: the most probable one, of equals the first."""
TOP_K = 5
BINS = 15
SUM_TOLERANCE = 0.01
"""How far a row of probabilities may be from a sum of 1: what rounding in a file leaves."""
EQUAL_TO_ACCURACY = (
    *("challenge_accuracy", "micro_f1", "micro_precision", "micro_recall", "samples_f1"),
    *("samples_precision", "samples_recall", "of1", "op", "or", "subset_accuracy"),
)
"""Metrics of label sets that equal the accuracy where one category is predicted for every image."""


def true_rows(truth: NDArray[np.int8]) -> NDArray[np.intp]:
    """(N,) the one category of each image.

    Raises
    ------
    ValueError
        `truth`, (N, K) of 1, 0 and -1, does not have exactly one 1 and otherwise 0 in every row.
    """
    present = truth == PRESENT
    if not ((present.sum(axis=1) == 1).all() and (truth >= 0).all()):
        raise ValueError("every row of the truth needs exactly one 1, and 0 elsewhere")
    return np.asarray(present.argmax(axis=1))


def most_probable(probabilities: Floats) -> NDArray[np.intp]:
    """(N,) the most probable category of each row of (N, K), -1 where the row is all zero."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1, np.intp)
    return np.where(probabilities.any(axis=1), probabilities.argmax(axis=1), -1)


def predicted_rows(decisions: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(N,) the predicted category of each image, -1 where there is none.

    Raises
    ------
    ValueError
        A row of `decisions` (N, K) has several.
    """
    if (decisions.sum(axis=1) > 1).any():
        raise ValueError("several categories are predicted for one image")
    return np.where(decisions.any(axis=1), decisions.argmax(axis=1), -1)


def one_hot(rows: NDArray[np.intp], categories: int) -> NDArray[np.bool_]:
    """(N, K) bool of (N,) category rows; a row of -1 is all False."""
    return np.asarray(rows[:, None] == np.arange(categories))


def sums_to_one(probabilities: Floats) -> bool:
    """Whether every row except those of zeros is a distribution over the categories."""
    totals = np.asarray(probabilities, np.float64).sum(axis=1)
    return bool((np.abs(totals[totals != 0] - 1) <= SUM_TOLERANCE).all())


def one_label_each(probabilities: Floats | None, decisions: NDArray[np.bool_] | None) -> bool:
    """Whether predictions, (N, K) of either kind, look like those of exclusive labels."""
    if probabilities is not None:
        return sums_to_one(probabilities)
    return decisions is not None and bool((decisions.sum(axis=1) <= 1).all())


def top_hits(truth: NDArray[np.intp], probabilities: Floats, count: int) -> NDArray[np.bool_]:
    """(N,) whether the true category is among the `count` most probable.

    Parameters
    ----------
    truth
        (N,) rows of the true categories.
    probabilities
        (N, K).
    """
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    first = np.arange(probabilities.shape[1]) < truth[:, None]
    before = (probabilities > own) | ((probabilities == own) & first)
    return np.asarray((before.sum(axis=1) < count) & probabilities.any(axis=1))


def log_losses(truth: NDArray[np.intp], probabilities: Floats) -> NDArray[np.float64]:
    """(N,) -log of the probability given to the true category, in nats.

    Probabilities are clipped to float32's epsilon from 0 and 1, as scikit-learn's ``log_loss`` does with float32.
    """
    least = float(np.finfo(np.float32).eps)
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    return -np.log(np.clip(own.astype(np.float64), least, 1 - least))


def confusion_matrix(
    truth: NDArray[np.intp], predicted: NDArray[np.intp], categories: int
) -> NDArray[np.int64]:
    """(K, K) int64; ``[c, d]`` images of c that were predicted as d. Images without a prediction are left out."""
    given = predicted >= 0
    flat = truth[given] * categories + predicted[given]
    return np.bincount(flat, minlength=categories**2).reshape(categories, categories)


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Confidence and accuracy in `BINS` bins of equal width over the probabilities from 0 to 1.

    Attributes
    ----------
    counts
        (15,) int64 images whose most probable category has a probability in the bin.
    confidence, accuracy
        (15,) float64 mean probability of that category, and share of images for which it is right; NaN
        in empty bins.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over images of their bin's |accuracy - confidence|."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((self.counts[filled] * gaps).sum() / max(self.counts.sum(), 1))


def calibration(truth: NDArray[np.intp], probabilities: Floats) -> Calibration:
    """Confidence and accuracy in 15 bins of equal width, each without its lower end.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eqs. 2 to 5, after Naeini et al.,
    AAAI 2015.
    """
    confidence = probabilities.max(axis=1, initial=0.0).astype(np.float64)
    hit = top_hits(truth, probabilities, 1)
    bin_of = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence, side="left")
    counts = np.bincount(bin_of, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return Calibration(
            counts=counts,
            confidence=np.bincount(bin_of, confidence, BINS) / counts,
            accuracy=np.bincount(bin_of, hit, BINS) / counts,
        )


def single_label_intervals(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    probabilities: Floats | None,
    values: Mapping[str, Any],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`metrics.intervals.intervals`, and those of the metrics of exclusive labels.

    Accuracies have Wilson's interval, the log loss percentiles of a bootstrap over images. That of the log loss is
    called reliable only where the accuracy's is: with fewer wrong images, too many resamples hold none of them.

    Parameters
    ----------
    values
        The accuracies and the log loss; those missing or None have no interval.
    """
    found = intervals(truth, decisions, probabilities, level=level, seed=seed)
    if not found:
        return {}
    images, support = len(truth), (truth == PRESENT).sum(axis=0)

    def entry(ends: tuple[float, float], method: str, reliable: bool) -> dict[str, Any]:
        low, high = ends
        return {"low": low, "high": high, "level": level, "method": method, "reliable": reliable}

    def of_share(share: float) -> dict[str, Any]:
        error = math.sqrt(share * (1 - share) / images)
        why_not = unreliable("accuracy", images, support, error, move_of_mean(share, images))
        return entry(wilson(round(share * images) / images, images, level), "wilson", not why_not)

    first = {"accuracy": of_share(values["accuracy"])}
    if values.get("top5_accuracy") is not None:
        first["top5_accuracy"] = of_share(values["top5_accuracy"])
    if values.get("log_loss") is not None:
        assert probabilities is not None
        losses = log_losses(true_rows(truth), probabilities).astype(np.float32)
        count = allowed_resamples(truth.shape, resamples)
        means = [weights @ losses for weights in resample_weights(images, count, seed)]
        ends = np.quantile(np.concatenate(means) / images, [(1 - level) / 2, (1 + level) / 2])
        sound = first["accuracy"]["reliable"]
        first["log_loss"] = entry((float(ends[0]), float(ends[1])), "percentile", sound)
    if bool(decisions.any(axis=1).all()):
        found |= dict.fromkeys(EQUAL_TO_ACCURACY, first["accuracy"])
        low, high = (first["accuracy"][end] for end in ("low", "high"))
        share = 2 / truth.shape[1]
        ends_of_loss = (share * (1 - high), share * (1 - low))
        found["hamming_loss"] = entry(ends_of_loss, "wilson", first["accuracy"]["reliable"])
    return first | found
