"""Generated scenes, and a classifier and a detector trained on them in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

import tagbox
from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `annotations/` of 48 training, 24 validation and 12 test scenes."""
    out = tmp_path_factory.mktemp("api") / "scenes"
    generate(out, SynthConfig(images=48, val=24, test=12, width=96, height=72, seed=5))
    return out


@pytest.fixture(scope="session")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tagbox.Run:
    pytest.importorskip("torch", reason="needs the train extra")
    return tagbox.train_classifier(
        scenes / "annotations" / "instances_train.json",
        name="labels",
        runs=tmp_path_factory.mktemp("runs"),
        val=scenes / "annotations" / "instances_val.json",
        backbone="efficientnet_lite0@64",
        epochs=3,
    )


@pytest.fixture(scope="session")
def boxes(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tagbox.Run:
    pytest.importorskip("torch", reason="needs the train extra")
    return tagbox.train_detector(
        scenes / "annotations" / "instances_train.json",
        name="boxes",
        runs=tmp_path_factory.mktemp("runs"),
        val=scenes / "annotations" / "instances_val.json",
        size=64,
        epochs=1,
        engine="torch",
    )
