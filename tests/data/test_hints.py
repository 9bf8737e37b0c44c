"""The hints of errors and findings about datasets lead out: each test does what the hint says, and the fault is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from PIL import Image

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.export import export
from tagbox.data.image_files import require_images
from tagbox.data.load import load_dataset

Step = Callable[[Path], Any]


def text(name: str, content: str | bytes) -> Step:
    def build(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def pictures(*names: str) -> Step:
    def build(folder: Path) -> None:
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (number * 40, 10, 90)).save(path)

    return build


def coco(*changes: Callable[[dict[str, Any]], Any]) -> Step:
    """A COCO file of two pictures, changed; a later call replaces it."""

    def build(folder: Path) -> None:
        content: dict[str, Any] = {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "area": 100},
                {"id": 2, "image_id": 2, "category_id": 2, "bbox": [5, 5, 20, 10], "area": 200},
            ],
        }
        for change in changes:
            change(content)
        text("labels.json", json.dumps(content))(folder)
        pictures("1.png", "2.png")(folder)

    return build


def put(section: str, position: int, **fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content[section][position].update(fields)


def drop(section: str, position: int) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content[section].pop(position)


def yolo(label: str = "0 0.5 0.5 0.5 0.5\n", settings: str = "names: [cat, dog]\n") -> Step:
    return steps(pictures("images/a.png"), text("labels/a.txt", label), text("data.yaml", settings))


def steps(*parts: Step) -> Step:
    return lambda folder: [part(folder) for part in parts]


def remove(name: str) -> Step:
    return lambda folder: (folder / name).unlink()


def nothing(folder: Path) -> None:
    pass


class Case(NamedTuple):
    """A dataset, the hint on its fault, and what the hint says: other files, another path, or another config."""

    build: Step
    hint: str
    follow: Step = nothing
    path: str = "."
    then: str | None = None
    config: Mapping[str, Any] = MappingProxyType({})
    changes: Mapping[str, Any] = MappingProxyType({})


TABLE = "labels.csv"
ERRORS = {
    "negative side": Case(
        coco(put("annotations", 0, bbox=[11, 12, -10, -10])),
        "write it as x, y, width, height with the corner top left",
        coco(put("annotations", 0, bbox=[1, 2, 10, 10])),
    ),
    "image id twice": Case(
        coco(put("images", 1, id=1), put("annotations", 1, image_id=1)),
        "give every record its own",
        coco(),
    ),
    "no such image": Case(
        coco(drop("images", 1)), "add it to images or remove the annotation", coco()
    ),
    "no such image, removed": Case(
        coco(drop("images", 1)),
        "or remove the annotation",
        coco(drop("images", 1), drop("annotations", 1)),
    ),
    "no such category": Case(coco(drop("categories", 1)), "add it to categories", coco()),
    "ids of two types": Case(
        coco(put("annotations", 0, image_id="1")),
        "write all ids of images and categories as whole numbers",
        coco(),
    ),
    "an id that is missing": Case(
        coco(lambda c: c["images"][0].pop("id")), "give it a whole number", coco()
    ),
    "NaN": Case(
        coco(put("annotations", 0, area=float("nan"))),
        "write a number or null",
        coco(put("annotations", 0, area=None)),
    ),
    "a size of text": Case(
        coco(put("images", 0, width="40")),
        "or leave it out",
        coco(lambda c: c["images"][0].pop("width")),
    ),
    "a name twice": Case(
        coco(put("categories", 1, name="cat")),
        "merge them by a line 'name: name' of a --mapping file",
        text("m.yaml", "cat: cat\n"),
        changes={"mapping": Path("m.yaml")},
    ),
    "a name twice, renamed": Case(
        coco(put("categories", 1, name="cat")),
        "or rename one by 'name (id N): new name'",
        text("m.yaml", "cat (id 2): dog\n"),
        changes={"mapping": Path("m.yaml")},
    ),
    "not UTF-8": Case(
        text(TABLE, "image,labels\n1.png,\xe9lan\n".encode("latin-1")),
        "save the file as UTF-8",
        text(TABLE, "image,labels\n1.png,\xe9lan\n"),
    ),
    "UTF-16": Case(
        text(TABLE, "image,labels\n1.png,cat\n".encode("utf-16")),
        "save the file as UTF-8",
        text(TABLE, "image,labels\n1.png,cat\n"),
    ),
    "a name that leads out": Case(
        steps(
            coco(put("images", 0, file_name="/x/3.png")),
            pictures("3/3.png"),
        ),
        "name the folder of the pictures with --images",
        path="labels.json",
        changes={"images": "3"},
    ),
    "no such folder of pictures": Case(
        coco(), "check --images", config={"images": "there"}, changes={"images": "."}
    ),
    "two files": Case(
        steps(coco(), text("other.json", '{"images": [], "categories": []}')),
        "point at one of them",
        then="labels.json",
    ),
    "one labelme file": Case(
        steps(
            pictures("1.png"),
            text("1.json", '{"shapes": [], "imagePath": "1.png", "imageData": null}'),
        ),
        "point at its folder",
        path="1.json",
        then=".",
    ),
    "a file for a folder": Case(
        yolo(),
        "point at the folder",
        path="labels/a.txt",
        config={"format": "cls"},
        changes={"format": "auto"},
        then=".",
    ),
    "names of a COCO file": Case(
        steps(coco(), text("names.txt", "cat\ndog\n"), text("m.yaml", "cat: feline\n")),
        "leave it out; --mapping renames categories",
        config={"names": "names.txt"},
        changes={"names": None, "mapping": "m.yaml"},
    ),
    "no supercategories": Case(
        steps(coco(put("categories", 0, name="kat")), text("m.yaml", "kat: animal\ndog: animal\n")),
        "merge categories with a --mapping file instead of --group-by",
        config={"group_by": "supercategory"},
        changes={"group_by": None, "mapping": "m.yaml"},
    ),
    "a name like a number": Case(
        steps(coco(put("categories", 0, name="1")), text("m.yaml", "1: one\n")),
        "in quotes",
        text("m.yaml", "'1': one\n"),
        config={"mapping": "m.yaml"},
    ),
    "a near name": Case(
        coco(),
        "did you mean 'cat'",
        config={"categories": ("catt",)},
        changes={"categories": ("cat",)},
    ),
    "no columns that are known": Case(
        text(TABLE, "scene,what\n1.png,cat\n"),
        "name them image and labels",
        text(TABLE, "image,labels\n1.png,cat\n"),
    ),
    "no columns at all": Case(
        text(TABLE, ""), "begin it with 'image,labels'", text(TABLE, "image,labels\n1.png,cat\n")
    ),
    "a column twice": Case(
        text(TABLE, "image,cat,cat\n1.png,1,0\n"),
        "give every column its own name",
        text(TABLE, "image,cat,dog\n1.png,1,0\n"),
    ),
    "an image twice": Case(
        text(TABLE, "image,labels\n1.png,cat\n1.png,dog\n"),
        "put all labels of an image in one line",
        text(TABLE, "image,labels\n1.png,cat|dog\n"),
    ),
    "a comma in a cell": Case(
        text(TABLE, "labels,image\ncat,dog,1.png\n"),
        "put cells that hold commas in quotes",
        text(TABLE, 'labels,image\n"cat,dog",1.png\n'),
    ),
    "no flag": Case(
        text(TABLE, "image,what\n1.png,cat\n"),
        "or name the column of labels 'labels'",
        text(TABLE, "image,labels\n1.png,cat\n"),
    ),
    "no list": Case(
        text(TABLE, "image,labels\n1.png,[cat; dog]\n"),
        "write the names with | between them",
        text(TABLE, "image,labels\n1.png,cat|dog\n"),
    ),
    "no list, quoted": Case(
        text(TABLE, "image,labels\n1.png,[cat]\n"),
        "put each name of a list in quotes",
        text(TABLE, "image,labels\n1.png,['cat']\n"),
    ),
    "no names": Case(
        steps(yolo(), remove("data.yaml"), text("n.txt", "cat\ndog\n")),
        "give a file of names, one a line, with --names",
        config={"format": "yolo"},
        changes={"names": "n.txt"},
    ),
    "a blank name": Case(
        steps(text(TABLE, "image,labels\n1.png,cat\n"), text("classes.txt", "cat\n\ndog\n")),
        "write one name a line",
        text("classes.txt", "cat\ndog\n"),
    ),
    "nc": Case(yolo(settings="names: [cat, dog]\nnc: 3\n"), "correct nc or names", yolo()),
    "names that are no list": Case(
        yolo(settings="names: cat\n"), "write 'names: [cat, dog]'", yolo()
    ),
    "pixels": Case(
        yolo("0 20 15 10 10\n"),
        "parts of the picture's width and height",
        yolo("0 0.5 0.5 0.25 0.33\n"),
    ),
    "an index too high": Case(yolo("2 0.5 0.5 0.5 0.5\n"), "the indices 0 to 1", yolo()),
    "poses": Case(
        yolo("0 0.5 0.5 0.5 0.5 0.4 0.4 2\n"),
        "'kpt_shape: [1, 3]'",
        yolo("0 0.5 0.5 0.5 0.5 0.4 0.4 2\n", "names: [cat]\nkpt_shape: [1, 3]\n"),
    ),
    "two pictures of a stem": Case(
        steps(yolo(), pictures("images/a.jpg")),
        "rename or remove one of the two",
        remove("images/a.jpg"),
    ),
    "a label file alone": Case(
        steps(yolo(), text("labels/b.txt", "")), "add the picture", pictures("images/b.png")
    ),
    "a label file alone, removed": Case(
        steps(yolo(), text("labels/b.txt", "")), "remove the label file", remove("labels/b.txt")
    ),
    "pictures elsewhere": Case(
        steps(coco(put("images", 0, file_name="x.png"), drop("images", 1), drop("annotations", 1)))
        and steps(text("t/" + TABLE, "image,labels\nx.png,cat\n"), pictures("t/deep/down/x.png")),
        "name their folder with --images",
        path="t/" + TABLE,
        changes={"images": "t/deep/down"},
    ),
    "another suffix": Case(
        steps(text(TABLE, "image,labels\nx.jpg,cat\n"), pictures("x.png")),
        "'x.jpg' may be 'x.png': correct the names in the file",
        text(TABLE, "image,labels\nx.png,cat\n"),
    ),
}


def opened(folder: Path, path: str, config: Mapping[str, Any]) -> None:
    """Open the dataset, and find its pictures where there are any."""
    files = ("images", "names", "mapping")
    values = {k: folder / v if k in files and v is not None else v for k, v in config.items()}
    dataset = load_dataset(folder / path, DataConfig(**values))
    if any(folder.rglob("*.png")):
        require_images(dataset)


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
def test_errors(tmp_path: Path, case: Case) -> None:
    case.build(tmp_path)
    with pytest.raises(TagboxError) as caught:
        opened(tmp_path, case.path, case.config)
    assert case.hint in (caught.value.hint or ""), caught.value
    case.follow(tmp_path)
    opened(tmp_path, case.then or case.path, case.config | case.changes)


FINDINGS = {
    "size-mismatch": Case(
        coco(put("images", 0, width=50)), "write the file's real width and height", coco()
    ),
    "category-unused": Case(
        coco(lambda c: c["categories"].append({"id": 3, "name": "fox"})),
        "leave it out with --categories",
        changes={"categories": ("cat", "dog")},
    ),
    "box-outside": Case(
        coco(put("annotations", 0, bbox=[50, 2, 20, 10])),
        "correct the box",
        coco(put("annotations", 0, bbox=[30, 2, 10, 10])),
    ),
    "box-degenerate": Case(
        coco(put("annotations", 0, bbox=[3, 2, 0, 10])), "or drop the annotation", coco()
    ),
    "boxes-corners": Case(
        coco(
            lambda c: c.update(
                annotations=[
                    {"id": n, "image_id": 1, "category_id": 1, "bbox": [20 + n, 15, 35 + n, 28]}
                    for n in range(1, 5)
                ]
            )
        ),
        "write them as x, y, width, height",
        coco(),
    ),
    "duplicate-annotation-id": Case(
        coco(put("annotations", 1, id=1)), "renumber the annotations from 1", coco()
    ),
    "annotation-id-zero": Case(
        coco(put("annotations", 0, id=0)), "renumber the annotations from 1", coco()
    ),
    "missing-annotation-id": Case(
        coco(lambda c: c["annotations"][0].pop("id")), "number the annotations from 1", coco()
    ),
    "bad-area": Case(
        coco(put("annotations", 0, area=-5)),
        "or leave it out",
        coco(lambda c: c["annotations"][0].pop("area")),
    ),
    "bad-polygon": Case(
        coco(put("annotations", 0, bbox=None, segmentation=[[1, 2, 3]])),
        "give the annotation a bbox",
        coco(put("annotations", 0, segmentation=[[1, 2, 3]])),
    ),
    "duplicate-box": Case(
        coco(lambda c: c["annotations"].append(c["annotations"][0] | {"id": 3})),
        "keep one of them",
        coco(),
    ),
    "duplicate-file-name": Case(
        coco(put("images", 1, file_name="1.png")), "keep one record for each picture", coco()
    ),
    "supercategory-ignored": Case(
        coco(put("categories", 0, supercategory=3)), "or leave it out", coco()
    ),
    "label-line-blank": Case(yolo("\n0 0.5 0.5 0.5 0.5\n"), "delete the blank line", yolo()),
    "label-twice": Case(yolo("0 0.5 0.5 0.5 0.5\n" * 2), "keep the label once", yolo()),
    "labels-separator": Case(
        steps(text(TABLE, "image,labels\n1.png,red cat\n"), pictures("1.png")),
        "call the column label where a cell is one name",
        text(TABLE, "image,label\n1.png,red cat\n"),
    ),
}


@pytest.mark.parametrize("code", FINDINGS)
def test_findings(tmp_path: Path, code: str) -> None:
    case = FINDINGS[code]
    case.build(tmp_path)
    found = [f for f in check_dataset(tmp_path, DataConfig(**case.config)) if f.code == code]
    assert found and case.hint in found[0].hint, found
    case.follow(tmp_path)
    after = check_dataset(tmp_path, DataConfig(**case.changes))
    assert code not in [f.code for f in after]
    assert not [f for f in after if f.severity == "error"]


def test_unknown_labels_go_into_csv(tmp_path: Path) -> None:
    text(TABLE, "image,cat,dog\n1.png,1,?\n2.png,0,1\n")(tmp_path)
    pictures("1.png", "2.png")(tmp_path)
    dataset = load_dataset(tmp_path / TABLE)
    for form in ("coco", "yolo", "cls", "labels", "labelme"):
        with pytest.raises(TagboxError, match="write CSV instead"):
            export(dataset, tmp_path / form, "train", form, "reference")  # type: ignore[arg-type]
    written = export(dataset, tmp_path / "csv", "train", "csv", "reference")
    assert load_dataset(written).labels.tolist() == dataset.labels.tolist()
