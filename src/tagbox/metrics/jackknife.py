"""How far a metric moves when images are left out, which gives its standard error, or when one more comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.metrics.multilabel import (
    SAMPLE_METRICS,
    LabelCounts,
    category_metrics,
    challenge_metrics,
    count_labels,
    sample_metrics,
    sample_values,
)

Array = NDArray[np.float64]

GROUPS = 100
"""Groups of images that the jackknife of mAP and AP leaves out in turn."""
ENTRIES = 2_000_000
"""Images × categories of the counts that are kept at once."""


def without_each(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], *, fixed_weights: bool = False
) -> dict[str, Array]:
    """(N,) values of every label metric without each image in turn; means over images leave out what they count.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.
    fixed_weights
        Whether the challenge's class weights stay those of all images.
    """
    present, known = truth == PRESENT, truth != UNKNOWN
    images, categories = truth.shape
    masks = decisions & present, decisions & known, present
    totals = [mask.sum(axis=0, dtype=np.float64) for mask in masks]
    entries = float(known.sum())
    step = max(1, ENTRIES // max(categories, 1))
    parts: list[dict[str, Array]] = []
    for start in range(0, images, step):
        rows = slice(start, start + step)
        # Row i of each: the column sums without image i.
        tp, predicted, positives = (
            total - mask[rows] for total, mask in zip(totals, masks, strict=True)
        )
        without = LabelCounts(
            tp=tp,
            fp=predicted - tp,
            fn=positives - tp,
            known=entries - known[rows].sum(axis=1, dtype=float),
        )
        weights = totals[2] if fixed_weights else None
        parts.append(challenge_metrics(without, weights) | category_metrics(without))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    values, counted = sample_values(truth, decisions)
    values = values[counted > 0]
    means = (values.sum(axis=0) - values) / max(len(values) - 1, 1)
    return found | dict(zip(SAMPLE_METRICS, means.T, strict=True))


def jackknife_error(without: Array) -> float:
    """The standard error ``√((n−1) · var)`` of a metric, of its (n,) values without each image in turn."""
    return float(np.sqrt((len(without) - 1) * without.var())) if len(without) else 0.0


def jackknife_errors(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> dict[str, float]:
    """Delete-one jackknife standard errors of every label metric."""
    return {name: jackknife_error(each) for name, each in without_each(truth, decisions).items()}


HIT, FALSE_ALARM, MISS, REJECTION = range(4)
"""Rows of `with_one_more`."""


def with_one_more(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], *, fixed_weights: bool = False
) -> dict[str, Array]:
    """(4, K) values of each metric of counts after one more hit, false alarm, miss or rejection in each category.

    The parameters are those of `without_each`.
    """
    base = count_labels(truth, decisions)
    categories = truth.shape[1]
    step = max(1, ENTRIES // max(categories, 1))
    parts: list[dict[str, Array]] = []
    for start in range(0, categories, step):
        one = np.eye(categories)[start : start + step]
        no = np.zeros_like(one)
        after = [
            LabelCounts(
                tp=base.tp + tp,
                fp=base.fp + fp,
                fn=base.fn + fn,
                known=np.broadcast_to(base.known + 1, len(one)),
            )
            for tp, fp, fn in ((one, no, no), (no, one, no), (no, no, one), (no, no, no))
        ]
        weights = base.support if fixed_weights else None
        values = [challenge_metrics(counts, weights) | category_metrics(counts) for counts in after]
        parts.append({name: np.stack([each[name] for each in values]) for name in values[0]})
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def largest_moves(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> dict[str, float]:
    """How far one more hit, false alarm or miss could move each label metric, in the category where most.

    A category may be all right in this sample only because it has few images, and what an error in it would cost no
    resample of these images tells.
    """
    base = count_labels(truth, decisions)
    values = challenge_metrics(base) | category_metrics(base)
    moves = {
        name: float(np.abs(after[:REJECTION] - values[name]).max(initial=0.0))
        for name, after in with_one_more(truth, decisions).items()
    }
    means = sample_metrics(truth, decisions)
    return moves | {name: move_of_mean(float(mean), len(truth)) for name, mean in means.items()}


def move_of_mean(value: float, count: int) -> float:
    """How far one more value from 0 to 1 could move the mean `value` of `count`."""
    return max(value, 1 - value) / (count + 1)


def move_of_average_precision(value: float, support: NDArray[np.integer[Any]]) -> float:
    """How far one more positive of the rarest category, missed or found, could move a mean of average precisions."""
    there = support[support > 0]
    return move_of_mean(value, int(there.min())) / len(there) if len(there) else 1.0


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
    weights = group_weights(scored, seed)
    groups = len(weights) - 1
    if groups < 2:
        return None
    found = {}
    for name, values in metrics(weights).items():
        if np.isnan(values).any():
            return None
        value, without = float(values[0]), values[1:]
        bias = (groups - 1) * (float(without.mean()) - value)
        found[name] = value, jackknife_error(without), bias
    return found


def group_weights(scored: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """(1 + G, N) weights of the images: first 1 for all, then 0 for those of each of G groups in turn.

    Parameters
    ----------
    scored
        (N,) bool; the images that are dealt to at most `GROUPS` groups.
    seed
        Of the groups; the same for models that are compared.
    """
    rows = np.flatnonzero(scored)
    groups = min(len(rows), GROUPS)
    group = np.full(len(scored), -1)
    group[rows] = np.random.default_rng(seed).permutation(len(rows)) % max(groups, 1)
    weights = np.vstack([np.ones(len(group)), group != np.arange(groups)[:, None]])
    return weights.astype(np.float32)
