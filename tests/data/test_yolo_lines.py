"""YOLO label lines: poses by ``kpt_shape``, poses without it, coordinates a hair outside the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tagbox import TagboxError
from tagbox.data.formats.yolo_lines import read_yolo_file
from tagbox.data.load import load_dataset

Picture = Callable[..., Path]
SIZE = (96, 80)


def folder(tmp_path: Path, picture: Picture, lines: list[str], settings: str = "") -> Path:
    """A YOLO folder with a picture of 96×80 for each text of lines."""
    (tmp_path / "labels").mkdir()
    for number, text in enumerate(lines):
        picture(tmp_path / f"images/p{number}.png", SIZE)
        (tmp_path / f"labels/p{number}.txt").write_text(text + "\n")
    (tmp_path / "data.yaml").write_text("names: [disc, bar, tri]\n" + settings)
    return tmp_path


def poses(shape: tuple[int, int], count: int = 12) -> tuple[list[str], list[list[float]]]:
    """Lines of random boxes with keypoints in them, and the boxes in pixels."""
    random = np.random.default_rng(0)
    lines, boxes = [], []
    for _ in range(count):
        w, h = random.uniform(0.1, 0.4, 2)
        x, y = random.uniform(w / 2, 1 - w / 2), random.uniform(h / 2, 1 - h / 2)
        points = random.uniform([x - w / 2, y - h / 2], [x + w / 2, y + h / 2], (shape[0], 2))
        if shape[1] == 3:
            points = np.column_stack([points, random.integers(0, 3, shape[0])])
        numbers = [x, y, w, h, *points.ravel()]
        lines.append("1 " + " ".join(f"{value:.6f}" for value in numbers))
        boxes.append([(x - w / 2) * SIZE[0], (y - h / 2) * SIZE[1], w * SIZE[0], h * SIZE[1]])
    return lines, boxes


@pytest.mark.parametrize("shape", [(2, 2), (17, 3), (1, 3), (4, 3), (5, 2)])
def test_with_kpt_shape_the_box_is_in_the_numbers_2_to_5(
    tmp_path: Path, picture: Picture, shape: tuple[int, int]
) -> None:
    lines, boxes = poses(shape)
    data = folder(tmp_path, picture, lines, f"kpt_shape: {[*shape]}\n")
    dataset = load_dataset(data)
    order = np.argsort([f"p{number}" for number in range(len(lines))])
    assert_allclose(dataset.annotations.boxes, np.array(boxes)[order], atol=1e-3)


def test_poses_may_miss_their_keypoints_but_no_part_of_them(
    tmp_path: Path, picture: Picture
) -> None:
    data = folder(tmp_path, picture, ["0 0.5 0.5 0.5 0.5"], "kpt_shape: [2, 3]\n")
    assert load_dataset(data).annotations.boxes.tolist() == [[24, 20, 48, 40]]
    (data / "labels/p0.txt").write_text("0 0.5 0.5 0.5 0.5 0.4 0.4 2 0.6 0.6\n")
    with pytest.raises(TagboxError, match=r"9 numbers follow.*\[2, 3\].* are 10") as caught:
        load_dataset(data)
    assert caught.value.code == "yolo-line"


@pytest.mark.parametrize("shape", ["17", "[17]", "[17, 4]", "[0, 2]", "[a, 2]", "[true, 2]"])
def test_other_values_of_kpt_shape_are_refused(
    tmp_path: Path, picture: Picture, shape: str
) -> None:
    data = folder(tmp_path, picture, ["0 0.5 0.5 0.5 0.5"], f"kpt_shape: {shape}\n")
    with pytest.raises(TagboxError) as caught:
        load_dataset(data)
    assert (caught.value.code, caught.value.where) == ("yolo-yaml", "kpt_shape")


@pytest.mark.parametrize("shape", [(2, 2), (6, 2), (4, 3), (17, 3), (3, 3)])
def test_poses_without_kpt_shape_are_refused_and_the_hint_leads_out(
    tmp_path: Path, picture: Picture, shape: tuple[int, int]
) -> None:
    lines, boxes = poses(shape)
    data = folder(tmp_path, picture, lines)
    with pytest.raises(TagboxError) as caught:
        load_dataset(data)
    setting = f"kpt_shape: {[*shape]}"
    assert setting in str(caught.value)
    (data / "data.yaml").write_text(f"names: [disc, bar, tri]\n{setting}\n")
    order = np.argsort([f"p{number}" for number in range(len(lines))])
    assert_allclose(load_dataset(data).annotations.boxes, np.array(boxes)[order], atol=1e-3)


def test_polygons_that_look_like_poses_are_read_when_it_is_said(
    tmp_path: Path, picture: Picture
) -> None:
    data = folder(tmp_path, picture, ["0 0.4 0.5 0.5 0.4 0.6 0.5 0.52 0.5"], "kpt_shape: null\n")
    assert_allclose(load_dataset(data).annotations.boxes, [[38.4, 32, 19.2, 8]])
    (data / "data.yaml").write_text("names: [disc, bar, tri]\n")
    with pytest.raises(TagboxError, match="kpt_shape: null"):
        load_dataset(data)


POLYGONS = {
    "oriented boxes in the middle": ["0 0.3 0.3 0.6 0.3 0.6 0.6 0.3 0.6"] * 3,
    "turned boxes": ["0 0.4 0.3 0.6 0.4 0.5 0.6 0.3 0.5"] * 3,
    "closed outlines": ["0 0.3 0.3 0.6 0.3 0.6 0.6 0.4 0.5 0.3 0.3"] * 3,
    "triangles": ["0 0.3 0.3 0.6 0.3 0.4 0.5"] * 3,
    "of different lengths": [
        "0 0.4 0.4 0.6 0.4 0.5 0.5 0.45 0.5",
        "0 0.4 0.4 0.6 0.4 0.5 0.5 0.45 0.5 0.42 0.45",
    ],
    "at the lower right": ["0 0.8 0.8 0.9 0.8 0.95 0.9 0.85 0.9"] * 3,
}


@pytest.mark.parametrize("lines", POLYGONS.values(), ids=POLYGONS.keys())
def test_polygons_are_not_taken_for_poses(
    tmp_path: Path, picture: Picture, lines: list[str]
) -> None:
    dataset = load_dataset(folder(tmp_path, picture, lines))
    for box, line in zip(dataset.annotations.boxes, lines, strict=True):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * SIZE
        assert_allclose(box, [*points.min(0), *np.ptp(points, axis=0)])


def test_less_than_a_pixel_outside_is_clipped(tmp_path: Path, picture: Picture) -> None:
    data = folder(
        tmp_path,
        picture,
        [
            "0 0.304017 0.500281 0.608034 1.000437\n1 0.779317 0.498749 0.406279 1.002503",
            "0 -0.005 0.5 0.2 0.2\n0 -0.009 0.2 0.5 0.2 0.5 1.01",
        ],
    )
    boxes = load_dataset(data).annotations.boxes
    assert_allclose(boxes[1], [55.31, 0, 39.0, 80], atol=0.01)
    assert_allclose(boxes[2], [0, 32, 0.095 * 96, 16])
    assert_allclose(boxes[3], [0, 16, 48, 64])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0 0.5 0.5 0.5 1.02", "height 1.02 "),
        ("0 0.5 -0.2 0.5 0.5", "y_center -0.2 "),
        ("0 0.5 0.5 -0.005 0.5", "width -0.005 "),
        ("0 0.1 0.1 0.5 1.5 0.2 0.3", "coordinate 1.5 "),
    ],
)
def test_more_than_a_pixel_outside_is_named(tmp_path: Path, line: str, found: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(line)
    with pytest.raises(TagboxError, match=f"{found}is outside 0 to 1"):
        read_yolo_file(path, 1, size=SIZE)
