"""Boxes as a detector needs them: each fault is found, named with its place, and said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checks_data import Coco

from tagbox.checks.check import check_dataset, check_datasets

Write = Callable[..., Path]
FIRST = "annotations[0] (id 1)"
POLYGON = [[1, 2, 11, 2, 11, 12]]

FAULTS: list[tuple[dict[str, Any], str, str, str]] = [
    # a polygon with an odd number, in place of a box and beside one
    ({"bbox": None, "segmentation": [[1, 2, 3]]}, "bad-polygon", "error", ".segmentation[0]"),
    ({"segmentation": [[1, 2, 3]]}, "segmentation-broken", "info", ".segmentation[0]"),
    (
        {"bbox": None, "segmentation": {"size": [30, 40], "counts": [7]}},
        "bad-rle",
        "error",
        ".segmentation.counts",
    ),
    (
        {"segmentation": {"size": [30, 40], "counts": "~~~"}},
        "segmentation-broken",
        "info",
        ".segmentation.counts",
    ),
    ({"bbox": None, "segmentation": POLYGON}, "box-from-segmentation", "info", ".bbox"),
    ({"bbox": None}, "annotation-without-box", "info", ".bbox"),
    ({"bbox": None, "segmentation": []}, "annotation-without-box", "info", ".bbox"),
    # the box of another object
    ({"segmentation": [[20, 2, 30, 2, 30, 12]]}, "box-unlike-segmentation", "warning", ".bbox"),
    ({"area": 500}, "area-unlike-box", "warning", ".area"),
    ({"area": -3}, "bad-area", "error", ".area"),
    ({"bbox": [1, 2, 0.5, 10], "area": 5}, "box-tiny", "info", ".bbox"),
    ({"bbox": [0, 0.5, 40, 29.5], "area": 900}, "box-whole-image", "info", ".bbox"),
    ({"bbox": [50, 2, 10, 10]}, "box-outside", "error", ".bbox"),
    ({"bbox": [35, 2, 10, 10]}, "box-leaves-image", "warning", ".bbox"),
]


@pytest.mark.parametrize(("changes", "code", "severity", "place"), FAULTS)
def test_each_fault_is_the_one_finding(
    changes: dict[str, Any],
    code: str,
    severity: str,
    place: str,
    sound: Coco,
    write_coco: Write,
) -> None:
    sound["annotations"][0].update(changes)
    findings = check_dataset(write_coco(sound))
    assert [(f.code, f.severity, f.where) for f in findings] == [(code, severity, FIRST + place)]
    assert findings[0].hint


@pytest.mark.parametrize(
    "changes",
    [
        {"segmentation": POLYGON},
        # masks end a pixel further, boxes are rounded
        {"segmentation": [[1, 2, 12, 2, 12, 13]]},
        {"segmentation": []},
        {"segmentation": None},
        # ten columns of ten pixels: the mask of the box itself
        {"segmentation": {"size": [30, 40], "counts": [32, *[10, 20] * 9, 10, 888]}},
        {"area": 121},
        {"bbox": [-1, 2, 10, 10]},
    ],
)
def test_sound_boxes_are_no_findings(
    changes: dict[str, Any], sound: Coco, write_coco: Write
) -> None:
    sound["annotations"][0].update(changes)
    assert check_dataset(write_coco(sound)) == []


def test_a_box_twice(sound: Coco, write_coco: Write) -> None:
    again = {**sound["annotations"][0], "id": 4}
    other_category = {**again, "id": 5, "category_id": 2}
    other_image = {**again, "id": 6, "image_id": 2}
    sound["annotations"] += [again, other_category, other_image]
    (finding,) = check_dataset(write_coco(sound))
    assert (finding.code, finding.where) == ("duplicate-box", "annotations[3] (id 4).bbox")
    assert "annotations[0] (id 1).bbox" in finding.found


@pytest.mark.parametrize("code", ["boxes-corners", "boxes-normalised"])
def test_a_file_of_other_boxes_is_one_finding(code: str, sound: Coco, write_coco: Write) -> None:
    for annotation in sound["annotations"]:
        x, y, w, h = annotation["bbox"]
        corners = [x + 20, y + 10, min(x + 20 + w, 40), min(y + 10 + h, 30)]
        parts = [x / 40, y / 30, w / 40, h / 30]
        annotation.update(bbox=corners if code == "boxes-corners" else parts, iscrowd=0, area=0)
    sound["annotations"][1]["bbox"] = [25, 15, 40, 30] if code == "boxes-corners" else [0, 0, 1, 1]
    findings = check_dataset(write_coco(sound))
    assert [(f.code, f.severity, f.where) for f in findings] == [
        (code, "error", "annotations[].bbox")
    ]


def test_boxes_from_segmentations_are_counted(sound: Coco, write_coco: Write) -> None:
    sound["annotations"][0] |= {"bbox": [], "segmentation": POLYGON}
    report = check_datasets([write_coco(sound)])
    assert report.datasets[0].statistics is not None
    assert report.datasets[0].statistics["boxes"] == 3


def test_labelme_boxes_are_checked_too(tmp_path: Path) -> None:
    from checks_data import noise
    from PIL import Image

    Image.fromarray(noise(1)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(
        '{"shapes": [{"label": "elk", "points": [[60, 2], [70, 12], [61, 9]]},'
        ' {"label": "elk", "points": [[3, 3], [3, 9]], "shape_type": "line"}],'
        ' "imagePath": "a.png", "imageWidth": 40, "imageHeight": 30}'
    )
    found = [(f.code, f.where) for f in check_dataset(tmp_path)]
    assert found == [
        ("box-degenerate", "a.png, annotation 2 of it"),
        ("box-outside", "a.png, annotation 1 of it"),
    ]


def test_real_data_has_no_warning(shared_data: Path) -> None:
    for name in ("coco-sample/annotations/instances_val2017.json",):
        report = check_datasets([shared_data / name], pictures=False)
        assert report.findings.totals["error"] == report.findings.totals["warning"] == 0
