"""Searches over detectors on a few generated pictures: every trial is a whole training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuned_scenes import by_epoch, numbers, rows

from history_rows import history_rows
from tagbox.api.train import train_detector
from tagbox.api.tune import Study, tune_classifier, tune_detector
from tagbox.config import ClassifierConfig, DetectorConfig, SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.errors import TagboxError
from tagbox.evaluation.evaluate_detections import evaluate_boxes
from tagbox.inference.detector import DetectorModel

Tuned = Callable[..., Study[DetectorConfig]]
SEARCH: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "ema": {"choices": [0.0, 0.5]},
    "augment.mosaic": {"low": 0.0, "high": 1.0},
}
TRIALS = 7


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training, 4 validation and 6 test scenes; the folder of their annotations."""
    out = tmp_path_factory.mktemp("boxes") / "scenes"
    generate(out, SynthConfig(images=8, val=4, test=6, width=96, height=96, seed=5))
    return out / "annotations"


@pytest.fixture(scope="module")
def config(scenes: Path) -> DetectorConfig:
    """Settings of which a trial takes a second; what would be measured is given, so that runs are equal."""
    return DetectorConfig(
        val=scenes / "instances_val.json",
        size=64,
        epochs=2,
        batch_size=4,
        trainable_layers="none",
        channels_last="no",
        precision="fp32",
        ema=0.5,
        engine="torch",
        seed=1,
    )


@pytest.fixture(scope="module")
def tuned(scenes: Path, config: DetectorConfig) -> Tuned:
    """`tune_detector` on these pictures: `tuned(folder, trials=3)`."""

    def run(folder: Path, **more: Any) -> Study[DetectorConfig]:
        arguments: dict[str, Any] = {
            "search": SEARCH,
            "trials": TRIALS,
            "metric": "val_loss",
            "repeats": 0,
            "studies": folder,
            "name": "study",
            "config": config,
            **more,
        }
        return tune_detector(scenes / "instances_train.json", **arguments)

    return run


@pytest.fixture(scope="module")
def whole(tuned: Tuned, tmp_path_factory: pytest.TempPathFactory) -> Study[DetectorConfig]:
    """A search of `TRIALS` trials without a break."""
    return tuned(tmp_path_factory.mktemp("studies"))


def test_the_best_trial_is_kept_and_can_be_used(whole: Study[DetectorConfig]) -> None:
    trials = rows(whole)
    assert [int(row["trial"]) for row in trials] == list(range(TRIALS))
    assert {name: float(trials[0][name]) for name in SEARCH} == {
        "learning_rate": 2e-3,
        "ema": 0.5,
        "augment.mosaic": 0.0,
    }
    ended = [row for row in trials if row["state"] == "complete"]
    best = min(ended, key=lambda row: float(row["value"]))
    assert whole.result["best"]["trial"] == int(best["trial"])
    assert whole.result["metric"] == "val_loss"
    assert [path.name for path in (whole.folder / "trials").iterdir()] == [best["trial"]]
    run = whole.folder / "trials" / best["trial"]
    history = history_rows(run / "history.csv")
    # Compared by the loss of the epoch that has the best AP.
    assert history[int(best["best_epoch"]) - 1]["val_loss"] == float(best["value"])
    assert json.loads((run / "metrics.json").read_text())["best_epoch"] == int(best["best_epoch"])
    assert not (run / "report.html").exists()
    assert whole.best.augment.mosaic == float(best["augment.mosaic"])


def test_a_trial_is_pruned_where_it_is_worse_than_the_median(
    whole: Study[DetectorConfig],
) -> None:
    """The rule worked out by hand from the figures in the database."""
    values, trials = by_epoch(whole), rows(whole)
    pruned = [int(row["trial"]) for row in trials if row["state"] == "pruned"]
    assert pruned
    for row in trials:
        number = int(row["trial"])
        earlier = [int(r["trial"]) for r in trials[:number] if r["state"] == "complete"]
        for epoch in sorted(values[number]):
            own = min(value for step, value in values[number].items() if step <= epoch)
            others = [values[n][epoch] for n in earlier if epoch in values[n]]
            behind = len(earlier) >= 5 and epoch > 1 and own > np.median(others or [math.inf])
            last = epoch == max(values[number])
            assert behind == (last and number in pruned), (number, epoch)
    assert trials[pruned[0]]["reason"].startswith(f"epoch {max(values[pruned[0]])}, val_loss ")


