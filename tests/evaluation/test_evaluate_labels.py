"""The JSON object: its keys, what is missing and why, and that the metrics are those of the parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagbox.evaluation.evaluate_labels import evaluate_labels, headline
from tagbox.metrics.multilabel import (
    LABEL_METRICS,
    average_precision,
    label_metrics,
    mean_average_precision,
)
from tagbox.predictions.thresholds import Thresholds

NAMES = ("cat", "dog", "hat", "unicorn")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluate-json.md"


def sample(images: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = (random.random((images, 4)) < [0.5, 0.2, 0.1, 0.0]).astype(np.int8)
    scores = (random.random(truth.shape) * 0.6 + 0.4 * truth).astype(np.float32)
    return truth, scores


def strict(result: dict[str, Any]) -> dict[str, Any]:
    """Through JSON and back; NaN is an error."""
    again: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    assert again == result
    return again


@pytest.mark.parametrize("labels", ["multi", "exclusive"])
def test_the_same_labels_for_all_images_are_a_reason(labels: Any) -> None:
    truth = np.eye(4, dtype=np.int8)[[0, 1, 2, 0, 1, 0]]
    constant = np.tile(np.float32([0.6, 0.2, 0.1, 0.1]), (6, 1))
    result = strict(evaluate_labels(truth, categories=NAMES, probabilities=constant, labels=labels))
    (reason,) = result["reasons"]
    assert reason.startswith("All 6 images get the same labels: cat. ")
    others = truth * np.float32(0.6) + 0.1
    assert (
        evaluate_labels(truth, categories=NAMES, probabilities=others, labels=labels)["reasons"]
        == []
    )


def test_images_that_are_all_alike_may_get_the_same_labels() -> None:
    truth = np.tile(np.int8([1, 0, 0, -1]), (6, 1))
    truth[0, 3] = 1
    found = evaluate_labels(truth, categories=NAMES, decisions=truth[[1] * 6] == 1)
    assert found["reasons"] == []


def test_at_the_thresholds_of_a_model() -> None:
    truth, scores = sample()
    thresholds = Thresholds(value=0.45, per_category=(0.5, 0.4, 0.3, 0.9), use_per_category=True)
    result = strict(
        evaluate_labels(
            truth, categories=NAMES, probabilities=scores, thresholds=thresholds, resamples=50
        )
    )
    saved = label_metrics(truth, thresholds.decide(scores))
    assert {name: result[name] for name in LABEL_METRICS} == saved
    assert result["map"] == mean_average_precision(average_precision(truth, scores))
    assert result["map_skipped"] == result["no_support"] == ["unicorn"]
    for key, mode in (
        ("at_0.5", 0.5),
        ("at_global", "global"),
        ("at_per_category", "per_category"),
    ):
        expected = label_metrics(truth, thresholds.decide(scores, mode))  # type: ignore[arg-type]
        assert {name: result[key][name] for name in LABEL_METRICS} == expected
        assert result[key]["map"] == result["map"]
        assert result[key]["cross_fitted"] is False
    assert "tuning" not in result
    assert result["absent"] == {}
    assert [row["name"] for row in result["per_category"]] == list(NAMES)
    assert result["per_category"][3]["ap"] is None
    assert result["per_category"][0]["threshold"] == 0.5
    assert sum(row["support"] for row in result["per_category"]) == result["positives"]
    assert headline(result)["map"] == result["map"]


def test_probabilities_without_thresholds() -> None:
    truth, scores = sample()
    result = strict(evaluate_labels(truth, categories=NAMES, probabilities=scores, intervals=False))
    assert result["thresholds"]["source"] == "default"
    assert result["thresholds"]["value"] == 0.5
    assert result["challenge_f1"] == result["at_0.5"]["challenge_f1"]
    assert result["at_global"]["cross_fitted"] and result["at_per_category"]["cross_fitted"]
    assert result["tuning"]["objective"] == "micro_f1"
    assert "intervals" not in result


def test_label_sets_say_what_they_cannot() -> None:
    truth, scores = sample()
    result = strict(evaluate_labels(truth, categories=NAMES, decisions=scores > 0.5, resamples=50))
    assert set(result["absent"]) == {
        "map",
        "thresholds",
        "at_0.5",
        "at_global",
        "at_per_category",
    }
    assert not set(result["absent"]) & set(result)
    assert "map" not in result["intervals"]
    assert "ap" not in result["per_category"][0]


def test_a_global_threshold_alone() -> None:
    truth, scores = sample()
    result = evaluate_labels(
        truth, categories=NAMES, probabilities=scores, thresholds=Thresholds(), intervals=False
    )
    assert "at_per_category" not in result
    assert "single categories" in result["absent"]["at_per_category"]


@pytest.mark.parametrize("images", [0, 1, 2])
def test_next_to_nothing(images: int) -> None:
    truth = np.zeros((images, 2), np.int8)
    result = strict(
        evaluate_labels(
            truth, categories=("a", "b"), probabilities=np.full((images, 2), 0.4), resamples=20
        )
    )
    assert result["map"] is None
    assert "no category has a positive" in result["absent"]["map"]
    with pytest.raises(ValueError, match="one of the two"):
        evaluate_labels(truth, categories=("a", "b"))


def test_every_key_is_documented() -> None:
    truth, scores = sample()
    results = [
        evaluate_labels(truth, categories=NAMES, probabilities=scores, resamples=20),
        evaluate_labels(truth, categories=NAMES, decisions=scores > 0.5, resamples=20),
    ]
    documented = set(re.findall(r"`([a-z0-9_.]+)`", DOCUMENT.read_text()))
    for result in results:
        nested = {
            key for name in ("per_category", "confusions") for row in result[name] for key in row
        }
        nested |= set(result["intervals"]["micro_f1"])
        nested |= set(result.get("tuning", {})) | set(result.get("thresholds", {}))
        assert not (set(result) | nested) - documented
