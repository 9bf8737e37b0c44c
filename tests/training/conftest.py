"""A small generated dataset, and how small trainings are set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagbox.config import ClassifierConfig, SynthConfig
from tagbox.data.synthetic.generate import generate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training, 30 validation and 20 test scenes; the folder with `annotations/`."""
    out = tmp_path_factory.mktemp("generated") / "scenes"
    generate(out, SynthConfig(images=60, val=30, test=20, width=192, height=144, seed=3))
    return out


@pytest.fixture(scope="session")
def small(scenes: Path) -> ClassifierConfig:
    """A few epochs of a small network."""
    return ClassifierConfig(
        val=scenes / "annotations" / "instances_val.json",
        backbone="efficientnet_lite0@96",
        epochs=4,
        batch_size=16,
    )
