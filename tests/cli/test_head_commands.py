"""Heads that look at the whole feature map, from training to prediction, with the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate
from tagbox.errors import TagboxError
from tagbox.inference import classifier as predict
from tagbox.inference.classifier import Classifier
from tagbox.models.bundle import ClassifierBundle

pytestmark = pytest.mark.slow

Cli = Callable[..., subprocess.CompletedProcess[str]]
TRAIN, VAL = (f"scenes/annotations/instances_{side}.json" for side in ("train", "val"))
HEADS = {
    "csra": ["--head", "csra", "--attention-heads", "2", "--attention", "0.5"],
    "ml_decoder": ["--head", "ml_decoder", "--hidden", "64", "--queries", "3", "--dropout", "0.1"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with generated scenes and a finished run of each head."""
    folder = tmp_path_factory.mktemp("heads")
    generate(folder / "scenes", SynthConfig(images=40, val=24, test=6, width=96, height=96, seed=3))
    for name, flags in HEADS.items():
        done = run(
            *(cli, folder, "train", "classifier", TRAIN, "--val", VAL, "--name", name),
            *("--backbone", "efficientnet_lite0@64", "--epochs", "3", *flags),
        )
        assert done.returncode == 0, done.stderr
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("name", HEADS)
def test_evaluating_the_run_gives_the_figures_of_its_training(
    place: Path, cli: Cli, name: str
) -> None:
    done = run(cli, place, "evaluate", f"runs/{name}", VAL, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    trained = json.loads((place / "runs" / name / "metrics.json").read_text())["validation"]
    for key in ("map", "challenge_f1", "micro_f1", "hamming_loss"):
        assert found[key] == pytest.approx(trained[key], abs=1e-9), key


@pytest.mark.parametrize("name", HEADS)
def test_the_run_holds_its_head_and_a_report_without_evidence(place: Path, name: str) -> None:
    folder = place / "runs" / name
    bundle = ClassifierBundle.load(folder)
    assert bundle.head_kind == name
    if name == "csra":
        assert bundle.head["temperatures"].tolist() == [1, 99]
        assert bundle.head["attention"].tolist() == [0.5]
        assert bundle.head["output.weight"].shape == (2, len(bundle.categories), 1280)
    else:
        assert bundle.head["queries"].shape == (3, 64)
        assert bundle.head["decoder.attention_heads"].tolist() == [8]
    classifier = Classifier(bundle)
    assert not classifier.has_evidence
    with pytest.raises(TagboxError) as raised:
        classifier.require_evidence()
    assert raised.value.code == "evidence-head"
    assert "<html" in (folder / "report.html").read_text()


@pytest.mark.parametrize("name", HEADS)
def test_evidence_is_refused_in_one_sentence(place: Path, cli: Cli, name: str) -> None:
    flags = ("--save-images", "saved", "--evidence")
    done = run(cli, place, "predict", f"runs/{name}", "scenes/test", *flags)
    assert done.returncode == 1
    assert "[evidence-head]" in done.stderr
    assert "has no exact evidence map" in done.stderr
    assert not (place / "saved").exists()


def test_a_training_repeats_exactly(place: Path, cli: Cli) -> None:
    done = run(
        *(cli, place, "train", "classifier", TRAIN, "--config", "runs/ml_decoder/config.yaml"),
        *("--name", "again"),
    )
    assert done.returncode == 0, done.stderr
    for file in ("model.safetensors", "metrics.json", "history.csv"):
        first, again = (
            (place / "runs" / name / file).read_bytes() for name in ("ml_decoder", "again")
        )
        assert first == again, file


@pytest.mark.parametrize("name", HEADS)
def test_predicting_needs_no_torch(place: Path, name: str) -> None:
    code = (
        "import sys, glob\n"
        "sys.modules['torch'] = None\n"
        "import tagbox\n"
        f"claims = tagbox.Classifier.load('runs/{name}').predict(glob.glob('scenes/test/*.jpg'))\n"
        "assert claims.ok.sum() == 6 and claims.probabilities.max() > 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_many_pictures_are_predicted_in_parts(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier: Any = Classifier.load(place / "runs" / "csra")
    paths = sorted((place / "scenes" / "test").glob("*.jpg"))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    paths.insert(3, broken)
    told: list[int] = []
    whole = classifier.predict(paths, skip_errors=True)
    # Three maps of 1280 x 2 x 2 float32 at a time.
    monkeypatch.setattr(predict, "PART_BYTES", 3 * 1280 * 4 * 4)
    parts = classifier.predict(paths, skip_errors=True, progress=told.append)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-5)
    assert parts.ok.tolist() == whole.ok.tolist() == [n != 3 for n in range(7)]
    assert [error.code for error in parts.errors] == [error.code for error in whole.errors]
    assert sum(told) == 7
    assert classifier.predict([]).probabilities.shape == (0, len(classifier.categories))
