"""How often each category is in a picture, and thresholds in proportion to a power of that rate.

A rare category's probabilities are low all over, so one threshold for all leaves it unsaid, while a
validation set holds too few of it to give it a threshold of its own. ``t · rate^a`` has two parameters
for all categories: a = 0 is the global threshold; a = 1 asks by how many times the picture made the
category likelier than it is anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.evaluation.threshold_search import sweep_global

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def class_priors(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """(K,) float64; part of the images in which each category is present, never quite 0 or 1.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    """
    present = (labels == PRESENT).sum(axis=0)
    known = (labels != UNKNOWN).sum(axis=0)
    return np.asarray((present + 0.5) / (known + 1.0))


def search_scaled(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    objective: Objective,
    rates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The best thresholds of the form ``t · rate^a`` with `a` one of `POWERS`.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) floats in [0, 1].
    rates
        (K,) base rates, best those of the training images.

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
            at = int(np.argmax(values))
            below = levels[at + 1] if at + 1 < len(levels) else 0.0
            best_value, best = float(values[at]), (levels[at] + below) / 2 * scale
    return np.asarray(np.clip(best, 0.0, 1.0))
