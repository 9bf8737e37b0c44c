"""Keeping, renaming, merging categories, and samples of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tagbox import DataConfig, TagboxError
from tagbox.data import categories as coco80
from tagbox.data.load import load_dataset

Write = Callable[..., Path]


def test_kept_in_the_datasets_order(coco: Write) -> None:
    dataset = load_dataset(coco(), DataConfig(categories=("cat", "dog")))
    assert dataset.categories.names == ("dog", "cat")
    assert dataset.categories.ids.tolist() == [7, 4]
    assert len(dataset) == 3
    assert dataset.labels.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert dataset.source.annotation_positions.tolist() == [0, 2]


def test_grouped(coco: Write) -> None:
    dataset = load_dataset(coco(), DataConfig(group_by="supercategory"))
    assert dataset.categories.names == ("animal", "vehicle")
    assert dataset.labels.tolist() == [[1, 1], [1, 0], [0, 0]]


def test_cocos_own_groups_where_the_file_has_none(coco: Write) -> None:
    categories = [{"id": 7, "name": "dog"}, {"id": 2, "name": "car"}, {"id": 4, "name": "cat"}]
    dataset = load_dataset(coco(categories=categories), DataConfig(group_by="supercategory"))
    assert dataset.categories.names == ("animal", "vehicle")


def test_no_supercategories(coco: Write) -> None:
    path = coco(categories=[{"id": 7, "name": "a"}], annotations=[])
    with pytest.raises(TagboxError) as caught:
        load_dataset(path, DataConfig(group_by="supercategory"))
    assert caught.value.code == "no-supercategories"


def test_mapping_renames_merges_and_drops(coco: Write, tmp_path: Path) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text("dog: pet\ncat: pet\ncar: null\n")
    dataset = load_dataset(coco(), DataConfig(mapping=mapping))
    assert dataset.categories.names == ("pet",)
    assert dataset.categories.ids.tolist() == [7]
    assert dataset.labels[:, 0].tolist() == [1, 1, 0]
    # Each step speaks of the names the one before it made.
    kept = load_dataset(coco(), DataConfig(mapping=mapping, categories=("pet",)))
    assert kept.labels.tolist() == dataset.labels.tolist()


def test_merged_unknowns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("image,cat,dog\na.jpg,1,?\nb.jpg,?,0\nc.jpg,0,0\n")
    mapping = tmp_path / "map.yaml"
    mapping.write_text("cat: pet\ndog: pet\n")
    dataset = load_dataset(path, DataConfig(mapping=mapping))
    assert dataset.labels[:, 0].tolist() == [1, -1, 0]


MAPPINGS = [
    ("dgo: pet", "unknown-category", "dgo", "did you mean 'dog'"),
    ("zebra: pet", "unknown-category", "zebra", "the categories are dog, car, cat"),
    ("- dog", "mapping-file", None, ""),
    ("", "mapping-file", None, ""),
    ("dog: [pet]", "mapping-file", "dog", ""),
    ("1: pet", "mapping-file", "1", "quotes"),
    ("dog: {", "mapping-file", "line 1, column 7", ""),
]


@pytest.mark.parametrize(("text", "code", "where", "hint"), MAPPINGS)
def test_bad_mapping(
    coco: Write, tmp_path: Path, text: str, code: str, where: str | None, hint: str
) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(text)
    with pytest.raises(TagboxError) as caught:
        load_dataset(coco(), DataConfig(mapping=mapping))
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(mapping)
    assert hint in (caught.value.hint or "")


def test_unknown_category_flag(coco: Write) -> None:
    with pytest.raises(TagboxError, match="did you mean 'dog'") as caught:
        load_dataset(coco(), DataConfig(categories=("Dogs",)))
    assert caught.value.code == "unknown-category"


def test_crowd_can_be_left_out(coco: Write) -> None:
    assert load_dataset(coco()).labels[0].tolist() == [1, 1, 0]
    without = load_dataset(coco(), DataConfig(crowd_is_present=False))
    assert without.labels[0].tolist() == [1, 0, 0]
    # The setting survives what is done to the dataset afterwards.
    assert without.take([0]).labels[0].tolist() == [1, 0, 0]


def test_sample_is_seeded_stratified_and_not_the_first(shared_data: Path) -> None:
    path = shared_data / "coco-sample/annotations/instances_train2017.json"
    whole = load_dataset(path)
    sample = load_dataset(path, DataConfig(max_images=100))
    assert len(sample) == 100
    assert sample.images.ids.tolist() != whole.images.ids[:100].tolist()
    again = load_dataset(path, DataConfig(max_images=100))
    assert sample.images.ids.tolist() == again.images.ids.tolist()
    other = load_dataset(path, DataConfig(max_images=100, sample_seed=1))
    assert sample.images.ids.tolist() != other.images.ids.tolist()
    often = whole.labels.sum(0) >= 10
    share = sample.labels.sum(0)[often] / whole.labels.sum(0)[often]
    assert np.abs(share - 100 / 337).mean() < 0.05
    assert len(load_dataset(path, DataConfig(max_images=10_000))) == 337


def test_the_80_names(shared_data: Path) -> None:
    path = shared_data / "coco-sample/annotations/instances_val2017.json"
    assert load_dataset(path).categories.names == coco80.NAMES
    assert len(coco80.SUPERCATEGORIES) == 80
    assert dict(zip(coco80.NAMES, coco80.SUPERCATEGORIES, strict=True))["toaster"] == "appliance"
