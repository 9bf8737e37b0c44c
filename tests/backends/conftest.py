"""Pictures and one small encoder for the tests of engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Before openvino itself, whose statistics this module keeps from being sent.
pytest.importorskip("tagbox.backends.openvino_backend", reason="needs the train extra")
pytest.importorskip("openvino", reason="needs the train extra")
pytest.importorskip("torch", reason="needs the train extra")

import torch

from tagbox.models.backbones import Backbone, BackboneRequest, create_backbone


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Other threads than the tests' own slow small tensors down many times on a busy machine.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lite0() -> Backbone:
    """The packaged weights at a small size."""
    return create_backbone(BackboneRequest("efficientnet_lite0", 96))


@pytest.fixture(scope="session")
def squares() -> np.ndarray:
    """Five smooth random (96, 96, 3) squares."""
    rng = np.random.default_rng(0)
    return np.stack([_smooth(rng, 96, 96) for _ in range(5)])


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Five JPEGs of different shapes."""
    rng = np.random.default_rng(1)
    paths = []
    for index, (width, height) in enumerate(
        [(160, 120), (120, 160), (300, 200), (97, 97), (640, 480)]
    ):
        path = tmp_path / "pictures" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(_smooth(rng, width, height)).save(path, quality=90)
        paths.append(path)
    return paths


def _smooth(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    small = Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
