from __future__ import annotations

import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox.config import RECIPES, ClassifierConfig, DetectorConfig, load_recipe
from tagbox.errors import TagboxError
from tagbox.studies.search_space import (
    Range,
    flat_settings,
    get_setting,
    parse_range,
    read_ranges,
    require_allowed,
    with_settings,
)

POSITIVE = st.floats(1e-12, 1e12)
FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e100, max_value=1e100)


@given(FINITE, FINITE)
def test_any_two_floats_make_a_range_that_reads_back(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if low == high:
        return
    assert parse_range(f"dropout={low!r}..{high!r}") == ("dropout", Range(low=low, high=high))


@given(POSITIVE, POSITIVE)
def test_logarithmic_ranges_read_back(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if low == high:
        return
    name, found = parse_range(f"--finetune.learning-rate={low!r}..{high!r}:log")
    assert name == "finetune.learning_rate"
    assert found == Range(low=low, high=high, log=True)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_ranges_of_whole_numbers_stay_whole(low: int, width: int) -> None:
    _, found = parse_range(f"epochs={low}..{low + width}")
    assert found == Range(low=low, high=low + width)
    assert type(found.low) is int


@given(st.lists(st.integers(-100, 100), min_size=1, unique=True))
def test_choices_of_numbers_read_back(numbers: list[int]) -> None:
    text = ",".join(map(str, numbers))
    assert parse_range(f"batch_size={text}")[1].choices == tuple(numbers)
    floats = parse_range(f"dropout={text}")[1].choices
    assert floats == tuple(map(float, numbers))
    assert all(type(number) is float for number in floats)


@pytest.mark.parametrize(
    ("text", "name", "choices"),
    [
        ("loss=bce,focal", "loss", ("bce", "focal")),
        # a number that is a text: how many stages
        ("finetune.unfreeze=1,2,all", "finetune.unfreeze", ("1", "2", "all")),
        ("mirror=true,false", "mirror", (True, False)),
        ("queries=none,20", "queries", (None, 20)),
        # the word is a value of this setting
        ("weights=none,packaged", "weights", ("none", "packaged")),
        # two dots, but no numbers
        ("weights=../a..b.pth", "weights", ("../a..b.pth",)),
        ("--batch-size = 32, 64, 32", "batch_size", (32, 64)),
    ],
)
def test_choices(text: str, name: str, choices: tuple[object, ...]) -> None:
    found = parse_range(text)
    assert found == (name, Range(choices=choices))
    assert [type(choice) for choice in found[1].choices] == [type(choice) for choice in choices]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("learning_rate", "search-syntax"),
        ("=1..2", "search-syntax"),
        ("learning_rate=", "search-syntax"),
        ("lerning_rate=1..2", "config-field"),
        ("finetune=1..2", "config-field"),
        ("seed=1..9", "search-held"),
        ("finetune.workers=0,2", "search-held"),
        ("learning_rate=2..1", "search-range"),
        ("learning_rate=1..1", "search-range"),
        ("learning_rate=0..1:log", "search-range"),
        ("learning_rate=1..1e999", "search-range"),
        ("batch_size=1.5..3", "search-range"),
        ("loss=1..2", "search-range"),
        ("mirror=0..1", "search-range"),
    ],
)
def test_what_is_no_range(text: str, code: str) -> None:
    with pytest.raises(TagboxError) as raised:
        parse_range(text)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # a classifier's settings, misspelt ones, those that decide what is judged or nothing of it
        ("finetune.learning_rate=1e-4..1e-2", "config-field"),
        ("augment.mosiac=0..1", "config-field"),
        ("boxes=refuse,drop", "search-held"),
        ("engine=openvino,torch", "search-held"),
        ("accumulate=1,2", "search-held"),
        ("best_by=ap,ap50", "search-held"),
        ("backbone_rate=0:log", "search-range"),
    ],
)
def test_what_is_no_range_of_a_detector(text: str, code: str) -> None:
    with pytest.raises(TagboxError) as raised:
        name, allowed = parse_range(text, DetectorConfig)
        require_allowed(DetectorConfig(), {name: allowed})
    assert raised.value.code == code
    if code == "config-field":
        near = "augment.mosaic" if "mosiac" in text else "learning_rate"
        assert raised.value.hint == f"perhaps {near} is meant"


