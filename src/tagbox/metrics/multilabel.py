"""Metrics of multi-label classification: of label sets, confusions between categories, average precision of scores.

Every metric of label sets is a function of per-category counts or a mean over images, so one vectorised pass
gives them all, and a bootstrap is the same pass with one weight for each image and resample.

Conventions:

- Entries of the truth that are unknown (-1) are left out of every count.
- A ratio whose denominator is 0 is 0 (scikit-learn's ``zero_division=0``).
- Means over categories (macro, weighted, CP, CR, challenge) run over the categories with support, that
  is with at least one positive in what is scored: scikit-learn with ``labels=`` those categories.
  False positives of a category without support still count in micro precision and Hamming loss.
- Means over images (samples, subset accuracy) run over the images with at least one known label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN

Array = NDArray[np.float64]
Weights = NDArray[np.floating[Any]]

LABEL_METRICS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "challenge_accuracy",
    "micro_f1",
    "micro_precision",
    "micro_recall",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "weighted_f1",
    "weighted_precision",
    "weighted_recall",
    "samples_f1",
    "samples_precision",
    "samples_recall",
    "cf1",
    "cp",
    "cr",
    "of1",
    "op",
    "or",
    "hamming_loss",
    "subset_accuracy",
)
"""Names of everything `label_metrics` returns, in the order it is reported."""
SAMPLE_METRICS = ("samples_f1", "samples_precision", "samples_recall", "subset_accuracy")
"""Those that are means over images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelCounts:
    """True and false positives and false negatives of each category.

    Attributes
    ----------
    tp, fp, fn
        (…, K) float64: true positives, false positives, false negatives; leading axes are resamples.
    known
        (…,) float64: the known (image, category) entries.
    """

    tp: Array
    fp: Array
    fn: Array
    known: Array

    @property
    def support(self) -> Array:
        """(…, K) positives in the truth."""
        return self.tp + self.fn

    @property
    def precision(self) -> Array:
        """(…, K) TP / (TP + FP)."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Array:
        """(…, K) TP / (TP + FN)."""
        return ratio(self.tp, self.support)

    @property
    def f1(self) -> Array:
        """(…, K) 2·TP / (2·TP + FP + FN)."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def ratio(part: Any, whole: Any) -> Array:
    """``part / whole``, 0 where `whole` is 0."""
    part, whole = np.broadcast_arrays(
        np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    )
    result = np.zeros(part.shape)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def harmonic(precision: Array, recall: Array) -> Array:
    """``2·P·R / (P + R)``, 0 where both are 0."""
    return ratio(2 * precision * recall, precision + recall)


def count_labels(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], weights: Weights | None = None
) -> LabelCounts:
    """Count true and false positives and false negatives of each category.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.
    weights
        (B, N) float: how often each image counts in each of B resamples; once where None.
    """
    _check_shapes(truth, decisions)
    present = truth == PRESENT
    hit = decisions & present
    known = truth != UNKNOWN
    predicted = decisions & known
    if weights is None:
        tp, total, positives = (_column_sums(mask) for mask in (hit, predicted, present))
        entries = np.asarray(np.count_nonzero(known), dtype=np.float64)
    else:
        tp, total, positives = (
            weights @ mask.astype(weights.dtype) for mask in (hit, predicted, present)
        )
        entries = weights @ known.sum(axis=1).astype(np.float64)
    return LabelCounts(tp=tp, fp=total - tp, fn=positives - tp, known=entries)


def _column_sums(mask: NDArray[np.bool_]) -> Array:
    return np.asarray(mask.view(np.uint8).sum(axis=0, dtype=np.uint32), dtype=np.float64)


def challenge_metrics(counts: LabelCounts, support: Array | None = None) -> dict[str, Array]:
    """The MS COCO classification challenge's scores, (…,) each.

    With support n_c in what is scored, ``w_c = (1/n_c) / Σ(1/n)``; ``P = Σ w_c·P_c``,
    ``R = Σ w_c·R_c``, ``F1 = 2PR/(P+R)``. Categories without support take no weight. Its
    "accuracy" is micro recall.

    Parameters
    ----------
    counts
        Counts of each category.
    support
        (K,) supports for the weights where they are not those of `counts`, such as of all images while some are left
        out: the weight of a category with 8 positives changes by an eighth with one of them.
    """
    weight = ratio(1.0, counts.support if support is None else support)
    weight = weight / np.maximum(weight.sum(axis=-1, keepdims=True), np.finfo(float).tiny)
    precision = (weight * counts.precision).sum(axis=-1)
    recall = (weight * counts.recall).sum(axis=-1)
    return {
        "challenge_f1": harmonic(precision, recall),
        "challenge_precision": precision,
        "challenge_recall": recall,
        "challenge_accuracy": ratio(counts.tp.sum(axis=-1), counts.support.sum(axis=-1)),
    }


