"""Searches over heads on a few generated pictures; what is on disk is read by other means than our own."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tuned_scenes import SEARCH, TRIALS, by_epoch, numbers, rows

from history_rows import history_rows
from tagbox.api.train import train_classifier
from tagbox.api.tune import Study
from tagbox.backends.create import create_encoders
from tagbox.config import ClassifierConfig
from tagbox.errors import TagboxError
from tagbox.output_folder import MARK, marked_by
from tagbox.progress import Silent
from tagbox.studies.storage import study_folder
from tagbox.training.distributed import Runtime
from tagbox.training.frozen import encode_train_val, train_head
from tagbox.training.resolve_config import resolve
from tagbox.training.train_val import load_train_val
from user_files import hashes

Tuned = Callable[..., Study]
START = {"learning_rate": 5e-4, "dropout": 0.0, "batch_size": 32, "loss": "bce", "patience": 9}


def test_every_trial_keeps_to_the_ranges(whole: Study) -> None:
    trials = rows(whole)
    assert [int(row["trial"]) for row in trials] == list(range(TRIALS))
    for row in trials:
        assert 1e-4 <= float(row["learning_rate"]) <= 1e-2
        assert 0 <= float(row["dropout"]) <= 0.5
        assert row["batch_size"] in ("16", "32")
        assert row["loss"] in SEARCH["loss"]["choices"]
        assert 3 <= int(row["patience"]) <= 9
    # It does search: no two trials alike, every choice taken.
    assert len({tuple(row[name] for name in SEARCH) for row in trials}) == TRIALS
    assert {row["loss"] for row in trials} == set(SEARCH["loss"]["choices"])


def test_the_best_is_the_largest_of_those_that_ran_to_their_end(whole: Study) -> None:
    ended = [row for row in rows(whole) if row["state"] == "complete"]
    best = max(ended, key=lambda row: float(row["value"]))
    assert whole.result["best"]["trial"] == int(best["trial"])
    assert whole.result["best"]["value"] == float(best["value"])
    assert len(whole.result["five_best"]) == 5
    values = [row["value"] for row in whole.result["five_best"]]
    assert values == sorted(values, reverse=True)
    assert whole.result["trials"]["total"] == TRIALS
    assert whole.result["trials"]["complete"] == len(ended)
    assert json.loads((whole.folder / "tune.json").read_text()) == whole.result


def test_a_trial_is_pruned_where_it_is_worse_than_the_median(whole: Study) -> None:
    """The rule worked out by hand from the figures in the database."""
    values = by_epoch(whole)
    trials = rows(whole)
    pruned = [int(row["trial"]) for row in trials if row["state"] == "pruned"]
    assert pruned
    for row in trials:
        number = int(row["trial"])
        earlier = [int(r["trial"]) for r in trials[:number] if r["state"] == "complete"]
        for epoch in sorted(values[number]):
            own = max(value for step, value in values[number].items() if step <= epoch)
            others = [values[n][epoch] for n in earlier if epoch in values[n]]
            # Five trials run to their end first, and the first epoch of a trial says nothing.
            behind = len(earlier) >= 5 and epoch > 1 and own < np.median(others or [-math.inf])
            last = epoch == max(values[number])
            assert behind == (last and number in pruned), (number, epoch)
    reason = trials[pruned[0]]["reason"]
    assert reason.startswith(f"epoch {max(values[pruned[0]])}, val_map ")


def test_a_trials_figure_is_that_of_training_its_settings(
    whole: Study, parts: Path, base: ClassifierConfig
) -> None:
    """The same head trained here, from features encoded here."""
    row = next(r for r in rows(whole) if r["state"] == "complete" and r["trial"] != "0")
    config = replace(
        base,
        learning_rate=float(row["learning_rate"]),
        dropout=float(row["dropout"]),
        batch_size=int(row["batch_size"]),
        loss=row["loss"],  # type: ignore[arg-type]
        patience=int(row["patience"]),
    )
    assert best_map(config, parts) == (float(row["value"]), int(row["best_epoch"]))


def best_map(config: ClassifierConfig, parts: Path) -> tuple[float, int]:
    from tagbox.config import DataConfig

    data = parts / "annotations" / "instances_train.json"
    train_val = load_train_val(data, config, DataConfig(), Silent())
    config = resolve(config, train_val)
    encoded = encode_train_val(
        train_val,
        create_encoders(config),
        head=config.head,
        mirror=config.mirror,
        cache=None,
        progress=Silent(),
    )
    _, train_state = train_head(encoded, config, Runtime("cpu"))
    figures = [float(row["val_map"] or 0) for row in train_state.history]
    return max(figures), 1 + int(np.argmax(figures))


def test_the_search_begins_with_the_settings_it_was_given(
    whole: Study, tuned: Tuned, tmp_path: Path
) -> None:
    assert whole.result["start"] == START
    first = rows(whole)[0]
    assert {name: type(value)(first[name]) for name, value in START.items()} == START
    # Where the ranges do not hold them, the first trial is drawn like any other.
    elsewhere = tuned(tmp_path, trials=1, typed=["dropout=0.1..0.2"])
    assert elsewhere.result["start"] == START
    assert elsewhere.result["best"]["parameters"]["dropout"] >= 0.1


def test_an_interrupted_search_goes_on_as_the_undisturbed_one(
    whole: Study, tuned: Tuned, tmp_path: Path
) -> None:
    for trials in (1, 7, 7, 12):
        part = tuned(tmp_path, trials=trials)
        assert numbers(part) == numbers(whole)[:trials]
    assert numbers(tuned(tmp_path)) == numbers(whole)


def test_more_trials_than_are_asked_for_stay(whole: Study, tuned: Tuned, tmp_path: Path) -> None:
    tuned(tmp_path, trials=3)
    assert numbers(tuned(tmp_path, trials=2)) == numbers(whole)[:3]


def test_another_seed_is_another_search(whole: Study, tuned: Tuned, tmp_path: Path) -> None:
    config = replace(ClassifierConfig.from_dict(best(whole)), seed=1)
    other = tuned(tmp_path, trials=3, config=config)
    assert not {row["learning_rate"] for row in rows(other)[1:]} & {
        row["learning_rate"] for row in rows(whole)
    }


def best(study: Study) -> dict[str, Any]:
    """The classifier's section of ``best.yaml``."""
    section: dict[str, Any] = yaml.safe_load(study.best_config.read_text())["classifier"]
    return section


