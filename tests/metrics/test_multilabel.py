"""Metrics of label sets against scikit-learn, the official challenge scores and hand-worked cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import hamming_loss, precision_recall_fscore_support

from tagbox.metrics.multilabel import LABEL_METRICS, count_labels, label_metrics, resampled_metrics


@st.composite
def label_tables(draw: st.DrawFn, unknown: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    images, categories = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rates = random.random(categories) * draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    truth = (random.random((images, categories)) < rates).astype(np.int8)
    decisions = random.random((images, categories)) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    truth[random.random(truth.shape) < unknown] = -1
    return truth, decisions


@settings(deadline=None, max_examples=60)
@given(label_tables())
def test_equals_scikit_learn(table: tuple[np.ndarray, np.ndarray]) -> None:
    truth, decisions = table
    found = label_metrics(truth, decisions)
    supported = np.flatnonzero(truth.any(axis=0))
    for average, labels in (
        ("micro", None),
        ("samples", None),
        ("macro", supported),
        ("weighted", supported),
    ):
        if labels is not None and not len(labels):
            continue
        theirs = precision_recall_fscore_support(
            truth, decisions, average=average, labels=labels, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert found[f"{average}_{name}"] == pytest.approx(value, abs=1e-12), (average, name)
    assert found["hamming_loss"] == pytest.approx(hamming_loss(truth, decisions), abs=1e-12)
    assert found["subset_accuracy"] == pytest.approx((truth == decisions).all(axis=1).mean())
    assert (found["of1"], found["op"], found["or"]) == (
        found["micro_f1"],
        found["micro_precision"],
        found["micro_recall"],
    )


def challenge_by_loop(truth: np.ndarray, decisions: np.ndarray) -> tuple[float, float, float]:
    """The challenge's definition, a category at a time."""
    weights, precisions, recalls = [], [], []
    for predicted, there in zip(decisions.T, truth.T, strict=True):
        known = there >= 0
        tp = int((predicted & (there == 1)).sum())
        support = int((there == 1).sum())
        if support:
            weights.append(1 / support)
            precisions.append(tp / int((predicted & known).sum()) if tp else 0.0)
            recalls.append(tp / support)
    if not weights:
        return 0.0, 0.0, 0.0
    share = np.array(weights) / sum(weights)
    p, r = float(share @ precisions), float(share @ recalls)
    return (2 * p * r / (p + r) if p + r else 0.0), p, r


@settings(deadline=None, max_examples=100)
@given(label_tables(unknown=0.15))
def test_challenge_figures_equal_their_definition(table: tuple[np.ndarray, np.ndarray]) -> None:
    truth, decisions = table
    found = label_metrics(truth, decisions)
    names = ("challenge_f1", "challenge_precision", "challenge_recall")
    assert [found[name] for name in names] == pytest.approx(challenge_by_loop(truth, decisions))
    assert found["challenge_accuracy"] == found["micro_recall"]
    assert all(np.isfinite(value) for value in found.values())


def test_official_challenge_scores(shared_data: Path) -> None:
    folder = shared_data / "challenge"
    labels = json.loads((folder / "test_labels.json").read_text())
    published = json.loads((folder / "published_scores.json").read_text())
    keys = sorted(labels)

    def table(sets: dict[str, list[int]]) -> np.ndarray:
        rows = np.zeros((len(keys), 80), bool)
        for row, key in enumerate(keys):
            rows[row, sets[key]] = True
        return rows

    truth = table(labels).astype(np.int8)
    assert len(published) == 3
    for name, scores in published.items():
        submission = json.loads((folder / "submissions" / f"{name}.json").read_text())
        found = label_metrics(truth, table(submission))
        assert {key: round(found[f"challenge_{key}"], 4) for key in scores} == scores


def test_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], np.int8)
    decisions = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    found = label_metrics(truth, decisions)
    # Category 0: P 1, R 1/2, n 4; category 1: P 1/2, R 1, n 1; category 2: no support.
    assert found["cp"] == found["macro_precision"] == 0.75
    assert found["cr"] == 0.75
    assert found["cf1"] == 0.75
    assert found["macro_f1"] == pytest.approx(2 / 3)
    # Weights 1/4 and 1, normalised to 0.2 and 0.8.
    assert found["challenge_precision"] == pytest.approx(0.2 * 1 + 0.8 * 0.5)
    assert found["challenge_recall"] == pytest.approx(0.2 * 0.5 + 0.8 * 1)
    assert found["micro_precision"] == 3 / 5
    assert found["hamming_loss"] == 4 / 12
    assert found["subset_accuracy"] == 0.0


def test_unknown_entries_count_nowhere() -> None:
    truth = np.array([[1, -1], [0, -1], [-1, -1]], np.int8)
    for unknown in (False, True):
        decisions = np.array([[True, unknown], [False, unknown], [unknown, unknown]])
        found = label_metrics(truth, decisions)
        assert found["micro_f1"] == found["subset_accuracy"] == found["challenge_f1"] == 1.0
        assert found["hamming_loss"] == 0.0
        assert (
            found["samples_f1"] == 0.5
        )  # The third image is not scored, the second has no predicted label.


def test_nothing_said_and_nothing_there() -> None:
    nothing = np.zeros((3, 2), np.int8)
    found = label_metrics(nothing, nothing.astype(bool))
    assert found["subset_accuracy"] == 1.0
    assert sum(found.values()) == 1.0
    empty = label_metrics(np.zeros((0, 2), np.int8), np.zeros((0, 2), bool))
    assert set(empty) == set(LABEL_METRICS)
    assert sum(empty.values()) == 0.0


@settings(deadline=None, max_examples=60)
@given(label_tables(unknown=0.1), st.integers(0, 1000))
def test_weights_are_repeated_images(table: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    truth, decisions = table
    rows = np.random.default_rng(seed).integers(0, len(truth), len(truth))
    weights = np.bincount(rows, minlength=len(truth)).astype(float)[None]
    weighted = resampled_metrics(truth, decisions, weights)
    repeated = label_metrics(truth[rows], decisions[rows])
    assert {n: float(v[0]) for n, v in weighted.items()} == pytest.approx(repeated, abs=1e-9)


def test_counts_and_refusals() -> None:
    truth = np.array([[1, 0], [-1, 1]], np.int8)
    counts = count_labels(truth, np.array([[True, True], [True, False]]))
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == ([1, 0], [0, 1], [0, 1])
    assert counts.known == 3
    with pytest.raises(ValueError, match="not bool"):
        label_metrics(truth, truth)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="N, K"):
        label_metrics(truth, np.zeros((2, 3), bool))
