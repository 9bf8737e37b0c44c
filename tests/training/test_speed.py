"""What `auto` decides: a way that was measured to be faster, or eager fp32; and only what the device has."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from tagbox.config import FinetuneConfig
from tagbox.errors import TagboxError
from tagbox.models.backbones import BackboneRequest, create_backbone
from tagbox.models.classifier_network import Network
from tagbox.models.heads import FeatureScale, create_head
from tagbox.training import speed
from tagbox.training.network import on_noise


@pytest.fixture(scope="module")
def network() -> Network:
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", 32), "none")
    scale = FeatureScale(mean=np.zeros(1280, np.float32), scale=np.ones(1280, np.float32))
    head = create_head("linear", scale, np.full(3, 0.2))
    return Network(backbone, head, head_kind="linear", pooling="mean", unfreeze="all")


def resolved(
    network: Network, config: FinetuneConfig, device: str = "cpu"
) -> tuple[FinetuneConfig, list[str]]:
    said: list[str] = []
    found = speed.resolve_speed(config, network, on_noise(2, 32), device=device, say=said.append)
    return found, said


@pytest.mark.parametrize(
    ("last", "chosen"),
    [(0.94, "yes"), (0.96, "no"), (1.5, "no")],
    ids=["faster", "alike", "slower"],
)
def test_another_way_must_be_clearly_faster(
    network: Network, monkeypatch: pytest.MonkeyPatch, last: float, chosen: str
) -> None:
    # What a clock would have said: the choice is what is tested, not the machine.
    times = {("fp32", False): 1.0, ("fp32", True): last}
    monkeypatch.setattr(speed, "step_seconds", lambda *_, **__: times)
    monkeypatch.setattr(speed, "available", lambda _: ["fp32"])
    found, said = resolved(network, FinetuneConfig(), device="cuda")
    assert (found.precision, found.channels_last) == ("fp32", chosen)
    assert len(said) == 1


@pytest.mark.parametrize("asked", ["auto", "yes", "no"])
def test_no_clock_decides_where_the_processor_has_one_arithmetic(
    network: Network, monkeypatch: pytest.MonkeyPatch, asked: Literal["auto", "yes", "no"]
) -> None:
    monkeypatch.setattr(speed, "step_seconds", lambda *_, **__: pytest.fail("measured"))
    monkeypatch.setattr(speed, "available", lambda _: ["fp32"])
    found, said = resolved(network, FinetuneConfig(channels_last=asked))
    assert (found.precision, found.channels_last, said) == (
        "fp32",
        "no" if asked == "no" else "yes",
        [],
    )


def test_an_arithmetic_the_device_lacks_is_one_sentence(network: Network) -> None:
    with pytest.raises(TagboxError, match="fp16 training is not available on this cpu") as raised:
        resolved(network, FinetuneConfig(precision="fp16"))
    assert raised.value.code == "precision-device"


def test_a_measurement_leaves_network_and_generator_alone(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    ways: list[speed.Way] = [("fp32", False), ("fp32", True)]
    taken = speed.step_seconds(network, on_noise(2, 32), ways, device="cpu")
    assert list(taken) == ways and min(taken.values()) > 0
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
