"""Seeded, multi-label stratified splits, and the saved `split.json`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.data.stratify import sizes, stratify
from tagbox.errors import TagboxError

Rows = NDArray[np.intp]


def stratified_split(labels: NDArray[np.int8], fraction: float, seed: int = 0) -> tuple[Rows, Rows]:
    """Hold out a part that has its share of every category.

    Parameters
    ----------
    labels
        (N, K) int8; 1 present, others count as absent.
    fraction
        Part of the images in the second side, between 0 and 1.
    seed
        Decides the split.

    Returns
    -------
    kept, held_out : (A,), (B,) intp
        Ascending rows; neither is empty when N > 1.

    Raises
    ------
    TagboxError
        ``too-few-images`` for fewer than two images.
    """
    _enough(len(labels), 2)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    held = min(max(sizes(len(labels), (1 - fraction, fraction))[1], 1), len(labels) - 1)
    share = held / len(labels)
    side = stratify(labels, (1 - share, share), seed)
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def stratified_parts(
    labels: NDArray[np.int8], fractions: Sequence[float], seed: int = 0
) -> list[Rows]:
    """Rows of each of several parts, one for each fraction (they sum to 1)."""
    _enough(len(labels), len(fractions))
    side = stratify(labels, fractions, seed)
    return [np.flatnonzero(side == part) for part in range(len(fractions))]


def stratified_folds(
    labels: NDArray[np.int8], folds: int, seed: int = 0
) -> list[tuple[Rows, Rows]]:
    """(training rows, validation rows) of each fold; every image is in one validation side.

    Raises
    ------
    TagboxError
        ``too-few-images`` for fewer images than folds.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    _enough(len(labels), folds)
    side = stratify(labels, [1 / folds] * folds, seed)
    return [(np.flatnonzero(side != fold), np.flatnonzero(side == fold)) for fold in range(folds)]


def sample(dataset: Dataset, count: int, seed: int = 0) -> Dataset:
    """`count` images in their order, stratified by category; all of them when there are fewer."""
    if count >= len(dataset):
        return dataset
    share = count / len(dataset)
    return dataset.take(np.flatnonzero(stratify(dataset.labels, (share, 1 - share), seed) == 0))


def _enough(count: int, least: int) -> None:
    if count < least:
        raise TagboxError(
            "too-few-images",
            f"{count} labelled images cannot be split into {least} parts",
            hint="give more images or ask for fewer parts",
        )
