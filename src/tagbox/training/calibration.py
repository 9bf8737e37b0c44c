"""Logistic regression with a few coefficients shared by all categories: from outputs of a model to logits.

Platt's scaling has a slope and an intercept; here further inputs, such as the logit of each category's base rate, are
terms of the same sum. Coefficients shared by all categories need no more images than one category with as many labels.

References
----------
Platt, "Probabilistic Outputs for Support Vector Machines", 1999, also for targets that are smoothed. Guo et al., "On
Calibration of Modern Neural Networks", 2017, scale all logits of exclusive categories by one temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.dataset import PRESENT, UNKNOWN

Doubles = NDArray[np.float64]

STEPS, TOLERANCE = 50, 1e-8
"""Newton's method: most steps, and the largest change of a coefficient at which it ends."""
DAMPING = 1e-6
"""Added to the curvature, as a share of its mean, so that inputs without effect have no coefficient."""
BLOCK_VALUES = 1 << 20
"""Values of all inputs worked on at once."""


def fit_shared_logistic(
    inputs: Sequence[NDArray[np.floating[Any]]],
    labels: NDArray[np.int8],
    rates: Doubles,
    kind: LabelKind = "multi",
) -> Doubles:
    """Coefficients of a sum of inputs that minimise the cross-entropy of its sigmoid, or softmax, over known labels.

    The targets are smoothed as if there were one image more, whose labels are the base rates: coefficients stay
    finite where the inputs separate the labels.

    Parameters
    ----------
    inputs
        F tables, each (N, K) or of a shape that broadcasts to it.
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown (left out).
    rates
        (K,) float64 in (0, 1), the base rates.
    kind
        ``multi`` for a sigmoid of each category, ``exclusive`` for a softmax over them.

    Returns
    -------
    NDArray[np.float64]
        (F,); the logits are ``sum(coefficient * input)``.
    """
    found = np.zeros(len(inputs))
    here = _Fit.at(found, inputs, labels, rates, kind)
    for _ in range(STEPS):
        curvature = here.curvature
        curvature += DAMPING * (np.trace(curvature) + 1e-9) / len(found) * np.eye(len(found))
        change = np.linalg.solve(curvature, here.gradient)
        there = _Fit.at(found - change, inputs, labels, rates, kind)
        # Newton's step is too long where the curvature at its end is smaller than at its beginning.
        while there.loss > here.loss and np.abs(change).max() > TOLERANCE:
            change = change / 2
            there = _Fit.at(found - change, inputs, labels, rates, kind)
        found, here = found - change, there
        if np.abs(change).max() <= TOLERANCE:
            break
    return found


@dataclass(frozen=True, eq=False)
class _Fit:
    """The summed cross-entropy of F coefficients, its gradient (F,) and its second derivatives (F, F)."""

    loss: float
    gradient: Doubles
    curvature: Doubles

    @classmethod
    def at(
        cls,
        coefficients: Doubles,
        inputs: Sequence[NDArray[np.floating[Any]]],
        labels: NDArray[np.int8],
        rates: Doubles,
        kind: LabelKind,
    ) -> Self:
        count, categories = labels.shape
        tables = [np.broadcast_to(table, labels.shape) for table in inputs]
        loss, gradient, curvature = 0.0, np.zeros(len(tables)), np.zeros((len(tables),) * 2)
        shares = rates / rates.sum() if kind == "exclusive" else rates
        step = max(1, BLOCK_VALUES // (categories * len(tables)))
        for start in range(0, count, step):
            rows = slice(start, start + step)
            x = np.stack([table[rows] for table in tables], axis=-1).astype(np.float64)
            target = (count * (labels[rows] == PRESENT) + shares) / (count + 1)
            logits = x @ coefficients
            if kind == "exclusive":
                logits -= logits.max(axis=1, keepdims=True)
                log_sum = np.log(np.exp(logits).sum(axis=1, keepdims=True))
                p = np.exp(logits - log_sum)
                loss += float((target * (log_sum - logits)).sum())
                mean = np.einsum("nk,nkf->nf", p, x)
                spread = p
                curvature -= mean.T @ mean
            else:
                known = labels[rows] != UNKNOWN
                p = 0.5 * (1 + np.tanh(0.5 * logits))
                loss += float((np.logaddexp(0, logits) - target * logits)[known].sum())
                spread, p = p * (1 - p) * known, np.where(known, p, target)
            gradient += np.einsum("nk,nkf->f", p - target, x)
            curvature += np.einsum("nk,nkf,nkg->fg", spread, x, x, optimize=True)
        return cls(loss, gradient, curvature)
