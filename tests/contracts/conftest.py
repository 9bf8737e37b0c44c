"""The runs that the tests of contracts share: each is trained once."""

from __future__ import annotations

from pathlib import Path

import contract_runs as runs
import pytest


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated scenes."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "synth.json").write_text(runs.generate(folder))
    return folder


@pytest.fixture(scope="session")
def first(place: Path) -> Path:
    """A classifier on a frozen backbone."""
    (place / "train.json").write_text(runs.tagbox(place, *runs.CLASSIFIER))
    return place / "runs/first"


@pytest.fixture(scope="session")
def views(place: Path, first: Path) -> Path:
    """Two views of that classifier."""
    (place / "ensemble.json").write_text(runs.tagbox(place, *runs.ENSEMBLE))
    return place / "runs/views"


@pytest.fixture(scope="session")
def fine(place: Path) -> Path:
    """A classifier whose backbone was trained for an epoch."""
    (place / "train finetune.json").write_text(runs.tagbox(place, *runs.FINETUNE))
    return place / "runs/fine"


@pytest.fixture(scope="session")
def boxes(place: Path) -> Path:
    """A detector of one epoch."""
    (place / "train detector.json").write_text(runs.tagbox(place, *runs.DETECTOR))
    return place / "runs/boxes"
