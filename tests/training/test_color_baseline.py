from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from tagbox.config import SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.training.color_baseline import (
    FEATURES,
    STRENGTH,
    colour_baseline,
    colour_features,
    fit_and_score,
)


def test_features_of_two_flat_halves() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = (255, 0, 64)
    features = colour_features(image)
    assert features.shape == (FEATURES,) == (8**3 + 16 * 16 * 3,)
    histogram, thumbnail = features[:512], features[512:].reshape(16, 16, 3)
    assert histogram[0] == 0.5 and histogram[(7 * 8 + 0) * 8 + 2] == 0.5
    assert histogram.sum() == 1
    assert (thumbnail[:, :8] == 0).all()
    assert np.allclose(thumbnail[:, 8:], (1, 0, 64 / 255))


def test_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, val = (rng.normal(size=(n, 30)).astype(np.float32) for n in (150, 60))
    train[:, 3] = val[:, 3] = 7.0  # A column that never changes.
    labels = (train[:, 4:8] + rng.normal(size=(150, 4)) > 0.5).astype(np.int8)
    labels[rng.random((150, 4)) < 0.1] = -1
    got = fit_and_score(train, labels, val)
    train, val = train.astype(np.float64), val.astype(np.float64)
    scaler = StandardScaler().fit(train)
    for column in range(4):
        known = labels[:, column] >= 0
        oracle = LogisticRegression(C=1 / (STRENGTH * known.sum()), tol=1e-10, max_iter=10_000)
        oracle.fit(scaler.transform(train)[known], labels[known, column])
        wanted = oracle.decision_function(scaler.transform(val))
        np.testing.assert_allclose(got[:, column], wanted, atol=2e-4)


def test_scenes_are_not_solved_by_colour(tmp_path: Path) -> None:
    parts = generate(tmp_path / "scenes", SynthConfig(images=120, val=60, width=160, height=120))
    train, val = (load_dataset(parts.parts[part]) for part in ("train", "val"))
    seen: list[int] = []
    score = colour_baseline(train, val, progress=seen.append)
    assert sum(seen) == 180
    assert val.labels.mean() / 2 < score < 0.45


def test_colour_is_found_where_it_is_the_answer(tmp_path: Path) -> None:
    """The baseline is no straw man: it reaches 1 where colour tells the category."""
    rng = np.random.default_rng(1)
    labels = (rng.random((80, 2)) < 0.4).astype(np.int8)
    features = []
    for red, blue in labels:
        image = rng.integers(0, 90, (48, 64, 3)).astype(np.uint8)
        image[5:15, 5:15, 0] += np.uint8(150) * np.uint8(red)
        image[30:40, 40:60, 2] += np.uint8(150) * np.uint8(blue)
        features.append(colour_features(image))
    scores = fit_and_score(np.array(features[:60]), labels[:60], np.array(features[60:]))
    assert average_precision_score(labels[60:], scores) > 0.97


def test_categories_must_agree(tmp_path: Path) -> None:
    done = generate(tmp_path / "scenes", SynthConfig(images=2, width=32, height=32))
    dataset = load_dataset(done.parts["train"])
    from dataclasses import replace

    from tagbox.data.dataset import Categories

    names = tuple(reversed(dataset.categories.names))
    other = replace(dataset, categories=Categories.from_names(names))
    with pytest.raises(ValueError, match="categories"):
        colour_baseline(dataset, other)
