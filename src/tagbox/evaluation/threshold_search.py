"""Exhaustive searches for the thresholds of probabilities that maximise an objective.

A table of probabilities allows at most as many different decisions as it has distinct values. The objective at all of
them is one running sum: lowering a threshold past one entry changes the counts of one category, or of one image, and
the objectives are sums over those.
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
"""Share of the objective's greatest value that a smoother neighbourhood may cost."""
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
        when everything at or above each is predicted. Exact up to the rounding of a running sum.
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
    """The objective after each entry is added to the predicted ones, in the given order.

    `hit`, `image` and `category` (E,) tell of each entry whether it is a positive and where it lies in `truth` (N, K).
    """
    present = truth == PRESENT
    if objective in ("micro_f1", "of1"):
        entries = np.arange(1, len(hit) + 1)
        return ratio(2 * np.cumsum(hit), entries + np.count_nonzero(present))
    if objective == "samples_f1":
        support = present.sum(axis=1)
        tp, predicted = _group_counts(image, hit, len(truth))
        images = max(int(np.count_nonzero((truth != UNKNOWN).any(axis=1))), 1)
        return _telescoped(image, ratio(2 * tp, predicted + support[image]) / images)
    support = present.sum(axis=0)
    tp, predicted = _group_counts(category, hit, truth.shape[1])
    weight = category_weights(objective, support)[category]
    if objective == "macro_f1":
        return _telescoped(category, weight * ratio(2 * tp, predicted + support[category]))
    precision = _telescoped(category, weight * ratio(tp, predicted))
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
    """(E,) each: positives, and entries, of each entry's group up to and including that entry."""
    by_group = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    hits = np.cumsum(hit[by_group])
    before = np.concatenate([[0], hits])[starts]
    tp = np.empty(len(group), np.intp)
    predicted = np.empty(len(group), np.intp)
    tp[by_group] = hits - np.repeat(before, sizes)
    predicted[by_group] = np.arange(len(group)) - np.repeat(starts, sizes) + 1
    return tp, predicted


def _telescoped(group: NDArray[np.intp], values: Array) -> Array:
    """(E,) after each entry the sum over all groups of the group's latest value (0 before its first entry)."""
    # A group's values are replaced by their differences, so that a plain running sum over all entries, in their own
    # order, holds the latest value of every group.
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
    """Per-category thresholds that together maximise `objective` on these very images.

    Where the objective is a function of sums over categories it is maximised along its
    trade-off: macro F1 category by category; micro F1 by Dinkelbach's iteration on
    ``2·TP − F·(predicted + positives)`` (Dinkelbach, "On Nonlinear Fractional Programming", 1967); F1 of averaged precision and recall (challenge F1, CF1) over
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
        predicting them costs.

    Returns
    -------
    Array
        (K,) float64.
    """
    known = truth != UNKNOWN
    presence = np.where(known, truth == PRESENT, 0.0)
    if objective == "samples_f1":
        return _climb_samples(presence, known, probabilities, start)
    candidates = _Candidates.of(presence, known, probabilities)
    if objective in ("micro_f1", "of1"):
        return candidates.thresholds(_dinkelbach(candidates))
    if objective == "macro_f1":
        best = ratio(2 * candidates.tp, candidates.predicted + candidates.support).argmax(axis=0)
    else:
        best = _best_mix(candidates, category_weights(objective, candidates.support))
    return np.where(candidates.support > 0, candidates.thresholds(best), start)


class _Candidates:
    """The candidate thresholds of each category: with candidate i its i highest scores are predicted.

    `scores` (N, K) are each category's, descending; `tp` and `predicted` (N+1, K) the counts with each candidate; `support`
    (K,) the positives. Unknown entries sort last and are never predicted. A candidate that would divide a tie repeats the
    last one before the tie.
    """

    def __init__(self, scores: Array, tp: Array, predicted: Array, support: Array) -> None:
        self.scores, self.tp, self.predicted, self.support = scores, tp, predicted, support

    @classmethod
    def of(
        cls, presence: Array, known: NDArray[np.bool_], probabilities: NDArray[np.floating[Any]]
    ) -> _Candidates:
        scores = np.where(known, probabilities.astype(np.float64), -1.0)
        order = np.argsort(-scores, axis=0, kind="stable")
        scores = np.take_along_axis(scores, order, axis=0)
        count = np.arange(1, len(scores) + 1)[:, None]
        below = np.append(scores[1:], np.full((1, scores.shape[1]), -1.0), axis=0)
        # Of each candidate the greatest one up to it that divides no tie; candidate 0 predicts nothing.
        whole = np.maximum.accumulate(np.where(scores > below, count, 0), axis=0)
        whole = np.insert(whole, 0, 0, axis=0)
        tp = np.cumsum(np.take_along_axis(presence, order, axis=0), axis=0)
        tp = np.take_along_axis(np.insert(tp, 0, 0.0, axis=0), whole, axis=0)
        return cls(scores, tp, whole.astype(np.float64), presence.sum(axis=0))

    def thresholds(self, chosen: NDArray[np.intp]) -> Array:
        """(K,) the thresholds of the `chosen` candidates (K,): midway, in log-odds, between two scores."""
        columns = np.arange(self.scores.shape[1])
        predicted = self.predicted[chosen, columns].astype(np.intp)
        padded = np.vstack([np.ones(len(columns)), self.scores, np.zeros(len(columns))])
        padded = np.maximum(padded, 0.0)
        return midway(padded[predicted, columns], padded[predicted + 1, columns])


def midway(upper: Any, lower: Any) -> Array:
    """The point between two probabilities that is midway in log-odds (which are clipped; see `logit`)."""
    return expit((logit(upper) + logit(lower)) / 2)


