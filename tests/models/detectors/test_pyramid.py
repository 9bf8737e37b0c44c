"""Maps of backbones: against timm's own, against torchvision's own, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
timm = pytest.importorskip("timm", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")

from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402

from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.detectors.pyramid import Pyramid, feature_maps  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def picture(height: int = 96, width: int = 160) -> Any:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps_of(pyramid: Pyramid, x: Any) -> list[Any]:
    with torch.inference_mode():
        return pyramid(x)


@pytest.mark.parametrize(
    "variant", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
)
def test_packaged_maps_are_timms_with_the_same_weights(variant: str) -> None:
    pyramid = feature_maps(variant, "packaged", 160)
    theirs = timm.create_model(f"tf_{variant}", features_only=True, out_indices=(2, 3, 4))
    state = {
        key.removeprefix("maps.network."): value for key, value in pyramid.state_dict().items()
    }
    names = {key: key.replace("blocks.", "blocks_", 0) for key in state}
    missing, unexpected = theirs.load_state_dict(
        {names[k]: v for k, v in state.items()}, strict=False
    )
    assert not missing and not unexpected
    x = picture()
    with torch.inference_mode():
        expected = theirs.eval()(x)
    found = maps_of(pyramid, x)
    assert list(pyramid.channels) == theirs.feature_info.channels()
    assert list(pyramid.strides) == theirs.feature_info.reduction()
    for ours, other in zip(found, expected, strict=True):
        assert ours.shape == other.shape
        assert float((ours - other).abs().max()) <= 1e-4 * float(other.abs().max())
    assert (pyramid.mean, pyramid.weights) == ((0.5, 0.5, 0.5), "packaged")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_timms_maps_are_those_of_features_only(name: str) -> None:
    pyramid = feature_maps(f"timm/{name}", "none", 160)
    fixed = {"img_size": 160} if name.startswith("swin") else {}
    theirs = timm.create_model(name, features_only=True, out_indices=(-3, -2, -1), **fixed).eval()
    # features_only flattens some names; the order of the weights stays.
    ours = pyramid.state_dict()
    own = theirs.state_dict()
    assert [tuple(v.shape) for v in ours.values()] == [tuple(v.shape) for v in own.values()]
    theirs.load_state_dict(dict(zip(own, ours.values(), strict=True)))
    x = picture(160, 160)
    with torch.inference_mode():
        expected = [m.permute(0, 3, 1, 2) if name.startswith("swin") else m for m in theirs(x)]
    for mine, other in zip(maps_of(pyramid, x), expected, strict=True):
        assert torch.equal(mine, other)
    assert pyramid.multiple == (160 if fixed else 32)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("resnet18", ["layer2", "layer3", "layer4"]),
        ("mobilenet_v3_small", ["features.3", "features.8", "features.12"]),
        ("swin_t", ["features.3", "features.5", "norm"]),
    ],
)
def test_torchvisions_maps_are_those_of_its_feature_extractor(name: str, nodes: list[str]) -> None:
    pyramid = feature_maps(f"torchvision/{name}", "none", 160)
    whole = torchvision.models.get_model(name, weights=None)
    state = {
        key.removeprefix("maps.network."): value for key, value in pyramid.state_dict().items()
    }
    whole.load_state_dict(state, strict=False)
    theirs = create_feature_extractor(whole, nodes).eval()
    x = picture()
    with torch.inference_mode():
        expected = list(theirs(x).values())
    for mine, other in zip(maps_of(pyramid, x), expected, strict=True):
        other = other.permute(0, 3, 1, 2) if name == "swin_t" else other
        assert torch.equal(mine, other)


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "resnet18", "mobilenet_v3_small", "timm/mobilenetv3_small_050"]
)
def test_stages_name_every_parameter_once_and_every_parameter_learns(name: str) -> None:
    pyramid = feature_maps(name, "none", 64)
    listed = [key for stage in pyramid.stages("body.") for key in stage]
    named = [f"body.{key}" for key, _ in pyramid.named_parameters()]
    assert sorted(listed) == sorted(named)
    assert not pyramid.training
    sum(m.sum() for m in pyramid(picture(64, 64))).backward()
    assert all(p.grad is not None for p in pyramid.parameters())
    assert len(pyramid.stages()) >= 5


def test_a_saved_pyramid_is_made_again_without_a_network() -> None:
    first = feature_maps("efficientnet_lite0", "default", 320)
    again = feature_maps("efficientnet_lite0", "none", 320)
    again.load_state_dict(first.state_dict())
    x = picture()
    for one, other in zip(maps_of(first, x), maps_of(again, x), strict=True):
        assert torch.equal(one, other)


def test_random_weights_are_always_the_same() -> None:
    one, other = (feature_maps("resnet18", "none", 64).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("resnat18", "backbone-unknown", "did you mean resnet18"),
        ("timm/vit_tiny_patch16_224", "detector-backbone", "it has 16"),
        ("vit_b_32", "detector-backbone", "one size only"),
        ("alexnet", "detector-backbone", "none of a whole number"),
        ("timm/inception_v3", "detector-backbone", "do not lie on a grid"),
        ("maxvit_t", "detector-backbone", "does not take 96x96"),
    ],
)
def test_what_cannot_carry_a_detector_is_said_in_a_sentence(
    name: str, code: str, words: str
) -> None:
    with pytest.raises(TagboxError) as raised:
        feature_maps(name, "none", 96)
    assert raised.value.code == code
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
