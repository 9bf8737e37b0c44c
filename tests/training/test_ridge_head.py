"""The head `ridge`: an ordinary linear head in the run, out-of-fold predictions, and no epochs anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from history_rows import history_rows
from label_data import dataset
from tagbox.api.evaluate import evaluate
from tagbox.api.run import open_run
from tagbox.api.train import train_classifier
from tagbox.api.tune import tune_classifier
from tagbox.config import AugmentConfig, ClassifierConfig, FinetuneConfig
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError
from tagbox.metrics.multilabel import average_precision, mean_average_precision
from tagbox.models.heads import activate, head_logits
from tagbox.predictions.files import read_predictions
from tagbox.training.distributed import Runtime
from tagbox.training.frozen import Encoded
from tagbox.training.resolve_config import head_sentence, resolve
from tagbox.training.ridge import RidgeFit
from tagbox.training.ridge_head import fit_ridge_head
from tagbox.training.train_val import TrainVal

CONFIG = ClassifierConfig(head="ridge", labels="multi", best_by="map")
RIDGE = ClassifierConfig(head="ridge", backbone="efficientnet_lite0@96")


def encoded(fold_of: np.ndarray | None, exclusive: bool = False) -> Encoded:
    """40 images of 3 categories, of which noisy features tell."""
    rng = np.random.default_rng(2)
    present = rng.random((40, 3)) < 0.4
    if exclusive:
        present = np.eye(3, dtype=bool)[np.arange(40) % 3]
    features = rng.normal(size=(40, 1, 10)).astype(np.float32)
    features[:, :, :3] += 1.5 * present[:, None]
    data = dataset([f"{n}.png" for n in range(40)], [np.flatnonzero(row) for row in present])
    rows = np.arange(40)
    return Encoded(
        encoders=(),
        train_features=features,
        train=data,
        train_rows=rows,
        validation_features=features,
        validation=data,
        validation_rows=rows,
        unreadable=[],
        fold_of=fold_of,
    )


def logits_of(head: Any, images: Encoded) -> np.ndarray:
    arrays = {name: value.numpy() for name, value in head.state_dict().items()}
    return head_logits(arrays, images.validation_features[:, 0])


def test_out_of_fold_probabilities_are_calibrated_regressions_on_the_other_folds() -> None:
    folds = np.arange(40) % 4
    images = encoded(folds)
    seen = []
    head, state, probabilities = fit_ridge_head(
        images, CONFIG, Runtime("cpu"), on_epoch=lambda row, _: seen.append(row)
    )
    fit = RidgeFit.of(images.train_features[:, 0], images.train.labels)
    x = (fit.features - fit.scale.mean) * fit.scale.scale
    ridge = Ridge(alpha=fit.penalty)
    outputs = cross_val_predict(
        ridge, x, fit.labels.astype(float), cv=LeaveOneGroupOut(), groups=folds
    )
    outputs -= [fit.labels[folds != fold].mean(axis=0) for fold in folds]
    final = logits_of(head, images)
    fitted = ridge.fit(x, fit.labels).predict(x) - ridge.intercept_
    assert probabilities is not None
    held = np.log(probabilities) - np.log1p(-probabilities)
    for k in range(3):
        # The saved head is the same line of the regression on all images.
        line = np.polyfit(outputs[:, k], held[:, k], 1)
        assert held[:, k] == pytest.approx(np.polyval(line, outputs[:, k]), abs=1e-4)
        assert final[:, k] == pytest.approx(np.polyval(line, fitted[:, k]), abs=1e-4)
        assert line[0] > 0
    assert state.history == seen and len(seen) == 1 and state.best_epoch == 1
    ap = average_precision(images.train.labels, probabilities)
    assert seen[0]["val_map"] == pytest.approx(mean_average_precision(ap))
    assert seen[0]["penalty"] == fit.share and not any(n.startswith("train") for n in seen[0])


def test_given_validation_images_are_predicted_by_the_saved_head() -> None:
    images = encoded(None)
    head, state, out_of_fold = fit_ridge_head(images, CONFIG, Runtime("cpu"))
    table = activate(logits_of(head, images), "multi")
    truth = images.validation.labels
    assert out_of_fold is None
    assert state.history[0]["val_map"] == mean_average_precision(average_precision(truth, table))
    loss = -np.where(truth == 1, np.log(table), np.log1p(-table)).mean()
    assert state.history[0]["val_loss"] == pytest.approx(loss, abs=1e-5)


def test_copies_of_an_image_calibrate_together() -> None:
    """Each image twice is the same regression with twice the penalty, not one that has seen what it predicts."""
    images = encoded(None)
    twice = np.repeat(np.arange(40), 2)
    doubled = replace(
        images, train_features=images.train_features[twice], train=images.train.take(twice)
    )
    fits = [fit_ridge_head(each, CONFIG, Runtime("cpu")) for each in (images, doubled)]
    spread = [logits_of(head, images).std() for head, *_ in fits]
    assert spread[1] == pytest.approx(spread[0], rel=0.35)


def test_exclusive_labels_have_a_softmax() -> None:
    images = encoded(np.arange(40) % 5, exclusive=True)
    config = replace(CONFIG, labels="exclusive")
    head, state, probabilities = fit_ridge_head(images, config, Runtime("cpu"))
    assert probabilities is not None
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    accuracy = np.mean(probabilities.argmax(axis=1) == images.train.labels.argmax(axis=1))
    assert state.history[0]["val_accuracy"] == accuracy > 0.5
    final = activate(logits_of(head, images), "exclusive")
    assert np.mean(final.argmax(axis=1) == images.train.labels.argmax(axis=1)) >= accuracy


def test_a_run_in_folds(scenes: Path, tmp_path: Path) -> None:
    data = scenes / "annotations/instances_train.json"
    run = train_classifier(data, RIDGE, name="a", runs=tmp_path)
    assert run.metrics["images"] == {"train": 60, "validation": 60}
    assert "regression on the other folds" in run.metrics["notes"][0]
    content = yaml.safe_load((run.folder / "config.yaml").read_text())["classifier"]
    assert (content["head"], content["mirror"], content["folds"]) == ("ridge", False, 5)
    assert ClassifierConfig.from_dict(content).head == "ridge"
    (row,) = history_rows(run.folder / "history.csv")
    assert row["val_map"] == pytest.approx(run.metrics["validation"]["map"])
    page = run.report.read_text(encoding="utf-8")
    assert "regression on the other folds" in page and "Training history" not in page
    whole = load_dataset(data)
    saved = read_predictions(run.folder / "predictions.csv", ())
    assert len(saved.images) == 60
    again = open_run(run.folder)
    assert again.classifier.bundle.head_kind == "linear" and len(again.history) == 1
    seen = again.classifier.predict([whole.images.path(n) for n in range(60)]).probabilities
    assert mean_average_precision(average_precision(whole.labels, seen)) > row["val_map"]
    resumed = train_classifier(data, RIDGE, name="a", runs=tmp_path, resume=True)
    assert resumed.metrics == run.metrics


@pytest.mark.parametrize("held_out", ["val", "folds 0"])
def test_a_run_with_validation_images(scenes: Path, tmp_path: Path, held_out: str) -> None:
    val = scenes / "annotations/instances_val.json"
    config = replace(RIDGE, folds=0) if held_out == "folds 0" else replace(RIDGE, val=val)
    data = scenes / "annotations/instances_train.json"
    run = train_classifier(data, config, name="a", runs=tmp_path)
    if held_out == "val":
        result = evaluate(run.folder, val)
        assert result["map"] == pytest.approx(run.metrics["validation"]["map"], abs=1e-6)
    assert "notes" not in run.metrics and run.metrics["validation"]["map"] > 0.3


def test_a_search_may_choose_it(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    data = scenes / "annotations/instances_train.json"
    study = tune_classifier(
        data,
        replace(RIDGE, head="linear", val=scenes / "annotations/instances_val.json"),
        name="s",
        search={"head": {"choices": ["ridge"]}},
        trials=1,
        studies=tmp_path,
    )
    assert study.result["trials"]["complete"] == 1 and study.best.head == "ridge"
    assert study.result["best"]["epochs"] == 1


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"loss": "focal"}, "loss"),
        ({"loss": "asymmetric"}, "loss"),
        ({"epochs": 5}, "epochs"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"teacher": Path("run")}, "teacher"),
        ({"dropout": 0.5}, "dropout"),
        ({"finetune": FinetuneConfig(unfreeze="1")}, "finetune.unfreeze"),
        ({"augment": AugmentConfig(mixup=0.2)}, "augment"),
    ],
)
def test_settings_of_a_training_in_epochs_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(TagboxError, match="closed form") as caught:
        ClassifierConfig(head="ridge", **settings)
    assert (caught.value.code, caught.value.where) == ("config-value", field)


@pytest.mark.parametrize(
    ("images", "settings", "head", "why"),
    [
        (99, {}, "linear", "99 training images; ridge is better from 100 to 5,000"),
        (100, {}, "ridge", "100 training images"),
        (5000, {}, "ridge", "5,000 training images"),
        (5001, {}, "linear", "5,001 training images"),
        (100, {"epochs": 5}, "linear", "epochs is set"),
        (100, {"finetune": FinetuneConfig(unfreeze="1")}, "linear", "finetune.unfreeze is set"),
        (100, {"labels": "exclusive"}, "linear", "every picture has one category"),
    ],
)
def test_auto_is_ridge_where_it_was_measured_better(
    images: int, settings: dict[str, Any], head: str, why: str
) -> None:
    several = settings.get("labels") != "exclusive"
    labels = [[0, 1] if n == 0 and several else [n % 3] for n in range(images)]
    data = dataset([f"{n}.png" for n in range(images)], labels)
    requested = ClassifierConfig(head="auto", **settings)
    resolved = resolve(requested, TrainVal(train=data, validation=data, split=None))
    sentence = head_sentence(requested, resolved, images)
    assert resolved.head == head and sentence is not None
    assert sentence.startswith(f"the head is {head} (auto)") and why in sentence
    assert head_sentence(resolved, resolved, images) is None
    assert resolved.mirror == (head == "linear")
