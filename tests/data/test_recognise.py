"""Formats are told apart by what lies there, and what is not known is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox import DataConfig, TagboxError
from tagbox.data.load import describe, load_dataset, recognise

Picture = Callable[..., Path]

FILES = {
    "coco": '{"images": [], "annotations": [], "categories": []}',
    "coco, categories first": '{\n "categories": [], "images": []}',
    "coco, own keys first": '{"exporter": "x", "images": [], "categories": []}',
    "coco, a long own key first": json.dumps(
        {"history": "x" * 200_000, "images": [], "categories": []}
    ),
    "labels": '{"000000000139": [56, 60]}',
    "labels, nothing in the first": '{"a": [], "b": [1]}',
    "labels, spread": '{\n    "a": [\n        56\n    ]\n}',
    "labels, none": "{}",
}


@pytest.mark.parametrize("name", FILES)
def test_json(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(FILES[name])
    assert recognise(path) == name.partition(",")[0]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert recognise(path) == name.partition(",")[0]


def test_real_files(shared_data: Path) -> None:
    assert recognise(shared_data / "challenge/test_labels.json") == "labels"
    for path in (shared_data / "challenge/submissions").glob("*.json"):
        assert recognise(path) == "labels"
    for path in shared_data.glob("*/annotations/*.json"):
        assert recognise(path) == "coco"
    assert recognise(shared_data / "coco-eval/instances_val2014_100.json") == "coco"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[]", "format-unknown", "list of detections"),
        ('{"a": 1}', "format-unknown", "its keys are a"),
        ('{"shapes": [], "imagePath": "a.jpg"}', "format-unknown", "point at its folder"),
        ('"a"', "format-unknown", "neither a COCO file"),
        ("", "json-syntax", "empty"),
        ('{"a": 1,', "json-syntax", "ends too early"),
        ("hello", "json-syntax", "not JSON"),
    ],
)
def test_json_of_another_kind(tmp_path: Path, text: str, code: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(TagboxError, match=said) as caught:
        recognise(path)
    assert caught.value.code == code
    assert caught.value.file == str(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        recognise(tmp_path / "x")
    assert caught.value.code == "file-missing"
    (tmp_path / "x.bin").write_bytes(b"\x00")
    with pytest.raises(TagboxError) as caught:
        recognise(tmp_path / "x.bin")
    assert caught.value.code == "format-unknown"


def test_folder_of_pictures_lists_what_was_looked_for(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(TagboxError) as caught:
        recognise(tmp_path)
    assert caught.value.code == "format-unknown"
    for word in ("1 pictures", "COCO", ".cls", "YOLO", "labelme", "CSV", "folder a class"):
        assert word in caught.value.found


def test_folder_with_layout_folders_only_is_no_class_folder(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "train/a.jpg")
    picture(tmp_path / "val/b.jpg")
    with pytest.raises(TagboxError) as caught:
        recognise(tmp_path)
    assert caught.value.code == "format-unknown"


def test_folder_with_one_coco_file_and_one_with_two(coco: Callable[..., Path]) -> None:
    path = coco("annotations/instances_train.json")
    assert load_dataset(path.parent.parent).source.path == path
    coco("annotations/instances_val.json")
    with pytest.raises(TagboxError, match=r"states the splits train, val") as caught:
        load_dataset(path.parent.parent)
    assert caught.value.code == "format-ambiguous"
    assert load_dataset(path.parent.parent, split="train").source.path == path
    coco("annotations/others.json")
    with pytest.raises(TagboxError, match=r"others.json") as caught:
        recognise(path.parent.parent)
    assert caught.value.code == "format-ambiguous"


def test_folder_with_one_table(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/a.jpg")
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\n")
    dataset = load_dataset(tmp_path)
    assert dataset.source.format == "csv"
    assert dataset.images.path(0).is_file()


def test_format_given(coco: Callable[..., Path], tmp_path: Path) -> None:
    path = coco("x.data")
    assert len(load_dataset(path, DataConfig(format="coco"))) == 3
    for format in ("cls", "labelme", "folders"):
        with pytest.raises(TagboxError) as caught:
            load_dataset(path, DataConfig(format=format))
        assert caught.value.code == "not-a-folder"
    with pytest.raises(TagboxError) as caught:
        load_dataset(tmp_path / "nothing", DataConfig(format="coco"))
    assert caught.value.code == "file-missing"


def test_names_mean_nothing_to_coco(coco: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        load_dataset(coco(), DataConfig(names=tmp_path / "n.txt"))
    assert (caught.value.code, caught.value.where) == ("config-value", "names")


def test_described_in_one_line(shared_data: Path) -> None:
    folder = shared_data / "coco-sample"
    line = describe(load_dataset(folder / "annotations/instances_train2017.json"))
    assert line == (
        f"COCO JSON, 337 images in {folder / 'train2017'}, 80 categories, 2,828 annotations"
    )


def test_labels_file_as_truth(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "truth.json").write_text('{"000000000285": [21], "000000000139": [56, 60]}')
    dataset = load_dataset(tmp_path / "truth.json")
    assert dataset.source.format == "labels"
    assert dataset.images.ids.tolist() == [285, 139]
    assert dataset.images.stems.tolist() == ["000000000285", "000000000139"]
    assert dataset.labels.sum(1).tolist() == [1, 2]
    picture(tmp_path / "images/000000000139.png")
    assert load_dataset(tmp_path / "truth.json").images.path(1).is_file()
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(TagboxError, match="there is no category 21"):
        load_dataset(tmp_path / "truth.json", DataConfig(names=tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("", "names-file", None),
        ("cat\n\ndog\n", "names-file", "line 2"),
        ("cat\ndog\ncat\n", "duplicate-category-name", "line 3"),
    ],
)
def test_bad_names_file(tmp_path: Path, text: str, code: str, where: str | None) -> None:
    names = tmp_path / "names.txt"
    names.write_text(text)
    (tmp_path / "x.csv").write_text("image,labels\na.jpg,cat\n")
    with pytest.raises(TagboxError) as caught:
        load_dataset(tmp_path / "x.csv", DataConfig(names=names))
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(names)
