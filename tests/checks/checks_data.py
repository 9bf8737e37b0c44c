"""A COCO dataset without a fault, and pictures for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Coco = dict[str, Any]

SOUND: Coco = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "c.jpg", "width": 40, "height": 30},
    ],
    "categories": [
        {"id": 1, "name": "cat", "supercategory": "animal"},
        {"id": 2, "name": "dog", "supercategory": "animal"},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 2, 10, 10],
            "area": 100,
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 2,
            "category_id": 2,
            "bbox": [0, 0, 40, 30],
            "area": 1200,
            "iscrowd": 1,
        },
        {
            "id": 3,
            "image_id": 3,
            "category_id": 1,
            "bbox": [5, 5, 5.5, 5],
            "area": 27.5,
            "iscrowd": 0,
        },
    ],
}


def noise(seed: int, height: int = 30, width: int = 40) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Blocks of random colours: no two seeds look alike, and every decoder keeps them."""
    cells = np.random.default_rng(seed).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST))
