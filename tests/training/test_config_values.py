"""Settings are validated by type, literal and range when they are made, whoever makes them."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagbox.config
from tagbox.config import (
    AugmentConfig,
    ClassifierConfig,
    ClassifierTuneOptions,
    Config,
    DataConfig,
    DetectorConfig,
    EnsembleConfig,
    FinetuneConfig,
    ScoreSettings,
    SynthConfig,
)
from tagbox.errors import TagboxError

KINDS: list[type[Any]] = [
    *(ClassifierConfig, DetectorConfig, FinetuneConfig, AugmentConfig, DataConfig),
    *(EnsembleConfig, ScoreSettings, SynthConfig, tagbox.config.BoxAugmentConfig),
]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (ClassifierConfig, "head", "x"),
        (ClassifierConfig, "engine", "x"),
        (ClassifierConfig, "engine", ["auto"]),
        (ClassifierConfig, "epochs", 2.5),
        (ClassifierConfig, "epochs", "2"),
        (ClassifierConfig, "epochs", True),
        (ClassifierConfig, "seed", -1),
        (ClassifierConfig, "seed", 2**32),
        (ClassifierConfig, "dropout", math.nan),
        (ClassifierConfig, "learning_rate", math.inf),
        (ClassifierConfig, "learning_rate", 10**400),
        (ClassifierConfig, "val", 3),
        (ClassifierConfig, "mirror", 1),
        (ClassifierConfig, "finetune", None),
        (ClassifierConfig, "backbone", None),
        (DetectorConfig, "size", "320"),
        (DetectorConfig, "seed", -1),
        (DetectorConfig, "workers", 1.5),
        (DetectorConfig, "augment", AugmentConfig()),
        (FinetuneConfig, "clip", math.nan),
        (DataConfig, "categories", "dog"),
        (DataConfig, "categories", ["dog", 3]),
        (DataConfig, "sample_seed", -3),
        (DataConfig, "mapping", b"x"),
        (EnsembleConfig, "scales", [320, "448"]),
        (ScoreSettings, "thresholds", [0.5]),
        (ScoreSettings, "top_k", 0),
    ],
)
def test_values_that_are_refused(kind: type[Any], field: str, value: Any) -> None:
    with pytest.raises(TagboxError) as caught:
        kind(**{field: value})
    assert (caught.value.code, caught.value.where) == ("config-value", field)


def test_values_that_stand_for_another() -> None:
    config = ClassifierConfig(val="photos", epochs=np.int64(3), dropout=0, seed=2.0)  # type: ignore[arg-type]
    assert (config.val, config.epochs, config.dropout, config.seed) == (Path("photos"), 3, 0.0, 2)
    assert [type(v) for v in (config.epochs, config.dropout, config.seed)] == [int, float, int]
    assert DataConfig(categories=["dog"]).categories == ("dog",)  # type: ignore[arg-type]
    assert ScoreSettings(thresholds="cuts.json").thresholds == Path("cuts.json")  # type: ignore[arg-type]
    assert ClassifierConfig(finetune={"epochs": 3}).finetune == FinetuneConfig(epochs=3)  # type: ignore[arg-type]


def test_the_field_of_a_group_is_named() -> None:
    with pytest.raises(TagboxError) as caught:
        ClassifierConfig.from_dict({"finetune": {"epochs": "a"}}, file=Path("c.yaml"))
    assert (caught.value.where, caught.value.file) == ("finetune.epochs", "c.yaml")


def test_the_metric_of_a_search_is_one_of_its_task() -> None:
    with pytest.raises(TagboxError):
        ClassifierTuneOptions(name="x", metric="ap")  # type: ignore[arg-type]
    with pytest.raises(TagboxError):
        ClassifierTuneOptions(name="x", trials=0)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_no_value_is_another_error(kind: type[Any], data: st.DataObject) -> None:
    """Any value of any field is taken as the field's type or refused; what is taken survives its file."""
    field = data.draw(st.sampled_from([f.name for f in fields(kind)]))
    odd = st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
        *(st.lists(st.integers() | st.text()), st.dictionaries(st.text(), st.integers())),
        *(st.just(kind), st.just(kind()), st.complex_numbers(), st.just(np.ones(2))),
    )
    try:
        made = kind(**{field: data.draw(odd)})
    except TagboxError as error:
        assert error.code in ("config-value", "config-field") and error.where
        return
    assert isinstance(made, Config) and kind.from_dict(made.to_dict()) == made
