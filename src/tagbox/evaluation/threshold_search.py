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
from tagbox.metrics.multilabel import (
    LabelCounts,
    category_metrics,
    challenge_metrics,
    harmonic,
    ratio,
    sample_metrics,
)

Array = NDArray[np.float64]

SLACK = 0.05
"""Part of the objective's greatest value that a smoother place may cost."""
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Exponents of the class priors that `search_scaled` tries."""


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


def category_weights(objective: Objective, support: NDArray[Any]) -> Array:
    """(K,) weights, summing to 1, of the categories in the objective; 0 without support."""
    if objective == "challenge_f1":
        # A believed support may be next to nothing; one positive is the least a real one can be.
        weight = np.where(support > 0, 1 / np.maximum(support, 0.5), 0.0)
    else:
        weight = (support > 0).astype(np.float64)
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


def search_scaled(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The best per-category thresholds of the form ``t · rate^a`` with `a` one of `POWERS`.

    The probabilities of a rare category are low throughout, so a global threshold leaves it unpredicted, while a
    validation set holds too few of its positives to fit a threshold of its own. These have two parameters for all
    categories together: a = 0 is the global threshold, and a = 1 compares the probability with the category's prior.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    rates
        (K,) class priors, best those of the training images.

    Returns
    -------
    NDArray[np.float64]
        (K,) thresholds in [0, 1].
    """
    best_value, best = -1.0, np.full(len(rates), 0.5)
    for power in POWERS:
        scale = rates**power
        levels, values = sweep_global(truth, probabilities / scale, objective)
        if len(levels) and values.max() > best_value:
            highest = int(np.argmax(values))
            below = levels[highest + 1] if highest + 1 < len(levels) else 0.0
            best_value, best = float(values[highest]), (levels[highest] + below) / 2 * scale
    return np.asarray(np.clip(best, 0.0, 1.0))


def search_per_category(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    start: float,
) -> Array:
    """One threshold a category that together maximise `objective` on these very images.

    Where the objective is a function of sums over categories it is maximised along its
    trade-off: macro F1 category by category; micro F1 by Dinkelbach's iteration on
    ``2·TP − F·(said + positives)``; F1 of averaged precision and recall (challenge F1, CF1) over
    mixes ``λ·P + (1−λ)·R``, one of which is greatest where it is. Samples F1 couples the
    categories and is climbed category by category from `start`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    start
        The global threshold; categories without a positive keep it, except for micro F1, where
        saying them falsely costs.

    Returns
    -------
    Array
        (K,) float64.
    """
    known = truth != UNKNOWN
    presence = np.where(known, truth == PRESENT, 0.0)
    if objective == "samples_f1":
        return _climb_samples(presence, known, probabilities, start)
    cuts = _Cuts.of(presence, known, probabilities)
    if objective in ("micro_f1", "of1"):
        return cuts.threshold_after(_dinkelbach(cuts))
    if objective == "macro_f1":
        best = ratio(2 * cuts.tp, cuts.said + cuts.support).argmax(axis=0)
    else:
        best = _best_mix(cuts, category_weights(objective, cuts.support))
    return np.where(cuts.support > 0, cuts.threshold_after(best), start)


class _Cuts:
    """The decisions each category's own threshold can make: after cut i its i highest are said.

    `scores` (N, K) descending, `tp` and `said` (N+1, K) counts after each cut, `support` (K,).
    Unknown entries sort last and are never cut in. A cut inside a tie repeats the last one before
    the tie.
    """

    def __init__(self, scores: Array, tp: Array, said: Array, support: Array) -> None:
        self.scores, self.tp, self.said, self.support = scores, tp, said, support

    @classmethod
    def of(
        cls, presence: Array, known: NDArray[np.bool_], probabilities: NDArray[np.floating[Any]]
    ) -> _Cuts:
        scores = np.where(known, probabilities.astype(np.float64), -1.0)
        order = np.argsort(-scores, axis=0, kind="stable")
        scores = np.take_along_axis(scores, order, axis=0)
        count = np.arange(1, len(scores) + 1)[:, None]
        below = np.append(scores[1:], np.full((1, scores.shape[1]), -1.0), axis=0)
        # The place of the latest possible cut at or above each row; 0 is the cut that says nothing.
        at = np.maximum.accumulate(np.where(scores > below, count, 0), axis=0)
        at = np.insert(at, 0, 0, axis=0)
        tp = np.cumsum(np.take_along_axis(presence, order, axis=0), axis=0)
        tp = np.take_along_axis(np.insert(tp, 0, 0.0, axis=0), at, axis=0)
        return cls(scores, tp, at.astype(np.float64), presence.sum(axis=0))

    def threshold_after(self, cut: NDArray[np.intp]) -> Array:
        """(K,) thresholds midway, in log-odds, between the last score said and the first not."""
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


