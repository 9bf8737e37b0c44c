"""The COCO reader: pycocotools is the oracle, every fault has its code and its place."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tagbox import TagboxError
from tagbox.data.dataset import rows_of
from tagbox.data.formats.coco import read_coco

Write = Callable[..., Path]


def test_columns_of_a_small_file(coco: Write) -> None:
    dataset = read_coco(coco())
    assert dataset.images.ids.tolist() == [5, 3, 9]
    assert dataset.images.files.tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert dataset.images.widths.tolist() == [8, 8, 8]
    assert dataset.categories.names == ("dog", "car", "cat")
    assert dataset.categories.ids.tolist() == [7, 2, 4]
    assert dataset.categories.supercategories == ("animal", "vehicle", "animal")
    annotations = dataset.annotations
    assert annotations.image_rows.tolist() == [1, 0, 0]
    assert annotations.category_rows.tolist() == [0, 1, 0]
    assert annotations.boxes[0].tolist() == [1, 2, 3, 4.5]
    assert annotations.has_box.tolist() == [True, True, False]
    assert np.isnan(annotations.boxes[2]).all()
    assert annotations.areas[0] == 9
    assert np.isnan(annotations.areas[1:]).all()
    assert annotations.crowd.tolist() == [False, True, False]
    assert annotations.ids.tolist() == [1, 2, 4]
    # An image without annotations is labelled, and empty.
    assert dataset.images.labelled.all()
    assert dataset.labels.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "name",
    [
        "coco-sample/annotations/instances_train2017.json",
        "coco-sample/annotations/instances_val2017.json",
        "coco-eval/instances_val2014_100.json",
    ],
)
def test_real_files_as_pycocotools_reads_them(shared_data: Path, name: str) -> None:
    from pycocotools.coco import COCO

    path = shared_data / name
    with contextlib.redirect_stdout(io.StringIO()):
        oracle = COCO(str(path))
    dataset = read_coco(path)
    images, annotations = dataset.images, dataset.annotations
    assert images.ids.tolist() == [i["id"] for i in oracle.dataset["images"]]
    assert images.files.tolist() == [i["file_name"] for i in oracle.dataset["images"]]
    records = oracle.dataset["annotations"]
    assert annotations.ids.tolist() == [a["id"] for a in records]
    assert images.ids[annotations.image_rows].tolist() == [a["image_id"] for a in records]
    categories = dataset.categories.ids[annotations.category_rows]
    assert categories.tolist() == [a["category_id"] for a in records]
    assert annotations.boxes.tolist() == [a["bbox"] for a in records]
    assert annotations.areas.tolist() == [a["area"] for a in records]
    assert annotations.crowd.tolist() == [a["iscrowd"] == 1 for a in records]
    for row, category in enumerate(dataset.categories.ids.tolist()):
        expected = set(oracle.getImgIds(catIds=[category]))
        assert set(images.ids[dataset.labels[:, row] == 1].tolist()) == expected


def test_file_without_annotations_is_unlabelled_not_empty(coco: Write) -> None:
    dataset = read_coco(coco("image_info_test2017.json", drop=("annotations",)))
    assert not dataset.images.labelled.any()
    assert (dataset.labels == -1).all()


def test_empty_lists(coco: Write) -> None:
    dataset = read_coco(coco(images=[], annotations=[], categories=[]))
    assert dataset.labels.shape == (0, 0)


ODD_BUT_SOUND = {
    "ids in quotes throughout": {
        "images": [{"id": "0005", "file_name": "a.jpg"}, {"id": "3", "file_name": "b.jpg"}],
        "annotations": [{"id": "x1", "image_id": "5", "category_id": 7}],
    },
    "whole numbers as floats": {
        "images": [{"id": 5.0, "file_name": "a.jpg", "width": 8.0}, {"id": 3.0, "file_name": "b"}],
        "annotations": [{"id": 1.0, "image_id": 5.0, "category_id": 7.0, "iscrowd": 0.0}],
    },
    "nulls": {
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": None, "height": None},
            {"id": 3, "file_name": "b.jpg"},
        ],
        "annotations": [
            {
                "id": None,
                "image_id": 5,
                "category_id": 7,
                "bbox": None,
                "area": None,
                "iscrowd": None,
            }
        ],
    },
    "an empty box, a boolean crowd, no id": {
        "images": [{"id": 5, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 5, "category_id": 7, "bbox": [], "iscrowd": False}],
    },
}


@pytest.mark.parametrize("lists", ODD_BUT_SOUND.values(), ids=ODD_BUT_SOUND.keys())
def test_odd_but_sound_files_are_read(coco: Write, lists: dict[str, Any]) -> None:
    dataset = read_coco(coco(**lists))
    assert dataset.images.ids.tolist() == [5, 3]
    assert dataset.annotations.ids.tolist() == [1]
    assert not dataset.annotations.has_box.any()
    assert dataset.labels.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_reading_by_record_gives_the_same_columns(shared_data: Path) -> None:
    from dataclasses import fields

    from tagbox.data.formats.coco import _columns, _decode, top_level
    from tagbox.data.formats.coco_columns import Columns
    from tagbox.data.formats.coco_records import RecordReader
    from tagbox.text_files import read_json_content

    path = shared_data / "coco-sample/annotations/instances_val2017.json"
    content = read_json_content(path)
    fast = _columns(_decode(content, path))
    by_record = Columns(**RecordReader(path).columns(top_level(content, path)))
    for field in fields(Columns):
        assert_array_equal(getattr(fast, field.name), getattr(by_record, field.name), field.name)


def image(**fields: Any) -> list[dict[str, Any]]:
    return [{"id": 3, "file_name": "b.jpg"}, {"id": 5, "file_name": "a.jpg"} | fields]


def annotation(**fields: Any) -> list[dict[str, Any]]:
    sound = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4]}
    return [sound, sound | {"id": 2} | fields]


FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("box of three", {"annotations": annotation(bbox=[1, 2, 3])}, "bad-box", "annotations[1] (id 2).bbox"),
    ("box of five", {"annotations": annotation(bbox=[1] * 5)}, "bad-box", "annotations[1] (id 2).bbox"),
    ("box of texts", {"annotations": annotation(bbox=["1", 2, 3, 4])}, "bad-box", "annotations[1] (id 2).bbox[0]"),
    ("box of booleans", {"annotations": annotation(bbox=[True, 2, 3, 4])}, "bad-box", "annotations[1] (id 2).bbox[0]"),
    ("box as object", {"annotations": annotation(bbox={"x": 1})}, "bad-box", "annotations[1] (id 2).bbox"),
    ("negative width", {"annotations": annotation(bbox=[1, 2, -3, 4])}, "bad-box", "annotations[1] (id 2).bbox"),
    ("area as text", {"annotations": annotation(area="big")}, "json-field", "annotations[1] (id 2).area"),
    ("crowd of two", {"annotations": annotation(iscrowd=2)}, "json-field", "annotations[1] (id 2).iscrowd"),
    ("unknown image", {"annotations": annotation(image_id=77)}, "unknown-image-id", "annotations[1].image_id"),
    ("unknown category", {"annotations": annotation(category_id=0)}, "unknown-category-id", "annotations[1].category_id"),
    ("mixed ids", {"annotations": annotation(image_id="5")}, "id-type", "annotations[1] (id 2).image_id"),
    ("mixed category ids", {"annotations": annotation(category_id="7")}, "id-type", "annotations[1] (id 2).category_id"),
    ("id as word", {"images": image(id="five")}, "id-type", "images[1] (id five).id"),
    ("id as fraction", {"images": image(id=5.5)}, "id-type", "images[1].id"),
    ("id as boolean", {"images": image(id=True)}, "id-type", "images[1] (id True).id"),
    ("id of 30 digits", {"images": image(id=10**30)}, "id-type", f"images[1] (id {10**30}).id"),
    ("no image id", {"images": image(id=None)}, "json-field", "images[1].id"),
    ("no category id", {"annotations": annotation(category_id=None)}, "json-field", "annotations[1] (id 2).category_id"),
    ("image twice", {"images": image(id=3)}, "duplicate-image-id", "images[1].id"),
    ("no file name", {"images": image(file_name=None)}, "json-field", "images[1] (id 5).file_name"),
    ("file name as number", {"images": image(file_name=5)}, "json-field", "images[1] (id 5).file_name"),
    ("empty file name", {"images": image(file_name="")}, "json-field", "images[1] (id 5).file_name"),
    ("parent folder", {"images": image(file_name="../a.jpg")}, "file-name-outside", "images[1].file_name"),
    ("parent inside", {"images": image(file_name="x/../../a.jpg")}, "file-name-outside", "images[1].file_name"),
    ("backslash parent", {"images": image(file_name="..\\a.jpg")}, "file-name-outside", "images[1].file_name"),
    ("absolute", {"images": image(file_name="/etc/passwd")}, "file-name-outside", "images[1].file_name"),
    ("drive", {"images": image(file_name="C:\\a.jpg")}, "file-name-outside", "images[1].file_name"),
    ("width as text", {"images": image(width="wide")}, "json-field", "images[1] (id 5).width"),
    ("negative width of image", {"images": image(width=-8)}, "json-field", "images[1] (id 5).width"),
    ("record as number", {"images": [5]}, "json-field", "images[0]"),
    ("annotations as object", {"annotations": {}}, "json-field", "annotations"),
    ("category twice", {"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, "duplicate-category-id", "categories[1].id"),
    ("name twice", {"categories": [{"id": 7, "name": "a"}, {"id": 8, "name": "a"}]}, "duplicate-category-name", "categories[1].name"),
    ("name as number", {"categories": [{"id": 7, "name": 7}]}, "json-field", "categories[0] (id 7).name"),
    ("no images", {"drop": ("images",)}, "json-field", "images"),
    ("no categories", {"drop": ("categories",)}, "json-field", "categories"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lists", "code", "where"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_fault_has_code_file_and_place(
    coco: Write, lists: dict[str, Any], code: str, where: str
) -> None:
    path = coco(**lists)
    before = path.read_bytes()
    with pytest.raises(TagboxError) as caught:
        read_coco(path)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(path)
    assert caught.value.hint
    assert path.read_bytes() == before


def test_dots_inside_a_name_are_no_parent_folder(coco: Write) -> None:
    assert read_coco(coco(images=[{"id": 1, "file_name": "a..b.jpg"}], annotations=[])).images


SYNTAX = [
    ("empty", b"", "json-syntax", None),
    ("cut off", b'{"images": [{"id": 1,\n "file_na', "json-syntax", "line 2, column 10"),
    ("trailing comma", b'{"images": [],\n"categories": [],}', "json-syntax", "line 2, column 18"),
    ("comment", b'{"images": [], # none\n"categories": []}', "json-syntax", "line 1, column 16"),
    ("two values", b'{"images": [], "categories": []} {}', "json-syntax", "line 1, column 34"),
    ("nan", b'{"images": [],\n "categories": [],\n "x": NaN}', "json-number", "line 3, column 7"),
    ("infinity", b'{"images": [], "categories": [], "x": [Infinity]}', "json-number", "line 1, column 40"),
    ("minus infinity", b'{"images": [],\n "categories": [], "x": -Infinity}', "json-number", "line 2, column 25"),
    ("a list", b"[]", "json-field", "the outermost value"),
    ("not utf-8", b'{"images": [{"id": 1, "file_name": "\xff.jpg"}], "categories": []}', "not-utf8", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "code", "where"), [s[1:] for s in SYNTAX], ids=[s[0] for s in SYNTAX]
)
def test_malformed_file_is_placed(
    tmp_path: Path, content: bytes, code: str, where: str | None
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(TagboxError) as caught:
        read_coco(path)
    assert caught.value.code == code
    assert where is None or caught.value.where == where


def test_nan_in_a_box_is_placed(tmp_path: Path, coco: Write) -> None:
    path = coco()
    path.write_text(path.read_text().replace("4.5", "NaN"))
    with pytest.raises(TagboxError) as caught:
        read_coco(path)
    assert caught.value.code == "json-number"
    column = path.read_text().index("NaN") + 1
    assert caught.value.where == f"line 1, column {column}"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TagboxError, match="no such file") as caught:
        read_coco(tmp_path / "x.json")
    assert caught.value.code == "file-missing"


def test_byte_order_mark_and_unknown_fields_are_no_fault(coco: Write) -> None:
    path = coco(info={"year": 2017}, extra=[1, {"a": None}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_coco(path)) == 3


def test_unknown_ids_are_counted(coco: Write) -> None:
    path = coco(annotations=[{"image_id": 1, "category_id": 7}, {"image_id": 2, "category_id": 7}])
    with pytest.raises(TagboxError, match=r"id 1 \(and 1 more"):
        read_coco(path)


@given(
    ids=st.lists(st.integers(-(2**62), 2**62), unique=True, max_size=30),
    wanted=st.lists(st.integers(-(2**62), 2**62), max_size=30),
    small=st.booleans(),
)
def test_rows_of_finds_every_id(ids: list[int], wanted: list[int], small: bool) -> None:
    if small:
        ids, wanted = list({abs(i) % 50 for i in ids}), [i % 60 - 5 for i in wanted]
    wanted = wanted + ids[:5]
    found = rows_of(np.array(wanted, np.int64), np.array(ids, np.int64))
    assert found.tolist() == [ids.index(w) if w in ids else -1 for w in wanted]


def test_big_ids_survive(tmp_path: Path, coco: Write) -> None:
    big = 2**63 - 1
    path = coco(
        images=[{"id": big, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
        annotations=[{"id": 1, "image_id": big, "category_id": 7}],
    )
    dataset = read_coco(path)
    assert dataset.images.ids.tolist() == [big, 1]
    assert dataset.labels[:, 0].tolist() == [1, 0]
    assert json.loads(path.read_text())["images"][0]["id"] == big
