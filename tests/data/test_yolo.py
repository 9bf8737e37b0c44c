"""YOLO folders: layouts, boxes in pixels, bad lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from tagbox import DataConfig, TagboxError
from tagbox.data.formats.yolo import read_yolo, write_yolo
from tagbox.data.formats.yolo_lines import read_yolo_file
from tagbox.data.load import load_dataset

Picture = Callable[..., Path]


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture
def yolo(tmp_path: Path, picture: Picture) -> Path:
    """Two splits, one picture with a box, one with a polygon, one with nothing."""
    picture(tmp_path / "images/train/a.png", (100, 50))
    picture(tmp_path / "images/train/b.png", (10, 10))
    picture(tmp_path / "images/val/c.png", (20, 40))
    text(tmp_path / "labels/train/a.txt", "1 0.5 0.5 0.2 0.4\n")
    text(tmp_path / "labels/val/c.txt", "0 0.1 0.1 0.5 0.1 0.5 0.6\n\n1 0.5 0.5 1 1\n")
    text(
        tmp_path / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n",
    )
    return tmp_path


def test_boxes_in_pixels(yolo: Path) -> None:
    dataset = load_dataset(yolo, split="train")
    assert dataset.source.format == "yolo"
    assert dataset.images.files.tolist() == ["a.png", "b.png"]
    assert dataset.images.widths.tolist() == [100, 10]
    assert dataset.images.labelled.all()
    assert_allclose(dataset.annotations.boxes, [[40, 15, 20, 20]])
    assert dataset.labels.tolist() == [[0, 1], [0, 0]]
    validation = load_dataset(yolo, split="val")
    assert_allclose(validation.annotations.boxes, [[2, 4, 8, 20], [0, 0, 20, 40]])
    assert validation.labels.tolist() == [[1, 1]]


@pytest.mark.parametrize("place", ["images/train", "data.yaml", "."])
def test_one_split_or_the_yaml(yolo: Path, place: str) -> None:
    dataset = load_dataset(yolo / place, split=None if place == "images/train" else "train")
    assert dataset.images.files.tolist() == ["a.png", "b.png"]
    assert dataset.categories.names == ("cat", "dog")


def test_roboflow_layout(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "train/images/a.jpg")
    picture(tmp_path / "valid/images/b.jpg")
    text(tmp_path / "train/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    text(tmp_path / "valid/labels/b.txt", "0 0.5 0.5 0.5 0.5")
    text(tmp_path / "data.yaml", "train: ../train/images\nnc: 1\nnames: ['cat']\n")
    assert load_dataset(tmp_path).images.files.tolist() == ["a.jpg"]
    assert len(load_dataset(tmp_path / "train")) == 1


def test_folder_without_labels_is_unlabelled(yolo: Path, picture: Picture) -> None:
    picture(yolo / "images/test/d.png")
    text(yolo / "data.yaml", "names: [cat, dog]\n")
    assert load_dataset(yolo, split="train").images.labelled.tolist() == [True, True]
    assert load_dataset(yolo, split="test").images.labelled.tolist() == [False]


def test_flat_with_classes_txt(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg", (10, 10))
    text(tmp_path / "a.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "classes.txt", "cat\n")
    dataset = load_dataset(tmp_path)
    assert dataset.labels.tolist() == [[1]]


def test_turned_by_exif(tmp_path: Path, picture: Picture) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.jpg", (40, 20), exif=exif)
    text(tmp_path / "a.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "classes.txt", "cat\n")
    assert load_dataset(tmp_path).annotations.boxes.tolist() == [[0, 0, 20, 40]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2 0.5 0.5 0.1 0.1", "not a category index"),
        ("-1 0.5 0.5 0.1 0.1", "not a category index"),
        ("cat 0.5 0.5 0.1 0.1", "not a category index"),
        ("1.5 0.5 0.5 0.1 0.1", "not a category index"),
        ("0 0.5 0.5 0.1", "3 numbers follow"),
        ("0 0.5 0.5 0.1 0.1 0.9", "5 numbers follow.*the confidence of a prediction"),
        ("0 1", "1 number follows"),
        ("1_0 0.5 0.5 0.1 0.1", "not a category index"),
        ("1e9 0.5 0.5 0.1 0.1", "not a category index"),
        ("0", "0 numbers follow"),
        ("0 a b c d", "not all numbers"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 320 240 50 60", "outside 0 to 1"),
        ("0 0.5 0.5 -0.1 0.1", "outside 0 to 1"),
    ],
)
def test_bad_line(tmp_path: Path, line: str, problem: str) -> None:
    path = text(tmp_path / "a.txt", f"0 0.5 0.5 0.5 0.5\n\n{line}\n")
    with pytest.raises(TagboxError, match=problem) as caught:
        read_yolo_file(path, 2)
    assert (caught.value.code, caught.value.where) == ("yolo-line", "line 3")
    assert caught.value.file == str(path)


@pytest.mark.parametrize(
    ("content", "code", "where"),
    [
        ("names: [cat, cat]", "duplicate-category-name", "names"),
        ("names: cat", "yolo-yaml", "names"),
        ("names: {1: cat, 2: dog}", "yolo-yaml", "names"),
        ("names: [cat, dog]\nnc: 3", "yolo-yaml", "nc"),
        ("names: [cat", "yolo-yaml", "line 1, column 12"),
        ("- cat", "yolo-yaml", None),
    ],
)
def test_bad_yaml(yolo: Path, content: str, code: str, where: str | None) -> None:
    text(yolo / "data.yaml", content)
    with pytest.raises(TagboxError) as caught:
        load_dataset(yolo, split="train")
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(yolo / "data.yaml")


@pytest.mark.parametrize("index", ["1", "01", "1.0", "1.", "1.000000", "1.000000000000000000e+00"])
def test_an_index_as_exporters_write_it(tmp_path: Path, index: str) -> None:
    path = text(tmp_path / "a.txt", f"{index} 0.5 0.5 0.5 0.5\n")
    assert read_yolo_file(path, 2) == [(1, (0.25, 0.25, 0.5, 0.5))]


def test_indices_of_names_may_be_texts(yolo: Path) -> None:
    text(yolo / "data.yaml", "names: {'1': dog, '0': cat}")
    assert load_dataset(yolo, split="train").categories.names == ("cat", "dog")


def test_a_label_file_with_its_suffix_in_capitals(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/a.png", (10, 10))
    text(tmp_path / "labels/a.TXT", "0 0.5 0.5 1 1\n")
    text(tmp_path / "classes.txt", "cat\n")
    assert load_dataset(tmp_path).annotations.boxes.tolist() == [[0, 0, 10, 10]]
    text(tmp_path / "labels/b.TXT", "0 0.5 0.5 1 1\n")
    with pytest.raises(TagboxError, match=r"b\.TXT|'b"):
        load_dataset(tmp_path)


def test_no_names(yolo: Path) -> None:
    (yolo / "data.yaml").unlink()
    with pytest.raises(TagboxError) as caught:
        load_dataset(yolo, DataConfig(format="yolo", split="train"))
    assert caught.value.code == "names-missing"
    names = text(yolo / "n.txt", "cat\ndog\n")
    assert len(load_dataset(yolo, DataConfig(format="yolo", names=names, split="train"))) == 2


def test_label_without_picture(yolo: Path) -> None:
    text(yolo / "labels/train/z.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(TagboxError) as caught:
        load_dataset(yolo, split="train")
    assert caught.value.code == "label-without-image"
    assert caught.value.file == str(yolo / "labels/train/z.txt")


def test_two_pictures_of_one_stem(yolo: Path, picture: Picture) -> None:
    picture(yolo / "images/train/a.jpg")
    with pytest.raises(TagboxError) as caught:
        load_dataset(yolo, split="train")
    assert caught.value.code == "image-ambiguous"


def test_written_and_read_again(yolo: Path, picture: Picture, tmp_path: Path) -> None:
    dataset = read_yolo(yolo)
    out = tmp_path / "out"
    write_yolo(dataset, out, "train")
    for row, name in enumerate(["a.png", "b.png", "c.png"]):
        size = (int(dataset.images.widths[row]), int(dataset.images.heights[row]))
        picture(out / "images/train" / name, size)
    again = load_dataset(out)
    assert again.labels.tolist() == dataset.labels.tolist()
    assert_allclose(again.annotations.boxes, dataset.annotations.boxes)
