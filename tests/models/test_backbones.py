"""Backbones by name: requests, specifications, sources, feature maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")
timm = pytest.importorskip("timm", reason="needs the train extra")

from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.backbones import (  # noqa: E402
    Backbone,
    BackboneRequest,
    create_backbone,
    load_backbone,
    parse_backbones,
)


def random(name: str, size: int | None = None) -> Backbone:
    torch.set_num_threads(1)
    return create_backbone(BackboneRequest(name, size), "none")


def code_of(text: str, weights: str = "default") -> TagboxError:
    with pytest.raises(TagboxError) as raised:
        for request in parse_backbones(text):
            create_backbone(request, weights)
    return raised.value


def test_requests() -> None:
    assert parse_backbones("a@384 + b") == (BackboneRequest("a", 384), BackboneRequest("b"))


@pytest.mark.parametrize("text", ["a@", "a@x", "a@31", "a@9999", "a@-64", "a@6.4", "a@²²²"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(TagboxError) as raised:
        parse_backbones(text)
    assert raised.value.code == "backbone-size"
    assert text in str(raised.value)


@pytest.mark.parametrize("text", ["", "a+", "@384", "a++b"])
def test_empty_names(text: str) -> None:
    with pytest.raises(TagboxError) as raised:
        parse_backbones(text)
    assert raised.value.code == "backbone-unknown"


def test_unknown_names_come_with_near_ones() -> None:
    error = code_of("efficientnet_light0")
    assert error.code == "backbone-unknown"
    assert "efficientnet_lite0" in str(error)
    assert code_of("torchvision/vit_tiny_patch16_224").code == "backbone-unknown"
    assert code_of("resnet18.no_such_tag").code == "backbone-unknown"


def test_only_some_backbones_have_packaged_weights() -> None:
    assert code_of("resnet18", "packaged").code == "weights-packaged"


def test_a_size_the_network_does_not_take() -> None:
    assert code_of("vit_b_16@225", "none").code == "backbone-size"


# Every kind of cut that torchvision's models need; the list is among them.
TORCHVISION = {
    "resnet18": lambda m, x: m.fc(x),
    "mobilenet_v3_large": lambda m, x: m.classifier(x),
    "efficientnet_b0": lambda m, x: m.classifier(x),
    "convnext_tiny": lambda m, x: m.classifier(x[:, :, None, None]),
    "swin_t": lambda m, x: m.head(x),
    "densenet121": lambda m, x: m.classifier(x),
    "shufflenet_v2_x0_5": lambda m, x: m.fc(x),
    "mnasnet0_5": lambda m, x: m.classifier(x),
    "regnet_y_400mf": lambda m, x: m.fc(x),
    "vit_b_16": lambda m, x: m.heads(x),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_features_lead_to_torchvisions_logits(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    backbone = create_backbone(BackboneRequest(name), str(tmp_path / "whole.pth"))
    head = whole
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        found = backbone.module(x)
        logits = TORCHVISION[name](head, found.mean(dim=(2, 3)))
        assert torch.allclose(logits, whole(x), atol=1e-5)
    assert backbone.spec.mean_pooled == (name != "vit_b_16")
    assert backbone.spec.dim == found.shape[1]
    assert backbone.spec.mean == (0.485, 0.456, 0.406)
    assert backbone.spec.source == "torchvision"


@pytest.mark.parametrize(
    ("name", "mean_pooled"),
    [
        ("timm/resnet18", True),
        ("mobilenetv3_small_050", True),
        ("convnext_atto", True),
        # Channels last inside.
        pytest.param("swin_tiny_patch4_window7_224", True, marks=pytest.mark.slow),
        ("vit_tiny_patch16_224", False),
    ],
)
def test_timm_maps_are_timms(name: str, mean_pooled: bool, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    whole = timm.create_model(name.removeprefix("timm/"), pretrained=False).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    backbone = create_backbone(BackboneRequest(name), str(tmp_path / "whole.pth"))
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        found = backbone.module(x)
        theirs = whole.forward_features(x)
        if not mean_pooled:
            theirs = whole.forward_head(theirs, pre_logits=True)[:, :, None, None]
        elif theirs.shape[1] != found.shape[1]:
            theirs = theirs.permute(0, 3, 1, 2)
        assert torch.equal(found, theirs)
    assert backbone.spec.mean_pooled == mean_pooled
    assert backbone.spec.mean == whole.default_cfg["mean"]
    assert backbone.spec.source == "timm"


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", pytest.param("torchvision/vit_b_16", marks=pytest.mark.slow)]
)
def test_position_embeddings_follow_the_size(name: str, tmp_path: Path) -> None:
    whole = random(name)
    torch.save(whole.module.network.state_dict(), tmp_path / "w.pth")
    larger = create_backbone(BackboneRequest(name, 256), str(tmp_path / "w.pth"))
    with torch.inference_mode():
        assert larger.module(torch.zeros(1, 3, 256, 256)).shape[1] == whole.spec.dim


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "efficientnet_lite0"])
def test_a_saved_models_arrays_make_the_same_backbone(name: str) -> None:
    first = random(name, 64)
    again = load_backbone(first.spec, first.arrays())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(first.module(x), again.module(x))
    assert again.spec == first.spec
    assert again.parameters == first.parameters
    with pytest.raises(TagboxError) as raised:
        load_backbone(first.spec, dict(list(first.arrays().items())[3:]))
    assert raised.value.code == "weights-mismatch"


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_random_weights_are_always_the_same(name: str) -> None:
    torch.manual_seed(5)
    first = random(name, 64)
    before = torch.rand(1)
    torch.manual_seed(5)
    again = random(name, 64)
    assert first.spec == again.spec
    # The caller's generator is not touched.
    assert torch.equal(before, torch.rand(1))


def test_a_frozen_backbone_is_frozen() -> None:
    for name in ("resnet18", "efficientnet_lite0"):
        module = random(name, 64).module
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "efficientnet_lite0"])
@pytest.mark.parametrize("kind", ["pth", "safetensors", "wrapped"])
def test_checkpoints_of_users(name: str, kind: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first = random(name, 64)
    state = {k: torch.from_numpy(v.copy()) for k, v in first.arrays().items()}
    path = tmp_path / f"w.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "pth":
        torch.save(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    again = create_backbone(BackboneRequest(name, 64), str(path))
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(first.module(x), again.module(x))
    assert again.spec.weights == str(path)


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "efficientnet_lite0"])
def test_bad_checkpoints_are_named(name: str, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    torch.save(random("mnasnet0_5", 64).module.network.state_dict(), tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "zero.safetensors").write_bytes(b"")
    whole = (tmp_path / "other.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    for file, code in {
        "none.pth": "weights-missing",
        "evil.pth": "weights-corrupt",
        "empty.pth": "weights-corrupt",
        "text.pth": "weights-corrupt",
        "zero.safetensors": "weights-corrupt",
        "half.pth": "weights-corrupt",
        "other.pth": "weights-mismatch",
    }.items():
        error = code_of(f"{name}@64", str(tmp_path / file))
        assert (error.code, error.file) == (code, str(tmp_path / file)), error
    assert not (tmp_path / "ran").exists()


def test_a_mismatch_names_the_first_weights(tmp_path: Path) -> None:
    state = random("resnet18", 64).module.network.state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "w.pth")
    assert "layer1.0.conv1.weight" in str(code_of("resnet18", str(tmp_path / "w.pth")))
    state["layer1.0.conv1.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    assert "layer1.0.conv1.weight" in str(code_of("resnet18", str(tmp_path / "w.pth")))


def test_normalisation_statistics_are_part_of_the_arrays() -> None:
    arrays = random("resnet18", 64).arrays()
    assert "bn1.running_mean" in arrays
    assert all(isinstance(v, np.ndarray) for v in arrays.values())
