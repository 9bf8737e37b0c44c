"""Faults in COCO files: each is found, named with its place, and never hides another."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from checks_data import SOUND, Coco
from hypothesis import HealthCheck, given, settings

from tagbox.checks.check import check_dataset, check_datasets
from tagbox.config import DataConfig
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError

Break = Callable[[Coco], Any]


def _set(section: str, position: int, **values: Any) -> Break:
    return lambda coco: coco[section][position].update(values)


def _drop(section: str, position: int, field: str) -> Break:
    return lambda coco: coco[section][position].pop(field)


def _add(section: str, **values: Any) -> Break:
    return lambda coco: coco[section].append(values)


FAULTS: list[tuple[Break, str, str, str | None]] = [
    # two images with one id: which of them do the annotations mean?
    (_set("images", 2, id=1), "duplicate-image-id", "error", "images[2].id"),
    (_set("annotations", 2, id=1), "duplicate-annotation-id", "error", "annotations[2].id"),
    (_set("categories", 1, id=1), "duplicate-category-id", "error", "categories[1].id"),
    (_set("categories", 1, name="cat"), "duplicate-category-name", "error", "categories[1].name"),
    # one picture, two records: the labels of one of them will be wrong
    (_set("images", 2, file_name="a.jpg"), "duplicate-file-name", "warning", "images[2].file_name"),
    # an id in quotes among numbers never matches in Python
    (_set("images", 1, id="2"), "id-type", "error", "images[1] (id 2).id"),
    (_set("annotations", 0, image_id="1"), "id-type", "error", "annotations[0] (id 1).image_id"),
    (
        _set("annotations", 0, category_id=1.5),
        "id-type",
        "error",
        "annotations[0] (id 1).category_id",
    ),
    # true is an int to Python, and no id
    (_set("images", 1, id=True), "id-type", "error", "images[1] (id True).id"),
    (
        _set("annotations", 1, image_id=99),
        "unknown-image-id",
        "error",
        "annotations[1] (id 2).image_id",
    ),
    (
        _set("annotations", 1, category_id=99),
        "unknown-category-id",
        "error",
        "annotations[1] (id 2).category_id",
    ),
    # pycocotools takes id 0 for "no match"
    (_set("annotations", 0, id=0), "annotation-id-zero", "warning", "annotations[0] (id 0)"),
    (_drop("annotations", 0, "id"), "missing-annotation-id", "warning", "annotations[0]"),
    (_drop("annotations", 0, "area"), "missing-area", "info", "annotations[0] (id 1)"),
    (_drop("annotations", 0, "iscrowd"), "missing-iscrowd", "info", "annotations[0] (id 1)"),
    (
        _set("annotations", 0, bbox=[1, 1, 0, 5]),
        "box-degenerate",
        "error",
        "annotations[0] (id 1).bbox",
    ),
    # corners instead of corner and size
    (
        _set("annotations", 0, bbox=[20, 20, -5, 5]),
        "bad-box",
        "error",
        "annotations[0] (id 1).bbox",
    ),
    (_set("annotations", 0, bbox=[1, 2, 3]), "bad-box", "error", "annotations[0] (id 1).bbox"),
    (
        _set("annotations", 0, bbox=[1, 2, None, 3]),
        "bad-box",
        "error",
        "annotations[0] (id 1).bbox[2]",
    ),
    (
        _set("annotations", 0, bbox=[1, 2, "3", 3]),
        "bad-box",
        "error",
        "annotations[0] (id 1).bbox[2]",
    ),
    (
        _set("annotations", 0, bbox=[30, 2, 20, 3]),
        "box-leaves-image",
        "warning",
        "annotations[0] (id 1).bbox",
    ),
    # json.dump writes NaN, which is not JSON
    (
        _set("annotations", 0, bbox=[1, float("nan"), 2, 3]),
        "json-number",
        "error",
        "annotations[0] (id 1).bbox[1]",
    ),
    (
        _set("annotations", 0, area=float("-inf")),
        "json-number",
        "error",
        "annotations[0] (id 1).area",
    ),
    (_set("images", 0, width=float("nan")), "json-number", "error", "images[0] (id 1).width"),
    (
        _set("images", 0, file_name="../elsewhere.jpg"),
        "file-name-outside",
        "error",
        "images[0] (id 1).file_name",
    ),
    (
        _set("images", 0, file_name="/elsewhere.jpg"),
        "file-name-outside",
        "error",
        "images[0] (id 1).file_name",
    ),
    (_set("images", 0, file_name=""), "json-field", "error", "images[0] (id 1).file_name"),
    (_set("images", 0, file_name=7), "json-field", "error", "images[0] (id 1).file_name"),
    (_drop("images", 0, "file_name"), "json-field", "error", "images[0] (id 1).file_name"),
    (_drop("images", 0, "id"), "json-field", "error", "images[0].id"),
    (_drop("annotations", 0, "image_id"), "json-field", "error", "annotations[0] (id 1).image_id"),
    (_set("images", 0, width="40"), "json-field", "error", "images[0] (id 1).width"),
    (_set("images", 0, width=-4), "json-field", "error", "images[0] (id 1).width"),
    (_set("annotations", 0, iscrowd=2), "json-field", "error", "annotations[0] (id 1).iscrowd"),
    (_set("annotations", 0, area="big"), "json-field", "error", "annotations[0] (id 1).area"),
    (_set("categories", 0, name=None), "json-field", "error", "categories[0] (id 1).name"),
    (lambda coco: coco["annotations"].append(None), "json-field", "error", "annotations[3]"),
    (lambda coco: coco.pop("categories"), "json-field", "error", "categories"),
    (lambda coco: coco.update(images={}), "json-field", "error", "images"),
    (_add("categories", id=3, name="cow"), "category-unused", "warning", "category id 3"),
    (
        _add("images", id=4, file_name="d.jpg"),
        "image-without-annotations",
        "info",
        "image id 4",
    ),
    (_add("images", id=4, file_name="sub/a.jpg"), "file-name-ambiguous", "warning", "image id 4"),
]


@pytest.mark.parametrize(("spoil", "code", "severity", "where"), FAULTS)
def test_every_fault_is_found_at_its_place(
    spoil: Break,
    code: str,
    severity: str,
    where: str | None,
    sound: Coco,
    write_coco: Callable[..., Path],
) -> None:
    spoil(sound)
    path = write_coco(sound)
    found = [f for f in check_dataset(path) if f.code == code]
    assert [(f.severity, f.where, f.file) for f in found] == [(severity, where, str(path))]
    assert found[0].hint


def test_a_sound_dataset_has_no_finding(sound: Coco, write_coco: Callable[..., Path]) -> None:
    assert check_dataset(write_coco(sound)) == []


def test_all_faults_are_found_in_one_run(sound: Coco, write_coco: Callable[..., Path]) -> None:
    _set("images", 1, id="2")(sound)
    _set("annotations", 0, bbox=[1, float("nan"), 2, 3])(sound)
    _set("annotations", 1, category_id=9)(sound)
    _set("annotations", 2, bbox=[1, 1, 0, 1])(sound)
    codes = [f.code for f in check_dataset(write_coco(sound))]
    # errors come before warnings
    assert codes[:4] == ["box-degenerate", "id-type", "json-number", "unknown-category-id"]
    assert "category-unused" in codes[4:]


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        (
            '{"images": [],\n "categories": [],}',
            "json-syntax",
            "line 2, column 19",
        ),  # trailing comma
        ('{"images": [\n{"id": 1', "json-syntax", "line 2, column 9"),  # cut off
        ("", "json-syntax", None),  # zero bytes
        ('{"images": []}'.encode("utf-16"), "not-utf8", "line 1"),
    ],
)
def test_a_syntax_error_is_the_one_finding(
    text: str | bytes, code: str, where: str | None, write_coco: Callable[..., Path]
) -> None:
    path = write_coco(text)
    findings = check_dataset(path, DataConfig(format="coco"))
    assert [(f.code, f.severity, f.where) for f in findings] == [(code, "error", where)]


def test_ids_that_are_texts_throughout_only_warn(
    sound: Coco, write_coco: Callable[..., Path]
) -> None:
    for image in sound["images"]:
        image["id"] = str(image["id"])
    for annotation in sound["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    findings = check_dataset(write_coco(sound))
    assert [(f.code, f.severity) for f in findings] == [("id-text", "info")]


def test_a_file_without_annotations_is_unlabelled(
    sound: Coco, write_coco: Callable[..., Path]
) -> None:
    del sound["annotations"]
    assert check_dataset(write_coco(sound)) == []


def test_the_limit_keeps_few_and_counts_all(sound: Coco, write_coco: Callable[..., Path]) -> None:
    for annotation in sound["annotations"]:
        annotation.pop("area")
    report = check_datasets([write_coco(sound)], limit=2)
    assert len(report.findings.kept) == 2
    assert report.findings.counts["missing-area"] == 3
    assert report.to_dict()["counts"] == {"error": 0, "warning": 0, "info": 3}


ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1,
        2,
        3,
        1.0,
        2.5,
        10**30,
        "",
        "1",
        "x",
        "..",
        float("nan"),
        [],
        [1, 2, 3, 4],
        {},
    ]
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["images", "categories", "annotations"]),
            st.integers(0, 2),
            st.sampled_from(
                [
                    "id",
                    "file_name",
                    "width",
                    "name",
                    "image_id",
                    "category_id",
                    "bbox",
                    "area",
                    "iscrowd",
                ]
            ),
            ODD,
        ),
        max_size=3,
    )
)
def test_what_the_loader_refuses_the_check_calls_an_error(
    changes: list[tuple[str, int, str, Any]], tmp_path: Path
) -> None:
    """And the check never stops, whatever the values are."""
    coco = copy.deepcopy(SOUND)
    for section, position, field, value in changes:
        coco[section][position % len(coco[section])][field] = value
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(coco))
    report = check_datasets([path], pictures=False)
    try:
        load_dataset(path)
    except TagboxError as error:
        assert report.findings.totals["error"] > 0, f"the loader says: {error}"
