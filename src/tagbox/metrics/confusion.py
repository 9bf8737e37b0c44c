"""Confusion of multi-label predictions: which category is falsely predicted where another is missed.

Labels of an image are a set, so no label is "predicted as" another. What is counted instead are the images in which
category c is a false negative and category d a false positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import ABSENT, PRESENT


def missed_and_predicted(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(K, K) int64; ``[c, d]`` images in which c is a false negative and d a false positive.

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
