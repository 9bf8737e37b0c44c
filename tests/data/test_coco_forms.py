"""COCO files as other tools write them: text ids, sizes of -1, objects for lists, point pairs, other kinds of file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.categories import read_mapping
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.predictions.alignment import image_rows_of
from tagbox.predictions.coco_results import encode_results, read_known_results, read_results
from tagbox.predictions.predictions import Detections

Coco = dict[str, Any]
Change = Callable[[Coco], Any]


def content() -> Coco:
    return {
        "images": [
            {"id": n, "file_name": f"p{n}.png", "width": 96, "height": 80} for n in (1, 2, 3)
        ],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "bar"}],
        "annotations": [
            {
                "id": n,
                "image_id": n,
                "category_id": 1 + n % 2,
                "bbox": [n, 5, 10, 20],
                "area": 200,
                "iscrowd": 0,
                "segmentation": [[n, 5, n + 10, 5, n + 10, 25, n, 25]],
            }
            for n in (1, 2, 3)
        ],
    }


def written(folder: Path, coco: Coco) -> Path:
    path = folder / "labels.json"
    path.write_text(json.dumps(coco))
    return path


def renamed(images: Callable[[int], Any], categories: Callable[[int], Any] = int) -> Coco:
    coco = content()
    for image in coco["images"]:
        image["id"] = images(image["id"])
    for category in coco["categories"]:
        category["id"] = categories(category["id"])
    for annotation in coco["annotations"]:
        annotation["image_id"] = images(annotation["image_id"])
        annotation["category_id"] = categories(annotation["category_id"])
    return coco


TEXTS = {
    "digits with zeros": lambda n: f"{n + 24:012}",
    "words": lambda n: f"{n:07}_02999_d_0000005",
    "hashes": lambda n: f"{n * 0x1234567:032x}",
    "some digits, some words": lambda n: "7" if n == 1 else f"img {n}",
    "more than 64 bits": lambda n: str(10**30 + n),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("both", [False, True])
def test_text_ids_come_back_as_they_were(
    tmp_path: Path, text: Callable[[int], str], both: bool
) -> None:
    coco = renamed(text, (lambda n: f"c{n}") if both else int)
    path = written(tmp_path, coco)
    dataset = load_dataset(path)
    assert dataset.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert dataset.annotations.boxes[:, 0].tolist() == [1, 2, 3]
    # A part of it, as COCO JSON.
    write_coco(dataset.take([2, 0]), tmp_path / "part.json")
    part = json.loads((tmp_path / "part.json").read_text())
    assert [image["id"] for image in part["images"]] == [text(3), text(1)]
    assert {a["image_id"] for a in part["annotations"]} == {text(3), text(1)}
    assert part["categories"] == coco["categories"]
    # Merged categories.
    mapping = tmp_path / "m.yaml"
    mapping.write_text("bar: disc\n")
    write_coco(load_dataset(path, DataConfig(mapping=mapping)), tmp_path / "merged.json")
    merged = json.loads((tmp_path / "merged.json").read_text())
    assert {a["category_id"] for a in merged["annotations"]} == {coco["categories"][0]["id"]}
    # Results.
    found = Detections(
        images=tuple(text(n) for n in (1, 2, 3)),
        categories=("disc", "bar"),
        image_rows=np.array([2, 0], np.int32),
        category_rows=np.array([1, 1], np.int32),
        boxes=np.ones((2, 4)),
        scores=np.array([0.5, 0.25]),
        source="",
    )
    results = tmp_path / "results.json"
    results.write_bytes(encode_results(found, dataset))
    records = json.loads(results.read_text())
    assert [record["image_id"] for record in records] == [text(3), text(1)]
    assert {record["category_id"] for record in records} == {coco["categories"][1]["id"]}
    again = read_results(results, dataset)
    assert again.image_rows.tolist() == [2, 0]
    assert again.category_rows.tolist() == [1, 1]
    # Rows by id, and a saved split.
    rows, unknown = image_rows_of([text(2), text(3)], "", dataset)
    assert (rows.tolist(), unknown) == ([1, 2], [])
    split = Split.of(dataset, {"train": np.array([0, 2]), "val": np.array([1])}, seed=0)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json").rows(dataset)["val"].tolist() == [1]
    assert {f.severity for f in check_dataset(path) if f.code.startswith("id")} == {"info"}


def results(folder: Path, image: Any, category: Any = 2) -> Path:
    path = folder / "results.json"
    record = {"image_id": image, "category_id": category, "bbox": [1, 1, 2, 2], "score": 0.5}
    path.write_text(json.dumps([record]))
    return path


@pytest.mark.parametrize("spelt", ["25", "000000000025", 25, 25.0])
def test_digits_in_quotes_are_the_datasets_number(tmp_path: Path, spelt: Any) -> None:
    dataset = load_dataset(written(tmp_path, renamed(lambda n: n + 24)))
    assert read_results(results(tmp_path, spelt, "2"), dataset).image_rows.tolist() == [0]


def test_a_number_is_no_text_id_by_chance(tmp_path: Path) -> None:
    dataset = load_dataset(written(tmp_path, renamed(lambda n: f"img{n}")))
    for spelt in (1, "1", "img9"):
        with pytest.raises(TagboxError, match=f"id '{spelt}'.*'img1'") as caught:
            read_results(results(tmp_path, spelt), dataset)
        assert (caught.value.code, caught.value.where) == ("unknown-image-id", "[0].image_id")
        assert read_known_results(results(tmp_path, spelt), dataset)[1] == 1
    numbers = load_dataset(written(tmp_path, renamed(lambda n: f"{n:04}")))
    assert read_results(results(tmp_path, 2), numbers).image_rows.tolist() == [1]
    with pytest.raises(TagboxError, match="'0001', '0002'"):
        read_results(results(tmp_path, "12"), numbers)


def test_an_annotation_of_a_text_id_that_is_not_there(tmp_path: Path) -> None:
    coco = renamed(lambda n: f"img{n}")
    coco["annotations"][1]["image_id"] = "img7"
    path = written(tmp_path, coco)
    with pytest.raises(TagboxError, match="no image with id img7"):
        load_dataset(path)
    finding = next(f for f in check_dataset(path) if f.code == "unknown-image-id")
    assert finding.found == "there is no image with id img7"


def set_all(section: str, **fields: Any) -> Change:
    return lambda coco: [record.update(fields) for record in coco[section]]


def by_id(section: str) -> Change:
    return lambda coco: coco.update({section: {str(r["id"]): r for r in coco[section]}})


def as_pairs(coco: Coco, *, flat: bool = False, boxes: bool = True) -> None:
    for annotation in coco["annotations"]:
        polygon = annotation["segmentation"][0]
        pairs = [polygon[start : start + 2] for start in range(0, len(polygon), 2)]
        annotation["segmentation"] = pairs if flat else [pairs]
        if not boxes:
            del annotation["bbox"]


FORMS: dict[str, Change] = {
    "VIA's unknown sizes": set_all("images", width=-1, height=-1),
    "annotations by their id": by_id("annotations"),
    "images by their id": by_id("images"),
    "point pairs": as_pairs,
    "point pairs for boxes": lambda coco: as_pairs(coco, boxes=False),
    "point pairs without a list around": lambda coco: as_pairs(coco, flat=True, boxes=False),
    "annotations by their id, polygons for boxes": lambda coco: [
        as_pairs(coco, boxes=False),
        by_id("annotations")(coco),
    ],
    "LVIS's addresses": lambda coco: [
        image.update(coco_url=f"http://images.cocodataset.org/val2017/{image.pop('file_name')}")
        for image in coco["images"]
    ],
}


@pytest.mark.parametrize("change", FORMS.values(), ids=FORMS.keys())
def test_forms_that_are_read(tmp_path: Path, picture: Callable[..., Path], change: Change) -> None:
    for number in (1, 2, 3):
        picture(tmp_path / f"val2017/p{number}.png", (96, 80))
    plain = load_dataset(written(tmp_path, content()))
    coco = content()
    change(coco)
    path = tmp_path / "instances_val2017.json"
    path.write_text(json.dumps(coco))
    dataset = load_dataset(path)
    assert dataset.labels.tolist() == plain.labels.tolist()
    assert dataset.annotations.boxes.tolist() == plain.annotations.boxes.tolist()
    assert all(dataset.images.path(row).is_file() for row in range(3))
    assert not [f.code for f in check_dataset(path) if f.severity == "error"]
    write_coco(dataset, tmp_path / "again.json")
    again = load_dataset(tmp_path / "again.json")
    assert again.annotations.boxes.tolist() == plain.annotations.boxes.tolist()


@pytest.mark.parametrize("value", [-2, -0.5, "-1", "wide"])
def test_other_sizes_are_refused(tmp_path: Path, value: Any) -> None:
    coco = content()
    coco["images"][1]["width"] = value
    with pytest.raises(TagboxError) as caught:
        load_dataset(written(tmp_path, coco))
    assert (caught.value.code, caught.value.where) == ("json-field", "images[1] (id 2).width")


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(json.dumps(content()).encode(encoding))
        for call in (load_dataset, lambda p: load_dataset(p, DataConfig(format="coco"))):
            with pytest.raises(TagboxError, match="UTF-16; save the file as UTF-8") as caught:
                call(path)
            assert caught.value.code == "not-utf8"
    names = tmp_path / "m.yaml"
    names.write_bytes("disc: é\n".encode("utf-16"))
    with pytest.raises(TagboxError, match="UTF-16"):
        read_mapping(names)
    # The way out.
    path.write_text(path.read_bytes().decode("utf-16-be"))
    assert len(load_dataset(path)) == 3


def test_label_studios_yolo_folder(tmp_path: Path, picture: Callable[..., Path]) -> None:
    picture(tmp_path / "images/a.png", (10, 10))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("disc\nbar\n")
    notes = {"categories": content()["categories"], "info": {"contributor": "Label Studio"}}
    (tmp_path / "notes.json").write_text(json.dumps(notes, indent=2))
    dataset = load_dataset(tmp_path)
    assert dataset.source.format == "yolo"
    assert dataset.labels.tolist() == [[0, 1]]
    with pytest.raises(TagboxError, match="its keys are categories, info"):
        load_dataset(tmp_path / "notes.json")


SHAPE = {"from_name": "label", "original_width": 96, "value": {"rectanglelabels": ["disc"]}}
FOREIGN: dict[str, tuple[Any, str, str]] = {
    "panoptic": (
        content()
        | {"annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 1}]}]},
        "json-field",
        "panoptic file.*instances_",
    ),
    "captions": (
        {"images": content()["images"], "annotations": [{"image_id": 1, "caption": "a shape"}]},
        "json-field",
        "captions",
    ),
    "captions with categories": (
        content() | {"annotations": [{"id": 1, "image_id": 1, "caption": "a shape"}]},
        "json-field",
        "captions file.*instances_",
    ),
    "Label Studio": (
        [{"id": 1, "data": {"image": "p.png"}, "annotations": [{"result": [SHAPE]}]}],
        "format-unknown",
        "Label Studio's tasks; export them as COCO or YOLO",
    ),
    "Label Studio, short": (
        [{"image": "p.png", "id": 1, "label": [], "annotator": 1, "annotation_id": 2}],
        "format-unknown",
        "Label Studio's tasks",
    ),
    "CreateML": (
        [{"image": "p.png", "annotations": [{"label": "disc", "coordinates": {"x": 1}}]}],
        "format-unknown",
        "CreateML's form",
    ),
    "VIA": (
        {"p.png12": {"filename": "p.png", "size": 12, "regions": []}},
        "format-unknown",
        "VGG Image Annotator",
    ),
    "results": (
        [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}],
        "format-unknown",
        "read as predictions",
    ),
}


@pytest.mark.parametrize(("value", "code", "said"), FOREIGN.values(), ids=FOREIGN.keys())
def test_other_kinds_are_named_for_what_they_are(
    tmp_path: Path, value: Any, code: str, said: str
) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value, indent=1))
    with pytest.raises(TagboxError, match=said) as caught:
        load_dataset(path)
    assert caught.value.code == code
    assert code in [f.code for f in check_dataset(path)]


def test_a_list_of_something_else_is_not_called_results(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('[{"a": 1}]')
    with pytest.raises(TagboxError) as caught:
        load_dataset(path)
    assert "predictions" not in str(caught.value)


def test_two_categories_of_one_name_and_the_way_out(tmp_path: Path) -> None:
    coco = content()
    coco["categories"][1]["name"] = "disc"
    path = written(tmp_path, coco)
    with pytest.raises(TagboxError, match="'name: name' of a --mapping file") as e:
        load_dataset(path)
    assert e.value.code == "duplicate-category-name"
    finding = next(f for f in check_dataset(path) if f.code == "duplicate-category-name")
    assert "'name (id N): new name'" in finding.hint
    mapping = tmp_path / "m.yaml"
    config = DataConfig(mapping=mapping)

    def mapped(text: str) -> tuple[tuple[str, ...], list[list[int]]]:
        mapping.write_text(text)
        dataset = load_dataset(path, config)
        assert "duplicate-category-name" not in [f.code for f in check_dataset(path, config)]
        return dataset.categories.names, dataset.labels.tolist()

    first, second = coco["categories"][0]["id"], coco["categories"][1]["id"]
    apart = [[0, 1], [1, 0], [0, 1]]
    assert mapped("disc: disc\n") == (("disc",), [[1], [1], [1]])
    assert mapped("disc: ring\n") == (("ring",), [[1], [1], [1]])
    assert mapped(f"disc (id {second}): ring\n") == (("disc", "ring"), apart)
    assert mapped(f"disc (id {first}): ring\n") == (("ring", "disc"), apart)
    both = f"disc (id {first}): a\ndisc (id {second}): b\n"
    assert mapped(both) == (("a", "b"), apart)
    assert mapped(f"disc: ring\ndisc (id {second}): null\n")[0] == ("ring",)
    with pytest.raises(TagboxError, match="'name: name' of a --mapping file"):
        mapped("dics: ring\n")


def test_of_three_categories_of_one_name_each_must_be_told_apart(tmp_path: Path) -> None:
    coco = content()
    coco["categories"] = [{"id": n, "name": "disc"} for n in (1, 2, 3)]
    path = written(tmp_path, coco)
    mapping = tmp_path / "m.yaml"
    mapping.write_text("disc (id 2): ring\n")
    with pytest.raises(TagboxError, match=r"categories\[2\]"):
        load_dataset(path, DataConfig(mapping=mapping))
    mapping.write_text("disc (id 2): ring\ndisc: disc\n")
    assert load_dataset(path, DataConfig(mapping=mapping)).categories.names == ("disc", "ring")
