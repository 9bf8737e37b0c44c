"""Iterative stratification of multi-label data (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011).

Not the library iterative-stratification, which imports scikit-learn (0.6 s), goes through all images and
categories again for each image, and gives sides of random size. Here each side has the size that was asked
for, and what that leaves uneven is evened out by exchanges. The tests compare the spread of the categories, the mean
and the worst one, with that of the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 64
"""Images of each of two sides that are looked at for one exchange: those that promise most by themselves."""


def stratify(labels: NDArray[np.int8], fractions: Sequence[float], seed: int) -> NDArray[np.int32]:
    """Assign images to sides so that each side has its share of every category.

    Repeatedly the images of the category with the fewest unassigned ones are assigned: rare categories
    leave the least choice, and an image assigned for one category counts for all of its others. Each
    image goes to the side that lacks most images of the category; among equals to the side with most
    room; among those at random. Images without a label fill the sides up at the end.

    Frequent categories come last, when the sides that lack them may be full. So while a side has a whole
    image of a category too many or too few, two images change sides if that lowers the sum of the
    squares of all those differences.

    Parameters
    ----------
    labels
        (N, K); 1 is present, everything else counts as absent.
    fractions
        Share of each of S sides; they sum to 1.
    seed
        Decides the order of images and the random choices.

    Returns
    -------
    NDArray[np.int32]
        (N,) side of each image. The sizes of the sides are `sizes` of N and the fractions.
    """
    count = len(labels)
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    tie_breaks = rng.random((count, len(fractions))).tolist()
    present = labels[order] == 1
    rows, columns = np.nonzero(present)
    # The categories of each image, and the images of each category.
    bounds = np.searchsorted(rows, np.arange(count + 1))
    flat = columns.tolist()
    categories_of = [flat[start:stop] for start, stop in pairwise(bounds)]
    by_category = np.argsort(columns, kind="stable")
    totals = present.sum(0)
    images_of = np.split(rows[by_category], np.cumsum(totals)[:-1]) if len(totals) else []
    # What is still to be assigned: images of each category, of each side and category, of each side.
    unassigned = totals.tolist()
    lacking = [[fraction * total for total in unassigned] for fraction in fractions]
    room = sizes(count, fractions)
    side_of = np.full(count, -1, np.int32).tolist()

    def assign(image: int, category: int | None) -> None:
        best = max(
            (side for side in range(len(room)) if room[side] > 0),
            key=lambda side: (
                0.0 if category is None else lacking[side][category],
                room[side],
                tie_breaks[image][side],
            ),
        )
        side_of[image] = best
        room[best] -= 1
        for present_category in categories_of[image]:
            unassigned[present_category] -= 1
            lacking[best][present_category] -= 1

    waiting = {category for category, total in enumerate(unassigned) if total}
    while waiting:
        rarest = min(waiting, key=lambda category: (unassigned[category], category))
        waiting.remove(rarest)
        for image in images_of[rarest].tolist():
            if side_of[image] < 0:
                assign(image, rarest)
        # Images of the rarest category may have been the last ones of others.
        waiting = {category for category in waiting if unassigned[category]}
    for image, categories in enumerate(categories_of):
        if not categories:
            assign(image, None)
    sides = np.array(side_of, np.int32)
    _exchange(present, sides, np.asarray(fractions, np.float64))
    result = np.empty(count, np.int32)
    result[order] = sides
    return result


def _exchange(
    present: NDArray[np.bool_], sides: NDArray[np.int32], fractions: NDArray[np.float64]
) -> None:
    """Exchange images between `sides` (N,), in place, until every category is off by less than one or none helps."""
    labels = present.astype(np.float32)
    width = labels.sum(axis=1)
    # By how many images of each category each side has too many.
    excess = np.stack([present[sides == side].sum(axis=0) for side in range(len(fractions))])
    excess = excess - fractions[:, None] * present.sum(axis=0)
    for _ in range(len(labels)):
        uneven = np.flatnonzero(np.abs(excess) > 1 - 1e-9)
        worst_first = uneven[np.argsort(-np.abs(excess.flat[uneven]), kind="stable")]
        for flat in worst_first.tolist():
            side, category = divmod(flat, labels.shape[1])
            column = excess[:, category]
            over = side if column[side] > 0 else int(column.argmax())
            under = int(column.argmin()) if column[side] > 0 else side
            given = np.flatnonzero((sides == over) & present[:, category])
            taken = np.flatnonzero((sides == under) & ~present[:, category])
            if not (len(given) and len(taken)):
                continue
            # Half the change of the sum of squares when a is given and b taken is
            # |a - b|² + (a - b)·slope; without the product of a and b each has a part of its own.
            slope = (excess[under] - excess[over]).astype(np.float32)
            promise = labels @ slope
            given = given[np.argsort((width + promise)[given], kind="stable")[:CANDIDATES]]
            taken = taken[np.argsort((width - promise)[taken], kind="stable")[:CANDIDATES]]
            change = (width + promise)[given][:, None] + (width - promise)[taken]
            change -= 2 * labels[given] @ labels[taken].T
            best = int(change.argmin())
            # Well above the rounding of float32; halves are the least that counts.
            if change.flat[best] < -1e-3:
                a, b = given[best // len(taken)], taken[best % len(taken)]
                moved = labels[a] - labels[b]
                excess[over] -= moved
                excess[under] += moved
                sides[a], sides[b] = under, over
                break
        else:
            return


def sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """The fractions of `count` as whole numbers that sum to it, by the method of largest remainders."""
    exact = [fraction * count for fraction in fractions]
    # 0.1 * 30 must be 3 in spite of rounding errors.
    whole = [int(np.floor(value + 1e-9)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda side: (whole[side] - exact[side], side))
    for side in by_remainder[: count - sum(whole)]:
        whole[side] += 1
    return whole
