"""The head's logit and the detector's, added: the weights, what they are judged by, and the head they end up in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from nanodet_arrays import drawn_arrays
from tagbox.api.train import train_classifier
from tagbox.config import ClassifierConfig
from tagbox.data import categories as coco80
from tagbox.data.categories import regroup
from tagbox.data.load import load_dataset
from tagbox.models.detectors import scores
from tagbox.models.heads import FeatureScale, create_head, head_logits, restore_head, sigmoid
from tagbox.training import stacking
from tagbox.training.stacking import Stack, coco_names, fit_stack, fit_weights, with_stack

NAMES = ("heron", "Dog", "traffic_light", "person")
RATES = np.array([0.3, 0.2, 0.1, 0.5])


def drawn(images: int = 200, *, seed: int = 0, told: float = 2.0) -> dict[str, np.ndarray]:
    """Labels of which a head's probabilities tell something, and a detector's scores `told`."""
    dice = np.random.default_rng(seed)
    labels = (dice.random((images, 4)) < RATES).astype(np.int8)
    chances = sigmoid(dice.normal(0, 1, labels.shape).astype(np.float32) + 2 * labels - 2)
    found = dice.normal(0, 1, (images, 80)).astype(np.float32)
    for row, column in zip(*coco_names(NAMES), strict=True):
        found[:, column] += told * labels[:, row]
    return {"labels": labels, "probabilities": chances, "scores": found, "rates": RATES}


def test_names_are_matched_but_for_case_and_spaces() -> None:
    rows, columns = coco_names(NAMES)
    assert rows.tolist() == [1, 2, 3]
    assert [coco80.NAMES[column] for column in columns] == ["dog", "traffic light", "person"]
    assert fit_stack(**drawn(), names=("a", "b", "c", "d")) is None


def test_weights_are_those_of_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(3)
    terms = dice.normal(0, 1, (300, 4))
    terms[:, 3] = 1
    present = dice.random(300) < 1 / (1 + np.exp(-terms @ [0.5, 2, -0.3, 1]))
    monkeypatch.setattr(stacking, "PENALTY", 0.0)
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(terms[:, :3], present)
    found = fit_weights(terms, present)
    np.testing.assert_allclose(
        found, [*expected.coef_[0], expected.intercept_[0]], rtol=1e-4, atol=1e-5
    )


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_any_terms_have_finite_weights(seed: int, scale: float) -> None:
    dice = np.random.default_rng(seed)
    terms = dice.normal(0, scale, (5, 4))
    weights = fit_weights(terms, dice.random(5) < 0.5)
    assert np.isfinite(weights).all()


def test_without_evidence_the_head_stays_alone() -> None:
    np.testing.assert_allclose(
        fit_weights(np.zeros((0, 4)), np.zeros(0, bool)), [1, 0, 0, 0], atol=1e-12
    )


def test_scores_that_tell_something_are_kept_and_noise_is_not() -> None:
    good = fit_stack(**drawn(), names=NAMES)
    assert good is not None
    assert good.better
    assert good.weights[1] > 1
    noise = fit_stack(**drawn(40, told=0.0, seed=2), names=NAMES)
    assert noise is not None
    assert not noise.better


def test_no_image_has_a_part_in_its_own_prediction() -> None:
    data = drawn()
    before = fit_stack(**data, names=NAMES)
    data["labels"] = data["labels"].copy()
    data["labels"][7] = 1 - data["labels"][7]
    after = fit_stack(**data, names=NAMES)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.probabilities[7], after.probabilities[7])
    assert not np.array_equal(before.probabilities[8], after.probabilities[8])
    np.testing.assert_array_equal(before.probabilities[:, 0], data["probabilities"][:, 0])


def test_unknown_labels_say_nothing() -> None:
    data = drawn()
    data["labels"][100:, 1] = -1
    unknown = fit_stack(**data, names=NAMES)
    data["probabilities"][100:, 1] = 0.123
    data["scores"][100:, coco80.NAMES.index("dog")] = 9
    other = fit_stack(**data, names=NAMES)
    assert unknown is not None
    assert other is not None
    np.testing.assert_allclose(unknown.weights, other.weights, rtol=1e-9)
    assert unknown.loss == pytest.approx(other.loss)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_head_has_the_logits_of_the_stack(kind: str) -> None:
    dice = np.random.default_rng(1)
    features = dice.normal(0.3, 2, (50, 7 + 80)).astype(np.float32)
    head = create_head(kind, FeatureScale.of(features[:, None]), RATES, hidden=6)
    state = {
        name: dice.normal(0, 0.5, value.shape).astype(np.float32) if "weight" in name else value
        for name, value in ((n, v.numpy()) for n, v in head.state_dict().items())
    }
    stack = fit_stack(**drawn(), names=NAMES)
    assert stack is not None
    stacked = with_stack(state, stack, RATES, 7)
    before, after = head_logits(state, features), head_logits(stacked, features)
    own, detector, rate, constant = stack.weights
    expected = before.copy()
    for row, column in zip(*coco_names(NAMES), strict=True):
        base = np.log(RATES[row] / (1 - RATES[row]))
        expected[:, row] = (
            own * before[:, row] + detector * features[:, 7 + column] + rate * base + constant
        )
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        same = restore_head(stacked)(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(same, after, rtol=1e-4, atol=1e-4)


@pytest.fixture
def drawn_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "load_weights", lambda weights: (drawn_arrays(), coco80.NAMES))
    monkeypatch.setattr(scores, "package_folder", lambda: None)
    # Weights that were drawn tell nothing, and would not be kept.
    monkeypatch.setattr(Stack, "better", property(lambda stack: True))


@pytest.mark.parametrize("folds", [0, 2])
@pytest.mark.usefixtures("drawn_detector")
def test_training_stacks_the_scores_of_cocos_names(
    folds: int, scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    data = load_dataset(scenes / "annotations/instances_train.json")
    first, *others = data.categories.names
    data = regroup(data, {first: "Dog", **{name: f"drawn {name}" for name in others}})
    config = ClassifierConfig(
        backbone="efficientnet_lite0@96+nanodet_g@64",
        folds=folds,
        epochs=2,
        batch_size=16,
        labels="multi",
    )
    run = train_classifier(data, config, name="run", runs=tmp_path)
    (note,) = (n for n in run.metrics["notes"] if "of the detector's" in n)
    assert "1 category called as COCO's" in note
    assert ("mAP of images that they were not fitted on" in note) == (folds == 0)
    rows = [line.split(",") for line in (run.folder / "predictions.csv").read_text().splitlines()]
    column = rows[0].index("Dog")
    saved = {row[0]: float(row[column]) for row in rows[1:]}
    paths = [data.images.path(row) for row in range(len(data))]
    predicted = dict(
        zip(
            (path.stem for path in paths),
            run.classifier.predict(paths).probabilities[:, column - 1].tolist(),
            strict=True,
        )
    )
    apart = max(abs(predicted[stem] - value) for stem, value in saved.items())
    assert (apart < 1e-5) == (folds == 0)
