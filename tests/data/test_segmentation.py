"""Boxes from segmentations: pycocotools is the oracle of masks, COCO's own boxes that of polygons."""

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
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from pycocotools import mask as masks

from tagbox import TagboxError
from tagbox.data.formats.coco import read_coco
from tagbox.data.load import describe
from tagbox.data.segmentation import SegmentationError, decode_counts, segmentation_box
from tagbox.data.training_boxes import training_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth

Write = Callable[..., Path]


def encoded(mask: np.ndarray) -> dict[str, Any]:
    rle = masks.encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def runs(mask: np.ndarray) -> list[int]:
    """Uncompressed counts, by hand."""
    flat = mask.ravel(order="F")
    counts, value = [0], 0
    for pixel in flat.tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
    )
)
def test_masks_as_pycocotools_bounds_them(mask: np.ndarray) -> None:
    rle = encoded(mask)
    counts = runs(mask)
    assert_array_equal(decode_counts(rle["counts"]), counts)
    box = segmentation_box(rle)
    assert box == segmentation_box({"size": rle["size"], "counts": counts})
    if not mask.any():
        assert box is None
    else:
        assert list(box or ()) == masks.toBbox(rle).tolist()


def test_long_runs() -> None:
    mask = np.zeros((3000, 2500), np.uint8)
    mask[7:2990, 11:2400] = 1
    mask[:, 2450] = 1
    rle = encoded(mask)
    assert list(segmentation_box(rle) or ()) == masks.toBbox(rle).tolist() == [11, 0, 2440, 3000]


@pytest.mark.parametrize(
    "name",
    [
        "coco-sample/annotations/instances_val2017.json",
        "coco-eval/instances_val2014_100.json",
    ],
)
def test_real_segmentations_give_the_real_boxes(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    content = json.loads((shared_data / name).read_text())
    for annotation in content["annotations"]:
        if "segmentation" in annotation:
            del annotation["bbox"]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    expected = read_coco(shared_data / name).annotations
    found = read_coco(path).annotations
    assert found.has_box.all()
    drawn = ~expected.crowd & np.array(["segmentation" in a for a in content["annotations"]])
    assert_allclose(found.boxes[drawn], expected.boxes[drawn], atol=0.02)
    for row, annotation in enumerate(content["annotations"]):
        if isinstance(annotation.get("segmentation"), dict):
            size = annotation["segmentation"]["size"]
            rle = masks.frPyObjects(annotation["segmentation"], *size)
            assert found.boxes[row].tolist() == masks.toBbox(rle).tolist()


def test_polygons_by_hand() -> None:
    assert segmentation_box([[1, 2, 5, 2, 5, 9.5]]) == (1, 2, 4, 7.5)
    assert segmentation_box([[1, 2, 5, 2, 5, 9], [0, 4, 2, 4, 2, 20]]) == (0, 2, 5, 18)
    # one polygon without the list around it
    assert segmentation_box([1, 2, 5, 2, 5, 9]) == (1, 2, 4, 7)
    assert segmentation_box([]) is None and segmentation_box(None) is None


BROKEN = [
    ([[1, 2, 3, 4, 5]], "bad-polygon", "[0]"),
    ([[1, 2, 3, 4]], "bad-polygon", "[0]"),
    ([[1, 2, 5, 2, 5, 9], []], "bad-polygon", "[1]"),
    ([[1, 2, 5, 2, 5, "9"]], "bad-polygon", "[0]"),
    ([[1, 2, 5, 2, 5, None]], "bad-polygon", "[0]"),
    ([[1, 2, 5, 2, 5, True]], "bad-polygon", "[0]"),
    ([1, 2, [3], 4, 5, 6], "bad-polygon", ""),
    ("polygon", "bad-polygon", ""),
    (7, "bad-polygon", ""),
    ({}, "bad-rle", ".size"),
    ({"size": [2], "counts": [4]}, "bad-rle", ".size"),
    ({"size": [2, 0], "counts": []}, "bad-rle", ".size"),
    ({"size": [2, 2]}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": [1, -1, 4]}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": [1, 2]}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": [1, 2, 2]}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": [2**61, 2**61, 2**61, 2**61, 2**61]}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": "1\x20"}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": "ü"}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": "1P"}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": "P" * 40 + "1"}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": ""}, "bad-rle", ".counts"),
    ({"size": [2, 2], "counts": "O"}, "bad-rle", ".counts"),
]


