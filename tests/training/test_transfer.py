"""Classifiers that use a detector's scores: what they predict, and that everything says COCO transfer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import tagbox
from nanodet_arrays import drawn_arrays
from tagbox.api.run import Run
from tagbox.api.train import train_classifier
from tagbox.config import ClassifierConfig, EnsembleConfig
from tagbox.data import categories as coco80
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.inference.classifier import Classifier
from tagbox.models.detectors import scores
from tagbox.models.heads import activate, head_logits

TRANSFER = "COCO transfer (nanodet_g, trained on COCO train2017)"


@pytest.fixture(scope="session")
def run(scenes: Path, small: ClassifierConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A classifier on EfficientNet-Lite0 and a detector with weights that were drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "load_weights", lambda weights: (drawn_arrays(), coco80.NAMES))
        patch.setattr(scores, "package_folder", lambda: None)
        config = replace(small, backbone="efficientnet_lite0@96+nanodet_g@64", epochs=2)
        return train_classifier(
            scenes / "annotations/instances_train.json",
            config,
            name="both",
            runs=tmp_path_factory.mktemp("runs"),
        )


def test_everything_says_what_was_used(run: Run, small: ClassifierConfig) -> None:
    assert run.metrics["transfer"] == TRANSFER
    assert any(note.startswith(TRANSFER) for note in run.metrics["notes"])
    assert msgspec.json.decode((run.folder / "model.json").read_bytes())["transfer"] == TRANSFER
    assert TRANSFER in run.report.read_text()
    assert TRANSFER in repr(run)
    assert run.classifier.transfer == TRANSFER
    (listed,) = tagbox.list_runs(run.folder.parent)
    assert listed["transfer"] == TRANSFER
    evaluation = tagbox.evaluate(run, small.val)
    assert evaluation["transfer"] == TRANSFER
    assert any(note.startswith(TRANSFER) for note in evaluation.notes)


def test_both_engines_predict_what_validation_had_without_the_package(
    run: Run, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if "nanodet" in n else found(n, *a)
    )
    paths = sorted((scenes / "val").iterdir())
    tables = [
        Classifier.load(run.folder, engine=engine).predict(paths).probabilities
        for engine in ("openvino", "torch")
    ]
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-3)
    lines = (run.folder / "predictions.csv").read_text().splitlines()[1:]
    saved = {line.split(",")[0]: [float(v) for v in line.split(",")[1:]] for line in lines}
    expected = [saved[path.stem] for path in paths]
    np.testing.assert_allclose(tables[0], expected, atol=1e-5)


def test_evidence_adds_up_to_the_logit(run: Run, scenes: Path) -> None:
    from tagbox.images.geometry import to_square
    from tagbox.inference.evidence import evidence

    model = run.classifier
    assert isinstance(model, Classifier)
    assert model.has_evidence
    image = read_image(next(iter(sorted((scenes / "val").iterdir()))))
    squares = [to_square(image, e.spec.size, "squash")[None] for e in model.encoders]
    features = np.concatenate(
        [e.encode(s) for e, s in zip(model.encoders, squares, strict=True)], axis=1
    )
    assert features.shape == (1, 2 * 1280 + 80)
    maps = [e.maps(s)[0] for e, s in zip(model.encoders, squares, strict=True)]
    heats, constant = evidence(model.bundle.head, maps, ["mean+max", "max"], 1)
    logit = head_logits(model.bundle.head, features)[0, 1]
    assert sum(h.sum() for h in heats) + constant == pytest.approx(logit, abs=1e-4)
    assert heats[1].any()
    assert np.isfinite(model.evidence(image, [1])[0]).all()
    assert activate(np.array([[logit]]), "multi") == pytest.approx(
        model.predict([image]).probabilities[0, 1], abs=1e-5
    )


def test_an_ensemble_and_a_pupil_of_it(
    run: Run, scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    made = tagbox.ensemble([run], small.val, EnsembleConfig(flip=True), name="views", runs=tmp_path)
    assert made.metrics["transfer"] == TRANSFER
    assert TRANSFER in made.report.read_text()
    pupil = train_classifier(
        scenes / "annotations/instances_train.json",
        replace(small, epochs=1),
        teacher=made.folder,
        name="pupil",
        runs=tmp_path,
    )
    assert pupil.metrics["transfer"] == TRANSFER
    assert Classifier.load(pupil.folder).transfer == TRANSFER


def test_a_model_that_hides_it(run: Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run/model.json"
    described = msgspec.json.decode(path.read_bytes())
    del described["transfer"]
    path.write_bytes(msgspec.json.encode(described))
    with pytest.raises(TagboxError, match="does not say so") as raised:
        Classifier.load(tmp_path / "run")
    assert raised.value.code == "bundle-mismatch"


def test_another_size_that_it_does_not_take(
    run: Run, small: ClassifierConfig, tmp_path: Path
) -> None:
    with pytest.raises(TagboxError, match="does not take 100x100") as raised:
        tagbox.ensemble([run], small.val, EnsembleConfig(scales=(100,)), name="e", runs=tmp_path)
    assert raised.value.code == "backbone-size"


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_challenge_forbids_it(
    cli: Callable[..., subprocess.CompletedProcess[str]], command: str, tmp_path: Path
) -> None:
    words = (command, "classifier", "data", "--recipe", "challenge")
    done = cli(*words, "--backbone", "efficientnet_lite2@224+nanodet_g", cwd=tmp_path)
    assert done.returncode == 1
    assert "error [challenge-transfer]" in done.stderr
    assert "the challenge forbids other data of COCO" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_it_and_what_is_no_entry(
    run: Run, cli: Callable[..., subprocess.CompletedProcess[str]], scenes: Path, tmp_path: Path
) -> None:
    listed = cli("runs", run.folder.parent, env={"COLUMNS": "200"})
    assert "COCO transfer" in listed.stdout
    photo = sorted((scenes / "val").iterdir())[0]
    out = tmp_path / "entry.json"
    done = cli("predict", run.folder, photo, "--format", "challenge", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "no entry for it" in done.stderr + done.stdout