def logit(probability: Any) -> Array:
    """Log-odds, with probabilities clipped to [1e-6, 1 − 1e-6]."""
    clipped = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def expit(log_odds: Any) -> Array:
    """The probability of given log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(log_odds, np.float64))))


def smoothed_maximum(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    width: float,
) -> float:
    """The global threshold at which the objective is greatest on average over its neighbourhood.

    The values of `sweep_global` are averaged with a Gaussian over the logarithm of the number of predicted labels, so
    that the middle of a broad plateau wins over a chance peak, as long as it costs no more than `SLACK` of the greatest
    value. Numbers of labels, not log-odds, make the neighbourhood the same for sharp and for flat probabilities.

    Parameters
    ----------
    truth, probabilities, objective
        As in `sweep_global`; at least one entry is known.
    width
        Standard deviation of the Gaussian in the logarithm: 0.3 is about a third more or fewer labels.
    """
    levels, values = sweep_global(truth, probabilities, objective)
    ascending = np.sort(probabilities[truth != UNKNOWN].astype(np.float64))
    predicted = len(ascending) - np.searchsorted(ascending, levels)
    # The steps on an even grid of the logarithm: at grid point g the last candidate with at most exp(g) labels (the
    # first one where even that has more, because of a tie).
    grid = np.linspace(0, np.log(predicted[-1]) + 1e-9, 1001)
    candidate = np.maximum(np.searchsorted(np.log(predicted), grid, side="right") - 1, 0)
    step = max(float(grid[1]), 1e-12)
    reach = np.arange(-min(int(4 * width / step), 1000), min(int(4 * width / step), 1000) + 1)
    kernel = np.exp(-0.5 * (reach * step / width) ** 2)
    padded = np.pad(values[candidate], len(reach) // 2, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), "valid")
    # A model that knows only class priors has nothing but peaks; there the neighbourhood misleads.
    smooth[values[candidate] < (1 - SLACK) * values.max()] = -1.0
    best = candidate[int(np.argmax(smooth))]
    return float(midway(levels[best], levels[best + 1] if best + 1 < len(levels) else 0.0))


def _dinkelbach(candidates: _Candidates) -> NDArray[np.intp]:
    """(K,) candidates of greatest micro F1.

    F is the greatest ratio ``2·TP / (predicted + positives)`` exactly where the greatest ``2·TP − F·(predicted +
    positives)`` is 0; that difference is maximised category by category, and F replaced by the ratio there until it no
    longer grows.
    """
    value, positives = 0.0, candidates.support.sum()
    best = np.zeros(candidates.tp.shape[1], np.intp)
    columns = np.arange(len(best))
    for _ in range(50):
        best = (2 * candidates.tp - value * candidates.predicted).argmax(axis=0)
        predicted = candidates.predicted[best, columns].sum()
        better = float(ratio(2 * candidates.tp[best, columns].sum(), predicted + positives))
        if better <= value:
            break
        value = better
    return best


def _best_mix(candidates: _Candidates, weight: Array, mixes: int = 65) -> NDArray[np.intp]:
    """(K,) candidates of greatest F1 of the weighted means of precision and recall.

    At its optimum they also maximise ``λ·P + (1−λ)·R`` for some λ, which separates into categories; `mixes` values of λ
    are tried.
    """
    precision = ratio(candidates.tp, candidates.predicted)
    recall = ratio(candidates.tp, candidates.support)
    columns = np.arange(len(weight))
    chosen: list[NDArray[np.intp]] = [
        (share * precision + (1 - share) * recall).argmax(axis=0)
        for share in np.linspace(0, 1, mixes)
    ]
    values = [
        float(harmonic(weight @ precision[rows, columns], weight @ recall[rows, columns]))
        for rows in chosen
    ]
    return chosen[int(np.argmax(values))]


def _climb_samples(
    presence: Array,
    known: NDArray[np.bool_],
    probabilities: NDArray[np.floating[Any]],
    start: float,
    rounds: int = 3,
) -> Array:
    """(K,) thresholds of high samples F1, by coordinate ascent: each category's best one, the others' fixed."""
    decisions = (probabilities >= start) & known
    support = presence.sum(axis=1)
    tp, predicted = (decisions * presence).sum(axis=1), decisions.sum(axis=1)
    thresholds = np.full(presence.shape[1], start)
    orders = np.argsort(-probabilities, axis=0, kind="stable")
    for _ in range(rounds):
        before = thresholds.copy()
        for k in np.flatnonzero(presence.any(axis=0)):
            rows = orders[:, k][known[orders[:, k], k]]
            # An image's F1 with and without category k, from its counts over the other categories; the gain of a
            # threshold is the running sum of the differences over the images above it.
            tp_rest = tp - decisions[:, k] * presence[:, k]
            predicted_rest = predicted - decisions[:, k]
            without = ratio(2 * tp_rest, predicted_rest + support)
            with_it = ratio(2 * (tp_rest + presence[:, k]), predicted_rest + 1 + support)
            scores = probabilities[rows, k].astype(np.float64)
            gain = np.append(0.0, np.cumsum((with_it - without)[rows]))
            gain[1:][np.append(scores[1:] == scores[:-1], False)] = -np.inf
            best = int(np.argmax(gain))
            ends = np.concatenate([[1.0], scores, [0.0]])
            thresholds[k] = float(midway(ends[best], ends[best + 1]))
            decisions[:, k] = False
            decisions[rows[:best], k] = True
            tp = tp_rest + decisions[:, k] * presence[:, k]
            predicted = predicted_rest + decisions[:, k]
        if np.array_equal(before, thresholds):
            break
    return thresholds
