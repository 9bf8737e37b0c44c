"""Settings as keyword arguments: the same names and values as a configuration's, and a hint for any other."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import tagbox
from tagbox.config import (
    ClassifierConfig,
    ClassifierSettings,
    CompareOptions,
    CompareSettings,
    Config,
    DataConfig,
    DataSettings,
    DetectorConfig,
    DetectorSettings,
    EnsembleConfig,
    EnsembleSettings,
    ScoreOptions,
    ScoreSettings,
    SynthConfig,
    SynthSettings,
    with_settings,
)
from tagbox.data.synthetic.generate import generate
from tagbox.errors import TagboxError


@pytest.mark.parametrize(
    ("config", "settings", "left_out"),
    [
        # What is left out is a parameter of the functions themselves.
        (ClassifierConfig, ClassifierSettings, {"val"}),
        (DetectorConfig, DetectorSettings, {"val"}),
        (DataConfig, DataSettings, {"split"}),
        (ScoreSettings, ScoreOptions, set()),
        (CompareSettings, CompareOptions, set()),
        (SynthConfig, SynthSettings, set()),
        (EnsembleConfig, EnsembleSettings, set()),
    ],
)
def test_the_types_of_keyword_arguments_are_those_of_the_fields(
    config: type[Config], settings: Any, left_out: set[str]
) -> None:
    expected = {}
    for name, kind in typing.get_type_hints(config).items():
        lists = {tuple[str, ...]: Sequence[str], tuple[int, ...]: Sequence[int]}
        parts = {lists.get(part, part) for part in _parts(kind)}
        if Path in parts:
            parts.add(str)
        if any(isinstance(part, type) and issubclass(part, Config) for part in parts):
            parts.add(Mapping[str, Any])
        if name not in left_out:
            expected[name] = parts
    assert {n: _parts(kind) for n, kind in typing.get_type_hints(settings).items()} == expected


def _parts(kind: Any) -> set[Any]:
    """The members of a union, or the type itself."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return set(typing.get_args(kind)) if union else {kind}


def test_keywords_win_over_the_config_and_groups_are_merged() -> None:
    base = ClassifierConfig(epochs=9, seed=4, finetune={"unfreeze": "2", "epochs": 7})  # type: ignore[arg-type]
    changed = with_settings(base, {"epochs": 5, "finetune": {"epochs": 3}})
    assert (changed.epochs, changed.seed) == (5, 4)
    assert (changed.finetune.unfreeze, changed.finetune.epochs) == ("2", 3)
    assert with_settings(base, {}) is base


@pytest.mark.parametrize(
    ("config", "settings", "where", "hint"),
    [
        (ClassifierConfig(), {"epoch": 5}, "epoch", "did you mean 'epochs'"),
        (ClassifierConfig(), {"lr": 1e-3}, "lr", "it is called 'learning_rate' here"),
        (ClassifierConfig(), {"imgsz": 640}, "imgsz", "it is called 'backbone' here"),
        (DetectorConfig(), {"imgsz": 640}, "imgsz", "it is called 'size' here"),
        (ClassifierConfig(), {"unfreeze": "all"}, "unfreeze", "finetune={'unfreeze': ...}"),
        (ClassifierConfig(), {"finetune": {"epoch": 1}}, "finetune.epoch", "did you mean 'epochs'"),
        (DetectorConfig(), {"augment": {"flipp": True}}, "augment.flipp", "did you mean 'flip'"),
        (DetectorConfig(), {"nmae": "a"}, "nmae", "did you mean 'name'"),
        (DataConfig(), {"qqq": 1}, "qqq", "the settings are categories, "),
    ],
)
def test_an_unknown_setting_is_told_the_nearest(
    config: Config, settings: dict[str, Any], where: str, hint: str
) -> None:
    with pytest.raises(TagboxError) as caught:
        with_settings(config, settings, ("name", "runs"))
    assert (caught.value.code, caught.value.where) == ("config-field", where)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["train_classifier", "train_detector", "load_dataset"])
def test_a_misspelt_argument_is_refused_before_any_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {"train_classifier": "batchsize", "train_detector": "epcohs", "load_dataset": "image"}[
        name
    ]
    with pytest.raises(TagboxError, match="did you mean") as caught:
        getattr(tagbox, name)("no such data", **{wrong: 2})
    assert (caught.value.code, caught.value.where) == ("config-field", wrong)
    with pytest.raises(TagboxError) as caught:
        getattr(tagbox, name)(
            "none", **{"load_dataset": {"format": "jpg"}}.get(name, {"epochs": 0})
        )
    assert caught.value.code == "config-value"
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("settings") / "scenes"
    generate(out, SynthConfig(images=24, val=8, width=96, height=72, seed=5))
    return out / "annotations"


def test_a_dataset_is_read_with_keyword_settings(scenes: Path) -> None:
    names = tagbox.load_dataset(scenes / "instances_train.json").categories.names
    some = tagbox.load_dataset(scenes / "instances_train.json", categories=names[:2], max_images=5)
    assert (some.categories.names, len(some)) == (names[:2], 5)


def test_runs_without_a_name_are_numbered_and_keep_their_settings(
    scenes: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    for folder, epochs in (("classifier", 1), ("classifier-2", 2)):
        run = tagbox.train_classifier(
            str(scenes / "instances_train.json"),
            runs=tmp_path,
            val=str(scenes / "instances_val.json"),
            backbone="efficientnet_lite0@64",
            epochs=epochs,
        )
        assert run.folder == tmp_path / folder
        assert run.metrics["epochs"] == epochs
        config = (run.folder / "config.yaml").read_text()
        assert re.search("backbone: efficientnet_lite0@64", config)


def test_a_run_that_is_resumed_is_named(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        tagbox.train_classifier(scenes / "instances_train.json", runs=tmp_path, resume=True)
    assert caught.value.code == "run-name"
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("part", [slice(None), slice(0, 5)])
def test_validation_data_may_be_in_memory(scenes: Path, tmp_path: Path, part: slice) -> None:
    pytest.importorskip("torch")
    train = tagbox.load_dataset(scenes / "instances_train.json")
    val = tagbox.load_dataset(scenes / "instances_val.json")[part]
    settings: Any = {"backbone": "efficientnet_lite0@64", "epochs": 1, "runs": tmp_path}
    run = tagbox.train_classifier(train, val=val, **settings)
    assert run.metrics["images"] == {"train": len(train), "validation": len(val)}
    assert run.config.val == scenes / "instances_val.json"  # type: ignore[union-attr]
    if part == slice(None):
        other = tagbox.train_classifier(train, val=str(scenes / "instances_val.json"), **settings)
        assert other.metrics["validation"] == run.metrics["validation"]
    with pytest.raises(TagboxError) as caught:
        tagbox.train_classifier(train, val=3, **settings)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.where) == ("config-value", "val")


def test_an_unknown_run_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags" / "model.json").write_text("{}")
    with pytest.raises(TagboxError, match="no such run; did you mean 'tags'"):
        tagbox.open_run("tgas", runs=tmp_path)
