"""Evidence maps are exact: a constant and the map's sum make the logit."""

from __future__ import annotations

import numpy as np
import pytest

from tagbox.errors import TagboxError
from tagbox.images.geometry import placement
from tagbox.inference.evidence import combined, evidence, over_image, require_linear
from tagbox.models.heads import head_logits


def pooled(feature_map: np.ndarray, pooling: str) -> np.ndarray:
    parts = {"mean": feature_map.mean((1, 2)), "max": feature_map.max((1, 2))}
    return np.concatenate([parts[kind] for kind in pooling.split("+")])


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_the_terms_sum_to_the_logit(pooling: str) -> None:
    rng = np.random.default_rng(3)
    # Two backbones with maps of different sizes, side by side.
    maps = [rng.normal(size=(5, 3, 4)), rng.normal(size=(7, 6, 6))]
    maps = [m.astype(np.float32) for m in maps]
    width = sum(len(pooled(m, pooling)) for m in maps)
    weights = {
        "mean": rng.normal(size=width).astype(np.float32),
        "scale": rng.uniform(0.5, 2, width).astype(np.float32),
        "output.weight": rng.normal(size=(2, width)).astype(np.float32),
        "output.bias": rng.normal(size=2).astype(np.float32),
    }
    features = np.concatenate([pooled(m, pooling) for m in maps])[None]
    logits = head_logits(weights, features)[0]
    for category in range(2):
        heats, constant = evidence(weights, maps, [pooling] * len(maps), category)
        assert [heat.shape for heat in heats] == [(3, 4), (6, 6)]
        total = sum(heat.sum() for heat in heats) + constant
        assert total == pytest.approx(logits[category], rel=1e-4, abs=1e-4)


def test_the_place_of_the_object_is_where_the_evidence_is() -> None:
    feature_map = np.zeros((1, 4, 4), np.float32)
    feature_map[0, 2, 1] = 8.0
    weights = {
        "mean": np.zeros(2, np.float32),
        "scale": np.ones(2, np.float32),
        "output.weight": np.ones((1, 2), np.float32),
        "output.bias": np.zeros(1, np.float32),
    }
    (heat,), constant = evidence(weights, [feature_map], ["mean+max"], 0)
    assert constant == 0.0
    assert heat[2, 1] == pytest.approx(8 / 16 + 8)
    assert np.count_nonzero(heat) == 1


def test_combined_keeps_the_place() -> None:
    coarse, fine = np.zeros((2, 2)), np.zeros((8, 8))
    coarse[0, 1] = fine[1, 6] = 1.0
    both = combined([coarse, fine])
    assert both.shape == (8, 8)
    assert np.unravel_index(both.argmax(), both.shape) == (1, 6)


@pytest.mark.parametrize("geometry", ["squash", "pad", "crop"])
def test_over_image_puts_a_spot_where_the_picture_has_it(geometry: str) -> None:
    # A 200 x 100 picture with its spot in the middle of the left half, still inside the centre crop.
    width, height, size = 200, 100, 64
    place = placement(width, height, size, geometry)  # type: ignore[arg-type]
    heat = np.zeros((16, 16), np.float32)
    x, y = place.to_square(np.array([70.0, 50.0]))
    heat[int(y / size * 16), int(x / size * 16)] = 1.0
    found = over_image(heat, place, width, height, size)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert abs((column + 0.5) / 16 * width - 70) < 14
    assert abs((row + 0.5) / 16 * height - 50) < 8


def test_crop_has_no_evidence_where_the_network_did_not_look() -> None:
    place = placement(200, 100, 64, "crop")
    found = over_image(np.ones((16, 16), np.float32), place, 200, 100, 64)
    assert found[:, :4].sum() == found[:, -4:].sum() == 0
    assert found[:, 5:11].all()


def test_an_mlp_head_is_refused() -> None:
    with pytest.raises(TagboxError, match="linear") as raised:
        require_linear({"hidden.weight": np.zeros((1, 1), np.float32)})
    assert raised.value.code == "evidence-head"
