"""Small generated pictures, and a search over heads on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuned_scenes import SEARCH, TRIALS

from tagbox.api.tune import Study, tune_classifier
from tagbox.config import ClassifierConfig, SynthConfig
from tagbox.data.synthetic.generate import generate


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training, 40 validation and 30 test scenes; the folder with `annotations/`."""
    out = tmp_path_factory.mktemp("tuned") / "scenes"
    generate(out, SynthConfig(images=60, val=40, test=30, width=96, height=96, seed=5))
    return out


@pytest.fixture(scope="session")
def base(parts: Path) -> ClassifierConfig:
    """Settings of which a trial takes a fraction of a second."""
    return ClassifierConfig(
        val=parts / "annotations" / "instances_val.json",
        backbone="efficientnet_lite0@64",
        epochs=9,
        batch_size=32,
        patience=9,
    )


@pytest.fixture(scope="session")
def tuned(parts: Path, base: ClassifierConfig) -> Callable[..., Study]:
    """`tune_classifier` on these pictures: `tuned(folder, trials=3)`."""

    def run(folder: Path, name: str = "study", **more: Any) -> Study:
        arguments: dict[str, Any] = {
            "search": SEARCH,
            "trials": TRIALS,
            "repeats": 0,
            "studies": folder,
            **more,
        }
        config = arguments.pop("config", base)
        train = arguments.pop("train", parts / "annotations" / "instances_train.json")
        return tune_classifier(train, config, name=name, **arguments)

    return run


@pytest.fixture(scope="session")
def whole(tuned: Callable[..., Study], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A search of `TRIALS` trials without a break."""
    return tuned(tmp_path_factory.mktemp("studies"))
