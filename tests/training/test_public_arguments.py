"""The public functions refuse arguments of another type in a sentence, before anything else happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tagbox
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


@pytest.mark.parametrize("load", [tagbox.Classifier.load, tagbox.DetectorModel.load])
def test_models_are_loaded_from_paths(load: Callable[..., Any]) -> None:
    for arguments in ({"run": None}, {"run": "r", "engine": "y"}):
        with pytest.raises(TagboxError) as caught:
            load(**arguments)
        assert caught.value.code == "config-value"


def test_right_arguments_pass(tmp_path: Path) -> None:
    for run in (tmp_path, str(tmp_path)):
        with pytest.raises(TagboxError) as caught:
            tagbox.load_model(run, engine="torch", device="cpu", precision="bf16")
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
