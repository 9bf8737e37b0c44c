"""What an older version saved still says the same, and a seeded training still ends where it did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import contract_runs as runs
import contract_surface as surface
import pytest

SAVED = 1e-4
"""Processors differ in the last bits of an encoded picture."""
TRAINED = 1e-3
"""A training adds those up."""


def assert_predicts(place: Path, run: str, within: float, *, labels: bool = True) -> None:
    """`predict` says what was frozen; labels may turn where a trained threshold is as near as that."""
    expected: dict[str, Any] = surface.frozen("expected.json")[Path(run).name]
    now = json.loads(runs.tagbox(place, "predict", run, "scenes/test", "--json"))["images"]
    assert [image["image"] for image in now] == [image["image"] for image in expected["predict"]]
    for image, before in zip(now, expected["predict"], strict=True):
        assert image["probabilities"] == pytest.approx(before["probabilities"], abs=within)
        assert not labels or image["labels"] == before["labels"], image["image"]


def assert_scores(place: Path, run: str, within: float) -> None:
    expected: dict[str, Any] = surface.frozen("expected.json")[Path(run).name]["evaluate"]
    scored = json.loads(runs.tagbox(place, "evaluate", run, runs.VAL, *runs.KEPT, "--json"))
    now = runs.figures(scored)
    assert {name: now.get(name) for name in expected} == pytest.approx(expected, abs=within)


def assert_same_history(run: Path, frozen: Path) -> None:
    """Epoch by epoch every column that was frozen is still there with its figure."""
    before, now = runs.rows(frozen), runs.rows(run / "history.csv")
    assert len(now) == len(before)
    for ours, theirs in zip(now, before, strict=True):
        found = {key: float(ours[key]) for key, value in theirs.items() if value}
        wanted = {key: float(value) for key, value in theirs.items() if value}
        assert found == pytest.approx(wanted, abs=TRAINED, rel=TRAINED)


@pytest.mark.parametrize("name", ["first", "views"])
def test_a_saved_run_predicts_and_scores_as_when_it_was_saved(place: Path, name: str) -> None:
    run = runs.restore(name, place / "saved" / name)
    assert_predicts(place, f"saved/{run.name}", SAVED)
    assert_scores(place, f"saved/{run.name}", SAVED)


def test_a_seeded_training_ends_where_it_did(place: Path, first: Path) -> None:
    assert_same_history(first, surface.FROZEN / "first/history.csv")
    assert_predicts(place, "runs/first", TRAINED, labels=False)
    assert_scores(place, "runs/first", TRAINED)


def test_a_seeded_fine_tuning_ends_where_it_did(fine: Path) -> None:
    assert_same_history(fine, surface.FROZEN / "fine.csv")


def test_a_seeded_detector_ends_where_it_did(boxes: Path) -> None:
    assert_same_history(boxes, surface.FROZEN / "boxes.csv")


def test_a_saved_study_goes_on(place: Path) -> None:
    study = place / "studies/study"
    shutil.copytree(surface.FROZEN / "study", study)
    before = runs.rows(study / "trials.csv")
    said = runs.tagbox(place, *runs.TUNE, "--trials", str(runs.TRIALS + 1))
    now = runs.rows(study / "trials.csv")
    assert len(now) == runs.TRIALS + 1
    assert [{key: row[key] for key in before[0]} for row in now[: runs.TRIALS]] == before
    assert json.loads(said)["trials"]["total"] == runs.TRIALS + 1
    gone = set(surface.frozen("json_keys.json")["tune"]) - set(runs.keys_of_text(said))
    assert not gone, f"tune.json no longer has {sorted(gone)}"
    files = runs.run_files(study)
    for file, keys in surface.frozen("files.json")["studies/study"].items():
        assert set(keys) <= set(files[file]), file
