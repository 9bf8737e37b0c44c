"""`evaluate` and `open_run`: the same figures as the command line, shown and converted."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

import tagbox
from tagbox.data.dataset import PRESENT
from tagbox.errors import TagboxError


def test_the_figures_are_those_of_the_command(
    run: tagbox.Run, scenes: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    test = scenes / "annotations" / "instances_test.json"
    done = cli("evaluate", run.folder, test, "--json")
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)
    data = tagbox.load_dataset(test)
    for predictions in (run, run.folder, str(run.folder), run.predict(data)):
        found = tagbox.evaluate(predictions, data)
        assert found["micro_f1"] == pytest.approx(expected["micro_f1"], abs=1e-9)
        assert found["map"] == pytest.approx(expected["map"], abs=1e-6)
        assert set(found) >= set(expected) - {"predictions", "data"}
    truth = data.labels == PRESENT
    decided = run.predict(data).decisions
    assert found["micro_f1"] == pytest.approx(f1_score(truth, decided, average="micro"))


def test_other_thresholds_of_results_are_those_that_are_scored(
    run: tagbox.Run, scenes: Path
) -> None:
    data = tagbox.load_dataset(scenes / "annotations" / "instances_test.json")
    for found in (run.predict(data).at(threshold=0.7), run.predict(data).at(top_k=2)):
        scored = tagbox.evaluate(found, data, intervals=False)  # type: ignore[arg-type]
        expected = f1_score(
            data.labels == PRESENT, found.decisions, average="micro", zero_division=0
        )  # type: ignore[union-attr]
        assert scored["micro_f1"] == pytest.approx(expected)
        assert "intervals" not in scored


def test_boxes_are_scored_as_the_command_does(
    boxes: tagbox.Run, scenes: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    test = scenes / "annotations" / "instances_test.json"
    data = tagbox.load_dataset(test)
    found = tagbox.evaluate(boxes.predict(data), data)
    # Given as pictures in a folder, they are found by name.
    named = tagbox.evaluate(boxes.predict(scenes / "test"), data)
    whole = tagbox.evaluate(boxes, test)
    for key in ("ap", "ap50", "ar100"):
        assert found[key] == named[key] == whole[key]
    assert found["at_cuts"] == whole["at_cuts"] == named["at_cuts"]
    assert found.errors.column("error")[0] in found["errors"]
    assert {"precision_recall", "confusion"} & set(found.charts) or not found["detections"]


def test_a_file_and_arrays_are_evaluated(run: tagbox.Run, scenes: Path) -> None:
    val = scenes / "annotations" / "instances_val.json"
    from_file = tagbox.evaluate(run.folder / "predictions.csv", val)
    assert from_file["map"] == pytest.approx(run.metrics["validation"]["map"], abs=1e-6)
    predictions = tagbox.Predictions(
        images=("1", "2"), categories=("a",), probabilities=np.array([[0.9], [0.2]], np.float32)
    )
    with pytest.raises(TagboxError) as caught:
        tagbox.evaluate(predictions, val)
    assert caught.value.code in ("unknown-category", "missing-category")


def test_options_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(TagboxError, match="did you mean 'intervals'"):
        tagbox.evaluate("nothing", "nothing", interval=False)  # type: ignore[call-arg]
    for wrong in ({"predictions": 3}, {"data": None}):
        with pytest.raises(TagboxError) as caught:
            tagbox.evaluate(**({"predictions": "a", "data": "b"} | wrong))  # type: ignore[arg-type]
        assert caught.value.code == "config-value"
    with pytest.raises(TagboxError) as caught:
        tagbox.evaluate(tmp_path, tmp_path / "none.json")
    assert caught.value.code == "file-missing"


def test_held_out_needs_a_record_of_the_training(run: tagbox.Run, scenes: Path) -> None:
    train = scenes / "annotations" / "instances_train.json"
    with pytest.raises(TagboxError) as caught:
        tagbox.evaluate(run, train, held_out=True)
    assert caught.value.code == "no-held-out-images"
    data = tagbox.load_dataset(train)
    with pytest.raises(TagboxError) as caught:
        tagbox.evaluate(run.predict(data[:3]), data, held_out=True)
    assert caught.value.code == "seen-unknown"


def test_labels_have_curves(run: tagbox.Run, scenes: Path) -> None:
    data = tagbox.load_dataset(scenes / "annotations" / "instances_test.json")
    for predictions in (run, run.predict(data)):
        charts = tagbox.evaluate(predictions, data, intervals=False).charts
        assert list(charts) == ["precision_recall", "f1_threshold", "precision_recall_threshold"]
        assert "micro average" in charts["precision_recall"]
    found = tagbox.evaluate(run, data, intervals=False)
    assert f"tuned {found['thresholds']['value']:.3f}" in found.charts["f1_threshold"]
    # What is saved of a run's own validation are the metrics alone.
    assert not run.evaluation.charts


def test_an_evaluation_shows_itself(run: tagbox.Run, boxes: tagbox.Run) -> None:
    for each, metric in ((run, "map"), (boxes, "ap")):
        evaluation = each.evaluation
        assert metric in evaluation.headline and evaluation[metric] == evaluation.headline[metric]
        assert metric in repr(evaluation) and "images" in repr(evaluation)
        html = evaluation._repr_html_()
        assert html.count("<table") == 2
        names = evaluation.per_category.column("name")
        assert names and all(name in html for name in names)
        listed = {row["metric"] for row in evaluation.metrics}
        assert listed >= set(evaluation.headline) and "resamples" not in listed
        assert len(evaluation.confusions) >= 0 and repr(evaluation.confusions)


def test_a_confusion_matrix_becomes_pairs() -> None:
    truth = np.eye(3, dtype=np.int8)[[0, 0, 0, 1, 2]]
    said = (
        np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 0]] * 0.98
        + 0.01
        - np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 0]] * 0.01
    )
    result = tagbox.evaluate_labels(
        truth, categories=["a", "b", "c"], probabilities=said, labels="exclusive"
    )
    evaluation = tagbox.Evaluation(result)
    assert [tuple(row.values()) for row in evaluation.confusions] == [("a", "b", 2), ("c", "a", 1)]
    assert list(evaluation.confusion_matrix[0].values()) == ["a", 1, 2, 0]
    assert "confusion" in evaluation.charts and evaluation.headline["accuracy"] == 0.4


def test_a_run_is_opened_with_all_that_it_has(run: tagbox.Run, boxes: tagbox.Run) -> None:
    for each in (run, boxes):
        opened = tagbox.open_run(each.folder)
        assert opened.metrics == each.metrics and opened.report.is_file()
        with open(each.folder / "history.csv") as file:
            rows = list(csv.DictReader(file))
        assert len(opened.history) == len(rows) == each.metrics["epochs"]
        loss = opened.history.column("train_loss")
        assert loss == [float(row["train_loss"]) for row in rows]
        assert type(opened.model) is type(each.model)
        assert "loss" in opened.charts and "best" in str(opened.charts["loss"])
        assert str(each.folder) in repr(opened)
    assert tagbox.open_run("labels", runs=run.folder.parent).folder == run.folder
    assert "categories: " in repr(run.model) and "categories: " in repr(boxes.model)
    assert isinstance(run.config, tagbox.ClassifierConfig)
    assert (run.config.epochs, run.config.backbone) == (3, "efficientnet_lite0@64")
    assert isinstance(boxes.config, tagbox.DetectorConfig) and boxes.config.size == 64
    assert run.model.network() is not None


def test_a_run_is_found_by_its_name(
    run: tagbox.Run, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run.folder)
    monkeypatch.chdir(tmp_path)
    data = tagbox.load_dataset(scenes / "annotations" / "instances_val.json")
    assert tagbox.load_model("mine").categories == run.model.categories
    assert tagbox.evaluate("mine", data, intervals=False)["map"] == run.evaluation["map"]
    (tmp_path / "mine").write_text("of another kind")  # A path comes first.
    with pytest.raises(TagboxError):
        tagbox.evaluate("mine", data)


def test_a_wrong_keyword_names_the_function(run: tagbox.Run) -> None:
    with pytest.raises(TypeError, match=r"^predict\(\) got an unexpected keyword argument 'flp'"):
        run.predict([], flp=True)


def test_an_ensemble_is_opened_too(run: tagbox.Run, scenes: Path, tmp_path: Path) -> None:
    made = tagbox.ensemble(
        [run],
        scenes / "annotations" / "instances_val.json",
        name="e",
        runs=tmp_path,
        flip=True,
    )
    opened = tagbox.open_run(made.folder)
    assert isinstance(opened.config, tagbox.EnsembleConfig) and opened.config.flip
    assert len(opened.history) == 0 and len(opened.charts) == 0
    assert "mAP" in repr(opened) or "map" in repr(opened)
    assert "<table" in opened._repr_html_()


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_a_folder_that_is_no_run(missing: str, tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        tagbox.open_run(tmp_path / missing)
    assert caught.value.code == "metrics-missing"


def test_tables_become_data_frames(run: tagbox.Run, boxes: tagbox.Run) -> None:
    pandas = pytest.importorskip("pandas")
    for each in (run, boxes):
        evaluation = each.evaluation
        for table in (
            evaluation.per_category,
            evaluation.metrics,
            evaluation.confusions,
            evaluation.confusion_matrix,
            evaluation.errors,
            each.history,
        ):
            frame = table.to_pandas()
            assert isinstance(frame, pandas.DataFrame) and len(frame) == len(table)
            assert list(frame.columns) == list(table.columns)
    assert run.history.to_pandas()["train_loss"].dtype == np.float64


def test_charts_show_themselves_with_their_style(run: tagbox.Run) -> None:
    html = run.charts["loss"]._repr_html_()
    assert "<svg" in html and "<script" not in html
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert style.count("{") == style.count("}")
    assert ".line.s0" in style and "--c0" in style and "body" not in style and ".tile" not in style
    assert run._repr_html_().count("<figure") >= 1


def test_runs_are_listed(run: tagbox.Run, tmp_path: Path) -> None:
    runs = tagbox.list_runs(run.folder.parent)
    row = next(row for row in runs if row["name"] == run.folder.name)
    assert (row["kind"], row["metric"]) == ("classifier", "map")
    assert row["value"] == run.metrics["validation"]["map"]
    assert run.folder.name in repr(runs) and run.folder.name in runs._repr_html_()
    if pytest.importorskip("pandas"):
        assert run.folder.name in runs.to_pandas()["name"].tolist()
    assert not len(tagbox.list_runs(tmp_path))
    with pytest.raises(TagboxError) as caught:
        tagbox.list_runs(tmp_path / "none")
    assert caught.value.code == "file-missing"


BLOCKED = """
import sys
for name in {names!r}:
    sys.modules[name] = None