def test_the_best_settings_are_the_best_trials(whole: Study) -> None:
    config = ClassifierConfig.from_dict(best(whole))
    assert config == whole.best
    for name, value in whole.result["best"]["parameters"].items():
        assert getattr(config, name) == value


def test_a_figure_that_is_better_when_small(tuned: Tuned, tmp_path: Path) -> None:
    study = tuned(tmp_path, trials=9, metric="val_loss", repeats=1)
    ended = [float(row["value"]) for row in rows(study) if row["state"] == "complete"]
    assert study.result["best"]["value"] == min(ended)
    assert study.result["metric"] == "val_loss"
    again = study.result["again"]
    assert again["selection"] == pytest.approx(again["best"]["mean"] - min(ended))
    assert again["gain"] == pytest.approx(again["start"]["mean"] - again["best"]["mean"])


def test_other_seeds_judge_the_best(parts: Path, tuned: Tuned, tmp_path: Path) -> None:
    study = tuned(tmp_path, trials=6, repeats=2)
    again = study.result["again"]
    assert again["seeds"] == [1, 2]
    for seed, value in zip(again["seeds"], again["best"]["values"], strict=True):
        assert value == best_map(replace(study.best, seed=seed), parts)[0]
    assert again["best"]["mean"] == statistics.fmean(again["best"]["values"])
    assert again["selection"] == study.result["best"]["value"] - again["best"]["mean"]
    assert again["gain"] == again["best"]["mean"] - again["start"]["mean"]
    # One more seed leaves those that are there as they are.
    more = tuned(tmp_path, trials=6, repeats=3).result["again"]
    assert more["best"]["values"][:2] == again["best"]["values"]


def test_trials_that_diverge_are_written_down_and_the_search_goes_on(
    tuned: Tuned, tmp_path: Path
) -> None:
    search = {"weight_decay": {"choices": [0.01, 1e36]}}
    study = tuned(tmp_path, search=search, trials=8)
    failed = [row for row in rows(study) if row["state"] == "failed"]
    assert 0 < len(failed) < 8
    assert study.result["trials"]["failed"] == len(failed)
    for row in failed:
        assert row["weight_decay"] == "1e+36"
        assert "the loss became" in row["reason"]
        assert row["value"] == ""
    assert study.best.weight_decay == 0.01


