"""The saved detector: what was saved comes back, and every damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tagbox.errors import TagboxError
from tagbox.models.bundle import ClassifierBundle, DetectorBundle, is_detector
from tagbox.predictions.thresholds import ScoreThresholds
from toy_detectors import PatchDetector, patch_bundle


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    cuts = ScoreThresholds(value=1 / 3, per_category=(0.1, 0.25, 0.7))
    patch_bundle(cuts=cuts).save(tmp_path)
    return tmp_path


def test_what_was_saved_comes_back(saved: Path) -> None:
    given = patch_bundle(cuts=ScoreThresholds(value=1 / 3, per_category=(0.1, 0.25, 0.7)))
    found = DetectorBundle.load(saved)
    assert is_detector(saved)
    assert found.spec == given.spec and found.cuts == given.cuts
    assert found.categories.names == given.categories.names
    assert found.categories.ids.tolist() == [3, 1, 90]
    assert found.weights.keys() == given.weights.keys()
    for name, value in given.weights.items():
        assert found.weights[name].shape == value.shape
        np.testing.assert_array_equal(found.weights[name], value)
    detector = PatchDetector(found.spec)
    detector.load_state_dict({name: torch.tensor(v) for name, v in found.weights.items()})


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.json"
        description = json.loads(path.read_text())
        change(description)
        path.write_text(json.dumps(description))

    return damage


def other_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + b"\x01")


@pytest.mark.parametrize(
    ("damage", "code", "where"),
    [
        (lambda f: (f / "model.json").unlink(), "bundle-missing", None),
        (lambda f: (f / "model.safetensors").unlink(), "bundle-missing", None),
        (lambda f: (f / "model.json").write_text("{"), "bundle-json", None),
        (lambda f: (f / "model.json").write_bytes(b"\xff\xfe{}"), "bundle-json", None),
        (edited(lambda d: d["spec"].update(size="large")), "bundle-json", "spec.size"),
        (edited(lambda d: d["spec"].pop("mean")), "bundle-json", "spec"),
        (edited(lambda d: d.update(surprise=1)), "bundle-json", "surprise"),
        (edited(lambda d: d.pop("cuts")), "bundle-json", "cuts"),
        (edited(lambda d: d.update(format_version=9)), "bundle-version", "format_version"),
        (edited(lambda d: d.update(format="tagbox-classifier")), "bundle-version", "format"),
        (other_weights, "bundle-weights", "weights_sha256"),
        (edited(lambda d: d["spec"].update(categories=4)), "bundle-mismatch", "spec.categories"),
        (edited(lambda d: d["categories"]["ids"].pop()), "bundle-mismatch", "categories"),
        (edited(lambda d: d["cuts"]["per_category"].pop()), "bundle-mismatch", "per_category"),
        (edited(lambda d: d["cuts"].update(value="high")), "score-cuts-invalid", "value"),
        (edited(lambda d: d["cuts"].update(most=1)), "score-cuts-invalid", "most"),
        (edited(lambda d: d["cuts"].update(per_category=3)), "score-cuts-invalid", "per_category"),
    ],
)
def test_every_damage_is_named(
    saved: Path, damage: Callable[[Path], object], code: str, where: str | None
) -> None:
    damage(saved)
    with pytest.raises(TagboxError) as caught:
        DetectorBundle.load(saved)
    assert caught.value.code == code
    assert str(saved / "model.") in str(caught.value)
    if where is not None:
        assert where in str(caught.value)


def test_a_classifiers_reader_says_what_it_found(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(TagboxError, match="tagbox-detector") as caught:
        ClassifierBundle.load(saved)
    assert caught.value.code == "bundle-version"
    assert not is_detector(tmp_path / "nowhere")
