"""The public functions refuse arguments of another type in a sentence, before anything else happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tagbox
from bad_input_data import run
from tagbox.config.arguments import checked_arguments
from tagbox.errors import TagboxError

SEARCH: dict[str, Any] = {}
CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("load_dataset", {"path": None}, "path"),
    ("load_dataset", {"path": 3}, "path"),
    ("load_dataset", {"path": "x", "config": {}}, "config"),
    ("check_dataset", {"path": []}, "path"),
    ("train_classifier", {"data": None, "name": "r"}, "data"),
    ("train_classifier", {"data": "d", "name": 3}, "name"),
    ("train_classifier", {"data": "d", "name": "r", "config": tagbox.DetectorConfig()}, "config"),
    ("train_classifier", {"data": "d", "name": "r", "overwrite": "no"}, "overwrite"),
    ("train_detector", {"data": "d", "name": "r", "config": "dense"}, "config"),
    ("train_detector", {"data": "d", "name": "r", "runs": 1}, "runs"),
    ("ensemble", {"members": "run", "val": "d", "name": "e"}, "members"),
    ("ensemble", {"members": ["run"], "val": 1.5, "name": "e"}, "val"),
    ("tune_classifier", {"data": "d", "name": "s", "search": SEARCH, "trials": 2.5}, "trials"),
    ("tune_classifier", {"data": "d", "name": "s", "search": SEARCH, "metric": "ap"}, "metric"),
    ("tune_detector", {"data": "d", "name": "s", "search": "learning_rate"}, "search"),
    (
        "tune_detector",
        {"data": "d", "name": "s", "search": SEARCH, "minutes": float("nan")},
        "minutes",
    ),
    ("load_model", {"run": None}, "run"),
    ("load_model", {"run": "r", "engine": "x"}, "engine"),
    ("load_model", {"run": "r", "device": 0}, "device"),
    ("evaluate_labels", {"truth": [[1]], "categories": ["a"]}, "truth"),
    ("evaluate_labels", {"truth": np.ones((1, 1), np.int8), "categories": "a"}, "categories"),
    ("evaluate_boxes", {"dataset": "d", "detections": "x"}, "dataset"),
]


@pytest.mark.parametrize(("name", "arguments", "where"), CALLS)
def test_wrong_types(name: str, arguments: dict[str, Any], where: str) -> None:
    with pytest.raises(TagboxError) as caught:
        getattr(tagbox, name)(**arguments)
    assert (caught.value.code, caught.value.where) == ("config-value", where)


TRUTH = np.array([[1, 0], [0, 1]], np.int8)
HALF = np.full((2, 2), 0.5)
TABLES: list[tuple[str, dict[str, Any]]] = [
    ("truth", {"truth": TRUTH * 5}),
    ("truth", {"truth": TRUTH.astype(float)}),
    ("truth", {"truth": TRUTH[0]}),
    ("truth", {"categories": ["a"]}),
    ("truth", {"categories": ["a", "b", "c"]}),
    ("probabilities", {"probabilities": HALF[:1]}),
    ("probabilities", {"probabilities": HALF * np.nan}),
    ("probabilities", {"probabilities": HALF + 5}),
    ("probabilities", {"probabilities": -HALF}),
    ("probabilities", {"probabilities": HALF.astype(object)}),
    ("decisions", {"probabilities": None, "decisions": HALF}),
]


@pytest.mark.parametrize(("where", "wrong"), TABLES)
def test_tables_of_labels(where: str, wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"truth": TRUTH, "categories": ["a", "b"], "probabilities": HALF}
    assert tagbox.evaluate_labels(**right, resamples=20)["images"] == 2
    with pytest.raises(TagboxError) as caught:
        tagbox.evaluate_labels(**{**right, **wrong})
    assert (caught.value.code, caught.value.where) == ("config-value", where)


@pytest.mark.parametrize("images", ["a.png", Path("a.png"), "*.png"])
def test_images_that_are_not_there(images: Any, tmp_path: Path) -> None:
    run()(tmp_path)
    model = tagbox.Classifier.load(tmp_path / "run", engine="torch")
    with pytest.raises(TagboxError) as caught:
        model.predict(images)
    assert caught.value.code in ("image-missing", "no-images")
    for wrong in ({"paths": [], "cache": "x"}, {"paths": [], "progress": 5}):
        with pytest.raises(TagboxError) as caught:
            model.predict(**wrong)
        assert caught.value.code == "config-value"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        *((tagbox.ClassifierConfig, n) for n in ("hidden", "epochs", "batch_size", "top_k")),
        *((tagbox.DetectorConfig, n) for n in ("epochs", "batch_size", "workers", "patience")),
        (tagbox.DataConfig, "max_images"),
    ],
)
@pytest.mark.parametrize("value", [10**30, -(10**30), 1e300, 2**63])
def test_numbers_too_large_for_the_libraries_below(config: Any, name: str, value: Any) -> None:
    with pytest.raises(TagboxError) as caught:
        config(**{name: value})
    assert (caught.value.code, caught.value.where) == ("config-value", name)


def test_more_workers_than_a_machine_has_processes_are_refused() -> None:
    with pytest.raises(TagboxError, match="from 0 to 1024"):
        tagbox.DetectorConfig(workers=100_000)


@pytest.mark.parametrize("load", [tagbox.Classifier.load, tagbox.DetectorModel.load])
def test_models_are_loaded_from_paths(load: Callable[..., Any]) -> None:
    for arguments in ({"run": None}, {"run": "r", "engine": "y"}):
        with pytest.raises(TagboxError) as caught:
            load(**arguments)
        assert caught.value.code == "config-value"


def test_right_arguments_pass(tmp_path: Path) -> None:
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(TagboxError) as caught:
            tagbox.load_model(folder, engine="torch", device="cpu", precision="bf16")
        assert caught.value.code == "bundle-missing"
    with pytest.raises(TagboxError) as caught:
        tagbox.tune_classifier(
            tmp_path / "none", name="s", search=SEARCH, metric="map", trials=np.int64(3), minutes=1
        )
    assert caught.value.code != "config-value"


def test_positional_arguments_and_defaults_are_kept() -> None:
    @checked_arguments
    def double(number: int, times: float = 2.0, *, name: str = "x") -> float:
        """Double."""
        return number * times

    assert double(2) == 4 and double(2, 3) == 6 and double.__doc__ == "Double."
    with pytest.raises(TagboxError, match="times: 'a' is not a number"):
        double(1, "a")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        double()  # type: ignore[call-arg]


def test_columns_of_predictions_and_detections_fit_each_other() -> None:
    ones, keys = np.ones((1, 1), np.float32), ("a",)
    for given in (
        {"images": keys, "categories": keys},
        {"images": keys, "categories": keys, "probabilities": [[1.0]]},
        {"images": "a", "categories": keys, "probabilities": ones},
        {"images": (1,), "categories": keys, "probabilities": ones},
        {"images": keys, "categories": ("a", "b"), "probabilities": ones},
    ):
        with pytest.raises(TagboxError):
            tagbox.Predictions(**given)  # type: ignore[arg-type]
    rows, boxes = np.zeros(1, np.int32), np.ones((1, 4))
    right = {"images": keys, "categories": keys, "image_rows": rows, "category_rows": rows}
    right |= {"boxes": boxes, "scores": np.ones(1)}
    assert len(tagbox.Detections(**right)) == 1  # type: ignore[arg-type]
    for wrong in (
        {"boxes": boxes[:, :3]},
        {"scores": None},
        {"image_rows": rows + 1},
        {"boxes": [[1, 2, 3, 4]]},
    ):
        with pytest.raises(TagboxError):
            tagbox.Detections(**{**right, **wrong})  # type: ignore[arg-type]
