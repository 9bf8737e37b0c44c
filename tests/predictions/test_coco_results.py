"""COCO results files: read strictly, written so that reading gives every digit back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from box_data import boxed, detected
from tagbox.errors import TagboxError
from tagbox.predictions.coco_results import (
    encode_results,
    read_known_results,
    read_results,
    write_results,
)

DATASET = boxed([], images=2, categories=2, image_ids=[139, 7], category_ids=[18, 1])
GOOD = {"image_id": 7, "category_id": 18, "bbox": [1, 2.5, 3, 4], "score": 0.25}


def results(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_of_any_tool(tmp_path: Path) -> None:
    other = {"id": 5, "area": 12, "iscrowd": 0, "segmentation": [[1, 2, 3]]}
    found = read_results(
        results(tmp_path, [GOOD | other, GOOD | {"image_id": 139.0, "score": 1}]), DATASET
    )
    assert found.image_rows.tolist() == [1, 0]
    assert found.category_rows.tolist() == [0, 0]
    assert found.boxes.tolist() == [[1, 2.5, 3, 4]] * 2
    assert found.scores.tolist() == [0.25, 1.0]
    assert found.images == ("139", "7") and found.categories == ("c0", "c1")
    assert len(read_results(results(tmp_path, []), DATASET)) == 0


numbers = st.floats(allow_nan=False, allow_infinity=False)
sides = st.floats(min_value=0, allow_infinity=False)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), numbers, numbers, sides, sides, numbers),
        max_size=8,
    )
)
def test_writing_and_reading_keeps_every_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    found = detected(rows, DATASET)
    path = tmp_path_factory.mktemp("round") / "out.json"
    write_results(path, found, DATASET)
    again = read_results(path, DATASET)
    for name in ("image_rows", "category_rows", "boxes", "scores"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()


def test_rounding_on_request_only() -> None:
    found = detected([(0, 0, 1 / 3, 2, 3, 4, 2 / 3)], DATASET)
    assert json.loads(encode_results(found, DATASET))[0]["bbox"][0] == 1 / 3
    record = json.loads(encode_results(found, DATASET, decimals=2))[0]
    assert (record["bbox"][0], record["score"]) == (0.33, 0.67)
    assert (record["image_id"], record["category_id"]) == (139, 18)
    assert json.loads(encode_results(detected([], DATASET), DATASET)) == []
    broken = detected([(0, 0, 1, 2, 3, np.nan, 1)], DATASET)
    with pytest.raises(TagboxError) as caught:
        encode_results(broken, DATASET)
    assert caught.value.code == "not-finite"


def test_others_are_left_out_on_request(tmp_path: Path) -> None:
    path = results(tmp_path, [GOOD, GOOD | {"image_id": 8}, GOOD | {"category_id": 0}])
    found, left_out = read_known_results(path, DATASET)
    assert (len(found), left_out) == (1, 2)


def spoilt(**fields: Any) -> list[dict[str, Any]]:
    return [GOOD, GOOD | fields]


BAD = [
    # not what a results file is
    ({"annotations": []}, "results-format", "", "list"),
    ([GOOD, [1, 2]], "results-format", "[1]", "object"),
    ('[{"image_id": 7', "json-syntax", "line 1", "ends too early"),
    ("", "json-syntax", "", "empty"),
    # numbers that are none
    (json.dumps(spoilt(score=float("nan"))), "json-number", "line 1", "NaN"),
    (json.dumps(spoilt(bbox=[1, 2, float("inf"), 4])), "json-number", "line 1", "Infinity"),
    (json.dumps(spoilt()).replace("0.25", "1e999"), "json-number", "[0]", "too large"),
    # a field that is not there
    ([{k: v for k, v in GOOD.items() if k != "score"}], "json-field", "[0].score", "missing"),
    ([{k: v for k, v in GOOD.items() if k != "bbox"}], "json-field", "[0].bbox", "missing"),
    (spoilt(image_id=None), "json-field", "[1].image_id", "null"),
    # boxes
    (spoilt(bbox=[1, 2, 3]), "bad-box", "[1].bbox", "[1,2,3]"),
    (spoilt(bbox=[1, 2, 3, 4, 5]), "bad-box", "[1].bbox", "4 numbers"),
    (spoilt(bbox=[1, 2, -3, 4]), "bad-box", "[1].bbox", "negative"),
    (spoilt(bbox={"x": 1}), "bad-box", "[1].bbox", "4 numbers"),
    (spoilt(bbox=[1, 2, "3", 4]), "bad-box", "[1].bbox", "4 numbers"),
    # scores
    (spoilt(score="0.9"), "bad-score", "[1].score", '"0.9"'),
    (spoilt(score=True), "bad-score", "[1].score", "true"),
    (spoilt(score=[0.9]), "bad-score", "[1].score", "[0.9]"),
    # ids
    (spoilt(image_id=[7]), "id-type", "[1].image_id", "[7]"),
    (spoilt(category_id=1.5), "id-type", "[1].category_id", "1.5"),
    (spoilt(image_id=2**70), "id-type", "[1].image_id", "whole"),
    (spoilt(category_id=True), "id-type", "[1].category_id", "true"),
    (spoilt(image_id=8), "unknown-image-id", "[1].image_id", "7, 139"),
    (spoilt(category_id=2), "unknown-category-id", "[1].category_id", "1, 18"),
    (spoilt(category_id=0), "unknown-category-id", "[1].category_id", "original ids"),
]


@pytest.mark.parametrize(("content", "code", "where", "words"), BAD)
def test_bad_files(tmp_path: Path, content: Any, code: str, where: str, words: str) -> None:
    path = results(tmp_path, content)
    with pytest.raises(TagboxError) as caught:
        read_results(path, DATASET)
    error = caught.value
    assert error.code == code
    assert error.file == str(path)
    assert where in (error.where or "") and words in str(error), str(error)
    assert error.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        read_results(tmp_path / "none.json", DATASET)
    assert caught.value.code == "file-missing"
