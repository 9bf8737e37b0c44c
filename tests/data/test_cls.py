"""The challenge folder in its layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox import DataConfig, TagboxError
from tagbox.data import categories as coco80
from tagbox.data.formats.challenge import read_cls, read_cls_file, write_cls
from tagbox.data.load import describe, load_dataset

Picture = Callable[..., Path]


def label(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("train", ["train-resized", "train"])
def test_as_the_zip_lays_it_out(tmp_path: Path, picture: Picture, train: str) -> None:
    test = train.replace("train", "test")
    for name in ("000000000009", "000000000025", "000000000030"):
        picture(tmp_path / "ms-coco/images" / train / f"{name}.jpg")
        label(tmp_path / "ms-coco/labels/train" / f"{name}.cls", "45\n49\n")
    label(tmp_path / "ms-coco/labels/train/000000000030.cls", "")
    picture(tmp_path / "ms-coco/images" / test / "000000000139.jpg")
    dataset = load_dataset(tmp_path / "ms-coco")
    assert dataset.source.format == "cls"
    assert dataset.categories.names == coco80.NAMES
    assert dataset.images.ids.tolist() == [9, 25, 30, 139]
    assert dataset.images.files.tolist()[-1] == f"images/{test}/000000000139.jpg"
    assert all(dataset.images.path(row).is_file() for row in range(4))
    # Nothing in the third picture; nobody said what is in the test picture.
    assert dataset.images.labelled.tolist() == [True, True, True, False]
    assert dataset.labels[0].nonzero()[0].tolist() == [45, 49]
    assert not dataset.labels[2].any()
    assert (dataset.labels[3] == -1).all()
    assert "1 image without labels" in describe(dataset)
    # The folder above, when the archive was unpacked into one of its own.
    assert len(load_dataset(tmp_path)) == 4


def test_resized_pictures_come_before_the_full_ones(tmp_path: Path, picture: Picture) -> None:
    for folder in ("train", "train-resized", "test", "test-resized"):
        picture(tmp_path / "images" / folder / f"{int(folder.startswith('test'))}.jpg")
    label(tmp_path / "labels/train/0.cls", "1")
    files = read_cls(tmp_path).images.files.tolist()
    assert files == ["images/train-resized/0.jpg", "images/test-resized/1.jpg"]


def test_flat_and_images_beside_labels(tmp_path: Path, picture: Picture) -> None:
    for folder, images in (("flat", "."), ("two", "images")):
        picture(tmp_path / folder / images / "a.png")
        picture(tmp_path / folder / images / "b.png")
        label(tmp_path / folder / ("." if images == "." else "labels") / "a.cls", "0\n")
        dataset = load_dataset(tmp_path / folder)
        assert dataset.images.labelled.tolist() == [True, False]
        assert dataset.images.ids.tolist() == [1, 2]
        assert dataset.images.path(1).is_file()


def test_images_elsewhere(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "pictures/train/a.jpg")
    label(tmp_path / "data/labels/train/a.cls", "3")
    dataset = load_dataset(tmp_path / "data", DataConfig(images=tmp_path / "pictures"))
    assert dataset.images.path(0).is_file()
    with pytest.raises(TagboxError) as caught:
        read_cls(tmp_path / "data", tmp_path / "nowhere")
    assert caught.value.code == "images-folder-missing"


def test_labels_alone_can_be_scored_against(tmp_path: Path) -> None:
    label(tmp_path / "labels/train/000000000139.cls", "56\n")
    dataset = load_dataset(tmp_path)
    assert dataset.images.ids.tolist() == [139]
    assert dataset.labels[0].nonzero()[0].tolist() == [56]


def test_own_names(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg")
    label(tmp_path / "a.cls", "1")
    label(tmp_path / "names.txt", "cat\ndog\n")
    dataset = read_cls(tmp_path, names=tmp_path / "names.txt")
    assert dataset.categories.names == ("cat", "dog")
    label(tmp_path / "a.cls", "2")
    with pytest.raises(TagboxError, match="from 0 to 1"):
        read_cls(tmp_path, names=tmp_path / "names.txt")
    (tmp_path / "names.txt").rename(tmp_path / "classes.txt")
    with pytest.raises(TagboxError, match="from 0 to 1"):
        read_cls(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"5\n3\n", [3, 5]),
        (b"5\r\n3\r\n", [3, 5]),
        (b"\n  5  \n\n\n3", [3, 5]),
        (b"\xef\xbb\xbf5\n", [5]),
        (b"5\n5\n005\n", [5]),
        (b"", []),
        (b" \n\t\n", []),
    ],
)
def test_lines(tmp_path: Path, content: bytes, expected: list[int]) -> None:
    assert read_cls_file(label(tmp_path / "a.cls", content), 80) == expected


@pytest.mark.parametrize(
    ("content", "line", "shown"),
    [
        (b"1\n80\n", 2, "'80'"),
        (b"-1", 1, "'-1'"),
        (b"1\n\n2 3\n", 3, "'2 3'"),
        (b"dog", 1, "'dog'"),
        (b"1.0", 1, "'1.0'"),
        (b"1_0", 1, "'1_0'"),
        ("²".encode(), 1, "'²'"),
        (b"9" * 5000, 1, "999"),
        (b"1,\n", 1, "'1,'"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, content: bytes, line: int, shown: str) -> None:
    path = label(tmp_path / "a.cls", content)
    with pytest.raises(TagboxError) as caught:
        read_cls_file(path, 80)
    assert (caught.value.code, caught.value.where) == ("cls-line", f"line {line}")
    assert caught.value.file == str(path)
    assert shown in caught.value.found


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        read_cls_file(label(tmp_path / "a.cls", b"1\n\xff\n"), 80)
    assert (caught.value.code, caught.value.where) == ("not-utf8", "line 2")


def test_labels_without_pictures_are_counted(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/train/a.jpg")
    for name in "abc":
        label(tmp_path / f"labels/train/{name}.cls", "1")
    with pytest.raises(TagboxError, match="and 1 more label files") as caught:
        read_cls(tmp_path)
    assert caught.value.code == "label-without-image"
    assert caught.value.file == str(tmp_path / "labels/train/b.cls")


def test_two_pictures_of_one_stem(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "a.png")
    label(tmp_path / "a.cls", "1")
    with pytest.raises(TagboxError) as caught:
        read_cls(tmp_path)
    assert caught.value.code == "image-ambiguous"


def test_no_labels_at_all(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/train/a.jpg")
    with pytest.raises(TagboxError) as caught:
        load_dataset(tmp_path, DataConfig(format="cls"))
    assert caught.value.code == "format-unknown"


def test_written_and_read_again(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a/images/train/1.jpg")
    picture(tmp_path / "a/images/train/2.jpg")
    label(tmp_path / "a/labels/train/1.cls", "0\n79\n")
    label(tmp_path / "a/labels/train/2.cls", "")
    dataset = read_cls(tmp_path / "a")
    write_cls(dataset, tmp_path / "b")
    assert (tmp_path / "b/labels/train/1.cls").read_text() == "0\n79\n"
    assert (tmp_path / "b/labels/train/2.cls").read_text() == ""
    assert not (tmp_path / "b/classes.txt").exists()
    assert read_cls(tmp_path / "b").labels.tolist() == dataset.labels.tolist()
