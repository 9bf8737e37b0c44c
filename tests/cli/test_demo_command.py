"""`tagbox demo`: the whole road, twice in a row; JSON alone on standard output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("words", "out", "figure"), [((), "demo", "map"), (("detector",), "demo-detector", "ap")]
)
def test_the_whole_road_twice(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], out: str, figure: str
) -> None:
    found = []
    for extra in ((), ("--json",)):
        done = cli("demo", *words, "--images", 60, *extra, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / out
        report = folder / "runs/demo/report.html"
        assert done.stderr.rstrip().endswith(str(report.resolve())) and report.is_file()
        assert len(list((folder / "predictions").iterdir())) == 12
        assert (folder / "scenes.png").stat().st_size > 10_000
        metrics = json.loads((folder / "runs/demo/metrics.json").read_text())
        found.append(metrics["validation"][figure])
    assert json.loads(done.stdout)[figure] == found[0] == found[1]
