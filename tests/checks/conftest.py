"""Small datasets that a test then breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from checks_data import SOUND, Coco, noise
from PIL import Image


@pytest.fixture
def sound() -> Coco:
    """COCO records without a fault, to be broken."""
    return copy.deepcopy(SOUND)


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., Path]:
    """Write records (or raw text) as COCO JSON beside the three pictures; returns the JSON's path."""

    def write(content: Coco | str | bytes, name: str = "labels.json", seed: int = 0) -> Path:
        folder = tmp_path / Path(name).stem
        folder.mkdir(exist_ok=True)
        for index, stem in enumerate("abc"):
            Image.fromarray(noise(seed + index)).save(folder / f"{stem}.jpg", quality=95)
        if isinstance(content, dict):
            content = json.dumps(content)
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
