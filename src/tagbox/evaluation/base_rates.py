"""How often each category is in a picture: where a classifier starts before it has seen one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN


def base_rate(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """(K,) float64; part of the images in which each category is present, never quite 0 or 1.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    """
    present = (labels == PRESENT).sum(axis=0)
    known = (labels != UNKNOWN).sum(axis=0)
    return np.asarray((present + 0.5) / (known + 1.0))
