"""What training says of its data before the first step, and that it says nothing of sound data."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tagbox.checks.check import check_dataset
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.data.load import load_dataset
from tagbox.data.training_boxes import training_boxes
from tagbox.errors import TagboxError
from tagbox.training.train_val import load_train_val

BOX = {"bbox": [4, 4, 8, 8], "area": 64, "iscrowd": 0}


class Heard:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def bar(self, description: str, total: int, unit: str) -> Any:
        return nullcontext(lambda count=1: None)


def coco(
    folder: Path,
    name: str,
    labels: list[list[str]],
    *,
    size: tuple[int, int] = (40, 30),
    names: tuple[str, ...] = ("cat", "dog"),
    **annotation: Any,
) -> Path:
    """A COCO file of pictures of 40×30, whose records say `size`, with a box of each label."""
    images, annotations = [], []
    for number, present in enumerate(labels, 1):
        Image.new("RGB", (40, 30), (number, len(name), ord(name[0]))).save(
            folder / f"{name}{number}.png"
        )
        record = {"id": number, "file_name": f"{name}{number}.png"}
        images.append(record | {"width": size[0], "height": size[1]})
        annotations += [
            {**BOX, **annotation, "id": len(annotations) + k, "image_id": number}
            | {"category_id": names.index(label) + 1}
            for k, label in enumerate(present, 1)
        ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def warned(
    train: Path,
    val: Path | None = None,
    kind: type[ClassifierConfig | DetectorConfig] = ClassifierConfig,
) -> list[str]:
    heard = Heard()
    config = kind(val=val)
    if val is None and isinstance(config, ClassifierConfig):
        config = replace(config, folds=0)
    load_train_val(train, config, DataConfig(), heard)
    return [line for line in heard.lines if "warning" in line]


MIXED = [["cat"], ["dog"], ["cat", "dog"], []]


def test_sound_data_is_not_warned_of(tmp_path: Path) -> None:
    train, val = coco(tmp_path, "train", MIXED * 10), coco(tmp_path, "val", MIXED)
    for kind in (ClassifierConfig, DetectorConfig):
        assert warned(train, val, kind) == warned(train, None, kind) == []


def test_one_category_everywhere(tmp_path: Path) -> None:
    val = coco(tmp_path, "val", MIXED)
    everywhere = coco(tmp_path, "train", [["cat"], ["cat", "dog"]] * 3)
    (said,) = warned(everywhere, val)
    assert "every training image has 'cat'" in said and "add images without it" in said
    # Boxes show a detector where it is not.
    assert warned(everywhere, val, DetectorConfig) == []


def test_a_category_that_one_side_lacks(tmp_path: Path) -> None:
    cats, both = coco(tmp_path, "cats", [["cat"], []] * 3), coco(tmp_path, "both", MIXED)
    (said,) = warned(cats, both, DetectorConfig)
    assert "no training image has 'dog'" in said
    (said,) = warned(both, cats)
    assert "no validation image has 'dog'" in said and "split again" in said


def test_a_drawn_validation_part_without_any_positive(tmp_path: Path) -> None:
    """One positive of twelve cannot be on both sides; a rare one of many categories is no reason for a word."""
    labels: list[list[str]] = [[] for _ in range(12)]
    labels[4] = ["cat"]
    said = warned(coco(tmp_path, "one", labels, names=("cat",)))
    assert len(said) == 1 and "image has 'cat'" in said[0]
    many = tuple("abcdef")
    labels = [[*many[:5]] if number % 2 else [] for number in range(40)]
    labels[7] = [*many]
    assert warned(coco(tmp_path, "rare", labels, names=many)) == []


@pytest.mark.parametrize(
    ("size", "words"), [((80, 60), "boxes are scaled"), ((40, 31), None), ((50, 30), "contradicts")]
)
def test_sizes_of_a_classifier(tmp_path: Path, size: tuple[int, int], words: str | None) -> None:
    train, val = coco(tmp_path, "train", MIXED * 3, size=size), coco(tmp_path, "val", MIXED)
    said = warned(train, val)
    assert len(said) == 1 and (words or "scaled") in said[0]


def test_only_crowds_are_called_so(tmp_path: Path) -> None:
    train = coco(tmp_path, "train", MIXED, iscrowd=1)
    with pytest.raises(TagboxError, match=r"all of its 4 boxes are of crowd regions") as refused:
        training_boxes(load_dataset(train))
    (finding,) = [f for f in check_dataset(train) if f.code == "only-crowds"]
    assert finding.hint == refused.value.hint and "iscrowd" in finding.hint
    one = json.loads(train.read_text())
    one["annotations"][0]["iscrowd"] = 0
    train.write_text(json.dumps(one))
    assert "only-crowds" not in {f.code for f in check_dataset(train)}
    training_boxes(load_dataset(train))


def test_boxes_that_leave_their_picture_are_counted(tmp_path: Path) -> None:
    train = coco(tmp_path, "train", MIXED, bbox=[30, 20, 20, 8])
    assert training_boxes(load_dataset(train)).notes[0] == (
        "4 boxes leave their picture and are clipped to it"
    )
    near = coco(tmp_path, "near", MIXED, bbox=[30, 20, 10.6, 8])
    assert training_boxes(load_dataset(near)).clipped == 0


def test_the_sample_of_real_images_is_not_warned_of(shared_data: Path) -> None:
    folder = shared_data / "coco-sample" / "annotations"
    train, val = folder / "instances_train2017.json", folder / "instances_val2017.json"
    for kind in (ClassifierConfig, DetectorConfig):
        assert warned(train, val, kind) == warned(train, None, kind) == []
    assert training_boxes(load_dataset(train)).clipped == 0


def test_categories_of_almost_the_same_name(tmp_path: Path) -> None:
    """The hints lead out."""
    both = coco(tmp_path, "both", [["cat"], ["Cat"], ["dog"], []] * 4, names=("cat", "Cat", "dog"))
    assert "'cat' and 'Cat'; merge them with --mapping" in warned(both)[0]
    assert "category-names-alike" in {finding.code for finding in check_dataset(both)}
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"Cat": "cat"}')
    merged = load_train_val(both, ClassifierConfig(), DataConfig(mapping=mapping), Heard())
    assert merged.train.categories.names == ("cat", "dog")
    val = coco(tmp_path, "val", [["Cat"], ["dog"], []], names=("Cat", "dog"))
    train = coco(tmp_path, "train", MIXED * 3)
    said = "such as 'Cat', which the other spells 'cat'; rename them in one of the two, or select"
    with pytest.raises(TagboxError, match=said):
        warned(train, val)
    chosen = DataConfig(categories=["dog"])
    loaded = load_train_val(train, ClassifierConfig(val=val), chosen, Heard())
    assert loaded.validation.categories.names == ("dog",)
