"""A head trained in folds: nothing predicts an image it was trained on, and the final head has seen all of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from history_rows import history_rows
from label_data import dataset
from tagbox.api.ensembles import ensemble
from tagbox.api.train import train_classifier
from tagbox.api.tune import tune_classifier
from tagbox.config import ClassifierConfig, DataConfig, EnsembleConfig, FinetuneConfig
from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.errors import TagboxError
from tagbox.metrics.multilabel import average_precision, mean_average_precision
from tagbox.models.heads import activate, head_logits
from tagbox.predictions.files import read_predictions
from tagbox.progress import Silent
from tagbox.training.distributed import Runtime
from tagbox.training.folds import train_in_folds
from tagbox.training.frozen import Encoded, train_head
from tagbox.training.train_val import TrainVal, load_train_val

CONFIG = ClassifierConfig(
    labels="multi", loss="bce", best_by="val_loss", epochs=6, batch_size=8, learning_rate=0.01
)
FOLD_OF = np.arange(40) % 4


def encoded(flipped: int | None = None) -> Encoded:
    """40 images of 3 categories, of which noisy features tell; the labels of image `flipped` are turned round."""
    rng = np.random.default_rng(2)
    present = rng.random((40, 3)) < 0.4
    features = rng.normal(size=(40, 2, 10)).astype(np.float32)
    features[:, :, :3] += 1.5 * present[:, None]
    if flipped is not None:
        present[flipped] = ~present[flipped]
    data = dataset([f"{n}.png" for n in range(40)], [np.flatnonzero(row) for row in present])
    rows = np.arange(40)
    return Encoded(
        encoders=(),
        train_features=features,
        train=data,
        train_rows=rows,
        validation_features=features[:, :1],
        validation=data,
        validation_rows=rows,
        unreadable=[],
        fold_of=FOLD_OF,
    )


def in_folds(images: Encoded, config: ClassifierConfig = CONFIG, **how: Any) -> Any:
    quiet: dict[str, Any] = {
        "targets": None,
        "on_batch": lambda step, loss: None,
        "on_epoch": lambda row, metrics: None,
        "advance": lambda: None,
    }
    return train_in_folds(images, config, Runtime("cpu"), **{**quiet, **how})


def test_each_image_is_predicted_by_the_head_of_the_other_folds_at_the_best_epoch() -> None:
    images = encoded()
    head, state, probabilities = in_folds(images)
    expected = np.zeros_like(probabilities)
    for fold in range(4):
        others, held = np.flatnonzero(fold != FOLD_OF), np.flatnonzero(fold == FOLD_OF)
        own = replace(
            images,
            train_features=images.train_features[others],
            train=images.train.take(others),
            train_rows=others,
        )
        trained, _ = train_head(own, CONFIG, Runtime("cpu"), only=state.best_epoch)
        trained.eval()
        with torch.no_grad():
            logits = trained(torch.from_numpy(images.train_features[held, 0]))
        expected[held] = torch.sigmoid(logits).numpy()
    assert probabilities == pytest.approx(expected, abs=1e-6)
    final, _ = train_head(images, CONFIG, Runtime("cpu"), only=state.best_epoch)
    for name, weights in final.state_dict().items():
        assert torch.equal(weights, head.state_dict()[name]), name


def test_the_epochs_figures_are_those_of_all_out_of_fold_predictions() -> None:
    images = encoded()
    tables = []
    _, state, probabilities = in_folds(
        images, on_epoch=lambda row, metrics: tables.append((dict(row), metrics.probabilities))
    )
    truth = images.train.labels
    assert len(state.history) == len(tables) == CONFIG.epochs
    for row, table in tables:
        assert row["val_map"] == mean_average_precision(average_precision(truth, table))
        loss = -np.where(truth == 1, np.log(table), np.log1p(-table)).mean()
        assert row["val_loss"] == pytest.approx(loss, abs=1e-5)
    losses = [row["val_loss"] for row, _ in tables]
    assert state.best_epoch == 1 + int(np.argmin(losses))
    assert np.array_equal(probabilities, tables[state.best_epoch - 1][1])


def test_an_images_own_labels_do_not_touch_its_predictions() -> None:
    one_epoch = replace(CONFIG, epochs=1)
    _, _, before = in_folds(encoded(), one_epoch)
    _, _, after = in_folds(encoded(flipped=5), one_epoch)
    same = FOLD_OF[5] == FOLD_OF
    assert np.array_equal(before[same], after[same])
    assert (before[~same] != after[~same]).any()


def test_a_run_in_folds(scenes: Path, small: ClassifierConfig, tmp_path: Path) -> None:
    """Without validation data: predictions of all images in one file, metrics of them, a model of all images."""
    copy = tmp_path / "scenes"
    shutil.copytree(scenes, copy)
    broken = sorted((copy / "train").glob("*.jpg"))[7]
    broken.write_bytes(b"no picture")
    data = copy / "annotations/instances_train.json"
    run = train_classifier(data, replace(small, val=None), name="a", runs=tmp_path)
    assert run.metrics["images"] == {"train": 59, "validation": 59}
    assert "5 folds" in run.metrics["notes"][0] and "all 59 images" in run.metrics["notes"][0]
    assert "5 folds" in run.report.read_text(encoding="utf-8")
    saved = yaml.safe_load((run.folder / "config.yaml").read_text())["classifier"]
    assert saved["folds"] == 5
    split = Split.load(run.folder / "split.json")
    assert split.folds and list(split.parts) == [f"fold{n}" for n in range(1, 6)]
    assert sum(map(len, split.parts.values())) == 60
    predictions = read_predictions(run.folder / "predictions.csv", ())
    whole = load_dataset(data)
    rows = [whole.images.stems.tolist().index(stem) for stem in predictions.images]
    assert len(rows) == 59
    ap = average_precision(whole.labels[rows], predictions.table)
    assert run.metrics["validation"]["map"] == pytest.approx(mean_average_precision(ap))
    rows_of_history = history_rows(run.folder / "history.csv")
    assert len(rows_of_history) == small.epochs
    best = rows_of_history[run.metrics["best_epoch"] - 1]
    assert saved["best_by"] == "map"
    assert best["val_map"] == max(row["val_map"] for row in rows_of_history)
    assert best["val_map"] == pytest.approx(run.metrics["validation"]["map"])
    # The saved head is another one: it has seen the images that it would predict.
    seen = run.classifier.predict([whole.images.path(row) for row in rows]).probabilities
    assert not np.allclose(seen, predictions.table, atol=1e-3)
    assert mean_average_precision(average_precision(whole.labels[rows], seen)) > best["val_map"]


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_an_ensemble_of_runs_in_folds_is_fitted_on_their_out_of_fold_predictions(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    data = scenes / "annotations/instances_train.json"
    content = json.loads(data.read_text())
    content["categories"].reverse()
    turned = tmp_path / "turned.json"
    turned.write_text(json.dumps(content))
    config = replace(small, val=None, epochs=2)
    source = DataConfig(images=scenes / "train")
    runs = [
        train_classifier(data, config, name="a", runs=tmp_path).folder,
        train_classifier(
            turned, replace(config, head="mlp"), name="b", runs=tmp_path, source=source
        ).folder,
    ]
    said = Said()
    both = ensemble(runs, data, name="both", runs=tmp_path, progress=said)
    assert any("out-of-fold predictions" in line for line in said.lines)
    found, a, b = (read_predictions(run / "predictions.csv", ()) for run in (both.folder, *runs))
    assert found.images == a.images == b.images and found.categories == b.categories[::-1]
    weights = [row["weight"] for row in both.metrics["members"]]
    mean = weights[0] * a.table + weights[1] * b.table[:, ::-1]
    assert found.table == pytest.approx(mean, abs=1e-6)
    said = Said()
    views = EnsembleConfig(flip=True)
    ensemble(runs[:1], data, views, name="views", runs=tmp_path, progress=said)
    assert any("trained on 60 of these 60 images" in line for line in said.lines)


def loaded(data: Any, config: ClassifierConfig) -> TrainVal:
    return load_train_val(data, config, DataConfig(), Silent())


def test_copies_of_an_image_share_a_fold(scenes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "scenes"
    shutil.copytree(scenes, copy)
    pictures = sorted((copy / "train").glob("*.jpg"))
    for picture in pictures[1:9]:
        shutil.copy(pictures[0], picture)
    found = loaded(copy / "annotations/instances_train.json", ClassifierConfig(folds=4))
    assert found.fold_of is not None and found.folds == 4
    names = [found.train.images.files.tolist().index(path.name) for path in pictures[:9]]
    assert len(set(found.fold_of[names].tolist())) == 1
    assert found.train is found.validation and len(found.train) == 60


@pytest.mark.parametrize(
    ("images", "config", "folds"),
    [
        (20, ClassifierConfig(), 5),
        (5, ClassifierConfig(head="mlp"), 5),
        (4, ClassifierConfig(), 0),
        (20, ClassifierConfig(folds=0), 0),
        (20, ClassifierConfig(folds=3), 3),
        (20, ClassifierConfig(val_fraction=0.3), 0),
        (20, ClassifierConfig(head="csra"), 0),
        (20, ClassifierConfig(finetune=FinetuneConfig(unfreeze="1")), 0),
        (5001, ClassifierConfig(), 0),
        (5001, ClassifierConfig(folds=2), 2),
    ],
)
def test_when_a_part_is_held_out_instead(images: int, config: ClassifierConfig, folds: int) -> None:
    data = dataset([f"{n}.png" for n in range(images)], [[n % 3] for n in range(images)])
    found = loaded(data, config)
    assert found.folds == folds
    sizes = len(found.train), len(found.validation)
    assert sizes == (images, images) if folds else sum(sizes) == images


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folds": 1}, "at least 2"),
        ({"folds": -5}, "at least 2"),
        ({"folds": 5, "val": Path("val.json")}, "the validation images are given"),
        ({"folds": 5, "val_fraction": 0.2}, "a part of the images is held out"),
        ({"folds": 5, "head": "ml_decoder"}, "only linear, mlp and ridge heads"),
        ({"folds": 5, "finetune": FinetuneConfig(unfreeze="all")}, "a frozen backbone"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TagboxError, match=words) as caught:
        ClassifierConfig(**settings)
    assert (caught.value.code, caught.value.where) == ("config-value", "folds")


def test_folds_that_the_data_does_not_allow(scenes: Path, tmp_path: Path) -> None:
    seven = dataset([f"{n}.png" for n in range(7)], [[n % 3] for n in range(7)])
    with pytest.raises(TagboxError, match="7 labelled images") as caught:
        loaded(seven, ClassifierConfig(folds=8))
    assert caught.value.code == "too-few-images"
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number, path in enumerate(sorted((scenes / "train").glob("*.jpg"))[:6]):
                shutil.copy(path, folder / f"{number}.jpg")
    with pytest.raises(TagboxError, match="states its validation images") as caught:
        loaded(tmp_path, ClassifierConfig(folds=5))
    assert (caught.value.code, caught.value.where) == ("config-value", "folds")
    ranges = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    with pytest.raises(TagboxError, match="share one validation part"):
        tune_classifier(
            seven, ClassifierConfig(folds=5), name="s", search=ranges, studies=tmp_path / "studies"
        )


def test_exclusive_labels_in_folds() -> None:
    images = encoded()
    labels = np.arange(40) % 3
    one_each = dataset([f"{n}.png" for n in range(40)], [[k] for k in labels])
    images = replace(images, train=one_each, validation=one_each)
    config = replace(CONFIG, labels="exclusive", loss="cross_entropy")
    head, state, probabilities = in_folds(images, config)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert state.history[0]["val_accuracy"] is not None
    arrays = {name: value.numpy() for name, value in head.state_dict().items()}
    final = activate(head_logits(arrays, images.train_features[:, 0]), "exclusive")
    assert final.shape == probabilities.shape
