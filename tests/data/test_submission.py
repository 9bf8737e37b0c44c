"""The challenge's JSON: strict, every fault placed; real submissions read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox import TagboxError
from tagbox.data.submission import read_submission, write_submission


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    return tmp_path / "submission.json"


def test_read(submission: Path) -> None:
    submission.write_text('{"000000000139": [60, 56], "b": [], "a.x": [79]}')
    assert read_submission(submission) == {"000000000139": [56, 60], "b": [], "a.x": [79]}


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.lists(st.integers(0, 79), max_size=8),
        min_size=1,
    )
)
def test_written_reads_back_sorted(mapping: dict[str, list[int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        write_submission(path, mapping)
        found = read_submission(path)
        assert found == {key: sorted(set(value)) for key, value in mapping.items()}
        assert list(found) == sorted(mapping)
        assert json.loads(path.read_text()) == found


FAULTS = [
    ("empty file", " \n", "submission-empty", None),
    ("no image", "{}", "submission-empty", None),
    ("list", '[{"a": [1]}]', "submission-not-object", None),
    ("text", '"a"', "submission-not-object", None),
    ("trailing comma in list", '{\n "a": [56,\n 60,\n ]}', "submission-trailing-comma", "line 3, column 4"),
    ("trailing comma in object", '{"a": [1],\n "b": [2],\n}', "submission-trailing-comma", "line 2, column 10"),
    ("hash comment", '{"a": [1],\n # other images\n}', "submission-comment", "line 2, column 2"),
    ("slash comment", '{"a": [1] // other\n}', "submission-comment", "line 1, column 11"),
    ("block comment", '{/* all */ "a": [1]}', "submission-comment", "line 1, column 2"),
    ("single quotes", "{'a': [1]}", "submission-syntax", "line 1, column 2"),
    ("missing colon", '{"a" [1]}', "submission-syntax", "line 1, column 6"),
    ("cut off", '{"a": [1], "b": [2', "submission-syntax", "line 1, column 19"),
    ("two objects", '{"a": [1]}\n{"b": [1]}', "submission-syntax", "line 2, column 1"),
    ("nan", '{"NaN": [1],\n "b": [NaN]}', "submission-number", "line 2, column 8"),
    ("minus infinity", '{"a": [-Infinity]}', "submission-number", "line 1, column 8"),
    ("key twice", '{"a": [1],\n "b": [2],\n "a": [3]}', "submission-duplicate-key", "line 3, image 'a'"),
    ("number", '{"a": [1],\n "b": 2}', "submission-value", "line 2, image 'b'"),
    ("null", '{"a": null}', "submission-value", "line 1, image 'a'"),
    ("object", '{"a": {"b": [1]}}', "submission-value", "line 1, image 'a'"),
    ("name", '{"a": [1],\n "b": [2, "dog"]}', "submission-index-type", "line 2, image 'b', item 2"),
    ("boolean", '{"a": [true]}', "submission-index-type", "line 1, image 'a', item 1"),
    ("fraction", '{"a": [0, 1.0]}', "submission-index-type", "line 1, image 'a', item 2"),
    ("nested list", '{"a": [[1]]}', "submission-index-type", "line 1, image 'a', item 1"),
    ("80", '{"a": [79, 80]}', "submission-index-range", "line 1, image 'a', item 2"),
    ("negative", '{"a": [-1]}', "submission-index-range", "line 1, image 'a', item 1"),
    ("long number", '{"a": [' + "9" * 5000 + "]}", "submission-syntax", None),
    ("too deep", "[" * 100_000, "submission-syntax", None),
    ("index twice", '{"a": [1, 2, 1]}', "submission-duplicate-index", "line 1, image 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "where"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_faults(submission: Path, text: str, code: str, where: str | None) -> None:
    submission.write_text(text)
    with pytest.raises(TagboxError) as caught:
        read_submission(submission)
    assert caught.value.code == code
    assert caught.value.where == where
    assert caught.value.file == str(submission)
    assert caught.value.hint


def test_sample_of_the_assignment_is_refused_at_its_first_fault(submission: Path) -> None:
    submission.write_text(
        '{\n    "000000000139": [\n        56,\n        62\n    ],\n    "000000000285": [\n'
        "        21,\n    ],\n    # other test images\n}\n"
    )
    with pytest.raises(TagboxError) as caught:
        read_submission(submission)
    assert caught.value.code == "submission-trailing-comma"
    assert caught.value.where == "line 7, column 11"


def test_not_utf8(submission: Path) -> None:
    submission.write_bytes(b'{"a": [1],\n "\xff": [2]}')
    with pytest.raises(TagboxError) as caught:
        read_submission(submission)
    assert (caught.value.code, caught.value.where) == ("not-utf8", "line 2, column 3")


def test_byte_order_mark(submission: Path) -> None:
    submission.write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_submission(submission) == {"a": [1]}


def test_number_of_categories(submission: Path) -> None:
    submission.write_text('{"a": [3]}')
    assert read_submission(submission, None) == {"a": [3]}
    with pytest.raises(TagboxError, match="indices are 0 to 2"):
        read_submission(submission, 3)


def test_real_submissions(shared_data: Path) -> None:
    truth = read_submission(shared_data / "challenge/test_labels.json")
    assert len(truth) == 4952
    for path in sorted((shared_data / "challenge/submissions").glob("*.json")):
        assert read_submission(path).keys() == truth.keys()
        plain = json.loads(path.read_text())
        assert read_submission(path) == {key: sorted(value) for key, value in plain.items()}