def smoothed_maximum(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    width: float,
) -> float:
    """The global threshold at which the objective is greatest on average over its neighbourhood.

    The steps of `sweep_global` are averaged with a Gaussian over the logarithm of how many labels are said: the
    middle of a broad plateau wins over a lucky spike, as long as it loses no more than `SLACK` of the
    greatest value. Counting labels, not log-odds, makes the
    neighbourhood the same for sharp and for flat probabilities.

    Parameters
    ----------
    truth, probabilities, objective
        As in `sweep_global`; at least one entry is known.
    width
        Standard deviation of the Gaussian: 0.3 looks about a third of the labels up and down.
    """
    levels, values = sweep_global(truth, probabilities, objective)
    ascending = np.sort(probabilities[truth != UNKNOWN].astype(np.float64))
    said = len(ascending) - np.searchsorted(ascending, levels)
    grid = np.linspace(0, np.log(said[-1]) + 1e-9, 1001)
    # With exp(g) labels allowed, the last candidate that says no more (a first tie may say more than one).
    place = np.maximum(np.searchsorted(np.log(said), grid, side="right") - 1, 0)
    step = max(float(grid[1]), 1e-12)
    reach = np.arange(-min(int(4 * width / step), 1000), min(int(4 * width / step), 1000) + 1)
    kernel = np.exp(-0.5 * (reach * step / width) ** 2)
    padded = np.pad(values[place], len(reach) // 2, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), "valid")
    # A model that only knows base rates has nothing but spikes; there the neighbourhood misleads.
    smooth[values[place] < (1 - SLACK) * values.max()] = -1.0
    best = place[int(np.argmax(smooth))]
    return float(midway(levels[best], levels[best + 1] if best + 1 < len(levels) else 0.0))


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
    presence: Array,
    known: NDArray[np.bool_],
    probabilities: NDArray[np.floating[Any]],
    start: float,
    rounds: int = 3,
) -> Array:
    decisions = (probabilities >= start) & known
    support = presence.sum(axis=1)
    tp, said = (decisions * presence).sum(axis=1), decisions.sum(axis=1)
    thresholds = np.full(presence.shape[1], start)
    orders = np.argsort(-probabilities, axis=0, kind="stable")
    for _ in range(rounds):
        before = thresholds.copy()
        for k in np.flatnonzero(presence.any(axis=0)):
            rows = orders[:, k][known[orders[:, k], k]]
            tp_rest = tp - decisions[:, k] * presence[:, k]
            said_rest = said - decisions[:, k]
            without = ratio(2 * tp_rest, said_rest + support)
            with_it = ratio(2 * (tp_rest + presence[:, k]), said_rest + 1 + support)
            scores = probabilities[rows, k].astype(np.float64)
            gain = np.append(0.0, np.cumsum((with_it - without)[rows]))
            gain[1:][np.append(scores[1:] == scores[:-1], False)] = -np.inf
            cut = int(np.argmax(gain))
            ends = np.concatenate([[1.0], scores, [0.0]])
            thresholds[k] = float(midway(ends[cut], ends[cut + 1]))
            decisions[:, k] = False
            decisions[rows[:cut], k] = True
            tp = tp_rest + decisions[:, k] * presence[:, k]
            said = said_rest + decisions[:, k]
        if np.array_equal(before, thresholds):
            break
    return thresholds
