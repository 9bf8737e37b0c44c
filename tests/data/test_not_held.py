"""What a format cannot hold is said, and crowd regions never become ordinary boxes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tagbox.data.export import Format, export
from tagbox.data.load import load_dataset
from tagbox.data.not_held import not_held

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
    assert "3 segmentations" in answer["not_held"]
    said = "1 crowd regions, which are left out"
    assert (said in answer["not_held"]) == (said in done.stderr) == (crowds == 0)
    # Per part, and a line a kind that names the files.
    per_part = [answer["parts"][part]["not_held"]["segmentations"] for part in ("train", "val")]
    assert sorted(per_part) == [1, 2]
    lines = [line for line in done.stderr.splitlines() if "segmentations" in line]
    places = [
        f"{count} in {answer['parts'][part]['path']}"
        for count, part in zip(per_part, ("train", "val"), strict=True)
    ]
    assert lines == [f"{format} cannot hold 3 segmentations: {', '.join(places)}"]


EXTRA = {
    "id": 9,
    "image_id": 1,
    "category_id": 7,
    "bbox": [1, 2, 9, 8],
    "area": 40.5,
    "iscrowd": 0,
    "segmentation": [],
    "keypoints": [3, 4, 2],
    "num_keypoints": 1,
    "attributes": {"occluded": True},
    "score": 0.5,
    "note": "",
}
BARE = {"id": 3, "image_id": 1, "category_id": 7}


def test_every_kind_is_counted(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1.png", (40, 30))
    image = {"id": 1, "file_name": "1.png", "width": 40, "height": 30, "license": 3, "camera": "x"}
    content = {
        "images": [image],
        "annotations": [EXTRA, BARE],
        "categories": [{"id": 7, "name": "cat", "supercategory": "animal"}],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    dataset = load_dataset(path)
    of_coco = {
        "supercategories": 1,
        "areas other than those of the boxes": 1,
        "keypoints": 1,
        "attributes": 1,
        "fields 'score' of annotations": 1,
        "fields 'camera' of images": 1,
        "licences, addresses and dates of images": 1,
        "ids of images and annotations": 3,
        "ids of categories": 1,
    }
    assert not_held(dataset, "coco") == {}
    assert not_held(dataset, "voc") == of_coco
    whole = "labels without a box, which become boxes of the whole image"
    assert not_held(dataset, "yolo") == of_coco | {whole: 1, "sizes of images": 1}
    assert not_held(dataset, "csv") == of_coco | {"boxes": 1, "sizes of images": 1}


@pytest.mark.parametrize("format", ["yolo", "coco", "labelme"])
def test_of_a_polygon_the_box_is_kept(tmp_path: Path, picture: Picture, format: Format) -> None:
    """Also from YOLO to YOLO, whose writer writes boxes."""
    picture(tmp_path / "images" / "a.png", (40, 30))
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    label = tmp_path / "labels" / "a.txt"
    label.write_text("0 .1 .1 .5 .1 .5 .9 .2 .8\n0 .5 .5 .2 .2\n")
    assert not_held(load_dataset(tmp_path), format)["polygons"] == 1
    (tmp_path / "data.yaml").write_text("names: [cat]\nkpt_shape: [1, 2]\n")
    label.write_text("0 .5 .5 .2 .2 .5 .5\n" * 3)
    dataset = load_dataset(tmp_path)
    assert not_held(dataset, format)["keypoints"] == 3
    assert "keypoints" not in not_held(dataset.take([]), format)


def test_of_a_drawn_shape_the_box_is_kept(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png", (40, 30))
    shapes = [
        {"label": "cat", "shape_type": kind, "points": [[1, 2], [9, 9], [3, 4]][:count]}
        for kind, count in (("polygon", 3), ("rectangle", 2), ("circle", 2))
    ]
    record = {"imagePath": "a.png", "imageWidth": 40, "imageHeight": 30, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(record))
    found = not_held(load_dataset(tmp_path), "labelme")
    assert found == {"shapes other than rectangles, of which the boxes are kept": 2}


def test_boxes_that_leave_the_image_are_written_so_that_yolo_reads_them(
    tmp_path: Path, picture: Picture
) -> None:
    """YOLO's readers refuse a centre outside the image and a side longer than it."""
    picture(tmp_path / "1.png", (40, 30))
    boxes = [
        [45, 2, 10, 10],  # outside
        [-20, -2, 100, 20],  # wider
        [-8, 5, 10, 10],  # its centre is outside
        [35, 25, 10, 10],  # its centre is the corner
        [-1, 3, 10, 10],
    ]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 7, "bbox": box, "area": box[2] * box[3]}
        for n, box in enumerate(boxes, 1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    dataset = load_dataset(path)
    again = load_dataset(export(dataset, tmp_path / "out", "train", "yolo", "copy"))
    kept = [[0, 0, 40, 18], [0, 5, 2, 10], [35, 25, 10, 10], [-1, 3, 10, 10]]
    np.testing.assert_allclose(again.annotations.boxes, kept, atol=1e-6)
    found = not_held(dataset, "yolo")
    assert found["boxes that leave their image, which are clipped"] == 2
    assert found["boxes outside their image, which are left out"] == 1
    assert not [what for what in not_held(dataset, "voc") if what.startswith("boxes")]
