"""What ``auto`` means for precision and memory layout: what the device computes in hardware."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import pytest

from tagbox.config import ClassifierConfig, DetectorConfig, FinetuneConfig
from tagbox.errors import TagboxError
from tagbox.training import resolve_config
from tagbox.training.resolve_config import resolve_machine


def runtime(device: str) -> Any:
    return SimpleNamespace(device=SimpleNamespace(type=device), from_main=lambda value: value)


@pytest.mark.parametrize(
    ("device", "flags", "there", "precision", "channels_last"),
    [
        ("cpu", "avx2", ["fp32"], "fp32", "yes"),
        ("cpu", "avx2 avx512_bf16", ["fp32", "bf16"], "fp32", "yes"),
        ("cpu", "avx2 avx512_bf16 amx_bf16", ["fp32", "bf16"], "bf16", "yes"),
        ("cuda", "avx2", ["fp32", "bf16", "fp16"], "bf16", "yes"),
        ("cuda", "avx2", ["fp32", "fp16"], "fp32", "no"),
        ("mps", "", ["fp32"], "fp32", "no"),
    ],
)
def test_auto_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    flags: str,
    there: list[str],
    precision: str,
    channels_last: str,
) -> None:
    for module in ("device", "training.resolve_config"):
        monkeypatch.setattr(f"tagbox.{module}.cpu_flags", lambda: set(flags.split()))
    if device == "cpu":
        assert resolve_config.available_precisions(device) == there
    else:
        monkeypatch.setattr(resolve_config, "available_precisions", lambda _: there)
    classifier = resolve_machine(ClassifierConfig(), runtime(device)).finetune
    detector = resolve_machine(DetectorConfig(), runtime(device))
    for config in (classifier, detector):
        assert (config.precision, config.channels_last) == (precision, channels_last)


@pytest.mark.parametrize("layout", ["yes", "no"])
def test_a_named_layout_stays(layout: Literal["yes", "no"]) -> None:
    config = DetectorConfig(channels_last=layout, precision="fp32")
    assert resolve_machine(config, runtime("cpu")) == config


def test_a_precision_the_device_lacks_is_refused() -> None:
    config = ClassifierConfig(finetune=FinetuneConfig(precision="fp16"))
    with pytest.raises(TagboxError, match="fp16 training is not available on this cpu") as raised:
        resolve_machine(config, runtime("cpu"))
    assert (raised.value.code, raised.value.where) == ("precision-device", "finetune.precision")
