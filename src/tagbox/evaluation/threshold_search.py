"""Searches over thresholds: every candidate cut of the scores is tried, none is guessed.

A table of probabilities allows at most as many different decisions as it has distinct values.
The value of an objective after each is a running sum: lowering a threshold past one entry changes one
category's counts, or one image's, and the objectives are sums over those.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.evaluation.label_metrics import (
    LabelCounts,
    category_metrics,
    challenge_metrics,
    harmonic,
    ratio,
    sample_metrics,
)

Array = NDArray[np.float64]


def objective_value(
    objective: Objective,
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    counts: LabelCounts,
    weights: Array | None = None,
) -> Array:
    """The objective's metric; `counts` are those of the same decisions and weights."""
    if objective == "challenge_f1":
        return challenge_metrics(counts)[objective]
    if objective == "samples_f1":
        return sample_metrics(truth, decisions, weights)[objective]
    return category_metrics(counts)[objective]


def sweep_global(
    truth: NDArray[np.int8], probabilities: NDArray[np.floating[Any]], objective: Objective
) -> tuple[Array, Array]:
    """The objective at every distinct global threshold.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats.

    Returns
    -------
    thresholds, values
        (T,) float64 each: the distinct known probabilities from the highest to the lowest, and the objective
        when everything at or above each is said. Exact up to the rounding of a running sum.
    """
    known = truth != UNKNOWN
    flat = np.flatnonzero(known.ravel())
    scores = probabilities.ravel()[flat]
    order = flat[np.argsort(-scores, kind="stable")]
    ordered = probabilities.ravel()[order].astype(np.float64)
    last_of_tie = (
        np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    )
    hit = (truth == PRESENT).ravel()[order]
    columns = truth.shape[1]
    values = _running(objective, hit, order // columns, order % columns, truth)
    return ordered[last_of_tie], values[last_of_tie]


def _running(
    objective: Objective,
    hit: NDArray[np.bool_],
    image: NDArray[np.intp],
    category: NDArray[np.intp],
    truth: NDArray[np.int8],
) -> Array:
    """The objective after each entry is said, in the given order."""
    present = truth == PRESENT
    if objective in ("micro_f1", "of1"):
        entries = np.arange(1, len(hit) + 1)
        return ratio(2 * np.cumsum(hit), entries + np.count_nonzero(present))
    if objective == "samples_f1":
        support = present.sum(axis=1)
        tp, said = _group_counts(image, hit, len(truth))
        images = max(int(np.count_nonzero((truth != UNKNOWN).any(axis=1))), 1)
        return _telescoped(image, ratio(2 * tp, said + support[image]) / images)
    support = present.sum(axis=0)
    tp, said = _group_counts(category, hit, truth.shape[1])
    weight = category_weights(objective, support)[category]
    if objective == "macro_f1":
        return _telescoped(category, weight * ratio(2 * tp, said + support[category]))
    precision = _telescoped(category, weight * ratio(tp, said))
    recall = _telescoped(category, weight * ratio(tp, support[category]))
    return harmonic(precision, recall)


def category_weights(objective: Objective, support: NDArray[np.integer[Any]]) -> Array:
    """(K,) weights, summing to 1, of the categories in the objective; 0 without support."""
    weight = ratio(1.0, support) if objective == "challenge_f1" else (support > 0).astype(float)
    return ratio(weight, weight.sum())


def _group_counts(
    group: NDArray[np.intp], hit: NDArray[np.bool_], groups: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many hits, and how many entries, each entry's group has up to and with that entry."""
    by_group = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    hits = np.cumsum(hit[by_group])
    before = np.concatenate([[0], hits])[starts]
    tp = np.empty(len(group), np.intp)
    said = np.empty(len(group), np.intp)
    tp[by_group] = hits - np.repeat(before, sizes)
    said[by_group] = np.arange(len(group)) - np.repeat(starts, sizes) + 1
    return tp, said


def _telescoped(group: NDArray[np.intp], values: Array) -> Array:
    """Running sum over entries of the latest value of every group."""
    by_group = np.argsort(group, kind="stable")
    grouped = values[by_group]
    step = np.diff(grouped, prepend=0.0)
    first = np.diff(group[by_group], prepend=-1) != 0
    step[first] = grouped[first]
    change = np.empty_like(values)
    change[by_group] = step
    return np.cumsum(change)


def search_per_category(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    start: float,
) -> Array:
    """One threshold a category that together maximise `objective` on these very images.

    Where the objective is a function of sums over categories it is maximised exactly along its
    trade-off: macro F1 category by category; micro F1 by Dinkelbach's iteration on
    ``2·TP − F·(said + positives)``; F1 of averaged precision and recall (challenge F1, CF1) over the mixes
    ``λ·P + (1−λ)·R``, one of which its maximum on the hull maximises. Samples F1 couples the categories and is climbed
    category by category from `start`. No shrinkage here: see `tagbox.evaluation.thresholds.tune`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    start
        The global threshold; categories without a positive keep it, except for micro F1, where saying
        them falsely costs.

    Returns
    -------
    Array
        (K,) float64.
    """
    if objective == "samples_f1":
        return _climb_samples(truth, probabilities, start)
    cuts = _Cuts.of(truth, probabilities)
    if objective in ("micro_f1", "of1"):
        best = _dinkelbach(cuts)
    elif objective == "macro_f1":
        best = ratio(2 * cuts.tp, cuts.said + cuts.support).argmax(axis=0)
    else:
        best = _best_mix(cuts, category_weights(objective, cuts.support))
    chosen = cuts.threshold_after(best)
    if objective in ("micro_f1", "of1"):
        return chosen
    return np.where(cuts.support > 0, chosen, start)


class _Cuts:
    """The decisions each category's own threshold can make: after cut i its i highest are said.

    `scores` (N, K) descending, `tp` and `said` (N+1, K) counts after each cut, `support` (K,). Unknown entries
    sort last and are never cut in. A cut inside a tie repeats the last one before the tie.
    """

    def __init__(self, scores: Array, tp: Array, said: Array, support: NDArray[np.intp]) -> None:
        self.scores, self.tp, self.said, self.support = scores, tp, said, support

    @classmethod
    def of(cls, truth: NDArray[np.int8], probabilities: NDArray[np.floating[Any]]) -> _Cuts:
        scores = np.where(truth == UNKNOWN, -np.inf, probabilities.astype(np.float64))
        order = np.argsort(-scores, axis=0, kind="stable")
        scores = np.take_along_axis(scores, order, axis=0)
        hit = np.take_along_axis(truth == PRESENT, order, axis=0)
        count = np.arange(1, len(scores) + 1)[:, None]
        possible = scores > np.append(scores[1:], np.full((1, scores.shape[1]), -np.inf), axis=0)
        possible &= np.isfinite(scores)
        # The place of the latest possible cut at or above each row; 0 is the cut that says nothing.
        at = np.maximum.accumulate(np.where(possible, count, 0), axis=0)
        at = np.insert(at, 0, 0, axis=0)
        tp = np.insert(np.cumsum(hit, axis=0), 0, 0, axis=0)
        return cls(
            scores,
            np.take_along_axis(tp, at, axis=0).astype(np.float64),
            at.astype(np.float64),
            (truth == PRESENT).sum(axis=0),
        )

    def threshold_after(self, cut: NDArray[np.intp]) -> Array:
        """(K,) thresholds midway, in log-odds, between the last score said and the first that is not."""
        columns = np.arange(self.scores.shape[1])
        said = self.said[cut, columns].astype(np.intp)
        padded = np.vstack([np.ones(len(columns)), self.scores, np.zeros(len(columns))])
        padded = np.maximum(padded, 0.0)
        return midway(padded[said, columns], padded[said + 1, columns])


def midway(upper: Any, lower: Any) -> Array:
    """The point between two probabilities that is midway in log-odds (ends held off 0 and 1)."""
    return expit((logit(upper) + logit(lower)) / 2)


def logit(probability: Any) -> Array:
    """Log-odds, with probabilities held to [1e-6, 1 − 1e-6]."""
    held = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(held / (1 - held)))


def expit(log_odds: Any) -> Array:
    """The probability of some log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(log_odds, np.float64))))


def _dinkelbach(cuts: _Cuts) -> NDArray[np.intp]:
    value, positives = 0.0, cuts.support.sum()
    best = np.zeros(cuts.tp.shape[1], np.intp)
    columns = np.arange(len(best))
    for _ in range(50):
        best = (2 * cuts.tp - value * cuts.said).argmax(axis=0)
        said = cuts.said[best, columns].sum()
        better = float(ratio(2 * cuts.tp[best, columns].sum(), said + positives))
        if better <= value:
            break
        value = better
    return best


def _best_mix(cuts: _Cuts, weight: Array, mixes: int = 65) -> NDArray[np.intp]:
    precision = ratio(cuts.tp, cuts.said)
    recall = ratio(cuts.tp, cuts.support)
    columns = np.arange(len(weight))
    chosen: list[NDArray[np.intp]] = [
        (share * precision + (1 - share) * recall).argmax(axis=0)
        for share in np.linspace(0, 1, mixes)
    ]
    values = [
        float(harmonic(weight @ precision[cut, columns], weight @ recall[cut, columns]))
        for cut in chosen
    ]
    return chosen[int(np.argmax(values))]


def _climb_samples(
    truth: NDArray[np.int8], probabilities: NDArray[np.floating[Any]], start: float, rounds: int = 3
) -> Array:
    known, present = truth != UNKNOWN, truth == PRESENT
    decisions = (probabilities >= start) & known
    support = present.sum(axis=1)
    tp, said = (decisions & present).sum(axis=1), decisions.sum(axis=1)
    thresholds = np.full(truth.shape[1], start)
    orders = np.argsort(-probabilities, axis=0, kind="stable")
    for _ in range(rounds):
        before = thresholds.copy()
        for k in np.flatnonzero(present.any(axis=0)):
            rows = orders[:, k][known[orders[:, k], k]]
            tp_rest = tp - (decisions[:, k] & present[:, k])
            said_rest = said - decisions[:, k]
            without = ratio(2 * tp_rest, said_rest + support)
            with_it = ratio(2 * (tp_rest + present[:, k]), said_rest + 1 + support)
            scores = probabilities[rows, k].astype(np.float64)
            gain = np.append(0.0, np.cumsum((with_it - without)[rows]))
            gain[1:][np.append(scores[1:] == scores[:-1], False)] = -np.inf
            cut = int(np.argmax(gain))
            ends = np.concatenate([[1.0], scores, [0.0]])
            thresholds[k] = float(midway(ends[cut], ends[cut + 1]))
            decisions[:, k] = False
            decisions[rows[:cut], k] = True
            tp, said = tp_rest + (decisions[:, k] & present[:, k]), said_rest + decisions[:, k]
        if np.array_equal(before, thresholds):
            break
    return thresholds
