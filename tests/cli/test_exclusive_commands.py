"""A folder a class of 1-channel pictures, from `tagbox train` to `evaluate` and `predict`."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

import tagbox
from tagbox.metrics.single_label import MOST_PROBABLE

Cli = Callable[..., subprocess.CompletedProcess[str]]
NAMES = ["across", "blank", "checked", "down", "round", "slanted"]
FLAGS = ["--backbone", "efficientnet_lite0@64", "--epochs", "12", "--learning-rate", "3e-3"]


def drawn(kind: str, random: np.random.Generator) -> Image.Image:
    """An 8x8 picture of one channel, faint and noisy, in one of Pillow's gray modes."""
    y, x = np.mgrid[:8, :8]
    shape = {
        "across": y // 2 % 2,
        "blank": np.zeros((8, 8)),
        "checked": (x // 2 + y // 2) % 2,
        "down": x // 2 % 2,
        "round": np.hypot(x - 3.5, y - 3.5) < 3,
        "slanted": (x + y) // 2 % 2,
    }[kind]
    gray = (shape * 0.8 + random.random((8, 8)) * 0.25).clip(0, 1)
    if random.random() < 0.2:
        return Image.fromarray((gray * 65535).astype(np.uint16))
    return Image.fromarray((gray * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """`train` and `test`, a folder a class each, and the finished run ``runs/first``."""
    folder = tmp_path_factory.mktemp("user")
    random = np.random.default_rng(0)
    for side, count in (("train", 20), ("test", 6)):
        for name in NAMES:
            (folder / side / name).mkdir(parents=True)
            for number in range(count):
                path = folder / side / name / f"{side}-{name}-{number}.png"
                picture = drawn(name, random)
                assert picture.mode in ("L", "I;16")
                picture.save(path)
    done = run(cli, folder, "train", "classifier", "train", "--name", "first", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "every picture has one category: softmax, cross-entropy (--labels multi" in done.stderr
    assert "validation: accuracy " in done.stderr
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


def scored(cli: Cli, place: Path, *arguments: object) -> dict[str, object]:
    done = run(cli, place, "evaluate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_run_says_what_it_is(place: Path) -> None:
    folder = place / "runs/first"
    settings = yaml.safe_load((folder / "config.yaml").read_text())["classifier"]
    assert (settings["labels"], settings["loss"]) == ("exclusive", "cross_entropy")
    model = json.loads((folder / "model.json").read_text())
    assert model["labels"] == "exclusive"
    assert model["thresholds"] == MOST_PROBABLE.to_dict() | {"per_category": None}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["validation"]["labels"] == "exclusive"
    assert "most probable" in metrics["tuning"]["reason"]
    header = (folder / "history.csv").read_text().splitlines()[0].split(",")
    assert {"train_accuracy", "val_accuracy", "val_loss", "val_map"} <= set(header)
    page = (folder / "report.html").read_text()
    assert "Confusion matrix" in page
    assert 'href="#thresholds"' not in page


def test_evaluate_and_scikit_learn_agree_on_the_predictions(place: Path, cli: Cli) -> None:
    assert run(cli, place, "predict", "runs/first", "test", "--out", "p.csv").returncode == 0
    with open(place / "p.csv", newline="") as opened:
        header, *rows = csv.reader(opened)
    table = np.array([row[2:] for row in rows], float)
    truth = [NAMES.index(row[0].split("-")[1]) for row in rows]
    assert header[1:] == ["labels", *NAMES]
    assert table.sum(axis=1) == pytest.approx(np.ones(len(table)), abs=1e-5)
    said = table.argmax(axis=1)
    found = scored(cli, place, "runs/first", "test")
    assert found["labels"] == "exclusive"
    assert found["accuracy"] == accuracy_score(truth, said)
    assert found["accuracy"] > 0.8
    assert found["confusion_matrix"] == confusion_matrix(truth, said).tolist()
    whole = table / table.sum(axis=1, keepdims=True)
    assert found["log_loss"] == pytest.approx(log_loss(truth, whole), rel=1e-4)
    # The same claims as a file, recognised by data and sums.
    run(cli, place, "predict", "runs/first", "test", "--out", "p.json")
    for file in ("p.csv", "p.json"):
        again = scored(cli, place, file, "test")
        assert {**again, "predictions": "runs/first"} == found
    shown = run(cli, place, "evaluate", "runs/first", "test")
    for words in ("accuracy", "top-5 accuracy", "log loss", "6 categories, one an image"):
        assert words in shown.stdout
    assert "threshold" not in shown.stdout
    assert "threshold" not in shown.stderr


def test_labels_may_be_judged_as_independent(place: Path, cli: Cli) -> None:
    found = scored(cli, place, "runs/first", "test", "--labels", "multi")
    assert found["labels"] == "multi"
    assert "accuracy" not in found
    assert found["subset_accuracy"] == scored(cli, place, "runs/first", "test")["accuracy"]


def test_exactly_the_most_probable_one_is_said(place: Path, cli: Cli) -> None:
    images = json.loads(run(cli, place, "predict", "runs/first", "test", "--json").stdout)["images"]
    for image in images:
        best = int(np.argmax(image["probabilities"]))
        assert image["labels"] == [NAMES[best]]
    table = run(cli, place, "predict", "runs/first", "test/round/test-round-0.png")
    assert table.stdout.count("%") == 1
    top = run(cli, place, "predict", "runs/first", "test/round/test-round-0.png", "--top-k", "3")
    shown = [int(word[:-1]) for word in top.stdout.replace(",", " ").split() if word.endswith("%")]
    assert len(shown) == 3
    assert shown == sorted(shown, reverse=True)
    # The most probable one, and only where it is probable enough.
    for threshold, most in (("0.05", 1), ("1", 0)):
        said = run(
            cli, place, *["predict", "runs/first", "test", "--json", "--threshold"], threshold
        )
        counts = [len(image["labels"]) for image in json.loads(said.stdout)["images"]]
        assert set(counts) <= {0, 1}
        assert max(counts) >= most


def test_bundles_from_before_exclusive_labels_load(place: Path) -> None:
    older = place / "older"
    shutil.copytree(place / "runs/first", older)
    model = json.loads((older / "model.json").read_text())
    del model["labels"]
    (older / "model.json").write_text(json.dumps(model))
    paths = sorted((place / "test/round").iterdir())
    classifiers = [tagbox.Classifier.load(folder) for folder in (place / "runs/first", older)]
    assert [one.labels for one in classifiers] == ["exclusive", "multi"]
    new, old = (one.predict(paths).probabilities for one in classifiers)
    # The same logits, once through the softmax and once through the sigmoid.
    odds = old / (1 - old)
    np.testing.assert_allclose(new, odds / odds.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["evaluate", "runs/first", "test", "--thresholds", "0.3"], "needs-multi-labels"),
        (["evaluate", "runs/first", "test", "--at-least-one"], "needs-multi-labels"),
        (["evaluate", "runs/first", "several.csv", "--images", "test"], "labels-not-exclusive"),
        (["train", "classifier", "train", "--name", "no", "--top-k", "2"], "config-value"),
    ],
)
def test_what_exclusive_labels_cannot_do(
    place: Path, cli: Cli, arguments: list[str], code: str
) -> None:
    lines = [f"{name}/test-{name}-0.png,{name}" for name in NAMES]
    lines[0] += "|blank"
    (place / "several.csv").write_text("\n".join(["image,labels", *lines]) + "\n")
    done = run(cli, place, *arguments)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr


def test_label_sets_with_several_categories_are_refused_on_request(place: Path, cli: Cli) -> None:
    outputs = {f"test-{name}-{i}": [k] for k, name in enumerate(NAMES) for i in range(6)}
    (place / "sets.json").write_text(json.dumps(outputs))
    found = scored(cli, place, "sets.json", "test")
    assert (found["labels"], found["accuracy"]) == ("exclusive", 1.0)
    outputs["test-across-0"] = [0, 1]
    (place / "sets.json").write_text(json.dumps(outputs))
    assert scored(cli, place, "sets.json", "test")["labels"] == "multi"
    done = run(cli, place, "evaluate", "sets.json", "test", "--labels", "exclusive")
    assert "[labels-not-exclusive]" in done.stderr
    assert "2 categories are predicted for across/test-across-0.png" in done.stderr
