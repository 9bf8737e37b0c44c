"""A saved model whose values are of the right type and nonsense is refused when it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bad_input_data import run
from tagbox.config import DetectorConfig
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.inference.classifier import Classifier
from tagbox.inference.detector import restore_detector
from tagbox.models.bundle import ClassifierBundle, DetectorBundle
from tagbox.models.detectors.create import create_detector
from tagbox.predictions.thresholds import ScoreThresholds

Change = Callable[[dict[str, Any]], object]


def changed(folder: Path, change: Change) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def new_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the arrays, and name their digest in the description."""
    arrays = dict(load_file(folder / "model.safetensors"))
    change(arrays)
    save_file(arrays, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    changed(folder, lambda content: content.update(weights_sha256=digest))


def backbone(**values: Any) -> Change:
    return lambda content: content["backbones"][0].update(values)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (backbone(size=0), "bundle-json", "backbones[0].size"),
        (backbone(size=10**7), "bundle-json", "backbones[0].size"),
        (backbone(size=10**30), "bundle-json", "backbones[0].size"),
        (backbone(dim=-1), "bundle-json", "backbones[0].dim"),
        (backbone(std=[0, 1, 1]), "bundle-json", "backbones[0].std[0]"),
        (backbone(mean=[0.5, 0.5]), "bundle-json", "backbones[0].mean"),
        (backbone(source="nowhere"), "bundle-json", "backbones[0].source"),
        (backbone(dim=9), "bundle-mismatch", None),
        (lambda c: c.update(pooling="mean+max"), "bundle-mismatch", None),
        (lambda c: c.update(backbones=[]), "bundle-mismatch", None),
        (backbone(mean=[0, 1e308, 0]), "bundle-json", "backbones[0].mean[1]"),
        (backbone(std=[1e-300, 1, 1]), "bundle-json", "backbones[0].std[0]"),
        (
            lambda c: c["thresholds"].update(per_category=[0.5]),
            *("bundle-mismatch", "thresholds.per_category"),
        ),
        # The head is of the mean and the largest value of each feature, or of the mean alone.
        (lambda c: c.update(pooling="mean+max"), "bundle-mismatch", None),
        (lambda c: c.update(ema=2), "bundle-json", "ema"),
        (lambda c: c["categories"].update(ids=[1, 2**63]), "bundle-json", "categories.ids[1]"),
        (lambda c: c.pop("geometry"), "bundle-json", None),
    ],
)
def test_descriptions_of_classifiers(
    change: Change, code: str, where: str | None, tmp_path: Path
) -> None:
    run()(tmp_path)
    changed(tmp_path / "run", change)
    with pytest.raises(TagboxError) as caught:
        ClassifierBundle.load(tmp_path / "run")
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_head_of_means_and_largest_values_needs_a_map(tmp_path: Path) -> None:
    run()(tmp_path)
    wide = {
        "head.mean": np.zeros(16),
        "head.scale": np.ones(16),
        "head.output.weight": np.ones((2, 16)),
    }
    new_weights(
        tmp_path / "run", lambda a: a.update({k: v.astype(np.float32) for k, v in wide.items()})
    )
    changed(tmp_path / "run", lambda c: c.update(pooling="mean+max"))
    assert ClassifierBundle.load(tmp_path / "run").pooling == "mean+max"
    changed(tmp_path / "run", backbone(mean_pooled=False))
    with pytest.raises(TagboxError) as caught:
        ClassifierBundle.load(tmp_path / "run")
    assert caught.value.code == "bundle-mismatch"


@pytest.mark.parametrize("name", ["nothing", "", "../x", "efficientnet_lite0@3"])
def test_a_backbone_that_there_is_not(name: str, tmp_path: Path) -> None:
    run()(tmp_path)
    changed(tmp_path / "run", backbone(name=name))
    with pytest.raises(TagboxError) as caught:
        _ = Classifier.load(tmp_path / "run").encoders
    assert caught.value.code == "bundle-mismatch"


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update({"head.output.weight": np.zeros((2, 5), np.float32)}),
        lambda a: a.update({"head.output.weight": np.zeros(2, np.float32)}),
        lambda a: a.update({"head.mean": np.full(8, np.nan, np.float32)}),
        lambda a: a.pop("head.scale"),
        lambda a: a.pop("head.output.weight"),
    ],
)
def test_weights_of_a_head_that_do_not_fit(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    run()(tmp_path)
    new_weights(tmp_path / "run", change)
    with pytest.raises(TagboxError) as caught:
        ClassifierBundle.load(tmp_path / "run")
    assert caught.value.code == "bundle-mismatch"


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\xff" * 7 + b"\x7f{}", b"\x02" + bytes(7) + b"{}"]
)
def test_corrupt_weights(content: bytes, tmp_path: Path) -> None:
    run()(tmp_path)
    (tmp_path / "run" / "model.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    changed(tmp_path / "run", lambda c: c.update(weights_sha256=digest))
    with pytest.raises(TagboxError) as caught:
        ClassifierBundle.load(tmp_path / "run")
    assert caught.value.code in ("bundle-weights", "bundle-mismatch")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    made = create_detector(DetectorConfig(weights="none", size=64), ["a", "b"])
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    categories = Categories.from_names(["elk", "yak"])
    cuts = ScoreThresholds()
    DetectorBundle(spec=made.spec, weights=weights, cuts=cuts, categories=categories).save(folder)
    return folder


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"size": 0}, "bundle-json"),
        ({"size": 10**7}, "bundle-json"),
        ({"multiple": 0}, "bundle-json"),
        ({"std": [1, 0, 1]}, "bundle-json"),
        ({"options": None}, "bundle-json"),
        ({"detector": "nothing"}, "detector-unknown"),
        ({"backbone": "nothing"}, None),
        ({"options": {}}, None),
        ({"options": {"width": "wide"}}, None),
        ({"detector": "retinanet"}, None),
        ({"detector": "fcos_resnet50_fpn"}, None),
    ],
)
def test_descriptions_of_detectors(
    values: dict[str, Any], code: str | None, detector: Path
) -> None:
    """Whatever is wrong, it is said of the bundle."""
    path = detector / "model.json"
    before = path.read_bytes()
    try:
        changed(detector, lambda content: content["spec"].update(values))
        with pytest.raises(TagboxError) as caught:
            restore_detector(DetectorBundle.load(detector))
    finally:
        path.write_bytes(before)
    assert caught.value.code == code or code is None
    assert restore_detector(DetectorBundle.load(detector)) is not None
