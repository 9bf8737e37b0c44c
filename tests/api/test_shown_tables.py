"""Tables and progress of the Python API: text, HTML and bars, bounded and escaped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagbox
from tagbox.progress import Silent, default_progress
from tagbox.tables import SHOWN, Table

ROWS = [{"name": "cat", "f1": 0.51239, "n": 3}, {"name": "a<b>\x1b[31m", "f1": None, "n": 12}]


def test_a_table_is_aligned_text() -> None:
    assert repr(Table(ROWS, title="All")).splitlines() == [
        "All",
        "name              f1   n",
        "cat           0.5124   3",
        "a<b>\\x1b[31m       –  12",
    ]


def test_numbers_wider_than_the_terminal_continue_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    rows = [{"epoch": 1, "train_loss": 0.5, "val_loss": 0.25, "val_map": 0.125}]
    assert repr(Table(rows)).splitlines() == [
        "epoch  train_loss",
        "    1      0.5000",
        "epoch  val_loss",
        "    1    0.2500",
        "epoch  val_map",
        "    1   0.1250",
    ]
    assert len(repr(Table([{**rows[0], "note": "text"}])).splitlines()) == 2


def test_html_is_escaped() -> None:
    html = Table(ROWS)._repr_html_()
    assert "<b>" not in html and "a&lt;b&gt;" in html and "\x1b" not in html


def test_long_tables_are_cut_and_say_so() -> None:
    table = Table([{"x": n} for n in range(SHOWN + 5)])
    assert repr(table).splitlines()[-1] == "… and 5 more rows"
    assert table._repr_html_().count("<tr>") == SHOWN + 1 and "5 more rows" in table._repr_html_()
    assert len(table.to_pandas()) == SHOWN + 5 if pytest.importorskip("pandas") else True


def test_columns_and_slices() -> None:
    table = Table([{"a": 1}, {"b": 2.5}])
    assert table.columns == ("a", "b") and table.column("b") == [None, 2.5]
    assert table[1] == {"b": 2.5} and [*table[:1]] == [{"a": 1}] and table[:1].columns == ("a", "b")
    assert repr(Table([])) == "" and "<table" in Table([])._repr_html_()


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5),
            st.none() | st.integers() | st.floats() | st.text(max_size=90),
            max_size=4,
        ),
        max_size=5,
    )
)
def test_any_values_are_shown(rows: list[dict[str, Any]]) -> None:
    table = Table(rows)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COLUMNS", "10000")
        lines = repr(table).split("\n")
    assert len(lines) == (len(rows) + 1 if table.columns or rows else 1)
    assert table._repr_html_().count("<td") == len(rows) * len(table.columns)


def test_nan_and_lists_are_words() -> None:
    text = repr(Table([{"x": math.nan, "y": ["a", "b"], "z": 12345.678}]))
    assert "–" in text and "a, b" in text and "12,345.7" in text
    assert repr(Table([{"x": 0.0}, {"x": 1.0}, {"x": 2e-5}])).split() == [
        "x",
        "0.0000",
        "1.0000",
        "2e-05",
    ]


def notebook_cell(tmp_path: Path, code: str) -> Any:
    """Run a cell in IPython as its kernel has it; the outputs it displayed."""
    interactive = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    shell = interactive.instance(
        config=Config({"IPKernelApp": {}, "HistoryManager": {"enabled": False}}),
        ipython_dir=str(tmp_path),
    )
    try:
        with capture_output() as captured:
            result = shell.run_cell(code)
        result.raise_error()
        return captured
    finally:
        interactive.clear_instance()


def test_a_notebook_shows_one_bar_that_moves(tmp_path: Path) -> None:
    code = (
        "from tagbox.progress import default_progress\n"
        "import tagbox.notebook\n"
        "tagbox.notebook.EVERY = 0\n"
        "p = default_progress()\n"
        "p.say('reading')\n"
        "with p.bar('a<b>', 4, 'images') as advance:\n"
        "    advance(1)\n    advance(3, note='loss <0.5>')\n"
    )
    captured = notebook_cell(tmp_path, code)
    assert captured.stdout == "reading\n"
    shown = [output.data["text/html"] for output in captured.outputs]
    assert 'value="0"' in shown[0] and 'value="4"' in shown[-1] and "4 of 4 images" in shown[-1]
    assert "loss &lt;0.5&gt;" in shown[-1] and "<b>" not in shown[-1]
    first, *others = captured.outputs
    assert first.transient["display_id"] and all(
        o.transient["display_id"] == first.transient["display_id"] and o.update for o in others
    )


def test_elsewhere_the_api_is_silent() -> None:
    assert isinstance(default_progress(), Silent)


def test_findings_are_a_list_that_shows_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        '{"images": [{"id": 1, "file_name": "a<i>.jpg"}], "categories": [], "annotations": []}'
    )
    findings = tagbox.check_dataset(path)
    assert isinstance(findings, list) and findings[0].code in repr(findings)
    assert findings[0].found in findings.table.column("found")
    assert "<i>" not in findings._repr_html_() and "&lt;i&gt;" in findings._repr_html_()
