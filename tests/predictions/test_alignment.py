"""Predictions aligned with the truth: by name, path, stem and id, and every way that can go wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from label_data import dataset
from tagbox.data.categories import NAMES
from tagbox.errors import TagboxError
from tagbox.predictions.alignment import align, index_names, restrict
from tagbox.predictions.predictions import Predictions

FILES = ("a/000000000139.jpg", "a/000000000285.png", "b/frame_7.jpg")
TRUTH = dataset(FILES, [[0], [1, 2], []], ids=(139, 285, 7))


def outputs(
    images: Sequence[str],
    categories: Sequence[str] = ("cat", "dog", "hat"),
    table: np.ndarray | None = None,
) -> Predictions:
    if table is None:
        table = np.arange(len(images) * len(categories)).reshape(len(images), -1) / 100
    return Predictions(
        images=tuple(images),
        categories=tuple(categories),
        probabilities=table.astype(np.float32),
        source="predictions.csv",
    )


@pytest.mark.parametrize(
    "keys",
    [
        FILES,
        ("000000000139", "000000000285", "frame_7"),
        ("139", "285", "7"),
        ("0139", "285.png", "elsewhere/frame_7.jpeg"),
        ("x\\y\\139.jpg", "000000000285", "7"),
    ],
)
def test_images_by_path_stem_or_id_in_any_order(keys: Sequence[str]) -> None:
    for order in ([0, 1, 2], [2, 0, 1]):
        table = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])[order]
        aligned = align(outputs([keys[i] for i in order], table=table), TRUTH)
        assert aligned.probabilities is not None
        assert aligned.probabilities[:, 0].tolist() == pytest.approx([0.1, 0.4, 0.7])
        assert aligned.truth.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
        assert (aligned.missing, aligned.extra) == ((), ())


def test_categories_by_name() -> None:
    table = np.array([[0.3, 0.1, 0.2]] * 3)
    aligned = align(outputs(FILES, ("hat", "cat", "dog"), table), TRUTH)
    assert aligned.probabilities is not None
    assert aligned.probabilities[0].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_label_sets_stay_label_sets() -> None:
    decisions = np.array([[True, False, False]] * 3)
    predictions = Predictions(images=FILES, categories=("cat", "dog", "hat"), decisions=decisions)
    aligned = align(predictions, TRUTH)
    assert aligned.probabilities is None
    assert aligned.decisions is not None and aligned.decisions.dtype == bool


def test_a_path_settles_what_a_stem_leaves_open() -> None:
    twins = dataset(("cats/1.jpg", "dogs/1.jpg"), [[0], [1]])
    aligned = align(outputs(("dogs/1.jpg", "cats/1.jpg")), twins)
    assert aligned.probabilities is not None
    assert aligned.probabilities[1, 0] == 0.0
    with pytest.raises(TagboxError) as caught:
        align(outputs(("1",)), twins)
    assert caught.value.code == "ambiguous-image"
    assert "'cats/1.jpg'" in str(caught.value)


def test_an_exact_stem_comes_before_an_equal_number() -> None:
    both = dataset(("7.jpg", "007.jpg"), [[0], [1]])
    aligned = align(outputs(("007", "7")), both)
    assert aligned.probabilities is not None
    assert aligned.probabilities[0, 0] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("images", "categories", "code", "words"),
    [
        (FILES[:2], "cat dog hat", "missing-prediction", "1 of 3 images, the first is 'frame_7'"),
        ((*FILES, "9"), "cat dog hat", "unknown-image", "1 of 4 predicted images is not in"),
        ((*FILES, "x", "y"), "cat dog hat", "unknown-image", "2 of 5 predicted images are not"),
        ((*FILES, "139"), "cat dog hat", "duplicate-image", "'139' are the same image"),
        (FILES, "cat dog hats", "unknown-category", "did you mean 'hat'"),
        (FILES, "cat dog", "missing-category", "category 'hat'"),
        (FILES, "cat", "missing-category", "categories 'dog', 'hat'"),
    ],
)
def test_what_does_not_match_is_named(
    images: Sequence[str], categories: str, code: str, words: str
) -> None:
    with pytest.raises(TagboxError) as caught:
        align(outputs(images, categories.split()), TRUTH)
    assert caught.value.code == code
    assert caught.value.file == "predictions.csv"
    assert words in str(caught.value)


def test_missing_as_empty_and_extra_ignored() -> None:
    aligned = align(
        outputs(("285", "nowhere"), ("cat", "dog", "hat", "boat")),
        TRUTH,
        missing="empty",
        extra="ignore",
    )
    assert aligned.missing == ("000000000139", "frame_7")
    assert aligned.extra == ("boat", "nowhere")
    assert aligned.probabilities is not None
    assert aligned.probabilities.sum(axis=1).tolist() == pytest.approx([0, 0.03, 0])
    nothing = align(outputs((), table=np.zeros((0, 3))), TRUTH, missing="empty")
    assert nothing.probabilities is not None and not nothing.probabilities.any()


def test_unlabelled_images_need_no_prediction_and_may_have_one() -> None:
    part = dataset(FILES, [[0], [], []], labelled=(True, False, True))
    aligned = align(outputs(FILES[:1] + FILES[2:]), part)
    assert aligned.rows.tolist() == [0, 2]
    assert align(outputs(FILES), part).extra == ()
    with pytest.raises(TagboxError) as caught:
        align(outputs(FILES), dataset(FILES, [[], [], []], labelled=(False,) * 3))
    assert caught.value.code == "nothing-labelled"


def test_index_names() -> None:
    assert index_names(TRUTH) == ("cat", "dog", "hat")
    some = dataset(FILES, [[], [], []], categories=("dog", "person"))
    assert index_names(some) == tuple(NAMES)


def test_restrict() -> None:
    kept = restrict(outputs(FILES, ("cat", "boat", "dog")), ("dog", "cat"))
    assert kept.categories == ("cat", "dog")
    assert kept.table.shape == (3, 2)
