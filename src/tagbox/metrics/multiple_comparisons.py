"""Many comparisons at once: corrected p values, groups of models that cannot be told apart, and small-sample tests.

With twelve models there are 66 pairs, and without a correction several of them differ "significantly" where all are
equal. `LargestT` corrects for that and uses that differences of models on the same images go together, so it costs less
than Holm's method, which needs nothing but the p values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 10_000
"""Draws of the largest statistic."""
_CHUNK = 500
_STEPS = 2001
"""Points of the integral of Student's t."""


class LargestT:
    """The distribution of the largest ``|t|`` over all pairs of M models that do not differ.

    Single-step max-T (Hothorn, Bretz and Westfall, "Simultaneous Inference in General Parametric Models", Biometrical
    Journal 2008): the models' metrics are normal with the covariance that the jackknife gives, so that of all their
    differences is known, and its largest studentised one is drawn. The chance of any false difference among all pairs is
    at most the level.

    Parameters
    ----------
    without
        (n, M) values of a metric of each model without each image, or group of images, in turn.
    seed
        Of the draws.
    """

    def __init__(self, without: Array, seed: int = 0) -> None:
        count, models = without.shape
        self._largest: Array | None = None
        if models < 3:
            return  # One pair: the normal distribution itself.
        centred = without - without.mean(axis=0)
        covariance = (count - 1) / count * centred.T @ centred
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        first, second = np.array(list(combinations(range(models), 2))).T
        contrasts = root[first] - root[second]
        spread = np.linalg.norm(contrasts, axis=1)
        # Models that are equal on every image have no difference to be large; the root keeps half of the digits.
        kept = spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-300)
        contrasts = contrasts[kept] / spread[kept, None]
        random = np.random.default_rng(seed)
        parts = [
            np.abs(random.standard_normal((_CHUNK, models)) @ contrasts.T).max(axis=1, initial=0.0)
            for _ in range(DRAWS // _CHUNK)
        ]
        self._largest = np.sort(np.concatenate(parts))

    def p_value(self, t: float) -> float:
        """The chance of a largest statistic of at least ``|t|``."""
        if self._largest is None:
            return 2 * NormalDist().cdf(-abs(t))
        above = len(self._largest) - int(np.searchsorted(self._largest, abs(t)))
        return max((above + 1) / (len(self._largest) + 1), 2 * NormalDist().cdf(-abs(t)))

    def critical(self, level: float = 0.95) -> float:
        """The value that the largest statistic stays below with probability `level`."""
        alone = NormalDist().inv_cdf((1 + level) / 2)
        return (
            alone if self._largest is None else max(float(np.quantile(self._largest, level)), alone)
        )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values (Scandinavian Journal of Statistics 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        least = max(least, min((len(order) - rank) * p_values[i], 1.0))
        corrected[i] = least
    return corrected


def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p value of the sign test, for binary outcomes McNemar's: wins and losses are as likely."""
    trials, fewer = wins + losses, min(wins, losses)
    if wins == losses:
        return 1.0
    if trials > 1000:
        # Normal, with continuity correction: the exact sum is long, and hardly another.
        return 2 * NormalDist().cdf(-(abs(wins - losses) - 1) / math.sqrt(trials))
    return min(1.0, 2 * sum(math.comb(trials, i) for i in range(fewer + 1)) / (1 << trials))


def letter_groups(models: int, different: Sequence[tuple[int, int]]) -> list[str]:
    """The groups of each of M models that stand in order of rank: two models share a letter if they are not told apart.

    The insert-and-absorb method (Piepho, "An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons",
    Journal of Computational and Graphical Statistics 2004). A model may be in several groups: "cannot tell apart" is not
    transitive.

    Parameters
    ----------
    models
        M.
    different
        Pairs of positions that are told apart.
    """
    groups = [frozenset(range(models))]
    for i, j in different:
        divided = [
            part
            for group in groups
            for part in ([group - {i}, group - {j}] if {i, j} <= group else [group])
        ]
        unique = list(dict.fromkeys(divided))
        groups = [g for g in unique if not any(g < other for other in unique)]
    groups.sort(key=lambda group: sorted(group))
    return ["".join(letter(n) for n, g in enumerate(groups) if i in g) for i in range(models)]


def letter(number: int) -> str:
    """``a`` to ``z``, then ``A`` to ``Z``, then ``(52)``, ``(53)``, …"""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[number] if number < len(letters) else f"({number})"


def student_cdf(t: float, degrees: float) -> float:
    """The distribution function of Student's t; normal from 10⁶ degrees of freedom on.

    With ``t = √ν·tan θ`` its density is proportional to ``cos^(ν-1) θ``, which is summed by Simpson's rule.
    """
    if degrees >= 1e6:
        return NormalDist().cdf(t)

    def area(low: float, high: float) -> float:
        angles = np.linspace(low, high, _STEPS)
        weights = np.full(_STEPS, 2.0)
        weights[1::2], weights[[0, -1]] = 4.0, 1.0
        heights = np.maximum(np.cos(angles), 0.0) ** (degrees - 1)
        return float(weights @ heights) * (high - low) / (_STEPS - 1) / 3

    # From the nearer tail, so that small probabilities keep their digits; the density is narrow for many degrees.
    edge = min(math.pi / 2, 40 / math.sqrt(max(degrees, 1.0)))
    angle = min(math.atan(abs(t) / math.sqrt(degrees)), edge)
    tail = area(angle, edge) / (2 * area(0.0, edge))
    return tail if t < 0 else 1 - tail


def student_quantile(share: float, degrees: float) -> float:
    """The inverse of `student_cdf` for a share from 0.5 up to 1, by bisection."""
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < share and high < 1e12:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < share else (low, middle)
    return (low + high) / 2
