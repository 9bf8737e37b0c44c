"""labelme folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from tagbox import DataConfig, TagboxError
from tagbox.data.formats.labelme import read_labelme, write_labelme
from tagbox.data.load import load_dataset

Picture = Callable[..., Path]


def shape(label: str, points: list[list[float]], kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


def annotate(path: Path, *shapes: dict[str, Any], **fields: Any) -> Path:
    record = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": 60,
        "imageWidth": 80,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record | fields))
    return path


def test_shapes_become_boxes(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg", (80, 60))
    picture(tmp_path / "b.jpg")
    annotate(
        tmp_path / "a.json",
        shape("dog", [[10, 20], [30, 5], [20, 50]]),
        shape("cat", [[50, 40], [5, 6]], "rectangle"),
        shape("ball", [[40, 30], [43, 34]], "circle"),
        shape("eye", [[7, 7]], "point"),
        flags={"indoor": True, "blurred": False},
    )
    dataset = load_dataset(tmp_path)
    assert dataset.source.format == "labelme"
    # Flags name categories even where they are not set.
    assert dataset.categories.names == ("ball", "blurred", "cat", "dog", "eye", "indoor")
    assert_allclose(
        dataset.annotations.boxes[:3], [[10, 5, 20, 45], [5, 6, 45, 34], [35, 25, 10, 10]]
    )
    assert dataset.annotations.has_box.tolist() == [True, True, True, False, False]
    assert dataset.images.files.tolist() == ["a.jpg", "b.jpg"]
    assert dataset.images.labelled.tolist() == [True, False]
    assert dataset.images.widths.tolist() == [80, 0]
    assert dataset.labels[0].tolist() == [1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("written", ["..\\images\\a.jpg", "../images/a.jpg", "/home/x/a.jpg"])
def test_pictures_in_a_folder_beside(tmp_path: Path, picture: Picture, written: str) -> None:
    picture(tmp_path / "images/a.jpg")
    annotate(tmp_path / "json/a.json", shape("cat", [[0, 0], [1, 1]]), imagePath=written)
    dataset = load_dataset(tmp_path / "json")
    assert dataset.images.path(0) == tmp_path / "images/a.jpg"


def test_embedded_picture_is_skipped(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg")
    annotate(tmp_path / "a.json", shape("cat", [[0, 0], [1, 1]]), imageData="QUJD" * 50_000)
    assert load_dataset(tmp_path).labels.tolist() == [[1]]


FAULTS = [
    ({"shapes": None}, "labelme-field", "shapes"),
    ({"shapes": [{"label": "a", "points": [[1]]}]}, "labelme-field", "shapes[0].points[0]"),
    ({"shapes": [{"points": [[1, 2]]}]}, "labelme-field", "shapes[0]"),
    ({"shapes": [{"label": 3, "points": []}]}, "labelme-field", "shapes[0].label"),
    ({"imageWidth": "wide"}, "labelme-field", "imageWidth"),
    ({"imagePath": "../../etc/x.jpg"}, "file-name-outside", "imagePath"),
]


@pytest.mark.parametrize(("fields", "code", "where"), FAULTS)
def test_faults(tmp_path: Path, fields: dict[str, Any], code: str, where: str) -> None:
    path = annotate(tmp_path / "a.json", **fields)
    with pytest.raises(TagboxError) as caught:
        read_labelme(tmp_path)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(path)


def test_syntax(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"shapes": [],\n]')
    with pytest.raises(TagboxError) as caught:
        read_labelme(tmp_path)
    assert (caught.value.code, caught.value.where) == ("json-syntax", "line 2, column 1")


def test_two_files_for_one_picture(tmp_path: Path) -> None:
    annotate(tmp_path / "a.json")
    annotate(tmp_path / "b.json", imagePath="a.jpg")
    with pytest.raises(TagboxError) as caught:
        read_labelme(tmp_path)
    assert caught.value.code == "duplicate-image"


def test_names_fix_the_order(tmp_path: Path) -> None:
    annotate(tmp_path / "a.json", shape("cat", [[0, 0], [1, 1]]))
    (tmp_path / "n.txt").write_text("dog\ncat\n")
    config = DataConfig(names=tmp_path / "n.txt")
    assert load_dataset(tmp_path, config).categories.names == ("dog", "cat")
    (tmp_path / "n.txt").write_text("dog\ncats\n")
    with pytest.raises(TagboxError, match="did you mean 'cats'"):
        load_dataset(tmp_path, config)


def test_written_and_read_again(tmp_path: Path) -> None:
    annotate(
        tmp_path / "in/a.json",
        shape("cat", [[5, 6], [50, 40]], "rectangle"),
        flags={"indoor": True, "blurred": False},
    )
    annotate(tmp_path / "in/b.json")
    dataset = read_labelme(tmp_path / "in")
    write_labelme(dataset, tmp_path / "out")
    again = read_labelme(tmp_path / "out")
    assert again.categories.names == dataset.categories.names
    assert again.labels.tolist() == dataset.labels.tolist()
    assert_allclose(again.annotations.boxes[:1], dataset.annotations.boxes[:1])
