"""Stratification: exact sizes, reproducible, spread at least as well as the published library does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tagbox import TagboxError
from tagbox.data.split import stratified_folds, stratified_parts, stratified_split
from tagbox.data.stratify import _exchange, sizes, stratify
from tagbox.data.submission import read_submission


def long_tailed(count: int, categories: int, seed: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    frequency = rng.pareto(1.0, categories) + 0.02
    frequency = np.clip(0.4 * frequency / frequency.max(), 1.5 / count, None)
    return (rng.random((count, categories)) < frequency).astype(np.int8)


def unevenness(labels: NDArray[np.int8], side: NDArray[np.int32], shares: list[float]) -> float:
    """Mean over sides and categories of how far a side's count is from its share, in images."""
    present = labels == 1
    return float(
        np.mean([np.abs(present[side == s].sum(0) - share * present.sum(0)) for s, share in enumerate(shares)])
    )  # fmt: skip


@given(
    count=st.integers(0, 60),
    categories=st.integers(0, 6),
    shares=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_every_image_is_dealt_once_and_sizes_are_exact(
    count: int, categories: int, shares: list[int], seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(-1, 2, (count, categories)).astype(np.int8)
    fractions = [share / sum(shares) for share in shares]
    side = stratify(labels, fractions, seed)
    assert np.bincount(side, minlength=len(shares)).tolist() == sizes(count, fractions)
    assert (side == stratify(labels, fractions, seed)).all()


def test_sizes_are_nearest_and_sum_up() -> None:
    assert sizes(10, [0.8, 0.1, 0.1]) == [8, 1, 1]
    assert sizes(337, [0.9, 0.1]) == [303, 34]
    assert sizes(7, [1 / 3] * 3) == [3, 2, 2]
    assert sizes(1_000_000, [0.7, 0.2, 0.1]) == [700_000, 200_000, 100_000]


def test_seeds_differ() -> None:
    labels = long_tailed(200, 10, 0)
    sides = [stratify(labels, [0.5, 0.5], seed) for seed in range(3)]
    assert (sides[0] != sides[1]).any()
    assert (sides[1] != sides[2]).any()


def test_two_rare_images_land_on_two_sides() -> None:
    labels = np.zeros((40, 2), np.int8)
    labels[:, 0] = 1
    labels[[3, 30], 1] = 1
    for seed in range(20):
        side = stratify(labels, [0.5, 0.5], seed)
        assert side[3] != side[30]


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.5, 0.5], [0.2] * 5])
def test_spread_is_as_good_as_the_published_library(shares: list[float]) -> None:
    from iterstrat.ml_stratifiers import IterativeStratification

    ours, theirs, by_lot = [], [], []
    for seed in range(6):
        labels = long_tailed(600, 30, seed)
        ours.append(unevenness(labels, stratify(labels, shares, seed), shares))
        folds = IterativeStratification(
            labels=labels.copy(), r=np.array(shares), random_state=np.random.RandomState(seed)
        )
        theirs.append(unevenness(labels, folds, shares))
        lot = np.random.default_rng(seed).permutation(
            np.repeat(np.arange(len(shares)), sizes(600, shares))
        )
        by_lot.append(unevenness(labels, lot, shares))  # fmt: skip
    assert np.mean(ours) <= 1.05 * np.mean(theirs)
    assert np.mean(ours) < 0.5 * np.mean(by_lot)


def never_empty(count: int, categories: int, seed: int) -> NDArray[np.int8]:
    """Rich and poor images, none without a label; half of them and all that would be empty hold the first category."""
    rng = np.random.default_rng(seed)
    rate = 0.06 / np.arange(1, categories + 1) ** 0.6 * rng.gamma(0.6, 1.6, (count, 1))
    labels = rng.random((count, categories)) < np.clip(rate, 0, 0.9)
    labels[:, 0] = (rng.random(count) < 0.54) | ~labels[:, 1:].any(axis=1)
    return labels.astype(np.int8)


