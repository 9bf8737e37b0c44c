"""Paired differences: against leaving images out with scikit-learn, Bonett and Price's interval, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.metrics.jackknife import without_each
from tagbox.metrics.multilabel import LABEL_METRICS, label_metrics
from tagbox.metrics.single_label import one_hot

Z = 1.959963984540054


def problem(noise: float, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    truth = (np.random.default_rng(9).random((60, 3)) < 0.4).astype(np.int8)
    random = np.random.default_rng(seed)
    return truth, [truth + noise * random.normal(size=truth.shape) for _ in range(2)]


def test_the_error_of_a_map_is_that_of_leaving_images_out() -> None:
    truth, first = problem(1.5)
    _, second = problem(0.8, seed=1)
    found = paired_map_difference(truth, first, second)

    def mean(side: list[np.ndarray], rows: np.ndarray) -> float:
        aps = [
            [average_precision_score(truth[rows, k], s[rows, k]) for k in range(3)] for s in side
        ]
        return float(np.mean(aps))

    everything = np.arange(60)
    difference = mean(second, everything) - mean(first, everything)
    assert found.first == pytest.approx(mean(first, everything))
    assert found.difference == pytest.approx(difference)
    left = [np.delete(everything, row) for row in range(60)]
    error = np.sqrt(59 * np.var([mean(second, r) - mean(first, r) for r in left]))
    move = (1 + difference) / (truth.sum(axis=0).min() + 1) / 3
    half = Z * np.sqrt(error**2 + 2 * move**2)
    assert found.low == pytest.approx(difference * 60 / 62 - half, abs=1e-4)
    assert found.high == pytest.approx(difference * 60 / 62 + half, abs=1e-4)
    assert found.outcome == "win" and not found.reliable


def test_a_model_against_itself_is_a_tie_and_no_point() -> None:
    truth, models = problem(1.0)
    found = paired_map_difference(truth, models, models)
    assert (found.difference, found.outcome, found.reliable) == (0, "tie", False)
    assert found.low == -found.high < 0
    decisions = models[0] > 0.5
    for same in paired_label_differences(truth, decisions, decisions).values():
        assert (same.difference, same.outcome, same.reliable) == (0, "tie", False)
        assert same.low == -same.high < 0


def test_the_other_way_round_is_a_loss() -> None:
    truth, bad = problem(3.0)
    _, good = problem(0.3, seed=1)
    assert paired_map_difference(truth, good, bad).outcome == "loss"


def test_label_metrics_leave_images_out_as_scikit_learn_does() -> None:
    truth, (first, second) = problem(1.0)
    decisions = [scores > 0.5 for scores in (first, second)]
    found = paired_label_differences(truth, *decisions)
    left = [np.delete(np.arange(60), row) for row in range(60)]
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro"), ("samples_f1", "samples")):

        def difference(r: np.ndarray, average: str = average) -> float:
            ours, theirs = (
                f1_score(truth[r], each[r], average=average, zero_division=0) for each in decisions
            )
            return float(theirs - ours)

        whole = difference(np.arange(60))
        assert found[name].difference == pytest.approx(whole)
        error = np.sqrt(59 * np.var([difference(r) for r in left]))
        # One more label that one model gets right and the other wrong.
        apart = (decisions[0] != decisions[1]).sum(axis=0)
        square = ((1 + abs(whole)) / 61) ** 2 if average == "samples" else 0.0
        for category in range(3 if not square else 0):
            moves = []
            for there in (1, 0):
                for right in (0, 1):
                    row = np.full((1, 3), -1, np.int8)
                    row[0, category] = there
                    said = [np.zeros((1, 3), bool), np.zeros((1, 3), bool)]
                    said[right][0, category] = bool(there)
                    said[1 - right][0, category] = not there
                    more = [
                        label_metrics(np.vstack([truth, row]), np.vstack([each, one]))[name]
                        for each, one in zip(decisions, said, strict=True)
                    ]
                    moves.append(more[1] - more[0] - whole)
            # Each category as often as the models disagree about it.
            square += (apart[category] + 1) / (apart + 1).sum() * np.mean(np.square(moves))
        half = Z * np.sqrt(error**2 + 2 * square)
        ends = [whole * 60 / 62 - half, whole * 60 / 62 + half]
        assert [found[name].low, found[name].high] == pytest.approx(ends, abs=1e-9)


def test_the_weights_of_the_challenge_stay_those_of_all_images() -> None:
    """Against leaving images out by scikit-learn's precisions and recalls, averaged with the weights of all images."""
    truth, (first, second) = problem(1.0)
    decisions = [scores > 0.5 for scores in (first, second)]
    weights = 1 / truth.sum(axis=0)
    weights /= weights.sum()

    def f1(rows: np.ndarray, said: np.ndarray) -> float:
        p, r = (
            weights @ score(truth[rows], said[rows], average=None, zero_division=0)
            for score in (precision_score, recall_score)
        )
        return float(2 * p * r / (p + r))

    without = [
        f1(r, decisions[1]) - f1(r, decisions[0])
        for r in (np.delete(np.arange(60), row) for row in range(60))
    ]
    each = [without_each(truth, d, fixed_weights=True)["challenge_f1"] for d in decisions]
    assert each[1] - each[0] == pytest.approx(without)
    free = [without_each(truth, d)["challenge_f1"] for d in decisions]
    assert free[0] != pytest.approx(each[0])