def test_a_search_in_which_every_trial_fails(tuned: Tuned, tmp_path: Path) -> None:
    with pytest.raises(TagboxError, match="the loss became") as raised:
        tuned(tmp_path, search={"weight_decay": {"choices": [1e35, 1e36]}}, trials=3)
    assert raised.value.code == "study-empty"
    assert len((tmp_path / "study" / "trials.csv").read_text().splitlines()) == 4
    assert not (tmp_path / "study" / "best.yaml").exists()


def test_what_is_fixed_is_not_searched(
    tuned: Tuned, base: ClassifierConfig, tmp_path: Path
) -> None:
    config = replace(base, dropout=0.3, loss="bce")
    study = tuned(tmp_path, trials=3, config=config, fixed=["dropout", "loss"])
    assert set(study.result["search"]) == {"learning_rate", "batch_size", "patience"}
    assert study.best.dropout == 0.3
    assert study.best.loss == "bce"


def test_time_is_up(tuned: Tuned, tmp_path: Path) -> None:
    with pytest.raises(TagboxError, match="there was no time") as raised:
        tuned(tmp_path, minutes=1e-9)
    assert raised.value.code == "study-empty"


def test_another_study_under_the_same_name(
    tuned: Tuned, base: ClassifierConfig, parts: Path, tmp_path: Path
) -> None:
    tuned(tmp_path, trials=1)
    before = (tmp_path / "study" / "trials.csv").read_text()
    refused = {
        "epochs: 9 -> 10": {"config": replace(base, epochs=10)},
        "dropout: searched in 0.0..0.5 -> 0.0": {"fixed": ["dropout"]},
        "searched in one of 16, 32 -> searched in one of 8, 16": {"typed": ["batch_size=8,16"]},
        "metric: map -> micro_f1": {"metric": "micro_f1"},
    }
    for said, change in refused.items():
        with pytest.raises(TagboxError, match=said) as raised:
            tuned(tmp_path, trials=2, **change)
        assert raised.value.code == "study-changed"
    for side, change in (
        (
            "validation",
            {"config": replace(base, val=parts / "annotations" / "instances_test.json")},
        ),
        ("training", {"train": parts / "annotations" / "instances_test.json"}),
    ):
        with pytest.raises(TagboxError, match=f"the {side} images") as raised:
            tuned(tmp_path, trials=2, **change)
        assert raised.value.code == "study-data"
    assert (tmp_path / "study" / "trials.csv").read_text() == before
    # What decides no number may change.
    workers = replace(base, finetune=replace(base.finetune, workers=2))
    assert len(rows(tuned(tmp_path, trials=2, config=workers))) == 2


