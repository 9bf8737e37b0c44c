"""Without the packages of an extra each command names it in one sentence, before any work and before a folder is made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
"""Makes a Python that starts with it as ``sitecustomize.py`` one where these packages are not installed."""
TRAIN = ("torch", "torchvision", "timm", "accelerate", "openvino", "safetensors", "tensorboard")


@pytest.mark.parametrize(
    ("hidden", "words", "extra"),
    [
        (TRAIN, ("train", "classifier", "DATA"), "train"),
        (TRAIN, ("train", "detector", "DATA", "--detector", "fasterrcnn"), "train"),
        (TRAIN, ("tune", "classifier", "DATA"), "train"),
        (("optuna",), ("tune", "detector", "DATA"), "tune"),
        (("tensorboard",), ("train", "classifier", "DATA"), "train"),
        (TRAIN, ("demo",), "train"),
        (TRAIN, ("demo", "detector"), "train"),
        (TRAIN, ("predict", "known", "photos"), "train"),
        (TRAIN, ("evaluate", "known", "DATA"), "train"),
        (TRAIN, ("ensemble", "known", "--val", "DATA"), "train"),
    ],
)
def test_the_extra_is_named_first(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    hidden: tuple[str, ...],
    words: tuple[str, ...],
    extra: str,
) -> None:
    place, path = tmp_path / "place", tmp_path / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(HIDE.format(hidden=set(hidden)))
    (place / "runs/known").mkdir(parents=True)
    (place / "runs/known/model.json").write_text("{}")
    before = sorted(place.rglob("*"))
    paths = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    done = cli(*words, cwd=place, env={"PYTHONPATH": paths})
    assert (done.returncode, done.stdout) == (1, "")
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("tagbox: error [extra-missing]: ")
    assert f'pip install "tagbox[{extra}]"' in sentence
    assert "DATA" not in done.stderr  # Which does not exist, and is not looked for.
    assert ("torch," in sentence) == (hidden == TRAIN and words[0] in ("train", "tune", "demo"))
    assert sorted(place.rglob("*")) == before
