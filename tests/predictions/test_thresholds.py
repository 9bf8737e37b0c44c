"""Thresholds: predicted labels, fallbacks, files of them, and refusing bad values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox.errors import TagboxError
from tagbox.predictions.predictions import same_labels
from tagbox.predictions.thresholds import (
    OBJECTIVES,
    ScoreThresholds,
    Thresholds,
    read_score_thresholds,
    read_thresholds,
)

PROBABILITIES = np.array([[0.9, 0.4, 0.1], [0.2, 0.3, 0.1], [0.6, 0.7, 0.8]], np.float32)


def predicted_names(thresholds: Thresholds, mode: str | float = "saved") -> list[str]:
    names = np.array(list("abc"))
    return ["".join(names[row]) for row in thresholds.decide(PROBABILITIES, mode)]  # type: ignore[arg-type]


def test_modes() -> None:
    thresholds = Thresholds(value=0.5, per_category=(0.95, 0.3, 0.1))
    assert predicted_names(thresholds) == ["a", "", "abc"]
    assert predicted_names(thresholds, "per_category") == ["bc", "bc", "bc"]
    assert predicted_names(thresholds, 0.25) == ["ab", "b", "abc"]
    kept = Thresholds(value=0.5, per_category=(0.95, 0.3, 0.1), use_per_category=True)
    assert predicted_names(kept) == predicted_names(kept, "per_category")
    assert predicted_names(kept, "global") == predicted_names(thresholds)


def test_a_probability_at_the_threshold_is_predicted() -> None:
    # 0.1 is not a float32; both sides must be rounded alike.
    assert Thresholds(value=0.1).decide(np.array([[0.1]], np.float32)).all()
    assert (
        Thresholds(value=0.1, per_category=(0.1,)).decide(np.array([[0.1]]), "per_category").all()
    )


def test_fallbacks() -> None:
    assert predicted_names(Thresholds(at_least_one=True)) == ["a", "b", "abc"]
    assert predicted_names(Thresholds(top_k=2)) == ["a", "", "bc"]
    assert predicted_names(Thresholds(value=0.0, top_k=1)) == ["a", "b", "c"]
    assert predicted_names(Thresholds(top_k=9, at_least_one=True)) == ["a", "b", "abc"]
    # A plain number is a plain threshold.
    assert predicted_names(Thresholds(at_least_one=True, top_k=1), 0.5) == ["a", "", "abc"]


def test_fallbacks_go_by_the_distance_to_each_threshold() -> None:
    thresholds = Thresholds(
        per_category=(0.9, 0.7, 0.15), use_per_category=True, at_least_one=True, top_k=1
    )
    assert predicted_names(thresholds) == ["a", "c", "c"]


def test_an_empty_table() -> None:
    assert Thresholds(at_least_one=True).decide(np.zeros((0, 3))).shape == (0, 3)
    assert Thresholds(at_least_one=True, top_k=1).decide(np.zeros((2, 0))).shape == (2, 0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 0, 1]] * 4, "all 4 images get the same labels: a, c"),
        ([[0, 0, 0]] * 3, "none of the 3 images gets a label"),
        ([[1, 0, 1]] * 3 + [[1, 1, 1]], None),
        ([[1, 0, 1]] * 2, None),
        ([], None),
    ],
)
def test_the_same_labels_for_all(rows: list[list[int]], words: str | None) -> None:
    assert same_labels(np.array(rows, bool).reshape(-1, 3), ("a", "b", "c")) == words


@given(
    value=st.floats(0, 1),
    per_category=st.none() | st.lists(st.floats(0, 1), max_size=4).map(tuple),
    objective=st.sampled_from(OBJECTIVES),
    at_least_one=st.booleans(),
    top_k=st.none() | st.integers(1, 5),
)
def test_round_trip_through_json(**fields: object) -> None:
    thresholds = Thresholds(**fields)  # type: ignore[arg-type]
    again = Thresholds.from_dict(json.loads(json.dumps(thresholds.to_dict())))
    assert again == thresholds


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"value": 1.5}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": "0.5"}, "value"),
        ({"value": True}, "value"),
        ({"per_category": 0.5}, "per_category"),
        ({"per_category": [0.5, -0.1]}, "per_category[1]"),
        ({"per_category": [None]}, "per_category[0]"),
        ({"use_per_category": True}, "use_per_category"),
        ({"use_per_category": "yes"}, "use_per_category"),
        ({"objective": "accuracy"}, "objective"),
        ({"at_least_one": 1}, "at_least_one"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1.0}, "top_k"),
        ({"treshold": 0.5}, "treshold"),
        ([0.5], "thresholds"),
    ],
)
def test_bad_values_name_their_field(values: object, where: str) -> None:
    with pytest.raises(TagboxError) as caught:
        Thresholds.from_dict(values, file="model.json")  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.where) == ("thresholds-invalid", where)
    assert caught.value.file == "model.json"


def test_per_category_ones_of_another_model_are_refused() -> None:
    with pytest.raises(TagboxError, match="2 thresholds for 3 categories"):
        Thresholds(per_category=(0.5, 0.5)).decide(PROBABILITIES, "per_category")
    with pytest.raises(TagboxError, match="0 thresholds for 3 categories"):
        Thresholds().decide(PROBABILITIES, "per_category")


def test_a_file_of_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"thresholds": {"value": 0.3, "source": "given", "top_k": 2}}')
    assert read_thresholds(path, ("cat", "dog", "hat")) == Thresholds(value=0.3, top_k=2)
    path.write_text('{"per_category": {"b": 0.2, "a": 0.1}}')
    assert read_thresholds(path, ("a", "b")).per_category == (0.1, 0.2)
    for content, code in (
        ('{"per_category": {"b": 0.2, "x": 0.1}}', "unknown-category"),
        ('{"per_category": {"b": 0.2}}', "missing-category"),
        ('{"per_category": [0.2]}', "thresholds-invalid"),
        ("[0.2, 0.3]", "thresholds-invalid"),
        ('{"value": 0.3', "json-syntax"),
    ):
        path.write_text(content)
        with pytest.raises(TagboxError) as caught:
            read_thresholds(path, ("a", "b"))
        assert (caught.value.code, caught.value.file) == (code, str(path))


def test_a_file_of_score_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "cuts.json"
    path.write_text('{"cuts": {"value": 0.4, "per_category": {"dog": 0.2}, "source": "given"}}')
    assert read_score_thresholds(path, ["cat", "dog"]) == ScoreThresholds(
        value=0.4, per_category=(0.4, 0.2)
    )
    for content, code in (
        ('{"per_category": {"dgo": 1}}', "unknown-category"),
        ('{"per_category": [0.1]}', "score-cuts-invalid"),
        ('{"value": "high"}', "score-cuts-invalid"),
        ('{"cut": 1}', "score-cuts-invalid"),
        ("[1]", "score-cuts-invalid"),
        ("{", "json-syntax"),
    ):
        path.write_text(content)
        with pytest.raises(TagboxError) as caught:
            read_score_thresholds(path, ["cat", "dog"])
        assert caught.value.code == code and caught.value.file == str(path)
