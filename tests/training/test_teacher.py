"""Learning from another model: targets by hand, and from a run and its predictions on the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tagbox.training.teacher import mixed_targets

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_targets_by_hand() -> None:
    labels = np.array([[1, 0, -1], [1, -1, 0]], np.int8)
    teacher = np.array([[0.5, 0.25, 0.75], [np.nan, np.nan, np.nan]], np.float32)
    # Known: 0.6 of the label and 0.4 of the teacher; unknown: the teacher's; no teacher: the label.
    expected = [[0.6 + 0.4 * 0.5, 0.4 * 0.25, 0.75], [1, -1, 0]]
    np.testing.assert_allclose(mixed_targets(labels, teacher, 0.4), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def teacher(scenes: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    done = cli(*command(scenes, "teacher"), "--epochs", "4", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def command(scenes: Path, name: str) -> list[object]:
    labels = scenes / "annotations"
    return [
        *("train", "classifier", labels / "instances_train.json", "--name", name),
        *("--val", labels / "instances_val.json", "--backbone", "efficientnet_lite0@64"),
    ]


@pytest.mark.slow
def test_a_run_teaches_as_its_predictions_do(scenes: Path, cli: Cli, teacher: Path) -> None:
    said = cli(
        *("predict", "runs/teacher", scenes / "train", "--format", "csv", "--out", "said.csv"),
        cwd=teacher,
    )
    assert said.returncode == 0, said.stderr
    histories = []
    for name, source in (("by-run", "teacher"), ("by-file", "said.csv"), ("alone", None)):
        taught = () if source is None else ("--teacher", source)
        done = cli(*command(scenes, name), "--epochs", "3", *taught, cwd=teacher)
        assert done.returncode == 0, done.stderr
        histories.append((teacher / "runs" / name / "history.csv").read_text())
    rows = [[line.split(",") for line in text.splitlines()[1:]] for text in histories]
    numbers = [np.array([[float(v) for v in row[1:3]] for row in table]) for table in rows]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-3)
    assert not np.allclose(numbers[0], numbers[2], rtol=1e-3)


def test_label_sets_cannot_teach(scenes: Path, cli: Cli, teacher: Path) -> None:
    sets = teacher / "sets.json"
    names = [path.stem for path in sorted((scenes / "train").iterdir())]
    sets.write_text("{" + ", ".join(f'"{name}": [0]' for name in names) + "}")
    done = cli(*command(scenes, "no"), "--teacher", sets, cwd=teacher)
    assert done.returncode == 1
    assert "[teacher-probabilities]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_teacher_is_named_before_any_work(scenes: Path, cli: Cli, teacher: Path) -> None:
    tune = ("tune", *command(scenes, "no")[1:])
    for typed in (command(scenes, "no"), tune):
        done = cli(*typed, "--teacher", "techer", cwd=teacher)
        assert done.returncode == 1
        assert "did you mean teacher" in done.stderr
        assert not (teacher / "runs" / "no").exists() and not (teacher / "studies").exists()
