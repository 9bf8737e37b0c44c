"""What is decided before training, and what a resumed run may differ in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torchvision.models import get_model_weights

from tagbox.config import RECIPES, ClassifierConfig, DataConfig, FinetuneConfig, load_recipe
from tagbox.config.base import as_flags, described
from tagbox.errors import TagboxError
from tagbox.progress import Silent
from tagbox.training.resolve_config import differences, resolve, with_free_settings
from tagbox.training.run_dir import (
    fingerprints,
    require_same_data,
    saved_config,
    write_config,
)
from tagbox.training.train_val import TrainVal, load_train_val


@pytest.fixture
def train_val(scenes: Path, small: ClassifierConfig) -> TrainVal:
    data = scenes / "annotations" / "instances_train.json"
    return load_train_val(data, small, DataConfig(), Silent())


def test_what_the_data_decides(train_val: TrainVal) -> None:
    found = resolve(ClassifierConfig(), train_val)
    assert (found.labels, found.loss, found.augment.crop) == ("multi", "bce", "boxes")
    assert (found.folds, found.best_by) == (0, "val_loss")
    tuned = ClassifierConfig(finetune=FinetuneConfig(unfreeze="1"))
    assert resolve(tuned, train_val).best_by == "map"
    in_folds = replace(train_val, fold_of=np.arange(len(train_val.train)) % 3)
    found = resolve(ClassifierConfig(), in_folds)
    assert (found.folds, found.best_by) == (3, "map")
    assert resolve(ClassifierConfig(best_by="macro_f1"), in_folds).best_by == "macro_f1"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ClassifierConfig(loss="cross_entropy"), "no loss for multiple labels"),
        (ClassifierConfig(best_by="accuracy"), "a metric of exclusive labels"),
    ],
)
def test_settings_that_do_not_go_together(
    train_val: TrainVal, config: ClassifierConfig, words: str
) -> None:
    with pytest.raises(TagboxError, match=words) as raised:
        resolve(config, train_val)
    assert raised.value.code == "config-value"


def test_the_way_back_to_a_former_default_is_told_as_flags(tmp_path: Path) -> None:
    begun = ClassifierConfig(objective="challenge_f1", mirror=False)
    write_config(tmp_path / "config.yaml", begun, DataConfig(), command="")
    with pytest.raises(TagboxError) as raised:
        saved_config(tmp_path, ClassifierConfig(), DataConfig())
    assert raised.value.code == "resume-changed"
    assert "resume with those it was begun with (--no-mirror --objective challenge_f1)" in str(
        raised.value
    )
    # A list, or a value of several words, has no flag of one word.
    assert as_flags({"seed": (1, 2), "categories": (["a"], [])}) == ""
    assert as_flags({"lr": ("searched in 1 to 2", 1)}) == ""


def test_differences_are_named_and_auto_is_none() -> None:
    saved = ClassifierConfig(
        seed=3, finetune=FinetuneConfig(unfreeze="all", precision="fp32", workers=4)
    )
    given = replace(
        saved,
        seed=4,
        finetune=FinetuneConfig(unfreeze="2", precision="auto", workers=0, accumulate=2),
    )
    changed = differences(saved.to_dict(), given.to_dict())
    assert described(changed) == "seed: 3 -> 4; finetune.unfreeze: all -> 2"
    assert as_flags(changed) == " (--seed 3 --finetune.unfreeze all)"
    assert differences(saved.to_dict(), saved.to_dict()) == {}
    resumed = with_free_settings(saved, given)
    assert (resumed.finetune.workers, resumed.finetune.accumulate) == (0, 2)
    assert (resumed.seed, resumed.finetune.unfreeze) == (3, "all")


def test_other_data_is_refused(train_val: TrainVal) -> None:
    state = {"about": {"fingerprints": fingerprints(train_val)}}
    require_same_data(state, train_val)
    boxes = train_val.train.annotations.boxes.copy()
    boxes[0, 0] += 1
    moved = replace(train_val.train, annotations=replace(train_val.train.annotations, boxes=boxes))
    with pytest.raises(TagboxError, match="training images or their annotations") as raised:
        require_same_data(state, replace(train_val, train=moved))
    assert raised.value.code == "resume-data"
    fewer = train_val.validation.take(range(len(train_val.validation) - 1))
    with pytest.raises(TagboxError, match="validation images"):
        require_same_data(state, replace(train_val, validation=fewer))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_they_are_and_can_be_trained(name: str) -> None:
    recipe = load_recipe(name)
    assert all((recipe.about, recipe.command, recipe.expect, recipe.evidence, recipe.downloads))
    assert recipe.downloads == "nothing" or recipe.cost
    if recipe.task == "detector":
        weights = get_model_weights(recipe.settings["detector"]).DEFAULT if recipe.cost else None
        size = f"{weights.meta['_file_size']:.0f} MB" if weights else "nothing"
        assert size in recipe.downloads
    config = recipe.config()
    assert type(config).from_dict(config.to_dict()) == config
    if isinstance(config, ClassifierConfig):
        assert config.finetune.active == (name != "frozen")
    plain = config.to_dict()
    for setting in recipe.search:
        value = plain
        for part in setting.split("."):
            value = value[part]


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("classifier: {hidden: many}", "config-value", "hidden"),
        ("classifier: {finetune: {ema: 2}}", "config-value", "ema"),
        ("settings: {}", "config-field", "settings"),
        ("search: {dropout: {low: 1, high: 0}}", "config-value", "search.dropout"),
        ("- a", "config-syntax", "line 1"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(tmp_path: Path, text: str, code: str, where: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(TagboxError) as raised:
        load_recipe(path)
    assert raised.value.code == code
    assert where in (raised.value.where or "")


def test_a_recipe_nobody_wrote() -> None:
    with pytest.raises(TagboxError, match="the recipes are frozen, finetune") as raised:
        load_recipe("fancy")
    assert raised.value.code == "recipe-unknown"