def category_metrics(counts: LabelCounts) -> dict[str, Array]:
    """Micro, macro, weighted, per-category (C) and overall (O) averages, (…,) each.

    CP and CR are the macro precision and recall; ``CF1 = 2·CP·CR / (CP + CR)``, which is not the
    macro F1. OP, OR and OF1 are the micro averages. The names are those of Wang et al., "CNN-RNN: A
    Unified Framework for Multi-label Image Classification" (CVPR 2016), and the papers after it.
    """
    supported = (counts.support > 0).astype(np.float64)
    share = ratio(counts.support, counts.support.sum(axis=-1, keepdims=True))

    def macro(values: Array) -> Array:
        return ratio((supported * values).sum(axis=-1), supported.sum(axis=-1))

    tp, fp, fn = (part.sum(axis=-1) for part in (counts.tp, counts.fp, counts.fn))
    precision, recall, f1 = counts.precision, counts.recall, counts.f1
    overall = {
        "p": ratio(tp, tp + fp),
        "r": ratio(tp, tp + fn),
        "f": ratio(2 * tp, 2 * tp + fp + fn),
    }
    cp, cr = macro(precision), macro(recall)
    return {
        "micro_f1": overall["f"],
        "micro_precision": overall["p"],
        "micro_recall": overall["r"],
        "macro_f1": macro(f1),
        "macro_precision": cp,
        "macro_recall": cr,
        "weighted_f1": (share * f1).sum(axis=-1),
        "weighted_precision": (share * precision).sum(axis=-1),
        "weighted_recall": (share * recall).sum(axis=-1),
        "cf1": harmonic(cp, cr),
        "cp": cp,
        "cr": cr,
        "of1": overall["f"],
        "op": overall["p"],
        "or": overall["r"],
        "hamming_loss": ratio(fp + fn, counts.known),
    }


def sample_metrics(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], weights: Weights | None = None
) -> dict[str, Array]:
    """Means over images: samples F1, precision, recall, and subset accuracy; (B,) or scalars.

    An image without a label and without a predicted one scores 0 in the samples metrics, as in
    scikit-learn, and 1 in subset accuracy.
    """
    values, counted = sample_values(truth, decisions)
    weight = counted if weights is None else weights * counted
    means = ratio(weight @ values, weight.sum(axis=-1, keepdims=True))
    return {name: means[..., i] for i, name in enumerate(SAMPLE_METRICS)}


