from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tagbox.reports.classifier_examples import (
    choose_examples,
    image_scores,
    make_example,
)
from tagbox.reports.examples import heat_layer, thumbnail


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


TRUTH = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [-1, -1, -1], [0, 0, 1]], np.int8)
SAID = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1]], bool)


def test_scores_are_each_image_s_f1() -> None:
    assert image_scores(TRUTH, SAID) == pytest.approx([1, 2 / 3, 1, 0, 1, 1])


def test_best_and_worst() -> None:
    probabilities = np.where(SAID, 0.7, 0.2).astype(np.float32)
    probabilities[5, 2] = 0.99
    best, worst = choose_examples(TRUTH, SAID, probabilities)
    # The surer of the right ones first; the empty image and the unknown one are neither.
    assert best.tolist() == [5, 0, 1]
    assert worst.tolist() == [3]


def test_best_and_worst_share_no_image_and_hold_to_the_count() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (50, 4)).astype(np.int8)
    predicted = random.random((50, 4)) < 0.5
    best, worst = choose_examples(truth, predicted, None, 12)
    assert (len(best), len(worst)) == (12, 12)
    assert not set(best.tolist()) & set(worst.tolist())
    scores = image_scores(truth, predicted)
    assert scores[best].min() >= scores[worst].max()


def test_an_image_says_what_was_right_and_what_was_missed() -> None:
    probabilities = np.array([[0.6, 0.3, 0.9]] * 6, np.float32)
    example = make_example(
        np.zeros((4, 5, 3), np.uint8),
        "x.jpg",
        1,
        "worst",
        truth=np.array([[1, 1, 0]] * 6, np.int8),
        decisions=np.array([[1, 0, 1]] * 6, bool),
        probabilities=probabilities,
        categories=["a", "b", "c"],
    )
    assert [(label.name, label.probability, label.outcome) for label in example.labels] == [
        ("c", pytest.approx(0.9), "false positive"),
        ("a", pytest.approx(0.6), "true positive"),
        ("b", pytest.approx(0.3), "missed"),
    ]
    assert example.score == 0.5


@pytest.mark.parametrize(
    ("shape", "size"), [((480, 640), (320, 240)), ((900, 30), (11, 320)), ((1, 1), (1, 1))]
)
def test_thumbnails(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (200, 30, 60), np.uint8)
    uri, width, height = thumbnail(image)
    assert uri.startswith("data:image/jpeg;base64,")
    picture = opened(uri)
    assert picture.size == (width, height) == size
    assert np.abs(np.asarray(picture, int).mean(axis=(0, 1)) - (200, 30, 60)).max() < 8


def test_the_evidence_layer_is_clear_where_there_is_none() -> None:
    heat = np.zeros((6, 8), np.float32)
    heat[1, 6] = 2.0
    layer = np.asarray(opened(heat_layer(heat)).convert("RGBA"))
    assert layer.shape == (36, 48, 4)
    assert layer[9, 39, 3] > 150
    assert layer[30:, :20, 3].max() == 0
    assert np.asarray(opened(heat_layer(-heat)).convert("RGBA"))[..., 3].max() == 0
