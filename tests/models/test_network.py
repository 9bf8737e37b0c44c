"""The whole network: stages in order, frozen means frozen, and equal to the encoder with a head."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tagbox.backends.create import create_encoder
from tagbox.errors import TagboxError
from tagbox.models.backbones import Backbone, BackboneRequest, create_backbone, trained_backbone
from tagbox.models.classifier_network import Network
from tagbox.models.heads import FeatureScale, create_head, head_logits

NAMES = (
    *(
        "efficientnet_lite0",
        "resnet18",
        "mobilenet_v3_small",
        "vit_b_16",
        "swin_t",
        "convnext_tiny",
    ),
    *("timm/resnet18", "timm/efficientnet_b0", "timm/vit_tiny_patch16_224", "densenet121"),
)


def backbone(name: str = "efficientnet_lite0", size: int | None = 64) -> Backbone:
    weights = "packaged" if name == "efficientnet_lite0" else "none"
    return create_backbone(BackboneRequest(name, size), weights)


def network(unfreeze: str = "all", **settings: object) -> Network:
    made = backbone()
    width = 2 * made.spec.dim
    scale = FeatureScale(mean=np.zeros(width, np.float32), scale=np.ones(width, np.float32))
    head = create_head("linear", scale, np.array([0.2, 0.5, 0.1]))
    with torch.no_grad():
        head.output.weight.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,operator]
    return Network(
        made,
        head,
        head_kind="linear",
        pooling="mean+max",
        unfreeze=unfreeze,
        **settings,  # type: ignore[arg-type]
    )


def squares(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 64, 64, 3), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_stages_hold_every_parameter_once_in_the_pictures_order(name: str) -> None:
    made = backbone(name, None if "vit" in name else 64)
    stages = made.stages()
    listed = [parameter for stage in stages for parameter in stage]
    assert sorted(listed) == sorted(key for key, _ in made.module.named_parameters())
    assert 4 <= len(stages) <= 32
    assert all(stages)


def test_lites_stages_begin_at_the_stem_and_end_at_the_head() -> None:
    stages = backbone().stages()
    assert len(stages) == 9
    assert stages[0][0].startswith("conv_stem")
    assert all(name.startswith("blocks.3.") for name in stages[4])
    assert stages[-1][0].startswith("conv_head")


def test_it_says_what_encoder_and_head_say() -> None:
    whole = network().eval()
    made = backbone()
    encoder = create_encoder(made, geometry="squash", pooling="mean+max", engine="torch")
    state = {name: value.numpy() for name, value in whole.head.state_dict().items()}
    expected = head_logits(state, encoder.encode(squares().numpy()))
    with torch.no_grad():
        np.testing.assert_allclose(whole(squares()).numpy(), expected, rtol=1e-4, atol=1e-4)
        last = whole.use_channels_last()(squares()).numpy()
    np.testing.assert_allclose(last, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("unfreeze", "moving"), [("none", 0), ("2", 2), ("all", 9)])
def test_only_what_is_unfrozen_moves(unfreeze: str, moving: int) -> None:
    whole = network(unfreeze, train_norms=True)
    before = copy.deepcopy(whole.state_dict())
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], lr=0.1)
    whole.train()
    whole(squares()).square().mean().backward()
    optimizer.step()
    after = whole.state_dict()
    changed = {
        name.removeprefix("backbone.")
        for name, value in after.items()
        if name.startswith("backbone.") and not torch.equal(value, before[name])
    }
    stages = whole.stages
    # Frozen means frozen: neither weights nor the statistics of normalisations.
    still = {name.rsplit(".", 1)[0] for stage in stages[: len(stages) - moving] for name in stage}
    assert not [name for name in changed if name.rsplit(".", 1)[0] in still]
    assert {name for stage in stages[len(stages) - moving :] for name in stage} <= changed
    if moving:
        assert any("running_mean" in name for name in changed)


def test_norms_of_trained_stages_rest_when_they_should() -> None:
    whole = network("all", train_norms=False)
    before = copy.deepcopy(whole.state_dict())
    whole.train()
    whole(squares())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_more_stages_than_there_are_is_one_sentence() -> None:
    with pytest.raises(TagboxError, match="efficientnet_lite0 has 9") as raised:
        network("12")
    assert raised.value.code == "config-value"


def test_a_trained_backbone_is_another_one() -> None:
    made = backbone()
    arrays = {name: value + 1e-3 for name, value in made.arrays().items()}
    trained = trained_backbone(made, arrays)
    assert trained.spec.weights_sha256 != made.spec.weights_sha256
    assert trained.spec.weights == "trained from packaged"
    assert trained_backbone(trained, arrays).spec.weights == "trained from packaged"
