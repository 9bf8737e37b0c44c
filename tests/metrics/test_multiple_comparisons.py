"""Corrections for many comparisons: against SciPy, by hand, and their rate of false findings."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tagbox.metrics.multiple_comparisons import (
    LargestT,
    holm,
    letter,
    letter_groups,
    sign_test,
    student_cdf,
    student_quantile,
)


@given(st.floats(1, 1e7), st.floats(-30, 30))
def test_student_is_scipys(degrees: float, t: float) -> None:
    assert student_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("degrees", [1.0, 1.5, 4.0, 99.0, 1e4])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.975, 0.9996])
def test_quantiles_are_scipys(degrees: float, share: float) -> None:
    expected = stats.t.ppf(share, degrees)
    assert student_quantile(share, degrees) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@given(st.integers(0, 700), st.integers(0, 700))
def test_the_sign_test_is_scipys_binomial_test(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    # From 1,000 images on it is the normal approximation.
    found = sign_test(wins, losses)
    assert found == pytest.approx(expected, rel=1e-9 if wins + losses <= 1000 else 0.3, abs=2e-4)


def test_holm_by_hand() -> None:
    # Of 4: the least times 4, the next times 3, and never less than the one before.
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_models_that_are_told_apart_share_no_letter() -> None:
    assert letter_groups(3, []) == ["a", "a", "a"]
    assert letter_groups(3, [(0, 1), (0, 2), (1, 2)]) == ["a", "b", "c"]
    # The middle one of three can be told from neither.
    assert letter_groups(3, [(0, 2)]) == ["a", "ab", "b"]
    assert letter_groups(4, [(0, 2), (0, 3), (1, 3)]) == ["a", "ab", "bc", "c"]
    assert (letter(0), letter(26), letter(52)) == ("a", "A", "(52)")


@given(st.integers(2, 7), st.randoms(use_true_random=False))
def test_letters_are_shared_exactly_by_pairs_that_are_not_told_apart(models: int, random) -> None:  # type: ignore[no-untyped-def]
    different = [pair for pair in combinations(range(models), 2) if random.random() < 0.5]
    letters = letter_groups(models, different)
    for i, j in combinations(range(models), 2):
        assert bool(set(letters[i]) & set(letters[j])) == ((i, j) not in different)


def test_one_pair_needs_no_correction() -> None:
    one = LargestT(np.random.default_rng(0).normal(size=(50, 2)))
    assert one.critical(0.95) == pytest.approx(1.959964)
    assert one.p_value(1.959964) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("models", [3, 6, 12])
def test_independent_models_have_tukeys_critical_value(models: int) -> None:
    """The studentised range of many degrees of freedom, over √2."""
    random = np.random.default_rng(models)
    table = np.linalg.qr(random.normal(size=(400, models)))[0]
    table -= table.mean(axis=0)
    expected = stats.studentized_range.ppf(0.95, models, 1e5) / np.sqrt(2)
    found = LargestT(table)
    assert found.critical(0.95) == pytest.approx(expected, rel=0.02)
    assert found.p_value(expected) == pytest.approx(0.05, abs=0.008)


def test_equal_models_have_no_largest_difference() -> None:
    column = np.random.default_rng(0).normal(size=(50, 1))
    found = LargestT(np.repeat(column, 4, axis=1))
    assert found.p_value(0.0) == 1.0 and found.critical(0.95) == pytest.approx(1.959964)
    # Two equal pairs of models: one difference, one comparison.
    twice = np.hstack([column, column, np.random.default_rng(1).normal(size=(50, 1))])
    assert LargestT(twice).critical(0.95) == pytest.approx(1.96, abs=0.06)
