"""Real detectors on both engines: the same boxes, on every shape of letterbox."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tagbox.backends.detector_backend import create_detector_engine
from tagbox.config.detector import DetectorConfig
from tagbox.errors import TagboxError
from tagbox.images.geometry import Letterbox, letterboxed
from tagbox.models.detectors.base import Detector, Found
from tagbox.models.detectors.create import build_detector, create_detector

SHAPES = [(96, 60), (50, 96), (96, 96), (20, 30)]
"""Widths and heights."""


def detector(name: str) -> Detector:
    made = create_detector(DetectorConfig(detector=name, weights="none", size=96), "abc")
    options: dict[str, Any] = {**made.spec.options, "score_threshold": 0.0}
    again = build_detector(replace(made.spec, options=options))
    again.load_state_dict(made.state_dict())
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in again.parameters():
            if parameter.ndim > 1:
                parameter += 0.03 * torch.randn(parameter.shape, generator=generator)
    return again


@pytest.mark.parametrize("name", ["dense", "fcos", "fasterrcnn"])
def test_engines_find_the_same(name: str) -> None:
    made = detector(name)
    spec = made.spec
    letterbox = Letterbox(size=spec.size, fixed=spec.fixed, multiple=spec.multiple)
    found: dict[str, list[Found]] = {}
    for engine in ("torch", "openvino"):
        runner = create_detector_engine(made, engine=engine, device="cpu")  # type: ignore[arg-type]
        assert runner.name == engine
        queue = runner.queue()
        said: list[Found] = []
        rng = np.random.default_rng(0)
        for width, height in SHAPES:
            image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            inner = letterbox.inner(width, height)
            queue.submit(
                letterboxed(image, inner, letterbox.outer(*inner)), inner[::-1], said.append
            )
            queue.finish()
        found[engine] = said
    for one, other in zip(found["torch"], found["openvino"], strict=True):
        assert len(one.scores) == len(other.scores) > 0
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_array_equal(one.labels[:5], other.labels[:5])
        np.testing.assert_allclose(one.boxes[:5], other.boxes[:5], atol=1e-2)


def test_shapes_of_letterboxes_are_few() -> None:
    letterbox = Letterbox(size=320, fixed=False, multiple=32)
    found = set()
    for width, height in np.random.default_rng(0).integers(1, 2000, (500, 2)).tolist():
        inner = letterbox.inner(width, height)
        outer = letterbox.outer(*inner)
        assert inner[0] <= outer[0] and inner[1] <= outer[1]
        found.add(outer)
    large = {(320, 256), (256, 320), (320, 320)}
    assert (
        large <= found <= large | {(160, 128), (128, 160), (160, 160), (96, 64), (64, 96), (96, 96)}
    )
    assert letterbox.outer(160, 120) == (160, 128) and letterbox.outer(161, 120) == (320, 256)
    assert letterbox.outer(5, 5) == (96, 64)
    assert Letterbox(size=300, fixed=True, multiple=1).outer(300, 300) == (300, 300)


def test_openvino_is_for_the_cpu() -> None:
    with pytest.raises(TagboxError) as caught:
        create_detector_engine(detector("fcos"), engine="openvino", device="cuda")
    assert caught.value.code in ("engine-device", "device-missing")
