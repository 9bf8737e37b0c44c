"""Tables at any width: numbers and words whole, nothing lost, nothing wider than the terminal."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox.cli.tables import print_table

CATEGORIES = [
    ("person", 262777, 0.5123, 0.7001, 0.6123, 0.6533, 1234, 567, 890, 0.1234),
    ("baseball glove", 3747, 0.3456, 0.25, 0.125, "-", 12, 3, 100, 0.4321),
]
HEADERS = ("category", "support", "AP", "precision", "recall", "F1", "TP", "FP", "FN", "threshold")


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *table: object
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(*table)  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_numbers_stay_whole_at_any_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    text = printed(monkeypatch, capsys, width, "Categories", HEADERS, CATEGORIES)
    assert max(map(len, text.splitlines())) <= width
    words = Counter(re.findall(r"[\w.]+", text))
    for row in CATEGORIES:
        for value in row[1:]:
            if value != "-":
                assert words[f"{value:.4f}" if isinstance(value, float) else str(value)]
    assert all(words[header] for header in HEADERS)
    assert ("┃" in text) == (width == 200)


def test_a_table_that_is_too_wide_goes_on_below_with_its_first_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(monkeypatch, capsys, 60, "Categories", HEADERS, CATEGORIES)
    assert text.count("category") == text.count("person") == text.count("glove") == 2
    assert text.count("threshold") == 1


def test_texts_break_between_words_and_folders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/home/somebody/datasets/annotations/instances_train2017.json"
    text = printed(
        monkeypatch,
        capsys,
        60,
        "",
        ("data", "what"),
        [(path, "an explanation of some length " * 3)],
    )
    assert max(map(len, text.splitlines())) <= 60
    whole = {"somebody/", "datasets/", "annotations/", "instances_train2017.json", "explanation"}
    assert whole <= {piece for word in text.split() for piece in re.findall(r"[^/]*/|[^/]+", word)}


@given(
    st.lists(
        st.tuples(st.text("abc /|", max_size=60), st.integers(0, 10**9), st.floats(0, 1)),
        min_size=1,
        max_size=4,
    ),
    st.integers(30, 100),
)
def test_no_character_is_lost(rows: list[tuple[str, int, float]], width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        import io

        out = io.StringIO()
        patch.setattr("sys.stdout", out)
        patch.setenv("COLUMNS", str(width))
        print_table("", ("text", "count", "share"), rows)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    printed_letters = Counter(c for c in text if c in "abc/|")
    wanted = Counter(c for row in rows for c in row[0] if c in "abc/|")
    header = Counter(c for c in "textcountshare" if c in "abc")
    assert all(printed_letters[c] >= wanted[c] + header[c] for c in "abc/|")
