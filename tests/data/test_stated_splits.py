"""Splits that a dataset states are read one at a time: of every format, as the tools that people use write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tagbox import TagboxError
from tagbox.checks.check import check_datasets
from tagbox.config import DataConfig
from tagbox.data.image_files import list_images
from tagbox.data.load import load_dataset, stated_names
from tagbox.data.split_names import role

Picture = Callable[..., Path]
BOX = "0 0.5 0.5 0.5 0.5\n"


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def yolo(picture: Picture, root: Path, files: Iterable[str]) -> None:
    """Images with one box each, their labels where YOLO looks for them."""
    for name in files:
        picture(root / name)
        label = Path(name).with_suffix(".txt").as_posix()
        text(root / label.replace("images/", "labels/", 1), BOX)


def files_of(path: Path, split: str) -> list[str]:
    dataset = load_dataset(path, split=split)
    assert all(dataset.images.path(row).is_file() for row in range(len(dataset)))
    return sorted(Path(name).name for name in dataset.images.files.tolist())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("train2017", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("dev", "val"),
        ("TEST", "test"),
        ("test_set", "test"),
        ("test-resized", "test"),
        ("train-jpg", "train"),
        ("train_v2", "train"),
        ("holdout", "test"),
        ("eval", "val"),
        ("trainer", None),
        ("contest", None),
        ("value", None),
        ("bullet_train", None),
    ],
)
def test_role(name: str, expected: str | None) -> None:
    assert role(name) == expected


YAMLS = {
    "lists and a folder": (
        "path: .\ntrain: [images/f1, images/f2]\nval: [images/f3]\ntest: images/f4\n",
        ["images/f1/1.png", "images/f2/2.png", "images/f3/3.png", "images/f4/4.png"],
        {"train": ["1.png", "2.png"], "val": ["3.png"], "test": ["4.png"]},
    ),
    "Roboflow's paths": (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
        ["train/images/1.png", "valid/images/2.png"],
        {"train": ["1.png"], "val": ["2.png"]},
    ),
    "a path of another machine": (
        "path: /content/datasets/x\ntrain: images/train\nval: images/val\n",
        ["images/train/1.png", "images/val/2.png"],
        {"train": ["1.png"], "val": ["2.png"]},
    ),
    "absolute entries of another machine": (
        "train: /content/x/images/train\nvalid: C:\\x\\images\\val\n",
        ["images/train/1.png", "images/val/2.png"],
        {"train": ["1.png"], "val": ["2.png"]},
    ),
    "one folder in the folder of both": (
        "train: images\nval: images/val\n",
        ["images/1.png", "images/val/2.png"],
        {"train": ["1.png", "2.png"], "val": ["2.png"]},
    ),
    "text files": (
        "train: train.txt\nval: lists/val.txt\n",
        ["images/1.png", "images/2.png", "images/3.png"],
        {"train": ["1.png", "3.png"], "val": ["2.png"]},
    ),
    "folders alone": (
        "",
        ["images/train/1.png", "images/val/2.png", "images/test/3.png"],
        {"train": ["1.png"], "val": ["2.png"], "test": ["3.png"]},
    ),
}


@pytest.mark.parametrize(("content", "files", "expected"), YAMLS.values(), ids=YAMLS.keys())
def test_yolo(
    tmp_path: Path, picture: Picture, content: str, files: list[str], expected: dict[str, list[str]]
) -> None:
    root = tmp_path / "deep/data"
    yolo(picture, root, files)
    text(root / "train.txt", "./images/1.png\nimages/3.png\n")
    text(root / "lists/val.txt", "/elsewhere/images/2.png\n")
    if "train.txt" not in content:
        (root / "train.txt").unlink()
    described = text(root / "data.yaml", content + "names: [cat]\n")
    for path in (root, described):
        assert stated_names(path, DataConfig()) == tuple(expected)
        for split, names in expected.items():
            assert files_of(path, split) == names
        with pytest.raises(TagboxError, match="states the splits train, val") as caught:
            load_dataset(path)
        assert caught.value.code == "format-ambiguous"
        assert "--split train" in str(caught.value)
        with pytest.raises(TagboxError, match="no split 'fold'") as caught:
            load_dataset(path, split="fold")
        assert caught.value.code == "split-unknown"


def test_yolo_folder_of_one_split_is_one_dataset(tmp_path: Path, picture: Picture) -> None:
    yolo(picture, tmp_path, ["images/train/1.png", "images/val/2.png"])
    text(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [cat]\n")
    inside = load_dataset(tmp_path / "images/train")
    assert inside.images.files.tolist() == ["1.png"]
    assert inside.fingerprint == load_dataset(tmp_path, split="train").fingerprint


def test_yolo_entry_that_is_not_there(tmp_path: Path, picture: Picture) -> None:
    yolo(picture, tmp_path, ["images/train/1.png"])
    text(tmp_path / "data.yaml", "train: images/train\nval: images/vla\nnames: [cat]\n")
    with pytest.raises(TagboxError, match="'images/vla' is not there") as caught:
        load_dataset(tmp_path, split="val")
    assert (caught.value.code, caught.value.where) == ("split-missing", "val")


def test_yolo_entry_with_two_meanings(tmp_path: Path, picture: Picture) -> None:
    for root in (tmp_path, tmp_path / "data"):
        yolo(picture, root, ["train/images/1.png"])
    text(tmp_path / "data/data.yaml", "train: ../train/images\nnames: [cat]\n")
    with pytest.raises(TagboxError, match="may be") as caught:
        load_dataset(tmp_path / "data")
    assert caught.value.code == "image-ambiguous"


@pytest.mark.parametrize("entry", ["/", "\\", "../" * 40, "link"])
def test_yolo_entry_that_is_the_whole_file_system(
    tmp_path: Path, picture: Picture, entry: str
) -> None:
    yolo(picture, tmp_path, ["images/1.png"])
    (tmp_path / "link").symlink_to("/")
    file = text(tmp_path / "data.yaml", f"train: images\nval: {entry}\nnames: [a]\n")
    with pytest.raises(TagboxError, match="is the whole file system; correct the path") as raised:
        load_dataset(file, split="val")
    assert (raised.value.code, raised.value.where) == ("split-missing", "val")


def test_links_that_lead_back_are_not_followed(tmp_path: Path, picture: Picture) -> None:
    """Of two such links in each other every further folder would have two more."""
    for name in ("data/a/1.png", "data/b/2.png", "other/3.png"):
        picture(tmp_path / name)
    for name, target in {
        "a/x": "b",
        "a/y": "b",
        "b/x": "a",
        "b/y": "a",
        "b/up": ".",
        "c": "../other",
    }.items():
        (tmp_path / "data" / name).symlink_to(tmp_path / "data" / target)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for folder in ("data", "link"):
        assert list_images(tmp_path / folder) == [
            *("a/1.png", "a/x/2.png", "a/y/2.png", "b/2.png", "b/x/1.png", "b/y/1.png", "c/3.png")
        ]


def test_yolo_list_with_a_missing_picture(tmp_path: Path, picture: Picture) -> None:
    yolo(picture, tmp_path, ["images/1.png"])
    text(tmp_path / "train.txt", "images/1.png\nimages/9.png\n")
    text(tmp_path / "data.yaml", "train: train.txt\nnames: [cat]\n")
    with pytest.raises(TagboxError, match=r"1 of the 2 pictures .* images/9.png") as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "image-missing"


@pytest.mark.parametrize("line", ["/", "\\", ".", "images", "../" * 40])
def test_yolo_list_with_a_folder(tmp_path: Path, picture: Picture, line: str) -> None:
    yolo(picture, tmp_path, ["images/1.png"])
    text(tmp_path / "train.txt", f"images/1.png\n{line}\n")
    text(tmp_path / "data.yaml", "train: train.txt\nnames: [cat]\n")
    with pytest.raises(TagboxError, match="1 of the 2 pictures") as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "image-missing"


@pytest.mark.parametrize("settings", [True, False])
def test_cvat_and_darknet(tmp_path: Path, picture: Picture, settings: bool) -> None:
    for folder, name in (("obj_train_data", "1"), ("obj_Validation_data", "2")):
        picture(tmp_path / folder / f"{name}.png")
        text(tmp_path / folder / f"{name}.txt", BOX)
    text(tmp_path / "train.txt", "data/obj_train_data/1.png\n")
    text(tmp_path / "valid.txt", "data/obj_Validation_data/2.png\n")
    text(tmp_path / "obj.names", "cat\n")
    if settings:
        text(
            tmp_path / "obj.data",
            "classes = 1\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
        )
    assert files_of(tmp_path, "train") == ["1.png"]
    assert files_of(tmp_path, "val") == ["2.png"]


CLASS_FOLDERS = [
    ("training_set", "test_set", ["train", "test"]),
    ("Train", "Test", ["train", "test"]),
    ("TRAINING", "valid", ["train", "val"]),
    ("seg_train/seg_train", "seg_test/seg_test", ["train", "test"]),
    ("train2014", "train2017", ["train2014", "train2017"]),
]


@pytest.mark.parametrize(("one", "other", "expected"), CLASS_FOLDERS)
def test_class_folders(
    tmp_path: Path, picture: Picture, one: str, other: str, expected: list[str]
) -> None:
    for number, folder in enumerate((one, other)):
        for name in ("cat", "dog"):
            picture(tmp_path / "data" / folder / name / f"{number}.png")
    for path in (tmp_path, tmp_path / "data"):
        assert list(stated_names(path, DataConfig())) == expected
        for number, split in enumerate(expected):
            dataset = load_dataset(path, split=split)
            assert dataset.categories.names == ("cat", "dog")
            assert dataset.images.files.tolist() == [f"cat/{number}.png", f"dog/{number}.png"]
        with pytest.raises(TagboxError, match="states the splits"):
            load_dataset(path)


def test_pictures_to_predict_beside_class_folders(tmp_path: Path, picture: Picture) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "test/3.png"):
        picture(tmp_path / name)
    assert load_dataset(tmp_path).images.files.tolist() == ["cat/1.png", "dog/2.png"]


def test_folders_alike_are_no_classes(tmp_path: Path, picture: Picture) -> None:
    for fold in ("part1", "part2", "part3"):
        for name in ("cat", "dog"):
            picture(tmp_path / fold / name / "1.png")
    with pytest.raises(TagboxError, match="holds the same folders cat, dog") as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "format-unknown"
    named = load_dataset(tmp_path, DataConfig(format="folders"))
    assert named.categories.names == ("part1", "part2", "part3")


def test_a_split_beside_categories_is_doubtful(tmp_path: Path, picture: Picture) -> None:
    for name in ("bus", "car", "train"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(TagboxError, match="train may be a split, and bus, car may be categories"):
        load_dataset(tmp_path)
    named = load_dataset(tmp_path, DataConfig(format="folders"))
    assert named.categories.names == ("bus", "car", "train")


TABLES = {
    "split": (
        "image,labels,split\na.png,cat,train\nb.png,dog,valid\nc.png,cat,TEST\n",
        ["train", "val", "test"],
    ),
    "wide": (
        "image,Data Set,cat,dog\na.png,train,1,0\nb.png,val,0,1\nc.png,train,1,1\n",
        ["train", "val"],
    ),
    "is_valid": (
        "fname,labels,is_valid\na.png,cat,False\nb.png,cat dog,True\nc.png,dog,False\n".replace(
            "fname", "file"
        ),
        ["train", "val"],
    ),
    "is_train": (
        "image,cat,dog,is_train\na.png,1,0,1\nb.png,0,1,0\nc.png,1,1,1\n",
        ["train", "val"],
    ),
    "values beside names of splits": (
        "image,label,Usage\na.png,cat,Training\nb.png,dog,PublicTest\n",
        ["train", "PublicTest"],
    ),
    "a misspelt split": (
        "filepaths,label,split\na.png,cat,train\nb.png,dog,vall\n",
        ["train", "vall"],
    ),
    "first column": (
        "subset;image;label\ntraining;a.png;cat\ntesting;b.png;dog\n",
        ["train", "test"],
    ),
}


@pytest.mark.parametrize(("content", "splits"), TABLES.values(), ids=TABLES.keys())
def test_split_column(tmp_path: Path, picture: Picture, content: str, splits: list[str]) -> None:
    for name in "abc":
        picture(tmp_path / f"images/{name}.png")
    path = text(tmp_path / "x.csv", content)
    for given in (path, tmp_path):
        assert list(stated_names(given, DataConfig())) == splits
        found = [files_of(given, split) for split in splits]
        assert sorted(name for names in found for name in names) == sorted(
            line.split(",")[0] if "," in line else line.split(";")[1]
            for line in content.splitlines()[1:]
        )
        assert found[0][0] == "a.png" and found[1] == ["b.png"]
        assert load_dataset(given, split=splits[0]).categories.names == ("cat", "dog")


def test_split_column_that_is_none(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png")
    folds = text(tmp_path / "folds.csv", "image,labels,fold\na.png,cat,3\n")
    assert len(load_dataset(folds)) == 1
    kfold = text(tmp_path / "kfold.csv", "image,cat,dog,kfold\na.png,1,0,1\nb.png,0,1,0\n")
    dataset = load_dataset(kfold)
    assert dataset.categories.names == ("cat", "dog")
    assert [note.code for note in dataset.source.notes] == ["columns-unread"]
    chosen = load_dataset(kfold, DataConfig(categories=["kfold", "cat"]))
    assert set(chosen.categories.names) == {"kfold", "cat"}
    for content in ("image,label,split\na.png,cat,2\n", "image_id,partition\na.png,0\n"):
        numbers = text(tmp_path / "numbers.csv", content)
        with pytest.raises(TagboxError, match="do not say which") as refused:
            load_dataset(numbers)
        assert refused.value.code == "csv-header"
    category = text(tmp_path / "wide.csv", "image,set,test\na.png,1,0\n")
    assert load_dataset(category).categories.names == ("set", "test")
    blank = text(tmp_path / "blank.csv", "image,labels,split\na.png,cat,train\nb.png,cat,\n")
    with pytest.raises(TagboxError, match="its split is missing") as caught:
        load_dataset(blank, split="train")
    assert caught.value.where == "line 3"


@pytest.mark.parametrize("names", [("train.csv", "test.csv"), ("train/_x.csv", "valid/_x.csv")])
def test_tables(tmp_path: Path, picture: Picture, names: tuple[str, str]) -> None:
    for number, name in enumerate(names):
        folder = (tmp_path / name).parent
        picture(folder / f"{number}.png")
        text(tmp_path / name, f"filename,cat,dog\n{number}.png,1,0\n")
    assert files_of(tmp_path, "train") == ["0.png"]
    assert files_of(tmp_path, "test" if "test" in names[1] else "val") == ["1.png"]


def coco_json(path: Path, files: list[str]) -> Path:
    images = [{"id": n, "file_name": name} for n, name in enumerate(files, 1)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
        for n in range(1, len(files) + 1)
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}],
    }
    return text(path, json.dumps(content))


def test_coco_layouts(tmp_path: Path, picture: Picture) -> None:
    for split in ("train2017", "val2017"):
        picture(tmp_path / "coco" / split / f"{split}.png")
        for kind in ("instances", "captions", "person_keypoints"):
            coco_json(tmp_path / f"coco/annotations/{kind}_{split}.json", [f"{split}.png"])
    assert files_of(tmp_path / "coco", "val") == ["val2017.png"]
    for split in ("train", "valid", "test"):
        picture(tmp_path / "roboflow" / split / f"{split}.png")
        coco_json(tmp_path / "roboflow" / split / "_annotations.coco.json", [f"{split}.png"])
    assert stated_names(tmp_path / "roboflow", DataConfig()) == ("train", "val", "test")
    assert files_of(tmp_path / "roboflow", "val") == ["valid.png"]


@pytest.mark.parametrize("name", ["a.png", "train/a.png", "gone/train/a.png"])
def test_coco_takes_no_picture_of_another_split(
    tmp_path: Path, picture: Picture, name: str
) -> None:
    path = coco_json(tmp_path / "train.json", [name])
    picture(tmp_path / "images/val/a.png")
    dataset = load_dataset(path)
    assert not dataset.images.path(0).is_file()
    wanted = picture(tmp_path / "images/train/x/a.png")
    assert load_dataset(path).images.path(0) == wanted


def test_labelme_and_cls(tmp_path: Path, picture: Picture) -> None:
    for split in ("train", "val"):
        picture(tmp_path / "labelme" / split / f"{split}.png")
        record = {
            "shapes": [],
            "flags": {"cat": True},
            "imagePath": f"{split}.png",
            "imageData": None,
        }
        text(tmp_path / "labelme" / split / f"{split}.json", json.dumps(record))
        picture(tmp_path / "cls/images" / split / f"{split}.png")
        text(tmp_path / "cls/labels" / split / f"{split}.cls", "3\n")
    for format in ("labelme", "cls"):
        assert files_of(tmp_path / format, "train") == ["train.png"]
        assert files_of(tmp_path / format, "val") == ["val.png"]


def test_check_looks_at_every_split(tmp_path: Path, picture: Picture) -> None:
    yolo(picture, tmp_path, ["images/train/1.png", "images/val/2.png", "images/val/1.png"])
    text(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [cat]\n")
    report = check_datasets([tmp_path])
    assert [checked.path.name for checked in report.datasets] == [
        f"{tmp_path.name} (train)",
        f"{tmp_path.name} (val)",
    ]
    assert report.findings.counts["split-same-picture"] > 0
    alone = check_datasets([tmp_path], DataConfig(split="val"))
    assert len(alone.datasets) == 1
    assert not alone.findings.counts["split-same-picture"]
