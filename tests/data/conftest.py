"""Small datasets on disk, written by hand in each format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., Path]:
    """`picture(path, (width, height))` writes a small picture and returns its path."""

    def write(path: Path, size: tuple[int, int] = (8, 6), **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 120, 30)).save(path, **options)
        return path

    return write


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., Path]:
    """`coco(images=…, annotations=…)` writes a COCO file; what is not given is sound."""

    def write(
        path: Path | str = "instances_train.json", *, drop: tuple[str, ...] = (), **lists: Any
    ) -> Path:
        content = {
            "images": [
                {"id": 5, "file_name": "a.jpg", "width": 8, "height": 6},
                {"id": 3, "file_name": "b.jpg", "width": 8, "height": 6},
                {"id": 9, "file_name": "c.jpg", "width": 8, "height": 6},
            ],
            "annotations": [
                {"id": 1, "image_id": 3, "category_id": 7, "bbox": [1, 2, 3, 4.5], "area": 9},
                {"id": 2, "image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1], "iscrowd": 1},
                {"id": 4, "image_id": 5, "category_id": 7},
            ],
            "categories": [
                {"id": 7, "name": "dog", "supercategory": "animal"},
                {"id": 2, "name": "car", "supercategory": "vehicle"},
                {"id": 4, "name": "cat", "supercategory": "animal"},
            ],
        } | lists
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({k: v for k, v in content.items() if k not in drop}))
        return target

    return write
