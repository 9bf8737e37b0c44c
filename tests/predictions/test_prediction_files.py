"""Files of predictions: read back what was written, and name the line where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox.errors import TagboxError
from tagbox.predictions.files import (
    encode_json,
    read_predictions,
    read_predictions_and_thresholds,
    write_csv,
    write_in_run,
)
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds

NAMES = ("cat", "dog, small", 'the "hat"')


@settings(deadline=None, max_examples=40)
@given(
    table=st.lists(
        st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5
    ),
    stem=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
)
def test_csv_and_json_round_trip(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[float]], stem: str
) -> None:
    folder = tmp_path_factory.mktemp("round")
    predictions = Predictions(
        images=tuple(f"{stem}{row}" for row in range(len(table))),
        categories=NAMES,
        probabilities=np.array(table, np.float32),
    )
    write_csv(folder / "p.csv", predictions)
    (folder / "p.json").write_bytes(encode_json(predictions, Thresholds(value=0.25)))
    from_csv, none = read_predictions_and_thresholds(folder / "p.csv", ())
    from_json, thresholds = read_predictions_and_thresholds(folder / "p.json", ())
    assert (none, thresholds) == (None, Thresholds(value=0.25))
    for read in (from_csv, from_json):
        assert (read.images, read.categories) == (predictions.images, NAMES)
        assert read.probabilities is not None and predictions.probabilities is not None
        assert read.probabilities.tobytes() == (predictions.probabilities + 0.0).tobytes()


@pytest.mark.parametrize(
    ("name", "file"), [("hot dog", "predictions.csv"), (" cat", "predictions.json")]
)
def test_a_run_has_its_predictions_whatever_the_names(tmp_path: Path, name: str, file: str) -> None:
    values = np.array([[0.25, 0.75]], np.float32)
    predictions = Predictions(images=("a",), categories=(name, "b\nc"), probabilities=values)
    write_in_run(tmp_path, predictions)
    assert [path.name for path in tmp_path.iterdir()] == [file]
    found, _ = read_predictions_and_thresholds(tmp_path / file, ())
    assert found.categories == predictions.categories
    assert np.array_equal(found.probabilities, values)


def test_json_holds_the_label_sets(tmp_path: Path) -> None:
    predictions = Predictions(
        images=("a", "b"),
        categories=NAMES,
        probabilities=np.array([[0.9, 0.1, 0.6], [0.2, 0.1, 0.0]], np.float32),
    )
    (tmp_path / "p.json").write_bytes(encode_json(predictions, Thresholds()))
    written = json.loads((tmp_path / "p.json").read_text())
    assert [image["labels"] for image in written["images"]] == [["cat", 'the "hat"'], []]
    (tmp_path / "p.json").write_bytes(encode_json(predictions))
    assert read_predictions_and_thresholds(tmp_path / "p.json", ())[1] is None


def test_challenge_json(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('\ufeff {"0139": [2, 0], "285": []}')
    read = read_predictions(path, NAMES)
    assert (read.images, read.categories) == (("0139", "285"), NAMES)
    assert read.decisions is not None
    assert read.decisions.tolist() == [[True, False, True], [False] * 3]


def test_csv_oddities(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfImage,cat, dog \r\n\r\n a.jpg ,0.5,1\r\n,,\r\nb,1e-3,0\r\n")
    read = read_predictions(path, ())
    assert (read.images, read.categories) == (("a.jpg", "b"), ("cat", "dog"))
    assert read.table.tolist() == [[0.5, 1.0], [np.float32(1e-3), 0.0]]


BAD = [
    ("p.csv", "", "predictions-csv", "line 1", "empty"),
    ("p.csv", "file,cat\na,0.5\n", "predictions-csv", "line 1", "'file,cat'"),
    ("p.csv", "image\na\n", "predictions-csv", "line 1", "'image'"),
    ("p.csv", "image,cat,cat\na,0,0\n", "duplicate-category-name", "line 1, column 3", "twice"),
    ("p.csv", "image,cat,\na,0,0\n", "predictions-csv", "line 1, column 3", "without a name"),
    ("p.csv", "image,cat,dog\na,0.5\n", "predictions-csv", "line 2", "2 values"),
    ("p.csv", "image,cat\n\na,0.5\n,0.5\n", "predictions-csv", "line 4", "no image"),
    ("p.csv", "image,cat,dog\na,0,1\nb,0,nan\n", "probability-range", "line 3, column 3", "nan"),
    ("p.csv", "image,cat,dog\na,1.01,1\n", "probability-range", "line 2, column 2", "1.01"),
    ("p.csv", "image,cat,dog\na,0,-0.1\n", "probability-range", "line 2, column 3", "-0.1"),
    ("p.csv", "image,cat,dog\na,0,yes\n", "probability-range", "line 2, column 3", "yes"),
    ("p.csv", "image,cat\na,inf\n", "probability-range", "line 2, column 2", "inf"),
    ("p.csv", "image,cat\na,0\na,1\n", "duplicate-image", None, "'a' stands twice"),
    ("p.csv", 'image,cat\n"a,0\n', "predictions-csv", "line 2", "unexpected end"),
    ("p.csv", b"image,cat\n\xff,0\n", "not-utf8", "line 2, column 1", "UTF-8"),
    ("p.json", "[]", "predictions-format", None, "list"),
    ("p.json", "", "submission-empty", None, "empty"),
    ("p.json", '{"a": [3]}', "submission-index-range", None, "no category 3"),
    ("p.json", '{"a": [1],}', "submission-trailing-comma", None, "comma"),
]


@pytest.mark.parametrize(("name", "content", "code", "where", "words"), BAD)
def test_bad_files(
    tmp_path: Path, name: str, content: str | bytes, code: str, where: str | None, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TagboxError) as caught:
        read_predictions(path, NAMES)
    assert (caught.value.code, caught.value.file) == (code, str(path))
    if where:
        assert caught.value.where == where
    assert words in str(caught.value)


def own(**changes: object) -> str:
    fields = {
        "format": "tagbox-predictions",
        "version": 1,
        "categories": ["cat", "dog"],
        "images": [{"image": "a", "probabilities": [0.1, 0.2]}],
    }
    return json.dumps(fields | changes)


@pytest.mark.parametrize(
    ("content", "code", "where"),
    [
        (own(version=2), "predictions-format", "format"),
        (own(categories=["cat", "cat"]), "duplicate-category-name", "categories"),
        (own(categories="cat"), "predictions-format", "categories"),
        (
            own(images=[{"image": "a", "probabilities": [0.1]}]),
            "predictions-format",
            "images[0].probabilities",
        ),
        (
            own(images=[{"image": "a", "probabilities": [0.1, 1.2]}]),
            "probability-range",
            "images[0].probabilities[1]",
        ),
        (own(images=[{"image": "a", "probabilities": [0, 1]}] * 2), "duplicate-image", None),
        (own(thresholds={"value": 2}), "thresholds-invalid", "value"),
        (
            own(thresholds={"per_category": [0.5], "use_per_category": True}),
            "thresholds-invalid",
            None,
        ),
        (own()[:-3], "json-syntax", None),
    ],
)
def test_bad_own_json(tmp_path: Path, content: str, code: str, where: str | None) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(TagboxError) as caught:
        read_predictions(path, ())
    assert caught.value.code == code
    if where:
        assert caught.value.where == where


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        read_predictions(tmp_path / "none.csv", ())
    assert caught.value.code == "file-missing"
