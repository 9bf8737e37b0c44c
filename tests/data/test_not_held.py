"""What a format cannot hold is said, and crowd regions never become ordinary boxes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox.data.load import load_dataset

Picture = Callable[..., Path]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("format", "boxes", "crowds"), [("yolo", 2, 0), ("labelme", 2, 0), ("voc", 3, 1)]
)
def test_crowd(
    tmp_path: Path, picture: Picture, cli: Cli, format: str, boxes: int, crowds: int
) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)]
    for image in images:
        picture(tmp_path / str(image["file_name"]), (40, 30))
    places = [(1, 0), (2, 0), (2, 1)]
    annotations = [
        {
            "id": n,
            "image_id": image,
            "category_id": 7,
            "bbox": [1, 2, 9, 8],
            "area": 72,
            "iscrowd": crowd,
            "segmentation": [[1, 2, 10, 2, 10, 10]],
        }
        for n, (image, crowd) in enumerate(places, 1)
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    out = tmp_path / "out"
    done = cli("split", path, "--out", out, "--val-fraction", "0.5", "--to", format, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    parts = [load_dataset(answer["parts"][part]["path"]) for part in ("train", "val")]
    assert sum(len(part.annotations) for part in parts) == boxes
    assert sum(int(part.annotations.crowd.sum()) for part in parts) == crowds
    assert "segmentations" in answer["not_held"]
    said = "1 crowd regions, which are left out"
    assert (said in answer["not_held"]) == (said in done.stderr) == (crowds == 0)
