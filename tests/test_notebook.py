"""The notebook of the documentation and the page of the API: they run, and are what the code says.

The cells run in one IPython shell of this process, as a kernel runs them, without the two dozen packages and the second
import of torch that a kernel costs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import tagbox

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.append(str(DOCS))

import make_api  # noqa: E402


def cells() -> list[str]:
    notebook = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torch", "openvino", "pandas", "IPython"):
        pytest.importorskip(package)
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    monkeypatch.chdir(tmp_path)
    config = Config({"IPKernelApp": {}, "HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=config, ipython_dir=str(tmp_path / "ipython"))
    shown: list[dict[str, str]] = []
    bars = 0
    try:
        for source in cells():
            with capture_output() as captured:
                result = shell.run_cell(source)
            result.raise_error()
            shown.append(shell.display_formatter.format(result.result)[0])
            bars += len(captured.outputs)
        names: dict[str, Any] = dict(shell.user_ns)
    finally:
        InteractiveShell.clear_instance()
    assert bars > 3
    pages = [each.get("text/html", "") for each in shown]
    # The dataset, a record, both kinds of predictions; the runs and their charts.
    assert sum("<img" in page for page in pages) >= 4
    assert sum("<svg" in page for page in pages) >= 3
    assert names["evaluation"]["map"] > 0.5
    assert float(shown[-1]["text/plain"]) < 1e-3
    assert tagbox.open_run("tags", runs=tmp_path / "runs").metrics == names["run"].metrics


def test_the_page_of_the_api_is_that_of_the_docstrings() -> None:
    pytest.importorskip("torch")
    written = (DOCS / "api.md").read_text(encoding="utf-8")
    assert written == make_api.page(), "run: python docs/make_api.py"


def test_every_public_name_is_on_the_page() -> None:
    listed = {name for names in make_api.GROUPS.values() for name in names}
    assert set(tagbox.__all__) - {"__version__"} <= listed


def test_docstrings_become_markdown() -> None:
    docstring = (
        "Do it.\n\nMore ``code``.\n\nParameters\n----------\na, b\n    Two\n    lines.\n\nThe others\nare not.\n\n"
        "Raises\n------\nTagboxError\n    ``x``.\n"
    )
    assert make_api.markdown(docstring) == (
        "Do it.\n\nMore `code`.\n\n**Parameters**\n\n- `a, b`: Two lines.\n\nThe others are not.\n\n"
        "**Raises**\n\n- `TagboxError`: `x`.\n"
    )
