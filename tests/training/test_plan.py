"""What is decided before training, and what a resumed run may differ in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tagbox.config import RECIPES, ClassifierConfig, DataConfig, FinetuneConfig, load_recipe
from tagbox.errors import TagboxError
from tagbox.progress import Silent
from tagbox.training.plan import differences, resolve, with_free_settings
from tagbox.training.sides import Sides, load_sides
from tagbox.training.work import fingerprints, require_same_data


@pytest.fixture
def sides(scenes: Path, small: ClassifierConfig) -> Sides:
    data = scenes / "annotations" / "instances_train.json"
    return load_sides(data, small, DataConfig(), Silent())


def test_what_the_data_decides(sides: Sides) -> None:
    found = resolve(ClassifierConfig(), sides)
    assert (found.labels, found.loss, found.augment.crop) == ("multi", "bce", "boxes")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ClassifierConfig(loss="cross_entropy"), "no loss for multiple labels"),
        (ClassifierConfig(best_by="accuracy"), "a figure of exclusive labels"),
    ],
)
def test_settings_that_do_not_go_together(
    sides: Sides, config: ClassifierConfig, words: str
) -> None:
    with pytest.raises(TagboxError, match=words) as raised:
        resolve(config, sides)
    assert raised.value.code == "config-value"


def test_differences_are_named_and_auto_is_none() -> None:
    saved = ClassifierConfig(
        seed=3, finetune=FinetuneConfig(unfreeze="all", precision="fp32", workers=4)
    )
    given = replace(
        saved,
        seed=4,
        finetune=FinetuneConfig(unfreeze="2", precision="auto", workers=0, accumulate=2),
    )
    assert differences(saved.to_dict(), given.to_dict()) == [
        "seed: 3 -> 4",
        "finetune.unfreeze: all -> 2",
    ]
    assert differences(saved.to_dict(), saved.to_dict()) == []
    resumed = with_free_settings(saved, given)
    assert (resumed.finetune.workers, resumed.finetune.accumulate) == (0, 2)
    assert (resumed.seed, resumed.finetune.unfreeze) == (3, "all")


def test_other_data_is_refused(sides: Sides) -> None:
    state = {"about": {"fingerprints": fingerprints(sides)}}
    require_same_data(state, sides)
    boxes = sides.train.annotations.boxes.copy()
    boxes[0, 0] += 1
    moved = replace(sides.train, annotations=replace(sides.train.annotations, boxes=boxes))
    with pytest.raises(TagboxError, match="training images or their annotations") as raised:
        require_same_data(state, replace(sides, train=moved))
    assert raised.value.code == "resume-data"
    fewer = sides.validation.take(range(len(sides.validation) - 1))
    with pytest.raises(TagboxError, match="validation images"):
        require_same_data(state, replace(sides, validation=fewer))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_say_what_they_are_and_can_be_trained(name: str) -> None:
    recipe = load_recipe(name)
    assert all((recipe.about, recipe.command, recipe.expect, recipe.evidence))
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
