"""Formats of one label file a picture, and tables: all faults in one run, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from checks_data import noise
from PIL import Image

from tagbox.checks.check import check_dataset
from tagbox.config import DataConfig


def found(path: Path, config: DataConfig | None = None) -> list[tuple[str, str, str | None]]:
    return [(f.code, Path(f.file).name, f.where) for f in check_dataset(path, config)]


def pictures(folder: Path, stems: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, stem in enumerate(stems):
        Image.fromarray(noise(index)).save(folder / f"{stem}.png")


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    pictures(tmp_path / "images" / "train", "abc")
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    for stem, text in (("a", "0\n"), ("b", "1\n"), ("c", "0\n1\n")):
        (labels / f"{stem}.cls").write_text(text)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    return tmp_path


def test_a_sound_challenge_folder(challenge: Path) -> None:
    assert found(challenge) == []


def test_lines_of_cls_files(challenge: Path) -> None:
    labels = challenge / "labels" / "train"
    # a blank line between, one at the end, a word, an index too high, one twice
    (labels / "a.cls").write_text("0\n\ncat\n7\n0\n")
    (labels / "b.cls").write_text("1\n \n")
    assert found(challenge) == [
        ("cls-line", "a.cls", "line 3"),
        ("cls-line", "a.cls", "line 4"),
        ("label-line-blank", "a.cls", "line 2"),
        ("label-line-blank", "b.cls", "line 2"),
        ("label-twice", "a.cls", "line 5"),
    ]


def test_cls_files_and_pictures_that_do_not_pair(challenge: Path) -> None:
    labels = challenge / "labels" / "train"
    (labels / "b.cls").rename(labels / "d.cls")
    assert found(challenge) == [
        # the label file's picture does not exist, which the picture check says once more
        ("image-missing", "d.jpg", None),
        ("label-without-image", "d.cls", None),
        ("picture-without-labels", "b.png", None),
    ]


def test_lines_of_a_narrow_csv(tmp_path: Path) -> None:
    pictures(tmp_path, "abc")
    path = tmp_path / "labels.csv"
    path.write_text(
        "image,labels,note\na.png,cat,x\n,dog,x\na.png,dog,x\nb.png,dog,x,y\nc.png,dog,x\n"
    )
    assert found(path)[:3] == [
        ("csv-duplicate", "labels.csv", "line 4"),
        ("csv-line", "labels.csv", "line 3"),
        ("csv-line", "labels.csv", "line 5"),
    ]


def test_lines_of_a_wide_csv(tmp_path: Path) -> None:
    pictures(tmp_path, "ab")
    path = tmp_path / "labels.csv"
    path.write_text("image,cat,dog\na.png,1,perhaps\nb.png,0\n")
    assert found(path)[:2] == [
        ("csv-line", "labels.csv", "line 3"),
        ("csv-line", "labels.csv", "line 2"),
    ]


def test_lines_of_yolo_files(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "ab")
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    (tmp_path / "labels" / "a.txt").write_text(
        "0 0.5 0.5 0.2 0.2\n5 0.5 0.5 0.2 0.2\n\n1 0.5 0.5 20 20\n1 0.5 nan 0.2 0.2\n1 0.5\n"
    )
    (tmp_path / "labels" / "b.txt").write_text("1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    assert found(tmp_path) == [
        ("yolo-line", "a.txt", "line 2"),
        ("yolo-line", "a.txt", "line 4"),
        ("yolo-line", "a.txt", "line 5"),
        ("yolo-line", "a.txt", "line 6"),
        ("label-line-blank", "a.txt", "line 3"),
        ("label-twice", "b.txt", "line 2"),
    ]


def test_files_of_labelme(tmp_path: Path) -> None:
    pictures(tmp_path, "abc")
    record = '{"shapes": [{"label": "cat", "points": [[1, 1], [5, 5]]}], "imagePath": "%s"}'
    (tmp_path / "a.json").write_text(record % "a.png")
    (tmp_path / "b.json").write_text('{"shapes": [{"label": 7}], "imagePath": "b.png"}')
    (tmp_path / "c.json").write_text('{"shapes": [')
    assert found(tmp_path)[:2] == [
        ("json-syntax", "c.json", "line 1, column 13"),
        ("labelme-field", "b.json", "shapes[0].label"),
    ]


def test_what_is_no_dataset_is_a_finding(tmp_path: Path) -> None:
    assert [f[0] for f in found(tmp_path)] == ["format-unknown"]
    assert [f[0] for f in found(tmp_path / "nowhere")] == ["file-missing"]
