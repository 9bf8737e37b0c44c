"""The paired difference against a bootstrap written out with scikit-learn's average precision."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.metrics.multilabel import LABEL_METRICS


def problem(noise: float, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    truth = (np.random.default_rng(9).random((60, 3)) < 0.4).astype(np.int8)
    random = np.random.default_rng(seed)
    return truth, [truth + noise * random.normal(size=truth.shape) for _ in range(2)]


def test_it_is_sklearns_difference_on_the_same_resamples() -> None:
    truth, first = problem(1.5)
    _, second = problem(0.8, seed=1)
    found = paired_map_difference(truth, first, second, resamples=200, seed=4)

    def mean(side: list[np.ndarray], rows: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    [average_precision_score(truth[rows, k], s[rows, k]) for k in range(3)]
                    for s in side
                ]
            )
        )

    everything = np.arange(60)
    assert found.first == pytest.approx(mean(first, everything))
    assert found.difference == pytest.approx(mean(second, everything) - mean(first, everything))
    random = np.random.default_rng(4)
    rows = random.integers(0, 60, (200, 60))
    drawn = [mean(second, r) - mean(first, r) for r in rows]
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())
    assert found.outcome == "win"


def test_a_model_against_itself_is_a_tie() -> None:
    truth, models = problem(1.0)
    found = paired_map_difference(truth, models, models, resamples=50)
    assert (found.difference, found.low, found.high, found.outcome) == (0, 0, 0, "tie")


def test_the_other_way_round_is_a_loss() -> None:
    truth, bad = problem(3.0)
    _, good = problem(0.3, seed=1)
    assert paired_map_difference(truth, good, bad, resamples=50).outcome == "loss"


def test_label_metrics_are_sklearns_on_the_same_resamples() -> None:
    truth, (first, second) = problem(1.0)
    decisions = [scores > 0.5 for scores in (first, second)]
    found = paired_label_differences(truth, *decisions, resamples=150, seed=4)
    rows = np.random.default_rng(4).integers(0, 60, (150, 60))
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):

        def difference(r: np.ndarray, average: str = average) -> float:
            ours, theirs = (
                f1_score(truth[r], each[r], average=average, zero_division=0) for each in decisions
            )
            return float(theirs - ours)

        assert found[name].difference == pytest.approx(difference(np.arange(60)))
        ends = np.quantile([difference(r) for r in rows], [0.025, 0.975])
        assert [found[name].low, found[name].high] == pytest.approx(ends.tolist(), abs=1e-6)


def test_label_metrics_of_the_other_way_round() -> None:
    truth, (first, second) = problem(1.0)
    there = paired_label_differences(truth, first > 0.5, second > 0.5, resamples=50)
    back = paired_label_differences(truth, second > 0.5, first > 0.5, resamples=50)
    assert set(there) == set(LABEL_METRICS)
    for name, found in there.items():
        assert back[name].difference == -found.difference
        assert [back[name].low, back[name].high] == pytest.approx([-found.high, -found.low])
    same = paired_label_differences(truth, first > 0.5, first > 0.5, resamples=50)
    assert {found.outcome for found in same.values()} == {"tie"}