def worst(labels: NDArray[np.int8], side: NDArray[np.int32], shares: list[float]) -> float:
    """The largest difference of a side's count of a category from its share, in images."""
    present = labels == 1
    return max(
        float(np.abs(present[side == s].sum(0) - share * present.sum(0)).max())
        for s, share in enumerate(shares)
    )


@pytest.mark.parametrize(
    ("count", "categories", "shares"),
    [
        (4952, 80, [0.2] * 5),
        (1000, 30, [0.2] * 5),
        (500, 20, [0.2] * 5),
        (600, 30, [0.8, 0.1, 0.1]),
    ],
)
def test_the_worst_category_is_no_worse_than_the_published_librarys(
    count: int, categories: int, shares: list[float]
) -> None:
    from iterstrat.ml_stratifiers import IterativeStratification

    for seed in range(3):
        labels = never_empty(count, categories, seed)
        theirs = IterativeStratification(
            labels=labels.copy(), r=np.array(shares), random_state=np.random.RandomState(seed)
        )
        ours = stratify(labels, shares, seed)
        assert np.bincount(ours).tolist() == sizes(count, shares)
        # Before the exchanges the first category, 4,000 images of 4,952, was off by 8 to 19 here.
        assert worst(labels, ours, shares) <= min(1.5, worst(labels, theirs, shares))


def test_folds_of_the_challenges_labels(shared_data: Path) -> None:
    rows = read_submission(shared_data / "challenge/test_labels.json").values()
    labels = np.array([[k in row for k in range(80)] for row in rows]).astype(np.int8)
    assert worst(labels, stratify(labels, [0.2] * 5, 0), [0.2] * 5) <= 1.5


def test_exchanges_by_hand() -> None:
    # Sides of two: a and b hold both categories, c and d none. However they were dealt, each side ends with one of
    # each kind; and what is even already stays as it was.
    labels = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], bool)
    sides = np.array([0, 0, 1, 1], np.int32)
    even = np.array([0, 1, 0, 1], np.int32)
    for dealt in (np.repeat(sides, 2), np.tile(even, 2)):
        found = dealt.copy()
        _exchange(np.repeat(labels, 2, axis=0), found, np.array([0.5, 0.5]))
        assert [found[rows].sum() for rows in (slice(0, 4), slice(4, 8))] == [2, 2]
    assert found.tolist() == np.tile(even, 2).tolist()


def test_split_of_the_real_sample(shared_data: Path) -> None:
    from tagbox.data.formats.coco import read_coco

    path = shared_data / "coco-sample/annotations/instances_train2017.json"
    labels = read_coco(path).labels
    kept, held = stratified_split(labels, 0.2, seed=1)
    assert len(held) == 67
    assert sorted([*kept, *held]) == list(range(337))
    often = labels.sum(0) >= 10
    share = labels[held].sum(0)[often] / labels.sum(0)[often]
    assert np.abs(labels[held].sum(0) - 0.2 * labels.sum(0)).max() <= 1
    assert np.abs(share - 0.2).mean() < 0.04


def test_smallest_split_leaves_no_side_empty() -> None:
    labels = np.ones((2, 1), np.int8)
    for fraction in (0.01, 0.99):
        kept, held = stratified_split(labels, fraction, 0)
        assert (len(kept), len(held)) == (1, 1)


def test_folds_hold_every_image_out_once() -> None:
    labels = long_tailed(103, 5, 0)
    folds = stratified_folds(labels, 5, seed=3)
    held = np.concatenate([held for _, held in folds])
    assert sorted(held.tolist()) == list(range(103))
    for kept, held in folds:
        assert not set(kept.tolist()) & set(held.tolist())
        assert len(kept) + len(held) == 103


def test_too_few_images() -> None:
    labels = np.ones((1, 1), np.int8)
    for work in (
        lambda: stratified_split(labels, 0.5),
        lambda: stratified_folds(labels, 2),
        lambda: stratified_parts(labels, (0.5, 0.5)),
    ):
        with pytest.raises(TagboxError) as caught:
            work()
        assert caught.value.code == "too-few-images"
