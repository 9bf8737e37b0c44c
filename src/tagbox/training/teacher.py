"""Learning from another model's probabilities beside the labels.

References
----------
Hinton et al., "Distilling the Knowledge in a Neural Network", 2015: the losses on labels and on the
teacher's probabilities are mixed. All losses here are linear in the target, so mixing targets is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import UNKNOWN


def mixed_targets(
    labels: NDArray[np.int8], teacher: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """(N, K) float32 in 0..1: ``(1 - weight) label + weight teacher``; the teacher's alone where unknown.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    teacher
        (N, K) float32 probabilities; NaN rows are images it says nothing of, whose labels stay.
    """
    mixed = np.where(labels == UNKNOWN, teacher, (1 - weight) * labels + weight * teacher)
    return np.where(np.isnan(teacher), labels, mixed).astype(np.float32)