import tagbox
try:
    {call}
except tagbox.TagboxError as error:
    print(error.code, error)
"""


@pytest.mark.parametrize(
    ("names", "call", "package"),
    [
        (["torch", "torchvision"], "tagbox.train_classifier(DATA, name='x', runs=RUNS)", "torch"),
        (["tensorboard"], "tagbox.train_detector(DATA, runs=RUNS)", "tensorboard"),
        (["torchvision"], "tagbox.train_detector(DATA, runs=RUNS)", "torchvision"),
        (["optuna"], "tagbox.tune_classifier(DATA, name='x', search={}, studies=RUNS)", "optuna"),
        (["torch"], "tagbox.load_dataset(DATA).torch_dataset()", "torch"),
        (["torch", "openvino", "safetensors"], "tagbox.open_run(RUN).predict(DATA)", "safetensors"),
        (["torch", "openvino"], "tagbox.open_run(RUN).predict(PICTURE)", ""),
        (["torch"], "tagbox.open_run(BOXES).predict(PICTURE)", "torch"),
        (["torch"], "tagbox.open_run(RUN).model.network()", "torch"),
        (["pandas"], "tagbox.open_run(RUN).history.to_pandas()", "pandas"),
        (["pandas"], "tagbox.open_run(RUN).evaluation.per_category.to_pandas()", "pandas"),
    ],
)
def test_a_missing_package_is_one_sentence_before_any_work(
    names: list[str],
    call: str,
    package: str,
    run: tagbox.Run,
    boxes: tagbox.Run,
    scenes: Path,
    tmp_path: Path,
) -> None:
    values: dict[str, Any] = {
        "DATA": str(scenes / "annotations" / "instances_train.json"),
        "RUNS": str(tmp_path / "runs"),
        "RUN": str(run.folder),
        "BOXES": str(boxes.folder),
        "PICTURE": str(next((scenes / "test").glob("*.jpg"))),
    }
    for name, value in values.items():
        call = (
            call.replace(f"({name}", f"({value!r}")
            .replace(f"={name}", f"={value!r}")
            .replace(f" {name}", f" {value!r}")
        )
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=names, call=call)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("extra-missing ") and done.stdout.count("\n") == 1, done.stdout
    assert f"needs {package}" in done.stdout and 'pip install "tagbox[' in done.stdout
    assert not (tmp_path / "runs").exists()
