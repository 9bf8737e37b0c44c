"""Iterative stratification of multi-label data (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011).

Our own 50 lines and not the library of that name: that imports scikit-learn (0.6 s), walks every
image and category again for each image, and leaves the sizes of the sides to chance. Here the
sides have exactly the size that was asked for. The library is the tests' oracle for the spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def stratify(labels: NDArray[np.int8], fractions: Sequence[float], seed: int) -> NDArray[np.int32]:
    """Deal images to sides so that each side has its share of every category.

    The rarest category left is dealt first; each of its images goes to the side that lacks it
    most, among equals to the one that lacks images most, among those by lot. Images without a
    label fill the sides up.

    Parameters
    ----------
    labels
        (N, K); 1 is present, everything else counts as absent.
    fractions
        Share of each of S sides; they sum to 1.
    seed
        Decides the order of images and the lots.

    Returns
    -------
    NDArray[np.int32]
        (N,) side of each image. The sides' sizes are `sizes` of N and the fractions.
    """
    count = len(labels)
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    lots = rng.random((count, len(fractions))).tolist()
    present = labels[order] == 1
    rows, columns = np.nonzero(present)
    bounds = np.searchsorted(rows, np.arange(count + 1))
    flat = columns.tolist()
    labels_of = [flat[start:stop] for start, stop in pairwise(bounds)]
    by_label = np.argsort(columns, kind="stable")
    totals = present.sum(0)
    images_of = np.split(rows[by_label], np.cumsum(totals)[:-1]) if len(totals) else []
    left = totals.tolist()
    lacks = [[fraction * total for total in left] for fraction in fractions]
    room = sizes(count, fractions)
    side = np.full(count, -1, np.int32).tolist()

    def deal(image: int, label: int | None) -> None:
        chance = lots[image]
        best = max(
            (s for s in range(len(room)) if room[s] > 0),
            key=lambda s: (0.0 if label is None else lacks[s][label], room[s], chance[s]),
        )
        side[image] = best
        room[best] -= 1
        for other in labels_of[image]:
            left[other] -= 1
            lacks[best][other] -= 1

    waiting = {label for label, total in enumerate(left) if total}
    while waiting:
        rarest = min(waiting, key=lambda label: (left[label], label))
        waiting.remove(rarest)
        for image in images_of[rarest].tolist():
            if side[image] < 0:
                deal(image, rarest)
        waiting = {label for label in waiting if left[label]}
    for image, labels_here in enumerate(labels_of):
        if not labels_here:
            deal(image, None)
    result = np.empty(count, np.int32)
    result[order] = side
    return result


def sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers nearest to the fractions of `count` that sum to it (largest remainders)."""
    exact = [fraction * count for fraction in fractions]
    whole = [int(np.floor(value + 1e-9)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda s: (whole[s] - exact[s], s))
    for s in by_remainder[: count - sum(whole)]:
        whole[s] += 1
    return whole