@pytest.mark.slow
def test_an_interrupted_search_goes_on_as_the_undisturbed_one(
    whole: Study[DetectorConfig], tuned: Tuned, tmp_path: Path
) -> None:
    part = tuned(tmp_path, trials=2)
    assert numbers(part) == numbers(whole)[:2]
    # A kill in the middle of a trial leaves these; the next go clears them.
    (part.folder / "trials" / ".2.partial" / "checkpoints" / "000000001").mkdir(parents=True)
    (part.folder / "trials" / "7").mkdir()
    rest = tuned(tmp_path, trials=6)
    assert numbers(rest) == numbers(whole)[:6]
    assert rest.result["trials"]["pruned"] == 1
    assert len(list((rest.folder / "trials").iterdir())) == 1


@pytest.mark.slow
def test_other_seeds_and_other_pictures_judge_the_best(
    tuned: Tuned, config: DetectorConfig, scenes: Path, tmp_path: Path
) -> None:
    third, short = scenes / "instances_test.json", replace(config, epochs=1)
    study = tuned(tmp_path, trials=2, metric="ap", repeats=1, test=third, config=short)
    again = study.result["again"]
    assert again["seeds"] == [2]
    run = train_detector(
        scenes / "instances_train.json", replace(study.best, seed=2), name="one", runs=tmp_path
    )
    epochs = history_rows(run.folder / "history.csv")
    assert again["best"]["values"] == [max(float(row["val_ap"] or 0) for row in epochs)]
    # The run that is kept, scored on the third dataset by itself.
    kept = study.folder / "trials" / str(study.result["best"]["trial"])
    test, model = load_dataset(third), DetectorModel.load(kept, engine="torch")
    found = model.detect([test.images.path(row) for row in range(len(test))]).detections
    result = evaluate_boxes(test, replace(found, images=tuple(test.images.files.tolist())))
    said = study.result["test"]
    assert said["images"] == len(test)
    for name, value in said["best"].items():
        assert result[name] == value
        # No interval of a difference of AP, and none is made up.
        assert said["differences"][name] == {"difference": value - said["start"][name]}
    assert set(said["best"]) == {"ap", "ap50", "ap75", "ar100"}


def test_trials_that_diverge_are_written_down_and_the_search_goes_on(
    tuned: Tuned, config: DetectorConfig, tmp_path: Path
) -> None:
    search = {"learning_rate": {"choices": [1e-3, 1e36]}}
    study = tuned(tmp_path, search=search, trials=4, config=replace(config, epochs=2))
    failed = [row for row in rows(study) if row["state"] == "failed"]
    assert 0 < len(failed) < 4
    assert all("the loss became" in row["reason"] for row in failed)
    assert study.best.learning_rate == 1e-3


def test_networks_that_cannot_be_made_are_refused_before_the_first_trial(
    tuned: Tuned, config: DetectorConfig, tmp_path: Path
) -> None:
    for setting, choices in (
        ("detector", ["dense", "dance"]),
        ("detector", ["dense", "ssd300_vgg16"]),  # It takes 300 pixels.
        ("trainable_layers", ["none", "99"]),
    ):
        search = {setting: {"choices": choices}}
        with pytest.raises(TagboxError, match=f"the range reaches '{choices[1]}': ") as raised:
            tuned(tmp_path / "studies", search=search, config=replace(config, weights="none"))
        assert (raised.value.code, raised.value.where) == ("search-range", f"search.{setting}")
    assert not (tmp_path / "studies").exists()


def test_another_study_under_the_same_name(
    tuned: Tuned, config: DetectorConfig, scenes: Path, tmp_path: Path
) -> None:
    study = tuned(tmp_path, trials=1, config=replace(config, epochs=1))
    before = (study.folder / "trials.csv").read_text()
    with pytest.raises(TagboxError, match="epochs: 1 -> 2") as raised:
        tuned(tmp_path, trials=2, config=replace(config, epochs=2))
    assert raised.value.code == "study-changed"
    with pytest.raises(TagboxError, match="of a detector, not of a classifier") as raised:
        tune_classifier(
            scenes / "instances_train.json",
            ClassifierConfig(val=config.val),
            name="study",
            search={"dropout": {"low": 0.0, "high": 0.5}},
            studies=tmp_path,
        )
    assert raised.value.code == "study-changed"
    assert (study.folder / "trials.csv").read_text() == before
    # What decides no number may change.
    more = tuned(tmp_path, trials=1, config=replace(config, epochs=1, accumulate=2, workers=1))
    assert numbers(more) == numbers(study)