def test_a_damaged_database(tuned: Tuned, tmp_path: Path) -> None:
    study = tuned(tmp_path, trials=2)
    database = study.folder / "study.db"
    content = database.read_bytes()
    for damaged in (b"not a database" * 100, content[: len(content) // 2], _spoilt(content)):
        database.write_bytes(damaged)
        with pytest.raises(TagboxError) as raised:
            tuned(tmp_path, trials=3)
        assert raised.value.code == "study-damaged"
        assert raised.value.file == str(database)
        assert database.read_bytes() == damaged
    database.write_bytes(content)
    assert len(rows(tuned(tmp_path, trials=3))) == 3


def _spoilt(content: bytes) -> bytes:
    """Every page after the first one overwritten."""
    return content[:4096] + b"\xff" * (len(content) - 4096)


def test_a_database_elsewhere(whole: Study, tuned: Tuned, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    for trials in (2, 4):
        study = tuned(tmp_path / "studies", trials=trials, storage=storage)
        assert numbers(study) == numbers(whole)[:trials]
    assert not (study.folder / "study.db").exists()
    with sqlite3.connect(tmp_path / "elsewhere.db") as database:
        assert database.execute("SELECT count(*) FROM trials").fetchone() == (4,)


def test_a_moved_study_goes_on(whole: Study, tuned: Tuned, tmp_path: Path) -> None:
    tuned(tmp_path, trials=2).folder.rename(tmp_path / "renamed")
    assert numbers(tuned(tmp_path, name="renamed", trials=4)) == numbers(whole)[:4]


def test_a_failure_before_the_first_trial_leaves_nothing(
    tuned: Tuned, base: ClassifierConfig, tmp_path: Path
) -> None:
    with pytest.raises(TagboxError) as raised:
        tuned(tmp_path / "studies", config=replace(base, backbone="efficientnet_lite0@9"))
    assert raised.value.code == "backbone-size"
    assert not (tmp_path / "studies").exists()


def test_the_folder_of_a_run_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "model.json").write_text("{}")
    with pytest.raises(TagboxError) as raised:
        tuned(tmp_path)
    assert raised.value.code == "study-name"
    assert [path.name for path in tmp_path.rglob("*")] == ["study", "model.json"]


@pytest.mark.parametrize(
    "files",
    [
        {"best.yaml": "mine: 1"},
        {"trials.csv": "trial,value", "sub/notes.md": "mine"},
        {"tune.json": '{"piano": 440}'},
        {"tune.json": "[" * 5000},
        {"study.db": "not a database"},
        {"labels.csv": "image,labels"},
        {MARK: '{"format": "tagbox-output", "command": "split", "files": {"": ["split.json"]}}'},
    ],
)
def test_a_folder_that_is_no_study_stays_as_it_is(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    before = hashes(tmp_path)
    with pytest.raises(TagboxError) as raised, study_folder(tmp_path, "mine"):
        pass
    assert raised.value.code == "not-made-by-tagbox"
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("ours", [True, False])
def test_a_database_of_the_user_is_told_from_an_earlier_study(ours: bool, tmp_path: Path) -> None:
    """Also where a killed process left all of it in the write-ahead log; the database is not opened itself."""
    (tmp_path / "live").mkdir()
    database = sqlite3.connect(tmp_path / "live/study.db")
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE study_user_attributes (key TEXT)")
    database.execute("INSERT INTO study_user_attributes VALUES (?)", ["about" if ours else "mine"])
    database.commit()
    (tmp_path / "killed").mkdir()
    for file in ("study.db", "study.db-wal"):
        shutil.copy(tmp_path / "live" / file, tmp_path / "killed" / file)
    database.close()
    (tmp_path / "killed/best.yaml").write_text("mine: 1")
    before = hashes(tmp_path / "killed")
    with suppress(TagboxError), study_folder(tmp_path, "killed"):
        assert ours
    assert (tmp_path / "killed" / MARK).exists() == ours
    (tmp_path / "killed" / MARK).unlink(missing_ok=True)
    assert hashes(tmp_path / "killed") == before


@pytest.mark.parametrize("elsewhere", [False, True])
def test_studies_without_a_mark_go_on(
    elsewhere: bool, whole: Study, tuned: Tuned, tmp_path: Path
) -> None:
    more = {"storage": f"sqlite:///{tmp_path / 'mine.db'}"} if elsewhere else {}
    study = tuned(tmp_path, trials=2, **more)
    assert marked_by(study.folder) == "study"
    (study.folder / MARK).unlink()
    (study.folder / "notes.md").write_text("mine")
    for trials in (3, 4):
        assert numbers(tuned(tmp_path, trials=trials, **more)) == numbers(whole)[:trials]
    assert marked_by(study.folder) == "study"
    assert (study.folder / "notes.md").read_text() == "mine"


def test_backbones_can_be_searched(tuned: Tuned, base: ClassifierConfig, tmp_path: Path) -> None:
    typed = ["backbone=efficientnet_lite0@64,efficientnet_lite0@96", "mirror=true,false"]
    study = tuned(tmp_path, search={}, typed=typed, trials=6)
    assert {row["backbone"] for row in rows(study)} == set(typed[0].partition("=")[2].split(","))
    for name in ("backbone", "mirror"):
        assert getattr(study.best, name) == study.result["best"]["parameters"][name]


def test_a_teacher_teaches_every_trial(
    tuned: Tuned, parts: Path, base: ClassifierConfig, tmp_path: Path
) -> None:
    data = parts / "annotations" / "instances_train.json"
    config = replace(base, epochs=3)
    teacher = train_classifier(data, config, name="teacher", runs=tmp_path)
    config = replace(config, teacher=teacher.folder)
    search = {"teacher_weight": {"low": 0.1, "high": 1.0}}
    study = tuned(tmp_path, config=config, search=search, trials=2)
    run = train_classifier(data, study.best, name="pupil", runs=tmp_path)
    figures = [row["val_map"] for row in history_rows(run.folder / "history.csv")]
    assert max(float(figure or 0) for figure in figures) == study.result["best"]["value"]
    assert len({row["value"] for row in rows(study)}) == 2
