"""What two sides of a split must not share, and what both must have."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from checks_data import Coco, noise
from PIL import Image

from tagbox.checks.check import check_datasets
from tagbox.data.load import load_dataset
from tagbox.data.split import Split

Write = Callable[..., Path]


def other_names(coco: Coco) -> Coco:
    """The same records under names that the first side does not use."""
    other = copy.deepcopy(coco)
    for image, stem in zip(other["images"], "xyz", strict=True):
        image["file_name"] = f"{stem}.jpg"
    return other


def two_sides(sound: Coco, write_coco: Write) -> tuple[Path, Path, Coco]:
    train = write_coco(sound, "train.json", seed=0)
    other = other_names(sound)
    val = write_coco(other, "val.json", seed=10)
    for old, new in zip("abc", "xyz", strict=True):
        val.with_name(f"{old}.jpg").rename(val.with_name(f"{new}.jpg"))
    return train, val, other


def found(*paths: Path, pictures: bool = True) -> list[tuple[str, str, str | None]]:
    report = check_datasets(list(paths), pictures=pictures)
    return [(f.code, Path(f.file).name, f.where) for f in report.findings.kept]


def test_sound_sides(sound: Coco, write_coco: Write) -> None:
    train, val, _ = two_sides(sound, write_coco)
    assert found(train, val) == []


def test_a_leaked_picture_whatever_its_name(sound: Coco, write_coco: Write) -> None:
    train, val, _ = two_sides(sound, write_coco)
    shutil.copy(train.with_name("b.jpg"), val.with_name("z.jpg"))
    assert found(train, val) == [("split-same-picture", "z.jpg", "image id 3")]


def test_a_leaked_picture_in_another_size_and_quality(sound: Coco, write_coco: Write) -> None:
    train, val, _ = two_sides(sound, write_coco)
    Image.fromarray(noise(1)).save(val.with_name("z.jpg"), quality=30)
    assert found(train, val) == [("split-near-picture", "z.jpg", "image id 3")]


def test_the_same_name_of_different_pictures(sound: Coco, write_coco: Write) -> None:
    train = write_coco(sound, "train.json", seed=0)
    val = write_coco(sound, "val.json", seed=10)
    assert [f[0] for f in found(train, val)] == ["split-same-name"] * 3


def test_a_category_that_one_side_lacks(sound: Coco, write_coco: Write) -> None:
    train, val, other = two_sides(sound, write_coco)
    del other["annotations"][1]
    val = write_coco(other, "val.json")
    findings = found(train, val, pictures=False)
    # the side lacks it; in that side alone it is unused, and its image has nothing in it
    assert ("split-category-missing", "val.json", "category 'dog'") in findings
    assert ("category-unused", "val.json", "category id 2") in findings


def test_categories_that_differ(sound: Coco, write_coco: Write) -> None:
    train, val, other = two_sides(sound, write_coco)
    other["categories"][1]["name"] = "wolf"
    val = write_coco(other, "val.json")
    findings = found(train, val, pictures=False)
    assert [f for f in findings if f[0] == "split-category-unknown"] == [
        ("split-category-unknown", "train.json", "category 'wolf'"),
        ("split-category-unknown", "val.json", "category 'dog'"),
    ]


def test_parts_of_a_saved_split(sound: Coco, write_coco: Write, tmp_path: Path) -> None:
    path = write_coco(sound)
    shutil.copy(path.with_name("a.jpg"), path.with_name("c.jpg"))
    split = Split.of(load_dataset(path), {"train": np.array([0, 1]), "val": np.array([2])}, seed=0)
    split.save(tmp_path / "split.json")
    report = check_datasets([path], split=tmp_path / "split.json")
    assert dict(report.findings.counts) == {
        "duplicate-picture": 1,
        "split-same-picture": 1,
        "split-category-missing": 1,
    }
