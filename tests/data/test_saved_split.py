"""A saved split gives the same parts again, wherever the pictures lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tagbox import TagboxError
from tagbox.data.dataset import Dataset
from tagbox.data.load import load_dataset
from tagbox.data.split import Split, stratified_folds, stratified_split


@pytest.fixture
def dataset(coco: Callable[..., Path]) -> Dataset:
    return load_dataset(coco())


def rows(*numbers: int) -> Any:
    return np.array(numbers, np.intp)


def test_saved_and_loaded(dataset: Dataset, tmp_path: Path) -> None:
    split = Split.of(dataset, {"train": rows(0, 2), "val": rows(1)}, seed=7)
    assert split.parts == {"train": ("a", "c"), "val": ("b",)}
    split.save(tmp_path / "split.json")
    again = Split.load(tmp_path / "split.json")
    assert again == split
    parts = again.apply(dataset)
    assert parts["train"].images.ids.tolist() == [5, 9]
    assert parts["val"].images.ids.tolist() == [3]


def test_holds_for_the_images_in_another_order(dataset: Dataset) -> None:
    split = Split.of(dataset, {"train": rows(0, 2), "val": rows(1)}, seed=7)
    turned = dataset.take([2, 1, 0])
    assert split.apply(turned)["train"].images.ids.tolist() == [9, 5]


def test_folds(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "coco-sample/annotations/instances_val2017.json")
    drawn = stratified_folds(dataset.labels, 3, seed=1)
    parts = {f"fold{k}": held for k, (_, held) in enumerate(drawn, 1)}
    applied = Split.of(dataset, parts, seed=1, folds=True).apply(dataset)
    assert list(applied) == [f"fold{k}-{side}" for k in (1, 2, 3) for side in ("train", "val")]
    for k, (kept, held) in enumerate(drawn, 1):
        assert applied[f"fold{k}-train"].images.ids.tolist() == dataset.images.ids[kept].tolist()
        assert applied[f"fold{k}-val"].images.ids.tolist() == dataset.images.ids[held].tolist()


def test_keys_are_ids_where_stems_meet(coco: Callable[..., Path]) -> None:
    images = [{"id": 1, "file_name": "a/x.jpg"}, {"id": 2, "file_name": "b/x.jpg"}]
    dataset = load_dataset(coco(images=images, annotations=[]))
    split = Split.of(dataset, {"train": rows(0), "val": rows(1)}, seed=0)
    assert (split.key, split.parts) == ("id", {"train": ("1",), "val": ("2",)})
    other = replace(dataset, source=replace(dataset.source, format="csv"))
    assert Split.of(other, {"train": rows(0)}, seed=0).parts == {"train": ("a/x.jpg",)}


def test_missing_and_extra_images_are_named(dataset: Dataset) -> None:
    split = Split.of(dataset, {"train": rows(0), "val": rows(1)}, seed=0)
    with pytest.raises(TagboxError, match=r"holds 1 images that the split does not name: c"):
        split.rows(dataset)
    with pytest.raises(TagboxError, match=r"lacks 1 images that the split names: b") as caught:
        split.rows(dataset.take([0]))
    assert caught.value.code == "split-images"
    # An unlabelled image is none that a split should name.
    images = replace(dataset.images, labelled=np.array([True, True, False]))
    assert split.rows(replace(dataset, images=images))["val"].tolist() == [1]


SOUND = {"version": 1, "parts": {"train": ["a"], "val": ["b"]}, "key": "stem", "seed": 0}
FAULTS = [
    ({"version": 2}, "split-file", None),
    ({"parts": {"train": ["a"], "val": ["a"]}}, "split-file", None),
    ({"parts": {"train": [1]}}, "split-file", "parts[...][0]"),
    ({"key": "name"}, "split-file", "key"),
    ({"seed": None}, "split-file", "seed"),
]


@pytest.mark.parametrize(("fields", "code", "where"), FAULTS)
def test_bad_file(tmp_path: Path, fields: dict[str, Any], code: str, where: str | None) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(SOUND | fields))
    with pytest.raises(TagboxError) as caught:
        Split.load(path)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(path)


def test_bad_json_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    with pytest.raises(TagboxError) as caught:
        Split.load(path)
    assert caught.value.code == "file-missing"
    path.write_text('{"version": 1,\n}')
    with pytest.raises(TagboxError) as caught:
        Split.load(path)
    assert (caught.value.code, caught.value.where) == ("json-syntax", "line 2, column 1")


def test_same_seed_same_split(shared_data: Path) -> None:
    labels = load_dataset(shared_data / "coco-sample/annotations/instances_val2017.json").labels
    first, second = (stratified_split(labels, 0.1, seed=5)[1].tolist() for _ in range(2))
    assert first == second
