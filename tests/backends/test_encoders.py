"""Both engines take the same squares and give the same features."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tagbox.backends import encoder as encoder_module
from tagbox.backends.create import create_encoder, create_encoders
from tagbox.backends.openvino_backend import OpenVinoEncoder
from tagbox.backends.torch_backend import TorchEncoder
from tagbox.config import ClassifierConfig
from tagbox.errors import TagboxError
from tagbox.models.backbones import (
    Backbone,
    BackboneRequest,
    create_backbone,
    load_backbone,
    normalise,
)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize(
    "variant", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
)
@pytest.mark.parametrize("size", [96, 75])
def test_openvino_agrees_with_torch(variant: str, size: int) -> None:
    backbone = create_backbone(BackboneRequest(variant, size))
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 255, (3, size, size, 3), dtype=np.uint8)
    ours = create_encoder(backbone, geometry="squash", pooling="mean+max", engine="openvino")
    theirs = create_encoder(backbone, geometry="squash", pooling="mean+max", engine="torch")
    features = ours.encode(squares)
    assert features.shape == (3, 2560)
    assert features.dtype == np.float32
    assert features.std() > 0.1
    assert relative(features, theirs.encode(squares)) < 1e-4
    assert relative(ours.maps(squares), theirs.maps(squares)) < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        pytest.param("timm/mobilenetv3_small_050", marks=pytest.mark.slow),
        pytest.param("vit_tiny_patch16_224", marks=pytest.mark.slow),
    ],
)
def test_traced_backbones_agree_with_torch(name: str) -> None:
    size = 224 if name.startswith("vit") else 64
    backbone = create_backbone(BackboneRequest(name, size), "none")
    # Random weights shrink what they see; statistics of a few pictures give it back its spread.
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 255, (4, size, size, 3), dtype=np.uint8)
    _calibrate(backbone.module, normalise(torch.from_numpy(squares), backbone.spec))
    ours = create_encoder(backbone, geometry="squash", engine="openvino")
    theirs = create_encoder(backbone, geometry="squash", engine="torch")
    assert theirs.encode(squares).std() > 1e-2
    assert relative(ours.encode(squares), theirs.encode(squares)) < 1e-4
    assert ours.maps(squares).shape == theirs.maps(squares).shape


def _calibrate(module: nn.Module, x: torch.Tensor) -> None:
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.train()
        norm.reset_running_stats()
    with torch.no_grad():
        module(x)
    module.eval()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_features_are_pooled_maps(
    engine: Any, pooling: Any, lite0: Backbone, squares: np.ndarray
) -> None:
    encoder = create_encoder(lite0, geometry="squash", pooling=pooling, engine=engine)
    maps = encoder.maps(squares)
    parts = {"mean": maps.mean(axis=(2, 3)), "max": maps.max(axis=(2, 3))}
    pooled = np.concatenate([parts[kind] for kind in pooling.split("+")], axis=1)
    assert encoder.dim == pooled.shape[1]
    assert relative(encoder.encode(squares), pooled) < 1e-5


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_whole_map_is_a_feature_too(engine: Any, lite0: Backbone, squares: np.ndarray) -> None:
    encoder = create_encoder(lite0, geometry="squash", pooling="map", engine=engine)
    assert encoder.map_shape == (1280, 3, 3)
    assert encoder.dim == 11520
    found = encoder.encode(squares)
    assert np.array_equal(found.reshape(5, 1280, 3, 3), encoder.maps(squares))
    mean = create_encoder(lite0, geometry="squash", engine=engine)
    assert relative(found.reshape(5, 1280, 9).mean(2), mean.encode(squares)) < 1e-5
    assert encoder.key != mean.key


@pytest.mark.parametrize("size", [32, 33, 63, 75, 96, 224])
def test_a_maps_shape_is_known_before_any_picture(size: int) -> None:
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", size))
    with torch.inference_mode():
        found = backbone.module(torch.zeros(1, 3, size, size)).shape
    assert backbone.map_shape == tuple(found[1:])


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (512, 2, 2)), ("vit_b_32", (768, 1, 1))])
def test_a_maps_shape_of_other_backbones(name: str, shape: tuple[int, int, int]) -> None:
    backbone = create_backbone(BackboneRequest(name, 64), "none")
    assert backbone.map_shape == shape
    # As a saved model makes it again.
    loaded = load_backbone(backbone.spec, backbone.arrays())
    encoder = create_encoder(loaded, geometry="squash", pooling="map", engine="torch")
    assert encoder.map_shape == shape
    assert encoder.encode(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, np.prod(shape))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_submitting_gives_what_encoding_gives(
    engine: Any, lite0: Backbone, squares: np.ndarray
) -> None:
    encoder = create_encoder(lite0, geometry="squash", engine=engine)
    queue = encoder.queue()
    found: dict[int, np.ndarray] = {}
    for index, square in enumerate(squares):
        queue.submit(square, lambda row, index=index: found.__setitem__(index, row.copy()))
    queue.finish()
    assert np.array_equal(np.stack([found[i] for i in range(5)]), encoder.encode(squares))
    queue.finish()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_mirrored_view_needs_no_copy(engine: Any, lite0: Backbone, squares: np.ndarray) -> None:
    encoder = create_encoder(lite0, geometry="squash", engine=engine)
    mirrored = squares[:, :, ::-1]
    assert np.array_equal(encoder.encode(mirrored), encoder.encode(mirrored.copy()))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_nothing_in_nothing_out(engine: Any, lite0: Backbone) -> None:
    encoder = create_encoder(lite0, geometry="squash", engine=engine)
    assert encoder.encode(np.zeros((0, 96, 96, 3), np.uint8)).shape == (0, 1280)


def test_the_torch_encoder_is_bit_equal_to_the_network_end_to_end(lite0: Backbone) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = lite0.module
            self.head = nn.Linear(1280, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                features = self.backbone(x).mean(dim=(2, 3))
            return self.head(features)

    torch.manual_seed(0)
    model = Classifier().eval()
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 255, (40, 96, 96, 3), dtype=np.uint8)
    encoder = create_encoder(lite0, geometry="squash", engine="torch")
    features = torch.from_numpy(encoder.encode(squares))
    # Another size of batch than the encoder's, and none below 16, see `TorchEncoder`.
    for start in range(0, 40, 20):
        batch = torch.from_numpy(squares[start : start + 20])
        logits = model(normalise(batch, lite0.spec))
        assert torch.equal(model.head(features[start : start + 20]), logits)


def test_one_square_alone_has_the_bits_it_has_among_others(
    lite0: Backbone, squares: np.ndarray
) -> None:
    for engine in (OpenVinoEncoder, None):
        encoder = create_encoder(
            lite0, geometry="squash", engine="torch" if engine is None else "openvino"
        )
        assert np.array_equal(encoder.encode(squares[:1])[0], encoder.encode(squares)[0])


def test_bf16_is_near_fp32(lite0: Backbone, squares: np.ndarray) -> None:
    for engine in ("torch", "openvino"):
        half = create_encoder(lite0, geometry="squash", engine=engine, precision="bf16")
        whole = create_encoder(lite0, geometry="squash", engine=engine)
        assert relative(half.encode(squares), whole.encode(squares)) < 0.2
        # A CPU without bf16 computes in fp32, and its features are keyed so.
        assert (half.key == whole.key) == (half.precision == "fp32")


def test_openvino_says_its_precision_always(lite0: Backbone) -> None:
    encoder = create_encoder(lite0, geometry="squash", engine="openvino")
    compiled = encoder._requests._compiled
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert compiled.input(0).element_type.get_type_name() == "u8"


def test_the_key_holds_everything_that_decides_a_feature(
    lite0: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(backbone: Backbone = lite0, **settings: Any) -> str:
        return create_encoder(backbone, **{"geometry": "squash", **settings}).key

    other_weights = create_backbone(BackboneRequest("efficientnet_lite0", 96), "none")
    other_colours = create_backbone(BackboneRequest("efficientnet_lite0", 96))
    other_colours.spec = replace(other_colours.spec, mean=(0.4, 0.5, 0.5))
    keys = [
        key(),
        key(geometry="pad"),
        key(pooling="max"),
        key(pooling="map"),
        key(engine="torch"),
        key(engine="torch", precision="bf16"),
        key(create_backbone(BackboneRequest("efficientnet_lite0", 128))),
        key(create_backbone(BackboneRequest("efficientnet_lite1", 96))),
        key(other_weights),
        key(other_colours),
    ]
    monkeypatch.setattr("tagbox.backends.openvino_backend.installed_version", lambda _: "1.0")
    keys.append(key())
    monkeypatch.setattr(encoder_module, "pixels_version", lambda: "other")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    assert key() == keys[0]


def test_devices_and_engines_that_do_not_go_together(lite0: Backbone) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(TagboxError) as raised:
            create_encoder(lite0, geometry="squash", device="cuda")
        assert raised.value.code == "device-missing"
    monkey = pytest.MonkeyPatch()
    monkey.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(TagboxError) as raised:
        create_encoder(lite0, geometry="squash", device="cuda", engine="openvino")
    monkey.undo()
    assert raised.value.code == "engine-device"
    assert isinstance(create_encoder(lite0, geometry="squash", device="cpu"), OpenVinoEncoder)
    assert isinstance(
        create_encoder(lite0, geometry="squash", device="cpu", engine="torch"), TorchEncoder
    )


def test_encoders_of_a_configuration() -> None:
    config = ClassifierConfig(
        backbone="efficientnet_lite0@64+efficientnet_lite2@96", geometry="pad", pooling="max"
    )
    encoders = create_encoders(config)
    assert [(e.spec.name, e.spec.size) for e in encoders] == [
        ("efficientnet_lite0", 64),
        ("efficientnet_lite2", 96),
    ]
    assert {(e.geometry, e.pooling) for e in encoders} == {("pad", "max")}


def test_a_head_that_looks_at_the_map_gets_it_whatever_the_pooling() -> None:
    config = ClassifierConfig(backbone="efficientnet_lite0@64", head="csra", pooling="max")
    (encoder,) = create_encoders(config)
    assert encoder.pooling == "map"
    assert encoder.dim == 1280 * 2 * 2
    with pytest.raises(TagboxError) as raised:
        create_encoders(replace(config, backbone="efficientnet_lite0@64+efficientnet_lite2@64"))
    assert raised.value.code == "head-backbones"


def test_a_class_token_is_pooled_once() -> None:
    backbone = create_backbone(BackboneRequest("vit_tiny_patch16_224"), "none")
    encoder = create_encoder(backbone, geometry="squash", pooling="mean+max")
    assert encoder.dim == 192


def test_encoding_with_packaged_weights_imports_neither_torch_nor_timm() -> None:
    script = (
        "import sys, numpy as np\n"
        "from tagbox.models.backbones import BackboneRequest, create_backbone\n"
        "from tagbox.backends.create import create_encoder\n"
        "b = create_backbone(BackboneRequest('efficientnet_lite0', 64))\n"
        "e = create_encoder(b, geometry='squash', device='cpu')\n"
        "assert e.encode(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 1280)\n"
        "loaded = {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
