"""Odd COCO records: loading and ``tagbox check`` accept, repair and refuse the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks_data import Coco

from tagbox.checks.check import check_datasets
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError

# Raw JSON texts stand for values that json.dumps cannot write.
RAW = {"<huge>": "1e400", "<not utf-8>": '"\udcff"'}

ODD: list[tuple[str, dict[str, Any], set[str], set[str]]] = [
    # (list, fields of its first record, the errors, and the warnings and infos of `check`)
    # ids
    ("images", {"id": 2**63 - 1}, {"unknown-image-id"}, set()),  # the largest id is one
    ("images", {"id": 2**63}, {"id-type"}, set()),  # does not fit 64 bits
    ("images", {"id": -(2**63)}, {"id-type"}, set()),  # kept for "no id"
    ("images", {"id": 1.0}, set(), set()),  # a whole number, as JavaScript and pandas write it
    ("images", {"id": 1.5}, {"id-type"}, set()),
    ("images", {"id": True}, {"id-type"}, set()),
    ("images", {"id": "1"}, {"id-type"}, set()),  # a text among numbers
    ("images", {"id": ""}, {"id-type"}, set()),
    ("images", {"id": None}, {"json-field"}, set()),
    ("images", {"id": [1]}, {"id-type"}, set()),
    ("categories", {"id": "cat"}, {"id-type"}, set()),
    # annotation ids: nothing refers to them, so one that is no number is as good as none
    ("annotations", {"id": "x1"}, set(), {"missing-annotation-id"}),
    ("annotations", {"id": 1.5}, set(), {"missing-annotation-id"}),
    ("annotations", {"id": 2**64}, set(), {"missing-annotation-id"}),
    ("annotations", {"id": None}, set(), {"missing-annotation-id"}),
    ("annotations", {"id": "1"}, set(), {"id-text"}),  # digits in quotes are the number
    # names
    ("categories", {"name": ""}, {"json-field"}, set()),  # no name to train or report under
    ("categories", {"name": 7}, {"json-field"}, set()),
    ("categories", {"supercategory": 3}, set(), {"supercategory-ignored"}),  # only groups
    ("categories", {"supercategory": None}, set(), set()),
    ("images", {"file_name": ""}, {"json-field"}, set()),
    ("images", {"file_name": "<not utf-8>"}, {"not-utf8"}, set()),
    ("images", {"license": "<not utf-8>"}, set(), set()),  # in a field that nobody reads
    # sizes
    ("images", {"width": 40.0}, set(), set()),
    ("images", {"width": None}, set(), set()),
    ("images", {"width": "40"}, {"json-field"}, set()),
    ("images", {"width": 2**31}, {"json-field"}, set()),
    ("images", {"width": "<huge>"}, {"json-field"}, set()),
    # crowds and areas
    ("annotations", {"iscrowd": False}, set(), set()),
    ("annotations", {"iscrowd": 0.0}, set(), set()),
    ("annotations", {"iscrowd": None}, set(), {"missing-iscrowd"}),
    ("annotations", {"iscrowd": -1}, {"json-field"}, set()),
    ("annotations", {"iscrowd": "0"}, {"json-field"}, set()),
    ("annotations", {"area": None}, set(), {"missing-area"}),
    ("annotations", {"area": True}, {"json-field"}, set()),
    ("annotations", {"area": 10**400}, {"json-field"}, set()),  # no float is that large
    # boxes
    ("annotations", {"bbox": []}, set(), {"annotation-without-box"}),
    ("annotations", {"bbox": None}, set(), {"annotation-without-box"}),
    ("annotations", {"bbox": [1, 2, 3]}, {"bad-box"}, set()),
    ("annotations", {"bbox": [True, 2, 3, 4]}, {"bad-box"}, set()),
    ("annotations", {"bbox": [1, 2, "3", 4]}, {"bad-box"}, set()),
    ("annotations", {"bbox": [1, 2, -3, 4]}, {"bad-box"}, set()),
    ("annotations", {"bbox": {"x": 1}}, {"bad-box"}, set()),
]


def _write(coco: Coco, path: Path) -> Path:
    text = json.dumps(coco)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def _compare(path: Path, errors: set[str], notes: set[str]) -> None:
    findings = check_datasets([path], pictures=False).findings
    found = {f.code for f in findings.kept if f.severity == "error"}
    assert errors <= found
    assert notes <= set(findings.counts)
    if not errors:
        assert not found
        dataset = load_dataset(path)
        assert dataset.labels.shape == (len(dataset.images.ids), len(dataset.categories.names))
        return
    with pytest.raises(TagboxError) as caught:
        load_dataset(path)
    assert caught.value.code in errors
    # The same fault at the same place; of a text that is not UTF-8 only `check` knows the record.
    same = [f for f in findings.kept if f.code == caught.value.code]
    if caught.value.code not in {"unknown-image-id", "not-utf8"}:
        assert caught.value.where in [f.where for f in same]
        assert caught.value.found in [f.found for f in same] or caught.value.code == "bad-box"


@pytest.mark.parametrize(("section", "fields", "errors", "notes"), ODD)
def test_loading_and_check_agree(
    section: str,
    fields: dict[str, Any],
    errors: set[str],
    notes: set[str],
    sound: Coco,
    tmp_path: Path,
) -> None:
    sound[section][0].update(fields)
    _compare(_write(sound, tmp_path / "labels.json"), errors, notes)


def test_a_text_id_of_19_digits_is_a_number(sound: Coco, tmp_path: Path) -> None:
    """As some label tools write their hashes; it fits 64 bits."""
    for image in sound["images"]:
        image["id"] = f"{10**18 + image['id']}"
    for annotation in sound["annotations"]:
        annotation["image_id"] = f"{10**18 + annotation['image_id']}"
    path = _write(sound, tmp_path / "labels.json")
    _compare(path, set(), {"id-text"})
    assert np.all(load_dataset(path).images.ids > 10**18)
    sound["images"][0]["id"] = f"{2**63}"  # and this one does not
    _compare(_write(sound, path), {"unknown-image-id"}, {"id-text"})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda coco: coco["annotations"].append(None),
        lambda coco: coco["images"].append(5),
        lambda coco: coco.pop("categories"),
        lambda coco: coco.update(annotations={}),
    ],
)
def test_what_is_no_record_is_refused_by_both(
    spoil: Callable[[Coco], Any], sound: Coco, tmp_path: Path
) -> None:
    spoil(sound)
    _compare(_write(sound, tmp_path / "labels.json"), {"json-field"}, set())