@pytest.mark.parametrize(("images", "losses", "gains"), [(100, 0, 0), (100, 3, 9), (400, 20, 5)])
def test_accuracies_have_the_interval_of_bonett_and_price(
    images: int, losses: int, gains: int
) -> None:
    """Their formula on the two counts of images that one model has right and the other wrong."""
    rows = np.zeros(images, np.intp)
    first, second = np.zeros(images, np.intp), np.zeros(images, np.intp)
    second[:losses] = 1
    first[losses : losses + gains] = 1
    truth, before, after = (one_hot(each, 2) for each in (rows, first, second))
    found = paired_label_differences(truth.astype(np.int8), before, after)["subset_accuracy"]
    won, lost = (gains + 1) / (images + 2), (losses + 1) / (images + 2)
    half = Z * np.sqrt((won + lost - (won - lost) ** 2) / (images + 2))
    assert found.difference == pytest.approx((gains - losses) / images)
    ends = [won - lost - half, won - lost + half]
    assert [found.low, found.high] == pytest.approx(ends, abs=0.25 / images)
    assert found.reliable == (losses + gains > 20)


def test_label_metrics_of_the_other_way_round() -> None:
    truth, (first, second) = problem(1.0)
    there = paired_label_differences(truth, first > 0.5, second > 0.5)
    back = paired_label_differences(truth, second > 0.5, first > 0.5)
    assert set(there) == set(LABEL_METRICS)
    for name, found in there.items():
        assert back[name].difference == -found.difference
        assert [back[name].low, back[name].high] == pytest.approx([-found.high, -found.low])


def test_one_image_or_no_positive_is_no_comparison() -> None:
    truth, scores = np.array([[1, 0]], np.int8), np.array([[0.9, 0.1]])
    found = paired_map_difference(truth, [scores], [1 - scores])
    assert (found.low, found.high, found.reliable) == (-1, 1, False)
    assert not any(
        each.reliable
        for each in paired_label_differences(truth, scores > 0.5, scores < 0.5).values()
    )


@pytest.mark.parametrize(("shared", "sure"), [(0.0, True), (0.99, False)])
def test_differences_are_covered(shared: float, sure: bool) -> None:
    """Two models as good as each other, whose errors are their own, or nearly all the same."""
    random = np.random.default_rng(3)
    truth = (random.random((20_000, 5)) < np.geomspace(0.5, 0.1, 5)).astype(np.int8)
    first, other = ((truth == 1) ^ (random.random(truth.shape) < 0.05) for _ in range(2))
    second = np.where(random.random(truth.shape) < shared, first, other)
    before, after = (label_metrics(truth, each) for each in (first, second))
    names = ("micro_f1", "macro_f1", "hamming_loss", "samples_f1")
    held: dict[str, list[bool]] = {name: [] for name in names}
    reliable = []
    for _ in range(120):
        rows = random.choice(len(truth), 300)
        found = paired_label_differences(truth[rows], first[rows], second[rows])
        for name in names:
            held[name].append(found[name].low <= after[name] - before[name] <= found[name].high)
        reliable.append(found["micro_f1"].reliable)
    assert min(np.mean(hits) for hits in held.values()) >= 0.88
    assert (np.mean(reliable) > 0.8) == sure