@pytest.mark.parametrize(
    "text",
    [
        "batch_size=0..64",
        "dropout=0..1",
        "loss=bce,hinge",
        "learning_rate=1e-3,abc",
        "finetune.backbone_rate=0.5..1.5",
        "augment.crop_scale=0,0.5",
        "finetune.unfreeze=all,some",
    ],
)
def test_ranges_beyond_what_a_setting_accepts(text: str) -> None:
    name, allowed = parse_range(text)
    with pytest.raises(TagboxError) as raised:
        require_allowed(ClassifierConfig(), {name: allowed})
    assert raised.value.code == "search-range"
    assert raised.value.where == f"search.{name}"


@pytest.mark.parametrize(
    "allowed",
    [
        {"low": 1, "high": 2, "steps": 3},
        {"low": 1},
        {"choices": [1], "low": 1},
        {"low": 1, "high": 2, "log": "yes"},
        {"low": True, "high": 2},
        {"low": 1, "high": math.inf},
        {"choices": [[1, 2]]},
    ],
)
def test_what_a_recipe_may_not_say(allowed: dict[str, object]) -> None:
    with pytest.raises(TagboxError) as raised:
        read_ranges({"learning_rate": allowed}, [], [])
    assert raised.value.code == "search-range"


@pytest.mark.parametrize("name", [name for name in RECIPES if load_recipe(name).search])
def test_the_ranges_of_every_recipe_are_allowed(name: str) -> None:
    recipe = load_recipe(name)
    config = recipe.config()
    ranges = read_ranges(recipe.search, [], [], type(config))
    require_allowed(config, ranges)
    assert {name: allowed.to_dict() for name, allowed in ranges.items()} == recipe.search


def test_what_is_typed_comes_before_the_recipe_and_what_is_fixed_goes() -> None:
    search = {"dropout": {"low": 0.0, "high": 0.5}, "batch_size": {"choices": [32, 64]}}
    found = read_ranges(search, ["dropout=0.1..0.2", "hidden=64,128"], ["batch_size", "seed"])
    assert found == {"dropout": Range(low=0.1, high=0.2), "hidden": Range(choices=(64, 128))}
    for typed, fixed, code in (
        (["dropout=0.1..0.2"], ["dropout"], "search-fixed"),
        ([], ["dropout", "batch_size"], "search-empty"),
        ([], ["dropuot"], "config-field"),
    ):
        with pytest.raises(TagboxError) as raised:
            read_ranges(search, typed, fixed)
        assert raised.value.code == code


@pytest.mark.parametrize("config", [ClassifierConfig(), DetectorConfig()])
def test_settings_by_dotted_name(config: ClassifierConfig | DetectorConfig) -> None:
    for name, value in flat_settings(config).items():
        assert get_setting(config, name) == value
        assert with_settings(config, {name: value}) == config


def test_setting_changes_that_setting_alone() -> None:
    values = {"finetune.learning_rate": 0.125, "augment.mixup": 0.5, "hidden": 64}
    changed = flat_settings(with_settings(ClassifierConfig(), values))
    before = flat_settings(ClassifierConfig())
    assert {name: changed[name] for name in changed if changed[name] != before[name]} == values


@given(
    st.one_of(
        st.tuples(POSITIVE, POSITIVE, st.booleans()),
        st.tuples(st.integers(1, 1000), st.integers(1001, 2000), st.booleans()),
        st.lists(st.sampled_from([None, True, 3, 0.5, "a"]), min_size=1, unique_by=repr),
    ),
    st.integers(0, 2**32 - 1),
)
def test_what_is_drawn_is_in_the_range(ends: object, seed: int) -> None:
    if isinstance(ends, tuple):
        low, high = sorted(ends[:2])
        if low == high:
            return
        allowed = Range(low=low, high=high, log=ends[2])
    else:
        assert isinstance(ends, list)
        allowed = Range(choices=tuple(ends))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = allowed.suggest(study.ask(), "x")
    assert allowed.contains(value)
    if isinstance(ends, tuple):
        assert type(value) is type(ends[0])


def test_what_is_not_in_a_range() -> None:
    assert not Range(low=1, high=5).contains(6)
    assert not Range(low=1, high=5).contains("3")
    assert not Range(low=0, high=5).contains(True)
    assert not Range(choices=(1, 2)).contains(True)
    assert not Range(choices=("bce",)).contains("auto")
