"""Trials that train the network, each in a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuned_scenes import rows

from history_rows import history_rows
from tagbox.api.tune import Study
from tagbox.config import ClassifierConfig, FinetuneConfig
from tagbox.inference.classifier import Classifier

Tuned = Callable[..., Study]
SEARCH = {"finetune.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.fixture(scope="module")
def config(base: ClassifierConfig) -> ClassifierConfig:
    """The last stage is trained for two epochs after a head of one; precision is left to be measured."""
    how = FinetuneConfig(unfreeze="1", epochs=2, batch_size=16)
    return replace(base, epochs=1, finetune=how)


USERS = ("8/notes.txt", "read me.txt", ".7")


def runs_of(study: Study) -> set[str]:
    names = {path.name for path in (study.folder / "trials").iterdir()}
    return names - {name.partition("/")[0] for name in USERS}


@pytest.fixture(scope="module")
def searched(
    tuned: Tuned, config: ClassifierConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, list[set[str]]]:
    """Three trials in two goes, and the run folders after each."""
    folder = tmp_path_factory.mktemp("whole")
    kept = []
    for trials in (2, 3):
        study = tuned(folder, config=config, search=SEARCH, trials=trials)
        kept.append(runs_of(study))
        # A kill in the middle of a trial leaves these; the next go clears them.
        (study.folder / "trials" / ".3.partial" / "checkpoints" / "000000001").mkdir(parents=True)
        (study.folder / "trials" / "7").mkdir()
        # And these are the user's.
        (study.folder / "trials" / "8").mkdir(exist_ok=True)
        for name in USERS:
            (study.folder / "trials" / name).write_text("mine")
    return tuned(folder, config=config, search=SEARCH, trials=4), kept


def test_only_the_best_trials_run_is_kept(searched: tuple[Study, list[set[str]]]) -> None:
    study, kept = searched
    trials = rows(study)
    for count, names in zip((2, 3), kept, strict=True):
        best = max(trials[:count], key=lambda row: float(row["value"]))
        assert names == {best["trial"]}
    name = str(study.result["best"]["trial"])
    assert runs_of(study) == {name}
    assert all((study.folder / "trials" / own).read_text() == "mine" for own in USERS)
    run = study.folder / "trials" / name
    assert not (run / "report.html").exists()
    assert Classifier.load(run).categories
    history = history_rows(run / "history.csv")
    assert max(float(row["val_map"] or 0) for row in history) == study.result["best"]["value"]


def test_what_was_measured_holds_for_every_trial(searched: tuple[Study, list[set[str]]]) -> None:
    study, _ = searched
    how = study.best.finetune
    assert how.precision in ("fp32", "bf16")
    assert how.channels_last in ("yes", "no")
    assert how.learning_rate == study.result["best"]["parameters"]["finetune.learning_rate"]
    assert [row["state"] for row in rows(study)] == ["complete"] * 4
    assert [row["epochs"] for row in rows(study)] == ["3"] * 4


def test_trials_differ_only_by_what_is_searched(
    searched: tuple[Study, list[set[str]]], tuned: Tuned, tmp_path: Path
) -> None:
    """The second trial by itself: no weight of the first one is left in the backbone."""
    study, _ = searched
    row = rows(study)[1]
    rate: Any = float(row["finetune.learning_rate"])
    how = replace(study.best.finetune, learning_rate=rate)
    alone = tuned(
        tmp_path,
        config=replace(study.best, finetune=how),
        search={"finetune.learning_rate": {"choices": [rate]}},
        trials=1,
    )
    assert alone.result["best"]["value"] == float(row["value"])
