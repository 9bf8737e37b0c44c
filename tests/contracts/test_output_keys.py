"""The keys of what commands print, the files of a run and the tags of TensorBoard: what was frozen is there.

More may be added. Only names are compared here; the figures are in `test_same_figures.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import contract_runs as runs
import contract_surface as surface
import pytest


def assert_kept(before: list[str], now: list[str], what: str) -> None:
    gone = sorted(set(before) - set(now))
    assert not gone, "\n  ".join([f"{what} no longer has:", *gone])


def assert_prints(keys: dict[str, list[str]]) -> None:
    for name, found in keys.items():
        assert_kept(surface.frozen("json_keys.json")[name], found, f"the JSON of {name}")


def assert_run_kept(run: Path, tensorboard: bool = True) -> None:
    name = f"{run.parent.name}/{run.name}"
    now = runs.run_files(run)
    before: dict[str, list[str]] = surface.frozen("files.json")[name]
    assert_kept([*before], [*now], name)
    for file, keys in before.items():
        assert_kept(keys, now[file], f"{name}/{file}")
    if tensorboard:
        tags: dict[str, list[str]] = surface.frozen("tags.json")[run.name]
        written = runs.tags(run)
        for writer, known in tags.items():
            assert_kept(known, written[writer], f"{name}/tensorboard/{writer}")


def printed(place: Path, *names: str) -> dict[str, list[str]]:
    return {name: runs.keys_of_text((place / f"{name}.json").read_text()) for name in names}


def test_everything_that_is_run_was_frozen() -> None:
    known = {"synth", "train", "train finetune", "train detector", "ensemble", "tune"}
    assert set(surface.frozen("json_keys.json")) == known | set(runs.QUICK) | set(runs.BOXED)


def test_a_classifier(place: Path, first: Path) -> None:
    assert_prints(printed(place, "synth", "train") | runs.said(place, runs.QUICK))
    assert_run_kept(first)
    before = surface.frozen("files.json")["parts"]["split.json"]
    assert_kept(before, runs.keys_of_file(place / "parts/split.json"), "split.json")


def test_an_ensemble(place: Path, views: Path) -> None:
    assert_prints(printed(place, "ensemble"))
    assert_run_kept(views, tensorboard=False)


def test_a_fine_tuned_classifier_and_its_checkpoints(place: Path, fine: Path) -> None:
    assert_prints(printed(place, "train finetune"))
    assert_run_kept(fine)


def test_a_detector_and_its_checkpoints(place: Path, boxes: Path) -> None:
    assert_prints(printed(place, "train detector") | runs.said(place, runs.BOXED))
    assert_run_kept(boxes)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"a": [{"b": 1}, {"c": 2}]}, {".a", ".a[]", ".a[].b", ".a[].c"}),
        ({"a": {"house": {"ap": 1}}}, {".a", ".a.{}", ".a.{}.ap"}),
    ],
)
def test_key_paths(value: Any, paths: set[str]) -> None:
    assert runs.key_paths(json.loads(json.dumps(value))) == paths
