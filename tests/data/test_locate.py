"""Pictures are found where the tools people use leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox import DataConfig, TagboxError
from tagbox.data.image_files import check_relative, locate_images, require_images, split_name
from tagbox.data.load import load_dataset

Picture = Callable[..., Path]

LAYOUTS = {
    "beside": ("x.json", "a.jpg", "a.jpg"),
    "COCO's own": ("annotations/instances_train2017.json", "train2017/a.jpg", "a.jpg"),
    "COCO's own, in images": (
        "annotations/instances_val2017.json",
        "images/val2017/a.jpg",
        "a.jpg",
    ),
    "images beside annotations": ("annotations/train.json", "images/a.jpg", "a.jpg"),
    "CVAT": ("annotations/instances_default.json", "images/default/a.jpg", "a.jpg"),
    "CVAT, flat": ("annotations/instances_default.json", "images/a.jpg", "a.jpg"),
    "CVAT, names with folders": ("annotations/instances_default.json", "images/x/a.jpg", "x/a.jpg"),
    "Roboflow": ("train/_annotations.coco.json", "train/a.jpg", "a.jpg"),
    "Label Studio": ("result.json", "images/a.jpg", "images/a.jpg"),
    "Label Studio, Windows": ("result.json", "images/a.jpg", "images\\a.jpg"),
    "FiftyOne": ("labels.json", "data/a.jpg", "a.jpg"),
    "a split beside": ("instances_train2017.json", "train2017/a.jpg", "a.jpg"),
    "folders that are gone": ("x.json", "a.jpg", "some/where/a.jpg"),
    "folders nobody named": ("annotations/x.json", "images/p/q/a.jpg", "a.jpg"),
}


@pytest.mark.parametrize(("labels", "file", "name"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(tmp_path: Path, picture: Picture, labels: str, file: str, name: str) -> None:
    picture(tmp_path / file)
    path = tmp_path / labels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    root, files = locate_images(path, [name])
    assert (root / files[0]).resolve() == (tmp_path / file).resolve()


def test_exports_open_with_no_flag(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/default/frame_000000.PNG")
    path = tmp_path / "annotations/instances_default.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps(
            {
                "licenses": [{"name": "", "id": 0, "url": ""}],
                "info": {"contributor": "", "date_created": ""},
                "categories": [{"id": 1, "name": "car", "supercategory": ""}],
                "images": [
                    {
                        "id": 1,
                        "width": 8,
                        "height": 6,
                        "file_name": "frame_000000.PNG",
                        "license": 0,
                        "date_captured": 0,
                    }
                ],
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 1,
                        "category_id": 1,
                        "segmentation": [],
                        "area": 12.0,
                        "bbox": [1.0, 1.0, 4.0, 3.0],
                        "iscrowd": 0,
                        "attributes": {"occluded": False},
                    }
                ],
            }
        )
    )
    for given in (path, tmp_path):
        dataset = load_dataset(given)
        assert dataset.images.path(0).is_file()
        require_images(dataset)


def test_most_pictures_win(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "annotations/a.jpg")
    for name in "abc":
        picture(tmp_path / f"images/{name}.jpg")
    root, _ = locate_images(tmp_path / "annotations/x.json", ["a.jpg", "b.jpg", "c.jpg"])
    assert root == tmp_path / "images"


def test_ambiguous_base_names_are_not_guessed(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.jpg")
    root, files = locate_images(tmp_path / "x.json", ["p/a.jpg", "q/a.jpg"])
    assert files == ["p/a.jpg", "q/a.jpg"]
    assert not (root / files[0]).exists()


def test_the_flag_comes_first(tmp_path: Path, picture: Picture, coco: Callable[..., Path]) -> None:
    path = coco()
    for folder in (tmp_path, tmp_path / "other"):
        picture(folder / "a.jpg")
    assert load_dataset(path).images.root == tmp_path
    config = DataConfig(images=tmp_path / "other")
    assert load_dataset(path, config).images.root == tmp_path / "other"
    with pytest.raises(TagboxError) as caught:
        load_dataset(path, DataConfig(images=tmp_path / "none"))
    assert caught.value.code == "images-folder-missing"


def test_without_pictures_it_loads_and_says_where_it_looked(
    tmp_path: Path, coco: Callable[..., Path]
) -> None:
    (tmp_path / "images").mkdir()
    path = coco("annotations/instances_val2017.json")
    dataset = load_dataset(path)
    assert len(dataset) == 3
    with pytest.raises(TagboxError) as caught:
        require_images(dataset)
    assert caught.value.code == "images-not-found"
    assert str(tmp_path / "annotations") in caught.value.found
    assert str(tmp_path / "images") in caught.value.found
    assert "--images" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017.json", "train2017"),
        ("person_keypoints_val2017.json", "val2017"),
        ("image_info_test-dev2017.json", "test-dev2017"),
        ("instances_default.json", "default"),
        ("train.json", "train"),
        ("_annotations.coco.json", "annotations"),
        ("instances_my_set.json", "my_set"),
    ],
)
def test_split_of_a_file_name(name: str, split: str) -> None:
    assert split_name(Path(name)) == split


@pytest.mark.parametrize("name", ["..", "a/../b.jpg", "/a.jpg", "\\a.jpg", "c:/a.jpg", "..\\a"])
def test_names_that_lead_out(name: str) -> None:
    with pytest.raises(TagboxError) as caught:
        check_relative(["a.jpg", name], Path("x.json"), "images[{}].file_name")
    assert (caught.value.code, caught.value.where) == ("file-name-outside", "images[1].file_name")


def test_names_that_do_not() -> None:
    check_relative(["a..b.jpg", "...jpg", "a/b.jpg", "~x.jpg"], Path("x.json"), "{}")
