"""NanoDet-g as a backbone: its features are the highest logits of all positions, on both engines."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from nanodet_arrays import drawn_arrays  # noqa: E402
from tagbox.backends.create import create_encoder, create_encoders  # noqa: E402
from tagbox.config import ClassifierConfig, FinetuneConfig  # noqa: E402
from tagbox.data import categories as coco80  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.backbones import BackboneRequest, normalise  # noqa: E402
from tagbox.models.detectors.nanodet import BINS  # noqa: E402
from tagbox.models.detectors.nanodet_detector import Body  # noqa: E402
from tagbox.models.detectors.scores import DetectorScores, create_scores, load_scores  # noqa: E402
from tagbox.training.requirements import require_trainable  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("weights") / "nanodet.safetensors"
    save_file(drawn_arrays(), path)
    return str(path)


def created(checkpoint: str, size: int = 96) -> DetectorScores:
    return create_scores(BackboneRequest("nanodet_g", size), checkpoint)


def highest(backbone: DetectorScores, squares: np.ndarray) -> np.ndarray:
    """(B, 80): the maximum over the positions of all levels of the detector itself."""
    body = Body(80).eval()
    body.load_state_dict({k: torch.from_numpy(v) for k, v in backbone.arrays().items()})
    with torch.no_grad():
        levels = body(normalise(torch.from_numpy(squares), backbone.spec))
    assert [level.shape[1] for level in levels] == [80 + 4 * BINS] * 3
    return torch.cat([level[:, :80].flatten(2) for level in levels], dim=2).amax(dim=2).numpy()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("pooling", ["mean", "mean+max"])
def test_features_are_the_highest_logits(checkpoint: str, engine: str, pooling: str) -> None:
    backbone = created(checkpoint)
    encoder = create_encoder(
        backbone, geometry="squash", pooling=pooling, engine=engine, device="cpu"
    )
    squares = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    expected = highest(backbone, squares)
    assert expected.std(axis=0).min() > 1e-3
    found = encoder.encode(squares)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    maps = encoder.maps(squares)
    assert maps.shape == (3, *encoder.map_shape) == (3, 80, 12, 12)
    np.testing.assert_array_equal(maps.max(axis=(2, 3)), found)


def test_every_position_has_the_best_of_its_levels(checkpoint: str) -> None:
    backbone = created(checkpoint, 64)
    squares = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    maps = [
        create_encoder(backbone, geometry="squash", engine=engine, device="cpu").maps(squares)[0]
        for engine in ("openvino", "torch")
    ]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-4, atol=1e-4)
    body = backbone.module.get_submodule("body")
    with torch.no_grad():
        levels = body(normalise(torch.from_numpy(squares), backbone.spec))
    for row, column in ((0, 0), (3, 6), (7, 7)):
        best = np.max(
            [
                level[0, :80, row // 2**n, column // 2**n].detach().numpy()
                for n, level in enumerate(levels)
            ],
            axis=0,
        )
        np.testing.assert_allclose(maps[1][:, row, column], best, rtol=1e-4, atol=1e-4)


def test_what_is_saved_is_loaded(checkpoint: str) -> None:
    backbone = created(checkpoint)
    again = load_scores(backbone.spec, backbone.arrays())
    squares = np.random.default_rng(2).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    one, other = (
        create_encoder(b, geometry="squash", engine="openvino", device="cpu").encode(squares)
        for b in (backbone, again)
    )
    np.testing.assert_array_equal(one, other)
    assert again.parameters == backbone.parameters == sum(a.size for a in drawn_arrays().values())
    with pytest.raises(TagboxError, match="missing") as raised:
        load_scores(backbone.spec, dict(list(backbone.arrays().items())[3:]))
    assert raised.value.code == "weights-mismatch"
    with pytest.raises(TagboxError, match="'other'") as raised:
        load_scores(replace(backbone.spec, name="other"), backbone.arrays())
    assert raised.value.code == "backbone-unknown"


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"backbone": "nanodet_g@100"}, "backbone-size", "nanodet_g@96"),
        ({"backbone": "nanodet_g", "weights": "none"}, "detector-weights", "no scores to give"),
        (
            {"backbone": "nanodet_g@64", "finetune": FinetuneConfig(unfreeze="all")},
            "finetune-backbones",
            "--detector nanodet_g",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_before_any_work(
    settings: dict[str, object], code: str, words: str
) -> None:
    with pytest.raises(TagboxError) as raised:
        require_trainable(ClassifierConfig(**settings))
    assert raised.value.code == code
    assert words in str(raised.value)


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TagboxError, match=r"tagbox-nanodet-g.*make weights") as raised:
        create_encoders(ClassifierConfig(backbone="nanodet_g"))
    assert raised.value.code == "extra-missing"


def test_scores_of_other_categories(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(drawn_arrays(3), tmp_path / "three.safetensors")
    with pytest.raises(TagboxError, match=r"COCO's 80") as raised:
        created(str(tmp_path / "three.safetensors"))
    assert raised.value.code == "weights-mismatch"
    assert len(coco80.NAMES) == 80
