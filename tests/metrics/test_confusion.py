"""The multi-label confusion picture, by hand and against its definition."""

from __future__ import annotations

import numpy as np

from tagbox.metrics.multilabel import missed_and_predicted, top_confusions

TRUTH = np.array([[1, 0, 0], [1, 0, 0], [0, 1, -1], [1, 1, 0]], np.int8)
SAID = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]], bool)


def test_by_hand() -> None:
    assert missed_and_predicted(TRUTH, SAID).tolist() == [[0, 2, 1], [0, 0, 0], [0, 0, 0]]


def test_equals_counting_images_one_by_one() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(-1, 2, (50, 6)).astype(np.int8)
    predicted = random.random(truth.shape) < 0.4
    expected = np.zeros((6, 6), int)
    for labels, decided in zip(truth, predicted, strict=True):
        for c in range(6):
            for d in range(6):
                missed = labels[c] == 1 and not decided[c]
                expected[c, d] += missed and labels[d] == 0 and decided[d]
    assert missed_and_predicted(truth, predicted).tolist() == expected.tolist()


def test_top_pairs_are_those_beyond_chance() -> None:
    # "a" is missed everywhere and "b" is predicted everywhere: that is no confusion. "d" for "c" does.
    truth = np.tile(np.array([[1, 0, 0, 0]], np.int8), (20, 1))
    predicted = np.tile(np.array([[False, True, False, False]]), (20, 1))
    truth[:4, 2], predicted[:4, 3] = 1, True
    pairs = top_confusions(truth, predicted, list("abcd"))
    assert (pairs[0]["missed"], pairs[0]["said"], pairs[0]["images"]) == ("c", "d", 4)
    assert pairs[0]["share"] == 1.0
    assert all((pair["missed"], pair["said"]) != ("a", "b") for pair in pairs)
    assert top_confusions(truth, truth == 1, list("abcd")) == []