def sample_values(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(N, 4) `SAMPLE_METRICS` of each image, and (N,) 1 where it has a known label, else 0."""
    _check_shapes(truth, decisions)
    present = truth == PRESENT
    known = truth != UNKNOWN
    tp = (decisions & present).sum(axis=1)
    predicted = (decisions & known).sum(axis=1)
    positives = present.sum(axis=1)
    values = np.stack(
        [
            ratio(2 * tp, predicted + positives),
            ratio(tp, predicted),
            ratio(tp, positives),
            ((predicted == tp) & (positives == tp)).astype(np.float64),
        ],
        axis=1,
    )
    return values, known.any(axis=1).astype(np.float64)


def resampled_metrics(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], weights: Weights | None = None
) -> dict[str, Array]:
    """Every metric of `LABEL_METRICS`: scalars, or (B,) with (B, N) `weights`."""
    counts = count_labels(truth, decisions, weights)
    values = {
        **challenge_metrics(counts),
        **category_metrics(counts),
        **sample_metrics(truth, decisions, weights),
    }
    return {name: values[name] for name in LABEL_METRICS}


def label_metrics(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> dict[str, float]:
    """Every metric of `LABEL_METRICS` as a float.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    return {name: float(value) for name, value in resampled_metrics(truth, decisions).items()}


def _check_shapes(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> None:
    if truth.shape != decisions.shape or truth.ndim != 2:
        raise ValueError(f"truth is {truth.shape} and decisions {decisions.shape}; (N, K) both")
    if decisions.dtype != np.bool_:
        raise ValueError(f"decisions are {decisions.dtype}, not bool")


def missed_and_predicted(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(K, K) int64; ``[c, d]`` images in which c is a false negative and d a false positive.

    Labels of an image are a set, so no label is "predicted as" another; this stands for a confusion matrix.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown. Unknown labels are neither.
    decisions
        (N, K) bool.
    """
    missed = ((truth == PRESENT) & ~decisions).astype(np.float32)
    false = ((truth == ABSENT) & decisions).astype(np.float32)
    # float32 counts exactly up to 16.7 million images.
    return np.asarray(np.rint(missed.T @ false), dtype=np.int64)


def top_confusions(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    names: Sequence[str],
    limit: int = 20,
) -> list[dict[str, Any]]:
    """The pairs that go together more than by chance, the largest excess first.

    Plain counts would pair what is frequently missed with what is frequently predicted. The excess is the
    count less ``missed(c) · falsely predicted(d) / N``, the count expected if the two were independent.

    Returns
    -------
    list of dict
        ``missed``, ``said`` (the falsely predicted category), ``images``, ``share`` (of the images that miss it),
        ``excess`` (images).
    """
    images = missed_and_predicted(truth, decisions)
    missed = ((truth == PRESENT) & ~decisions).sum(axis=0)
    false = ((truth == ABSENT) & decisions).sum(axis=0)
    excess = images - np.outer(missed, false) / max(len(truth), 1)
    order = np.argsort(-excess, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(flat), len(names)) for flat in order]
    return [
        {
            "missed": names[c],
            "said": names[d],
            "images": int(images[c, d]),
            "share": float(images[c, d] / missed[c]),
            "excess": float(excess[c, d]),
        }
        for c, d in pairs
        if excess[c, d] > 0
    ]


def average_precision(truth: NDArray[np.int8], scores: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Average precision of each category, as scikit-learn's ``average_precision_score`` defines it.

    ``AP = Σ (R_n − R_{n−1})·P_n`` over the distinct scores, highest first, without interpolation.
    That sum is the mean, over the positives, of the precision among all entries with a score at least as
    high as the positive's; two sorts and two binary searches give it, and ties need no special case.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown. Unknown entries are left out.
    scores
        (N, K) finite floats; probabilities or logits.

    Returns
    -------
    NDArray
        (K,) float64; NaN for a category without a positive, where it is not defined.

    Raises
    ------
    ValueError
        When the shapes differ or a score is NaN.
    """
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(f"truth is {truth.shape} and scores are {scores.shape}; (N, K) both")
    # One category at a time, each contiguous: a column of a row-major table is a cache miss a value.
    by_category = np.ascontiguousarray(scores.T)
    if np.isnan(by_category).any():
        raise ValueError("a score is NaN")
    truth = np.ascontiguousarray(truth.T)
    some_unknown = (truth == UNKNOWN).any(axis=1)
    result = np.full(len(truth), np.nan)
    for k, (column, labels) in enumerate(zip(by_category, truth, strict=True)):
        everything = np.sort(column[labels != UNKNOWN] if some_unknown[k] else column)
        positives = np.sort(column[labels == PRESENT])
        if len(positives):
            as_high = len(everything) - np.searchsorted(everything, positives)
            hits = len(positives) - np.searchsorted(positives, positives)
            result[k] = np.mean(hits / as_high)
    return result


def mean_average_precision(ap: NDArray[np.float64]) -> float | None:
    """Mean over the categories that have an average precision; None when none has."""
    defined = ap[~np.isnan(ap)]
    return float(defined.mean()) if len(defined) else None


def class_priors(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """(K,) float64; the share of images in which each category is present.

    Half a positive and half a negative are added (the Jeffreys prior's posterior mean), so that it is never 0 or 1
    and its log-odds are finite.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown (left out).
    """
    present = (labels == PRESENT).sum(axis=0)
    known = (labels != UNKNOWN).sum(axis=0)
    return np.asarray((present + 0.5) / (known + 1.0))
