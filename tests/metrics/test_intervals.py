"""Intervals: resampling against doing it, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tagbox.metrics.intervals import (
    LEVERAGE,
    RankedScores,
    allowed_resamples,
    interval,
    intervals,
    resample_weights,
    thin_categories,
    unreliable,
    wilson,
)
from tagbox.metrics.jackknife import group_jackknife, jackknife_errors, largest_moves
from tagbox.metrics.multilabel import (
    LABEL_METRICS,
    average_precision,
    label_metrics,
    mean_average_precision,
)


def sample(images: int, categories: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (random.random((images, categories)) < np.linspace(0.1, 0.5, categories)).astype(
        np.int8
    )
    scores = np.round(random.random(truth.shape) * 0.6 + 0.3 * truth, 2).astype(np.float32)
    return truth, scores


def test_weights_are_resamples_and_seeded() -> None:
    weights = np.concatenate(list(resample_weights(40, 300, seed=1, chunk=128)))
    assert weights.shape == (300, 40)
    assert (weights.sum(axis=1) == 40).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.25)
    assert np.array_equal(weights, np.concatenate(list(resample_weights(40, 300, 1, chunk=128))))
    assert not np.array_equal(weights[:128], next(resample_weights(40, 300, 2, chunk=128)))


def test_weighted_map_equals_the_map_of_repeated_images() -> None:
    truth, scores = sample(40, 4)
    truth[::7, 1] = -1
    weights = next(resample_weights(40, 20, seed=3))
    found = RankedScores(truth, scores).mean_average_precision(weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        rows = np.repeat(np.arange(40), row)
        repeated = mean_average_precision(average_precision(truth[rows], scores[rows]))
        assert value == pytest.approx(repeated, abs=1e-6)
    ones = np.ones((1, 40), np.float32)
    assert RankedScores(truth, scores).mean_average_precision(ones)[0] == pytest.approx(
        mean_average_precision(average_precision(truth, scores)), abs=1e-6
    )


def test_map_with_sample_weights_equals_scikit_learn() -> None:
    truth, scores = sample(60, 1, seed=5)
    weights = np.random.default_rng(0).random((3, 60)).astype(np.float32)
    found = RankedScores(truth, scores).mean_average_precision(weights)
    for row, value in zip(weights, found, strict=True):
        theirs = average_precision_score(truth[:, 0], scores[:, 0], sample_weight=row)
        assert value == pytest.approx(theirs, abs=1e-5)


def test_jackknife_equals_leaving_images_out() -> None:
    truth, scores = sample(25, 4)
    decisions = scores > 0.5
    truth[::6, 2] = -1
    left = [
        label_metrics(np.delete(truth, row, axis=0), np.delete(decisions, row, axis=0))
        for row in range(25)
    ]
    assert set(jackknife_errors(truth, decisions)) == set(LABEL_METRICS)
    for name, error in jackknife_errors(truth, decisions).items():
        values = np.array([metrics[name] for metrics in left])
        assert error == pytest.approx(np.sqrt(24 * values.var()), abs=1e-9)
    ranked = RankedScores(truth, scores)
    found = group_jackknife(
        lambda weights: {"map": ranked.mean_average_precision(weights)}, np.ones(25, bool), seed=0
    )
    assert found is not None
    value, error, bias = found["map"]
    maps = [
        mean_average_precision(
            average_precision(np.delete(truth, row, axis=0), np.delete(scores, row, axis=0))
        )
        for row in range(25)
    ]
    assert value == pytest.approx(
        mean_average_precision(average_precision(truth, scores)), abs=1e-6
    )
    assert error == pytest.approx(np.sqrt(24 * np.var(maps)), abs=1e-4)
    assert bias == pytest.approx(24 * (np.mean(maps) - value), abs=1e-4)


def test_every_metric_has_an_interval_around_its_value() -> None:
    truth, scores = sample(200, 5)
    decisions = scores > 0.5
    found = intervals(truth, decisions, scores)
    values = label_metrics(truth, decisions)
    values["map"] = mean_average_precision(average_precision(truth, scores)) or 0
    assert set(found) == {*LABEL_METRICS, "map"}
    for name, row in found.items():
        assert 0 <= row["low"] <= values[name] <= row["high"] <= 1, name
        assert row["level"] == 0.95
        assert row["method"] == ("jackknife-bias" if name == "map" else "jackknife")
    assert found == intervals(truth, decisions, scores)
    assert "map" not in intervals(truth, decisions)
    wide = intervals(truth, decisions, level=0.99)
    assert wide["macro_f1"]["high"] > found["macro_f1"]["high"]


@pytest.mark.parametrize("metric", ["map", "challenge_f1", "macro_f1", "micro_f1"])
def test_coverage_where_the_interval_is_called_reliable(metric: str) -> None:
    truth, scores = sample(20_000, 4, seed=1)
    decisions = scores > 0.5
    value = label_metrics(truth, decisions)
    value["map"] = mean_average_precision(average_precision(truth, scores)) or 0
    random = np.random.default_rng(2)
    covered = []
    for draw in range(120):
        rows = random.choice(len(truth), 600)
        found = intervals(truth[rows], decisions[rows], scores[rows], seed=draw)
        assert found[metric]["reliable"]
        covered.append(found[metric]["low"] <= value[metric] <= found[metric]["high"])
    # 0.92-0.98, give or take two standard errors of 120 draws.
    assert 0.88 <= np.mean(covered) <= 1.0


def test_reliability_goes_by_support() -> None:
    enough, thin, none = (
        np.full(20, 10),
        np.append(np.full(19, 10), 3),
        np.append(np.full(19, 10), 0),
    )

    def reliable(name: str, images: int, support: np.ndarray) -> bool:
        return not unreliable(name, images, support, error=0.02, move=0.001)

    assert all(reliable(name, 100, enough) for name in ("map", "challenge_f1", "micro_f1"))
    assert not any(reliable(name, 99, enough) for name in ("map", "challenge_f1", "micro_f1"))
    assert not reliable("challenge_f1", 500, thin)
    assert not reliable("cf1", 500, none)
    assert reliable("map", 500, thin)
    assert not reliable("map", 500, np.append(np.full(8, 10), [3, 3]))
    assert reliable("hamming_loss", 500, np.zeros(3, int))
    assert thin_categories(np.array([0, 1, 9, 10])).tolist() == [1, 2]


def test_reliability_goes_by_errors() -> None:
    support = np.full(3, 50)
    assert "one more could move it" in unreliable("map", 500, support, 0.01, 1.01 * LEVERAGE * 0.01)
    assert not unreliable("map", 500, support, 0.01, 0.99 * LEVERAGE * 0.01)
    assert "spread is unknown" in unreliable("micro_f1", 500, support, 0.0, 0.1)
    # 1,000 labels of 200 images, of which 10 wrong, then 14, each in an image of its own: 1/√10 > 0.3 > 1/√14.
    truth = np.ones((200, 5), np.int8)
    for wrong, sure in ((0, False), (1, False), (10, False), (14, True)):
        decisions = truth == 1
        decisions[range(wrong), 0] = False
        found = intervals(truth, decisions)
        for name in ("micro_recall", "micro_f1", "hamming_loss", "subset_accuracy"):
            assert found[name]["reliable"] is sure, (name, wrong)


def test_nothing_wrong_is_no_point() -> None:
    truth, _ = sample(100, 5)
    found = intervals(truth, truth == 1, truth.astype(float))
    for name, ends in found.items():
        if not name.startswith("samples"):  # A mean over images, some of which have no label.
            right = 0.0 if name == "hamming_loss" else 1.0
            assert right in (ends["low"], ends["high"])
            assert ends["high"] - ends["low"] > 0.002, name
            assert not ends["reliable"], name
    # As wide as if one of 5 × 100 decisions could be wrong.
    assert found["hamming_loss"]["high"] == pytest.approx(wilson(1.0, 501)[0] * -1 + 1)


def test_an_interval_is_wilsons_with_the_metrics_own_error() -> None:
    # A proportion: 30 of 400. Its jackknife error is √(p(1-p)/399).
    share = 30 / 400
    error = np.sqrt(share * (1 - share) / 400)
    assert interval(share, float(error), 0.0) == pytest.approx(wilson(share, 400))
    # Half the error is as many as four times the trials.
    assert interval(share, float(error / 2), 0.0) == pytest.approx(wilson(share, 1600))
    low, high = interval(share, float(error), 0.0, bias=0.01)
    assert (low, high) == pytest.approx((wilson(share, 400)[0] - 0.01, wilson(share, 400)[1]))
    assert interval(0.001, 0.01, 0.0, bias=0.5)[0] == 0.0
    assert interval(1.0, 0.0, 1 / 100) == pytest.approx(wilson(1.0, 100))


def test_moves_equal_adding_an_image() -> None:
    truth, scores = sample(60, 3)
    decisions = scores > 0.5
    found = largest_moves(truth, decisions)
    before = label_metrics(truth, decisions)
    # One more image whose labels are unknown but one: a miss, a false alarm or a hit.
    largest = dict.fromkeys(found, 0.0)
    for category in range(3):
        for present, said in ((1, False), (0, True), (1, True)):
            row, decision = np.full((1, 3), -1, np.int8), np.zeros((1, 3), bool)
            row[0, category], decision[0, category] = present, said
            after = label_metrics(np.vstack([truth, row]), np.vstack([decisions, decision]))
            for name in found:
                largest[name] = max(largest[name], abs(after[name] - before[name]))
    assert found == pytest.approx(largest, abs=1e-12)


@pytest.mark.parametrize(("wrong", "images"), [(0.002, 100), (0.002, 1000), (0.03, 300)])
def test_few_errors_are_covered_and_not_called_reliable_too_soon(wrong: float, images: int) -> None:
    random = np.random.default_rng(3)
    truth = (random.random((20_000, 5)) < np.geomspace(0.5, 0.1, 5)).astype(np.int8)
    decisions = (truth == 1) ^ (random.random(truth.shape) < wrong)
    value = label_metrics(truth, decisions)
    held: dict[str, list[bool]] = {}
    sure: dict[str, list[bool]] = {}
    for _ in range(150):
        rows = random.choice(len(truth), images)
        found = intervals(truth[rows], decisions[rows])
        for name in ("micro_f1", "macro_f1", "challenge_recall", "hamming_loss"):
            ends = found[name]
            held.setdefault(name, []).append(ends["low"] <= value[name] <= ends["high"])
            sure.setdefault(name, []).append(ends["reliable"])
    for name, hits in held.items():
        # Percentiles and the plain jackknife held 23 to 86 of 100 here where less than one in 100 is wrong.
        assert np.mean(hits) >= 0.9, name
        if wrong * images * 5 < 2:
            assert not any(sure[name]), name
        elif np.mean(sure[name]) > 0.5:
            assert np.mean(np.array(hits)[sure[name]]) >= 0.88, name


def test_few_or_no_images() -> None:
    one = np.ones((1, 2), np.int8)
    assert intervals(one, one.astype(bool)) == {}
    assert group_jackknife(lambda weights: {}, np.ones(1, bool), seed=0) is None
    # All positives in one image: leaving it out leaves no mAP.
    alone = np.array([[1], [0], [0]], np.int8)
    assert "map" not in intervals(alone, alone.astype(bool), alone.astype(float))


def test_large_tables_get_fewer_resamples() -> None:
    assert allowed_resamples((300, 80), 1000) == 1000
    assert allowed_resamples((40_000, 80), 1000) == 200
    assert allowed_resamples((40_000, 80), 50) == 50
