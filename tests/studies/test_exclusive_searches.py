"""A search over data with one category a picture: compared by accuracy, judged as such."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagbox.api.tune import Study
from tagbox.config import ClassifierConfig
from tagbox.errors import TagboxError

COLOURS = {"blue": (40, 60, 150), "brown": (120, 90, 60), "green": (60, 130, 70)}
SEARCH = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `train`, `val` and `test` with a folder a class: noise of three hues that overlap."""
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    for side, count in (("train", 12), ("val", 8), ("test", 10)):
        for name, mean in COLOURS.items():
            (folder / side / name).mkdir(parents=True)
            for number in range(count):
                shade = np.array(mean) + random.normal(0, 60, 3)
                noise = np.clip(shade + random.normal(0, 40, (64, 64, 3)), 0, 255)
                Image.fromarray(noise.astype(np.uint8)).save(
                    folder / side / name / f"{side}{number}.png"
                )
    return folder


def test_accuracy_is_searched_and_judged(
    tuned: Callable[..., Study], base: ClassifierConfig, colours: Path, tmp_path: Path
) -> None:
    config = replace(base, val=colours / "val", epochs=3)
    arguments = {
        "train": colours / "train",
        "config": config,
        "search": SEARCH,
        "metric": "accuracy",
        "trials": 3,
    }
    study = tuned(tmp_path, test=colours / "test", **arguments)
    assert study.best.labels == "exclusive"
    assert study.best.loss == "cross_entropy"
    assert study.result["metric"] == "val_accuracy"
    value = study.result["best"]["value"] * 24
    assert value == pytest.approx(round(value))  # 24 validation pictures, right or wrong.
    judged = study.result["test"]
    for name in ("start", "best"):
        hits = judged[name]["accuracy"] * 30
        assert hits == pytest.approx(round(hits))
    difference = judged["differences"]["accuracy"]
    assert difference["difference"] == pytest.approx(
        judged["best"]["accuracy"] - judged["start"]["accuracy"]
    )
    assert difference["low"] <= difference["difference"] <= difference["high"]
    json.dumps(study.result, allow_nan=False)
    # A third dataset with two categories in a picture cannot judge it.
    names = sorted(COLOURS)
    pictures = sorted(path.relative_to(colours) for path in (colours / "test").rglob("*.png"))
    several = {
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        "images": [
            {"id": n, "file_name": str(path), "width": 64, "height": 64}
            for n, path in enumerate(pictures, start=1)
        ],
        "annotations": [
            {"id": 2 * n + k, "image_id": n, "category_id": k}
            for n in range(1, len(pictures) + 1)
            for k in (1, 2)
        ],
    }
    (colours / "several.json").write_text(json.dumps(several))
    with pytest.raises(TagboxError) as raised:
        tuned(tmp_path / "other", test=colours / "several.json", **arguments)
    assert raised.value.code == "labels-not-exclusive"
    assert not (tmp_path / "other").exists()