@pytest.mark.parametrize(("segmentation", "code", "place"), BROKEN)
def test_broken_segmentations(segmentation: Any, code: str, place: str) -> None:
    with pytest.raises(SegmentationError) as caught:
        segmentation_box(segmentation)
    assert (caught.value.code, caught.value.place) == (code, place)


@given(st.text(alphabet=st.characters(min_codepoint=40, max_codepoint=130), max_size=60))
def test_any_text_is_counts_or_refused(text: str) -> None:
    with contextlib.suppress(SegmentationError):
        assert (decode_counts(text) >= 0).all()


def with_segmentation(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "elk"}],
        "annotations": [
            {"id": 4, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"id": 5, "image_id": 1, "category_id": 1, **changes},
        ],
    }


@pytest.mark.parametrize("quoted", [False, True])
def test_boxes_come_from_segmentations_where_there_are_none(tmp_path: Path, quoted: bool) -> None:
    content = with_segmentation(segmentation=[[5, 6, 9, 6, 9, 8]])
    # A box that stands is what counts, whatever its segmentation is.
    content["annotations"][0]["segmentation"] = [[1, 2, 3]]
    content["annotations"].append(
        {
            "id": 6,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [2, 3], "counts": "321"},
        }
    )
    content["annotations"].append({"id": 7, "image_id": 1, "category_id": 1, "segmentation": []})
    if quoted:  # the record-by-record reader
        content["annotations"][1] |= {"image_id": "1", "bbox": []}
        for record in (*content["annotations"], *content["images"]):
            for field in ("id", "image_id"):
                if field in record:
                    record[field] = str(record[field])
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    annotations = read_coco(path).annotations
    assert annotations.has_box.tolist() == [True, True, True, False]
    assert_allclose(annotations.boxes[:3], [[1, 2, 3, 4], [5, 6, 4, 2], [1, 0, 2, 2]])


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"segmentation": [[1, 2, 3]]}, "bad-polygon", "annotations[1] (id 5).segmentation[0]"),
        (
            {"bbox": [], "segmentation": {"size": [2, 2], "counts": [1]}},
            "bad-rle",
            "annotations[1] (id 5).segmentation.counts",
        ),
    ],
)
def test_a_broken_segmentation_in_place_of_a_box(
    tmp_path: Path, changes: dict[str, Any], code: str, where: str
) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(with_segmentation(**changes)))
    dataset = read_coco(path)
    assert [(note.code, note.where) for note in dataset.source.notes] == [(code, where)]
    assert not dataset.annotations.has_box[1]
    assert where in describe(dataset)
    # Categories an image need no box; a detector does, and what is scored by boxes.
    for boxes in (training_boxes, ground_truth):
        with pytest.raises(TagboxError) as caught:
            boxes(dataset)
        assert (caught.value.code, caught.value.where) == (code, where)
        assert caught.value.file == str(path) and caught.value.hint


def test_pycocotools_reads_the_same_polygons(tmp_path: Path) -> None:
    """Its mask of a polygon lies in the box, and fills it to the pixel."""
    polygon = [3.2, 4.1, 20.7, 5.5, 18.0, 25.9, 4.4, 20.0]
    with contextlib.redirect_stdout(io.StringIO()):
        drawn = masks.toBbox(masks.frPyObjects([polygon], 30, 40))[0]
    assert_allclose(segmentation_box([polygon]), drawn, atol=1.01)
