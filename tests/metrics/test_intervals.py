"""Intervals: resampling against doing it, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tagbox.metrics.intervals import (
    OVER_CATEGORIES,
    RankedScores,
    allowed_resamples,
    bootstrap,
    group_jackknife,
    intervals,
    jackknife_errors,
    reliable,
    resample_weights,
    thin_categories,
)
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
    left = [
        label_metrics(np.delete(truth, row, axis=0), np.delete(decisions, row, axis=0))
        for row in range(25)
    ]
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
    found = intervals(truth, decisions, scores, resamples=200)
    values = label_metrics(truth, decisions)
    values["map"] = mean_average_precision(average_precision(truth, scores)) or 0
    assert set(found) == {*LABEL_METRICS, "map"}
    for name, interval in found.items():
        assert 0 <= interval["low"] <= values[name] <= interval["high"] <= 1, name
        assert interval["level"] == 0.95
        method = "jackknife" if name in OVER_CATEGORIES else "percentile"
        assert interval["method"] == ("jackknife-bias" if name == "map" else method)
    assert found == intervals(truth, decisions, scores, resamples=200)
    assert "map" not in intervals(truth, decisions, resamples=50)
    wide = intervals(truth, decisions, level=0.99, resamples=200)
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
        rows = random.choice(len(truth), 200)
        found = intervals(truth[rows], decisions[rows], scores[rows], resamples=120, seed=draw)
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
    assert all(reliable(name, 100, enough) for name in ("map", "challenge_f1", "micro_f1"))
    assert not any(reliable(name, 99, enough) for name in ("map", "challenge_f1", "micro_f1"))
    assert not reliable("challenge_f1", 500, thin)
    assert not reliable("cf1", 500, none)
    assert reliable("map", 500, thin)
    assert not reliable("map", 500, np.append(np.full(8, 10), [3, 3]))
    assert reliable("hamming_loss", 500, np.zeros(3, int))
    assert thin_categories(np.array([0, 1, 9, 10])).tolist() == [1, 2]


def test_few_or_no_images() -> None:
    one = np.ones((1, 2), np.int8)
    assert intervals(one, one.astype(bool)) == {}
    assert group_jackknife(lambda weights: {}, np.ones(1, bool), seed=0) is None
    # All positives in one image: leaving it out leaves no mAP.
    alone = np.array([[1], [0], [0]], np.int8)
    assert "map" not in intervals(alone, alone.astype(bool), alone.astype(float), resamples=50)


def test_large_tables_get_fewer_resamples() -> None:
    assert allowed_resamples((300, 80), 1000) == 1000
    assert allowed_resamples((40_000, 80), 1000) == 200
    assert allowed_resamples((40_000, 80), 50) == 50
    assert len(bootstrap(*[np.zeros((3, 1), t) for t in (np.int8, bool)], resamples=7)["of1"]) == 7
