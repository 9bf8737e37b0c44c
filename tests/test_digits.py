"""scikit-learn's handwritten digits, from a folder a class to the report, with the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "digits.py"


@pytest.mark.slow
def test_digits_from_command_to_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--ways", "frozen", "finetune", "--keep", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pictures"] == {"train": 1257, "test": 540}
    # A tenth of the pictures would be right by chance.
    assert found["frozen"]["accuracy"] > 0.92
    assert found["finetune"]["accuracy"] > 0.95
    with Image.open(next((tmp_path / "test/7").iterdir())) as picture:
        assert (picture.mode, picture.size) == ("L", (8, 8))
    for way in ("frozen", "finetune"):
        folder = tmp_path / "runs" / way
        assert json.loads((folder / "model.json").read_text())["labels"] == "exclusive"
        page = (folder / "report.html").read_text()
        assert all(words in page for words in ("accuracy", "Confusion matrix", "Worst predictions"))
