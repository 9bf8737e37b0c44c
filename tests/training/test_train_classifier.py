"""Training as a whole: what it claims of equality, what it writes, and what it survives."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import yaml

import tagbox
from history_rows import history_rows
from tagbox.api.train import train_classifier
from tagbox.backends.create import create_encoders
from tagbox.backends.features import encode_images
from tagbox.config import ClassifierConfig, DataConfig, SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.data.synthetic.generate import generate
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import to_square
from tagbox.inference.classifier import Classifier
from tagbox.metrics.multilabel import average_precision, class_priors
from tagbox.models.backbones import normalise, pool
from tagbox.models.heads import FeatureScale, create_head
from tagbox.progress import Silent
from tagbox.training.classification_task import ClassificationTask, FeatureBatches
from tagbox.training.distributed import Runtime
from tagbox.training.loop import Stop, fit
from tagbox.training.losses import create_loss
from tagbox.training.optim import Schedule, one_cycle
from tagbox.training.task import TrainSetup

FILES = {
    ".tagbox",
    "config.yaml",
    "history.csv",
    "metrics.json",
    "model.json",
    "model.safetensors",
    "predictions.csv",
    "report.html",
    "seen_images.json",
    "tensorboard",
}


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


def train_json(scenes: Path) -> Path:
    return scenes / "annotations" / "instances_train.json"


class PictureBatches(FeatureBatches):
    """The same order of the same images, but pictures instead of their features."""

    def __init__(self, squares: np.ndarray, labels: np.ndarray, **how: object) -> None:
        empty = np.zeros((len(squares), 1, 0), np.float32)
        super().__init__(empty, labels, **how)  # type: ignore[arg-type]
        self.squares = torch.from_numpy(squares)

    def inputs(self, rows: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        return self.squares[rows]


def test_cached_features_train_the_very_same_head_as_the_whole_network(
    scenes: Path, small: ClassifierConfig
) -> None:
    """torch encoder, fp32, same threads and order, no small batch: `torch.equal` weights.

    Small is one picture with several threads, and under 16 with a single one: there torch computes
    convolutions by another road, with other last bits.
    """
    config = replace(small, engine="torch", device="cpu", mirror=False)
    data = load_dataset(train_json(scenes)).take(range(32))
    (encoder,) = create_encoders(config)
    paths = [data.images.path(row) for row in range(len(data))]
    features = encode_images(paths, [encoder]).features
    squares = np.stack([to_square(read_image(path), 96, "squash") for path in paths])
    rates = class_priors(data.labels)

    class Whole(torch.nn.Module):
        """Backbone frozen and in eval, pooling, head: one forward from pixels to logits."""

        def __init__(self, head: torch.nn.Module) -> None:
            super().__init__()
            self.head = head

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                maps = encoder.backbone.module(normalise(images, encoder.spec))
                pooled = pool(maps, config.pooling)
            return self.head(pooled)  # type: ignore[no-any-return]

    heads = []
    for whole in (False, True):
        head = create_head("linear", FeatureScale.of(features), rates)
        side = (squares,) if whole else (features,)
        kind = PictureBatches if whole else FeatureBatches
        batches = [
            kind(*side, data.labels, batch_size=16, shuffle=shuffle, seed=4)
            for shuffle in (True, False)
        ]
        model = Whole(head) if whole else head
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
        loss = create_loss("bce", torch.from_numpy(rates).float())
        fit(
            TrainSetup(
                model=model,
                task=ClassificationTask(loss, loss),
                optimizer=optimizer,
                schedule=Schedule(optimizer, one_cycle(6, 0.3)),
            ),
            *batches,
            stop=Stop(epochs=3, patience=3, best_by="map"),
            runtime=Runtime("cpu"),
        )
        heads.append(head)
    for name, value in heads[0].state_dict().items():
        assert torch.equal(value, heads[1].state_dict()[name]), name
    assert not torch.equal(heads[0].output.weight, torch.zeros_like(heads[0].output.weight))


def test_a_run_holds_everything_and_repeats_exactly(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    runs = [
        train_classifier(train_json(scenes), small, name="a", runs=tmp_path / where, cache=False)
        for where in ("one", "two")
    ]
    assert {p.name for p in runs[0].folder.iterdir()} == FILES
    for name in ("model.safetensors", "metrics.json", "history.csv", "predictions.csv"):
        one, two = (run.folder / name for run in runs)
        assert one.read_bytes() == two.read_bytes(), name

    metrics = msgspec.json.decode((runs[0].folder / "metrics.json").read_bytes())
    history = history_rows(runs[0].folder / "history.csv")
    best = history[metrics["best_epoch"] - 1]
    assert best["val_loss"] == min(row["val_loss"] for row in history)  # type: ignore[type-var]
    assert metrics["validation"]["map"] == pytest.approx(best["val_map"], abs=1e-6)
    assert metrics["parameters"]["trainable"] < metrics["parameters"]["total"]
    config = yaml.safe_load((runs[0].folder / "config.yaml").read_text())
    saved = ClassifierConfig.from_dict(config["classifier"])
    decided = replace(small.augment, crop="boxes")
    resolved = {"folds": 0, "best_by": "val_loss", "labels": "multi", "loss": "bce"}
    assert saved == replace(small, **resolved, augment=decided)
    assert DataConfig.from_dict(config["data"]) == DataConfig()


def test_the_saved_model_says_what_training_measured(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    run = train_classifier(train_json(scenes), small, name="a", runs=tmp_path)
    data = load_dataset(small.val)  # type: ignore[arg-type]
    classifier = Classifier.load(run.folder)
    outputs = classifier.predict([data.images.path(row) for row in range(len(data))])
    ap = average_precision(data.labels, outputs.probabilities)
    assert np.nanmean(ap) == pytest.approx(run.metrics["validation"]["map"], abs=1e-9)
    assert classifier.categories == data.categories.names
    assert classifier.bundle.data_fingerprint == load_dataset(train_json(scenes)).fingerprint
    # The public face is the same thing.
    assert tagbox.train_classifier is train_classifier
    assert run.classifier.thresholds == classifier.thresholds


def test_without_validation_data_a_stratified_tenth_is_held_out_and_saved(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    config = replace(small, val=None, folds=0)
    run = train_classifier(train_json(scenes), config, name="a", runs=tmp_path)
    data = load_dataset(train_json(scenes))
    parts = Split.load(run.folder / "split.json").apply(data)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 54, "validation": 6}
    assert run.metrics["images"] == {"train": 54, "validation": 6}
    files = [set(part.images.files.tolist()) for part in parts.values()]
    assert not files[0] & files[1]


def test_a_corrupt_picture_is_listed_and_the_run_goes_on(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "scenes"
    shutil.copytree(scenes, copy)
    broken = sorted((copy / "train").glob("*.jpg"))[7]
    broken.write_bytes(broken.read_bytes()[:900])
    run = train_classifier(train_json(copy), small, name="a", runs=tmp_path)
    assert run.metrics["images"]["train"] == 59
    assert len(run.metrics["left_out"]) == 1
    assert broken.name in run.metrics["left_out"][0]
    assert broken.name in run.report.read_text(encoding="utf-8")


def test_a_model_that_says_the_same_of_every_image_is_told(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    said = Said()
    config = replace(small, epochs=1, learning_rate=1e-12)  # The head stays at the class priors.
    train_classifier(train_json(scenes), config, name="same", runs=tmp_path, progress=said)
    (warning,) = (words for words in said.messages if "model tells them not apart" in words)
    assert warning.startswith("warning: All 30 images get the same labels: ")
    assert warning.removeprefix("warning: ") in (tmp_path / "same/report.html").read_text()


@pytest.mark.parametrize("change", [{"head": "mlp", "hidden": 16}, {"loss": "asymmetric"}])
def test_other_heads_and_losses_train_and_load(
    scenes: Path, small: ClassifierConfig, tmp_path: Path, change: dict[str, object]
) -> None:
    config = replace(small, **change)  # type: ignore[arg-type]
    run = train_classifier(train_json(scenes), config, name="a", runs=tmp_path)
    assert run.metrics["validation"]["map"] > 0.1
    image = sorted((scenes / "test").glob("*.jpg"))[0]
    assert run.classifier.predict([image]).ok.all()


def test_two_backbones_side_by_side(scenes: Path, small: ClassifierConfig, tmp_path: Path) -> None:
    config = replace(small, backbone="efficientnet_lite0@96+efficientnet_lite1@64")
    run = train_classifier(train_json(scenes), config, name="a", runs=tmp_path)
    image = read_image(sorted((scenes / "test").glob("*.jpg"))[0])
    (heat,) = run.classifier.evidence(image, [0])
    assert heat.shape == (3, 3)
    assert len(run.classifier.bundle.backbones) == 2


def test_categories_are_matched_by_name_not_by_position(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    val = small.val
    assert val is not None
    content = msgspec.json.decode(val.read_bytes())
    content["categories"].reverse()
    turned = val.with_name("instances_val_turned.json")
    turned.write_bytes(msgspec.json.encode(content))
    config = replace(small, val=turned, val_images=scenes / "val")
    runs = [
        train_classifier(train_json(scenes), each, name=name, runs=tmp_path)
        for name, each in (("a", small), ("b", config))
    ]
    assert runs[0].metrics["validation"] == runs[1].metrics["validation"]


def test_validation_data_with_other_categories_is_refused(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    val = small.val
    assert val is not None
    content = msgspec.json.decode(val.read_bytes())
    content["categories"][0]["name"] = "zeppelin"
    other = tmp_path / "other.json"
    other.write_bytes(msgspec.json.encode(content))
    config = replace(small, val=other, val_images=scenes / "val")
    with pytest.raises(TagboxError, match="in one dataset only") as raised:
        train_classifier(train_json(scenes), config, name="a", runs=tmp_path / "runs")
    assert raised.value.code == "categories-differ"
    assert not (tmp_path / "runs" / "a").exists()


@pytest.mark.slow
def test_openvino_and_torch_reach_the_same_map(tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    generate(out, SynthConfig(images=300, val=200, width=320, height=240, seed=5))
    config = ClassifierConfig(
        val=out / "annotations" / "instances_val.json", backbone="efficientnet_lite0@160"
    )
    found = [
        train_classifier(
            train_json(out), replace(config, engine=engine), name=engine, runs=tmp_path
        ).metrics["validation"]["map"]
        for engine in ("openvino", "torch")
    ]
    assert found[0] == pytest.approx(found[1], abs=0.002)
