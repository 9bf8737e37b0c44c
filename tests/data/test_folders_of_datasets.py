"""Folders that hold several datasets, splits under other names, or annotations that are not read: never categories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_datasets
from tagbox.data.load import load_dataset, stated_names

Picture = Callable[..., Path]
BOX = "0 0.5 0.5 0.4 0.4\n"
YAML = "train: ../train/images\nval: ../valid/images\nnames: [cat]\n"
XML = "<annotation><filename>{}</filename><object><name>cat</name></object></annotation>"
CREATEML = json.dumps(
    [{"image": "1.png", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]
)
VIA = json.dumps({"1.png99": {"filename": "1.png", "size": 99, "regions": []}})
CVAT = "<?xml version='1.0'?><annotations><image id='0' name='1.png'></image></annotations>"


def coco(*files: str) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(files)],
            "annotations": [
                {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [1, 1, 4, 4]}
                for n in range(len(files))
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


def build(root: Path, picture: Picture, files: dict[str, str]) -> Path:
    """Write text files, and an image for each path that ends with ``.png``."""
    for name, content in files.items():
        if name.endswith(".png"):
            picture(root / name)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
    return root


def pictures(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "a COCO file in each folder": (
        {
            **pictures("one/1.png", "two/2.png"),
            "one/annotations.json": coco("1.png"),
            "two/annotations.json": coco("2.png"),
        },
        "format-ambiguous",
        "2 COCO files: one/annotations.json, two/annotations.json; point at one of them",
    ),
    "CVAT's COCO exports": (
        {
            **pictures("one/images/1.png", "two/images/2.png"),
            "one/annotations/instances_default.json": coco("1.png"),
            "two/annotations/instances_default.json": coco("2.png"),
        },
        "format-ambiguous",
        "2 COCO files: one/annotations/instances_default.json",
    ),
    "YOLO exports of different splits": (
        {
            **pictures("a/train/images/1.png", "a/valid/images/2.png", "b/train/images/3.png"),
            "a/data.yaml": YAML,
            "b/data.yaml": YAML,
        },
        "format-ambiguous",
        "the folders a, b in it are datasets of their own; point at one of them",
    ),
    "YOLO folders with classes.txt": (
        {
            **pictures("day/1.png", "night/2.png"),
            "day/1.txt": BOX,
            "day/classes.txt": "cat\n",
            "night/classes.txt": "cat\n",
        },
        "format-ambiguous",
        "the folders day, night in it are datasets",
    ),
    "label files beside the pictures": (
        {**pictures("day/1.png", "night/2.png"), "day/1.txt": BOX, "night/2.txt": BOX},
        "format-unknown",
        "1.txt looks like the boxes of a picture, in YOLO's form",
    ),
    "label files in labels": (
        {**pictures("a/images/1.png", "b/images/2.png"), "b/labels/2.txt": BOX},
        "format-unknown",
        "2.txt looks like the boxes of a picture",
    ),
    "CycleGAN": (
        pictures("trainA/1.png", "trainB/2.png", "testA/3.png", "testB/4.png"),
        "format-unknown",
        "testA, testB, trainA, trainB may be parts of splits",
    ),
    "a split and a class in one name": (
        pictures("train_real/1.png", "train_fake/2.png", "test_real/3.png", "test_fake/4.png"),
        "format-unknown",
        "may be parts of splits",
    ),
    "KITTI": (
        {
            **pictures("training/image_2/1.png", "testing/image_2/2.png"),
            "training/label_2/1.txt": "Car 0 0 -1 1 1 9 9 1 1 1 1 1 1 1\n",
        },
        "format-unknown",
        "no dataset recognised",
    ),
    "DOTA": (
        {
            **pictures("train/images/1.png", "val/images/2.png"),
            "train/labelTxt/1.txt": "1 1 5 1 5 5 1 5 plane 0\n",
        },
        "format-unknown",
        "no dataset recognised",
    ),
    "Supervisely, splits in a folder": (
        {
            **pictures("a/train/img/1.png", "a/val/img/2.png"),
            "a/meta.json": "{}",
            "a/train/ann/1.png.json": "{}",
            "a/val/ann/2.png.json": "{}",
        },
        "format-unknown",
        "this is a project of Supervisely",
    ),
    "two tables beside parts of the pictures": (
        {
            **pictures("part1/1.png", "part2/2.png"),
            "a.csv": "image,label\n1.png,cat\n",
            "b.csv": "image,label\n2.png,dog\n",
        },
        "format-ambiguous",
        "it holds 2 tables that name pictures: a.csv, b.csv; point at one of them",
    ),
    "a table without a header that is known": (
        {**pictures("part1/p1.png", "part2/p2.png"), "a.csv": "where,what\np1,cat\np2,dog\n"},
        "csv-header",
        "found the columns 'where', 'what'",
    ),
    "several COCO files in a folder": (
        {**pictures("a/1.png", "a/2.png"), "a/x.json": coco("1.png"), "a/y.json": coco("2.png")},
        "format-ambiguous",
        "2 COCO files: x.json, y.json",
    ),
    "CreateML": (
        {**pictures("train/1.png", "valid/2.png"), "train/_annotations.createml.json": CREATEML},
        "format-unknown",
        "train/_annotations.createml.json: this is CreateML's form",
    ),
    "VIA": (
        {**pictures("train/1.png", "val/2.png"), "val/via_region_data.json": VIA},
        "format-unknown",
        "val/via_region_data.json: this is a project of the VGG Image Annotator",
    ),
    "CVAT": (
        {**pictures("images/1.png"), "annotations.xml": CVAT},
        "format-unknown",
        "export it as COCO or Pascal VOC from CVAT",
    ),
}


@pytest.mark.parametrize(("files", "code", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_no_categories(
    tmp_path: Path, picture: Picture, files: dict[str, str], code: str, said: str
) -> None:
    with pytest.raises(TagboxError) as caught:
        load_dataset(build(tmp_path, picture, files))
    assert caught.value.code == code
    assert said in str(caught.value)
    # `check` says the same.
    (finding,) = check_datasets([tmp_path]).findings.kept
    assert finding.code == code


def test_the_way_out_of_label_files_leads_out(tmp_path: Path, picture: Picture) -> None:
    files = {**pictures("day/1.png", "night/2.png"), "day/1.txt": BOX, "night/2.txt": BOX}
    build(tmp_path, picture, files)
    folders = load_dataset(tmp_path, DataConfig(format="folders"))
    assert folders.categories.names == ("day", "night")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert load_dataset(tmp_path).categories.names == ("cat",)


def test_captions_beside_pictures_are_no_boxes(tmp_path: Path, picture: Picture) -> None:
    files = {**pictures("cat/1.png", "dog/2.png"), "cat/1.txt": "a cat, 2 eyes", "dog/2.txt": "7\n"}
    assert load_dataset(build(tmp_path, picture, files)).categories.names == ("cat", "dog")


STATED: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {
    "a COCO file in each split's folder": (
        {
            **pictures("train/1.png", "val/1.png"),
            "train/annotations.json": coco("1.png"),
            "val/annotations.json": coco("1.png"),
        },
        {"train": ["train/1.png"], "val": ["val/1.png"]},
    ),
    "folders of another spelling than the files": (
        {
            **pictures("train_images/1.png", "Valid/1.png", "test/1.png"),
            "annotations/instances_train.json": coco("1.png"),
            "annotations/instances_val.json": coco("1.png"),
        },
        {"train": ["train_images/1.png"], "val": ["Valid/1.png"]},
    ),
    "folders of images in folders of splits": (
        {
            **pictures("Train/images/1.png", "Val/images/1.png"),
            "Train/_annotations.coco.json": coco("1.png"),
            "Val/_annotations.coco.json": coco("1.png"),
        },
        {"train": ["Train/images/1.png"], "val": ["Val/images/1.png"]},
    ),
    "FiftyOne": (
        {
            **pictures("train/data/1.png", "validation/data/2.png"),
            "train/labels.json": coco("1.png"),
            "validation/labels.json": coco("2.png"),
        },
        {"train": ["train/data/1.png"], "val": ["validation/data/2.png"]},
    ),
    "COCO files in labels": (
        {
            **pictures("images/train/1.png", "images/val/1.png"),
            "labels/train.json": coco("1.png"),
            "labels/val.json": coco("1.png"),
        },
        {"train": ["images/train/1.png"], "val": ["images/val/1.png"]},
    ),
    "CVAT's subset default, YOLO": (
        {
            **pictures("images/Train/1.png", "images/default/2.png"),
            "labels/Train/1.txt": BOX,
            "labels/default/2.txt": BOX,
            "Train.txt": "data/images/Train/1.png\n",
            "default.txt": "data/images/default/2.png\n",
            "data.yaml": "Train: Train.txt\ndefault: default.txt\npath: .\nnames: {0: cat}\n",
        },
        {"train": ["images/Train/1.png"], "default": ["images/default/2.png"]},
    ),
    "CVAT's subset default, Darknet": (
        {
            **pictures("obj_Train_data/1.png", "obj_default_data/2.png"),
            "obj_Train_data/1.txt": BOX,
            "obj_default_data/2.txt": BOX,
            "Train.txt": "data/obj_Train_data/1.png\n",
            "default.txt": "data/obj_default_data/2.png\n",
            "obj.data": "classes = 1\nTrain = data/Train.txt\ndefault = data/default.txt\n",
            "obj.names": "cat\n",
        },
        {"train": ["obj_Train_data/1.png"], "default": ["obj_default_data/2.png"]},
    ),
    "a list of all pictures is no split": (
        {
            **pictures("images/1.png", "images/2.png"),
            "labels/1.txt": BOX,
            "labels/2.txt": BOX,
            "train.txt": "images/1.png\n",
            "val.txt": "images/2.png\n",
            "all.txt": "images/1.png\nimages/2.png\n",
            "classes.txt": "cat\n",
        },
        {"train": ["images/1.png"], "val": ["images/2.png"]},
    ),
    "CVAT's subset default, folders of classes": (
        pictures("Train/cat/1.png", "Train/dog/2.png", "default/cat/3.png"),
        {"train": ["Train/cat/1.png", "Train/dog/2.png"], "default": ["default/cat/3.png"]},
    ),
    "names that are not classes": (
        pictures(
            *("seg_train/seg_train/cat/1.png", "seg_train/seg_train/dog/2.png"),
            *("seg_test/seg_test/cat/3.png", "seg_pred/seg_pred/4.png"),
        ),
        {
            "train": ["seg_train/seg_train/cat/1.png", "seg_train/seg_train/dog/2.png"],
            "test": ["seg_test/seg_test/cat/3.png"],
        },
    ),
    "Tiny ImageNet": (
        pictures("train/n1/images/1.png", "train/n2/images/2.png", "val/images/3.png"),
        {"train": ["train/n1/images/1.png", "train/n2/images/2.png"]},
    ),
    "folders in another case": (
        {
            **pictures("Images/train/1.png", "Images/val/2.png"),
            "Labels/Train/1.txt": BOX,
            "Labels/val/2.txt": BOX,
            "data.yaml": "train: Images/train\nval: Images/val\nnames: [cat]\n",
        },
        {"train": ["Images/train/1.png"], "val": ["Images/val/2.png"]},
    ),
    "what macOS adds to archives": (
        {
            **pictures("images/train/1.png", "images/val/2.png"),
            "labels/train/1.txt": BOX,
            "labels/val/2.txt": BOX,
            "labels/train/._1.txt": "\0",
            "__MACOSX/labels/train/._1.txt": "\0",
            "data.yaml": "train: images/train\nval: images/val\nnames: [cat]\n",
        },
        {"train": ["images/train/1.png"], "val": ["images/val/2.png"]},
    ),
    "eval and holdout": (
        {
            **pictures("images/train/1.png", "images/eval/2.png", "images/holdout/3.png"),
            **{f"labels/{name}.txt": BOX for name in ("train/1", "eval/2", "holdout/3")},
            "classes.txt": "cat\n",
        },
        {
            "train": ["images/train/1.png"],
            "val": ["images/eval/2.png"],
            "test": ["images/holdout/3.png"],
        },
    ),
    "VOCdevkit": (
        {
            **pictures("VOCdevkit/VOC2007/JPEGImages/1.png", "VOCdevkit/VOC2007/JPEGImages/2.png"),
            "VOCdevkit/VOC2007/Annotations/1.xml": XML.format("1.png"),
            "VOCdevkit/VOC2007/Annotations/2.xml": XML.format("2.png"),
            "VOCdevkit/VOC2007/ImageSets/Main/train.txt": "1\n",
            "VOCdevkit/VOC2007/ImageSets/Main/val.txt": "2\n",
            "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt": "1\n2\n",
            "VOCdevkit/VOC2007/ImageSets/Main/cat_train.txt": "1 1\n",
        },
        {
            "train": ["VOCdevkit/VOC2007/JPEGImages/1.png"],
            "val": ["VOCdevkit/VOC2007/JPEGImages/2.png"],
        },
    ),
    "two years of VOC": (
        {
            **pictures("VOC2007/JPEGImages/1.png", "VOC2012/JPEGImages/2.png"),
            "VOC2007/Annotations/1.xml": XML.format("1.png"),
            "VOC2012/Annotations/2.xml": XML.format("2.png"),
            "VOC2007/ImageSets/Main/train.txt": "1\n",
            "VOC2012/ImageSets/Main/val.txt": "2\n",
        },
        {"train": ["VOC2007/JPEGImages/1.png"], "val": ["VOC2012/JPEGImages/2.png"]},
    ),
    "CVAT's subset default, VOC": (
        {
            **pictures("JPEGImages/1.png", "JPEGImages/2.png"),
            "Annotations/1.xml": XML.format("1.png"),
            "Annotations/2.xml": XML.format("2.png"),
            "ImageSets/Main/Train.txt": "1\n",
            "ImageSets/Main/default.txt": "2\n",
        },
        {"train": ["JPEGImages/1.png"], "default": ["JPEGImages/2.png"]},
    ),
}


@pytest.mark.parametrize(("files", "splits"), STATED.values(), ids=STATED.keys())
def test_splits(
    tmp_path: Path, picture: Picture, files: dict[str, str], splits: dict[str, list[str]]
) -> None:
    build(tmp_path, picture, files)
    assert list(stated_names(tmp_path, DataConfig())) == list(splits)
    for split, names in splits.items():
        dataset = load_dataset(tmp_path, split=split)
        paths = [dataset.images.path(row) for row in range(len(dataset))]
        assert [path.relative_to(tmp_path).as_posix() for path in paths] == names
        assert dataset.images.labelled.all() and set(dataset.categories.names) <= {
            *("cat", "dog", "n1", "n2"),
        }
    # All these pictures look the same.
    kept = check_datasets([tmp_path]).findings.kept
    assert {f.code for f in kept if f.severity == "error"} <= {"split-same-picture"}


def test_check_names_the_pictures_that_no_split_has(tmp_path: Path, picture: Picture) -> None:
    splits = pictures("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    build(tmp_path, picture, {**splits, **pictures("test/5.png")})
    kept = check_datasets([tmp_path]).findings.kept
    assert [Path(f.file).name for f in kept if f.code == "picture-in-no-split"] == ["5.png"]


@pytest.mark.parametrize("form", ["csv", "coco"])
def test_pictures_of_another_split_are_named(tmp_path: Path, picture: Picture, form: str) -> None:
    files = pictures("images/1.png", "images/2.png", "images/3.png")
    if form == "csv":
        files["x.csv"] = "image,label,split\n1.png,cat,train\n2.png,cat,val\n"
    else:
        files |= {"train.json": coco("1.png"), "val.json": coco("2.png")}
    build(tmp_path, picture, files)
    kept = check_datasets([tmp_path]).findings.kept
    assert [Path(f.file).name for f in kept if f.code == "picture-not-named"] == ["3.png"]


def test_a_split_without_pictures_or_labels(tmp_path: Path, picture: Picture) -> None:
    files = {**pictures("images/train/1.png", "images/val/2.png"), "labels/train/1.txt": BOX}
    files["data.yaml"] = "train: images/train\nval: images/val\ntest: labels/train\nnames: [cat]\n"
    build(tmp_path, picture, files)
    codes = {finding.code for finding in check_datasets([tmp_path]).findings.kept}
    assert {"no-labels", "split-missing"} <= codes
    assert "no-labels" not in check_datasets([tmp_path], DataConfig(split="train")).findings.counts
    with pytest.raises(TagboxError, match="put its pictures there, or correct test in") as caught:
        load_dataset(tmp_path, split="test")
    assert caught.value.code == "split-missing"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"meta/train.txt": "cat/1\n", "meta/classes.txt": "cat\n"}, "meta/train.txt"),
        ({"images.txt": "1 1.png\n", "train_test_split.txt": "1 1\n"}, "train_test_split.txt"),
        ({"images/cat/labels.csv": "image,label\n1.png,big\n"}, None),
        ({"readme.txt": "", "meta/info.json": "{}"}, None),
    ],
)
def test_lists_beside_folders_of_classes_are_named(
    tmp_path: Path, picture: Picture, more: dict[str, str], said: str | None
) -> None:
    build(tmp_path, picture, {**pictures("images/cat/1.png", "images/dog/2.png"), **more})
    notes = load_dataset(tmp_path).source.notes
    assert [note.code for note in notes] == (["lists-unread"] if said else [])
    assert said is None or notes[0].found.endswith(f": {said}")
    tables = load_dataset(tmp_path / "images").source.notes
    assert bool(tables) == ("images/cat/labels.csv" in more)


def test_images_outside_the_only_split_are_doubtful(tmp_path: Path, picture: Picture) -> None:
    files = {**pictures("images/train/1.png", "images/2.png"), "labels/train/1.txt": BOX}
    build(tmp_path, picture, {**files, "labels/2.txt": BOX, "classes.txt": "cat\n"})
    dataset = load_dataset(tmp_path)
    assert len(dataset) == 2
    assert [note.code for note in dataset.source.notes] == ["split-doubtful"]
    assert not load_dataset(tmp_path / "images/train").source.notes


def test_tables_that_name_no_pictures_are_none_of_the_dataset(
    tmp_path: Path, picture: Picture
) -> None:
    folders = pictures("train/cat/c1.png", "train/dog/d1.png")
    stats = {"stats.csv": "class,count\ncat,1\ndog,1\n"}
    build(tmp_path / "classes", picture, {**folders, **stats})
    dataset = load_dataset(tmp_path / "classes")
    assert dataset.categories.names == ("cat", "dog")
    assert [note.code for note in dataset.source.notes] == ["lists-unread"]
    parts = {
        **pictures("part_1/ISIC_1.png", "part_2/ISIC_2.png"),
        "metadata.csv": "lesion_id,image_id,label\nx,ISIC_1,mel\ny,ISIC_2,nv\n",
        "pixels.csv": "pixel0,pixel1,label\n1,2,0\n",
    }
    root = build(tmp_path / "parts", picture, parts)
    dataset = load_dataset(root, DataConfig(categories=["mel"], images=root))
    assert dataset.source.format == "csv" and len(dataset) == 2
    assert all(dataset.images.path(row).is_file() for row in range(2))


def test_patterns_in_a_data_yaml_are_named(tmp_path: Path, picture: Picture) -> None:
    files = {**pictures("a/images/1.png"), "a/labels/1.txt": BOX}
    build(tmp_path, picture, {**files, "data.yaml": "train: a/images/*.png\nnames: [cat]\n"})
    with pytest.raises(TagboxError, match="write the folder, or a list of folders, without"):
        load_dataset(tmp_path)
