"""Command lines that cannot be read, and names that there are not: one sentence with the nearest names."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox.cli.usage_errors import OTHER_NAMES

Typed = Callable[..., tuple[int, str, str]]
CLASSIFIER, DETECTOR = ("train", "classifier", "DATA"), ("train", "detector", "DATA")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((*CLASSIFIER, "--lr", "0.1"), "--lr: that is another tool's name for it; here it is --learning-rate"),
        ((*CLASSIFIER, "--batch", "8"), "here it is --batch-size"),
        ((*CLASSIFIER, "--imgsz", "384"), "--backbone: NAME@SIZE"),
        ((*CLASSIFIER, "--workers", "2"), "here it is --finetune.workers"),
        ((*DETECTOR, "--imgsz=640"), "here it is --size"),
        ((*DETECTOR, "--img", "640", "--epochs", "3"), "here it is --size"),
        ((*DETECTOR, "--project", "out"), "here it is --runs"),
        ((*DETECTOR, "--pretrained", "none"), "here it is --weights"),
        ((*DETECTOR, "--num_workers", "2"), "here it is --workers"),
        ((*DETECTOR, "--conf", "0.3"), "score thresholds are tuned in training"),
        (("train", "detector", "--data", "coco.yaml"), "tagbox train detector DATA"),
        (("train", "detector", "--data=coco.yaml"), "tagbox train detector DATA"),
        (("predict", "RUN", "x.jpg", "--conf", "0.3"), "--score for a detector's boxes, --threshold for labels"),
        (("predict", "RUN", "x.jpg", "--iou", "0.5"), "leave it out"),
        (("predict", "RUN", "x.jpg", "--batch-size", "4"), "leave it out"),
        (("predict", "--weights=best.pt", "--source=x.jpg"), "tagbox predict RUN IMAGES"),
        (("evaluate", "--weights", "best.pt", "--data", "d"), "tagbox evaluate RUN DATA"),
        (("evaluate", "RUN", "DATA", "--conf", "0.3"), "here it is --thresholds"),
        (("show", "DATA", "--classes", "dog"), "here it is --categories"),
        (("tune", "detector", "DATA", "--lr0", "0.1"), "here it is --learning-rate"),
    ],
)  # fmt: skip
def test_a_name_of_other_tools_is_answered_with_ours(
    typed: Typed, words: tuple[str, ...], answer: str
) -> None:
    code, out, err = typed(*words)
    assert (code, out) == (2, "")
    assert err.startswith("tagbox: error [option-unknown]: ")
    assert answer in err
    assert err.count("\n") == 1


def test_options_that_there_are_are_not_taken_for_another_tools_name(typed: Typed) -> None:
    code, _, err = typed(*DETECTOR, "--batch-size", "8", "--weights", "none", "--device", "tpu")
    assert code == 2
    assert "another tool" not in err
    assert "Invalid value" in err


def test_the_answers_name_options_or_are_sentences() -> None:
    for name, answers in OTHER_NAMES.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert answers


@pytest.mark.parametrize(
    ("words", "found", "hint"),
    [
        ((*CLASSIFIER, "--learnig-rate", "1"), "--learnig-rate", "did you mean --learning-rate"),
        (("check", "DATA", "--no-picture"), "--no-picture", "did you mean --no-pictures"),
        (("check", "DATA", "--qqqq"), "--qqqq", "see: tagbox check --help"),
        ((*CLASSIFIER, "--best-by", "mpa"), '"mpa"', 'did you mean "map"'),
        ((*DETECTOR, "--best-by", "ap_50"), '"ap_50"', 'did you mean "ap50"'),
        ((*DETECTOR, "--device", "0"), "'0'", "did you mean cuda"),
        (CLASSIFIER[:2], "DATA is missing", "see: tagbox train classifier --help"),
        (("predict",), "RUN is missing", "see: tagbox predict --help"),
        (("split", "DATA"), "--out is missing", "see: tagbox split --help"),
        ((*CLASSIFIER, "--epochs"), "--epochs needs a value", "--help"),
        ((*CLASSIFIER, "my", "photos"), "no place for 'my' and 1 more", "quotes"),
        (("predcit",), '"predcit"', 'did you mean "predict"'),
    ],
)
def test_misuse_is_one_sentence(
    typed: Typed, words: tuple[str, ...], found: str, hint: str
) -> None:
    code, out, err = typed(*words)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"tagbox: error \[[a-z-]+\]: .+\.\n", err)
    assert found in err
    assert hint in err


@pytest.mark.parametrize(
    ("words", "code", "near"),
    [
        ((*CLASSIFIER, "--backbone", "resnet5"), "backbone-unknown", "resnet50"),
        ((*CLASSIFIER, "--backbone", "efficientnet_lite9@448"), "backbone-unknown", "efficientnet_lite"),
        ((*CLASSIFIER, "--backbone", "efficientnet_lite0+convnxt_tiny"), "backbone-unknown", "convnext_tiny"),
        ((*CLASSIFIER, "--backbone", "resnet18.a1_in1"), "backbone-unknown", "resnet18.a1_in1k"),
        ((*DETECTOR, "--backbone", "mobilenet_v4"), "backbone-unknown", "mobilenet_v"),
        ((*DETECTOR, "--detector", "faster_rcnn"), "detector-unknown", "fasterrcnn"),
        ((*CLASSIFIER, "--recipe", "chalenge"), "recipe-unknown", "did you mean challenge"),
    ],
)  # fmt: skip
def test_a_misspelt_model_is_answered_before_anything_is_read_or_imported(
    typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    code: str,
    near: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for library in ("timm", "torchvision"):
        monkeypatch.delitem(sys.modules, library, raising=False)
    exit_code, _, err = typed(*words, "--name", "run")
    assert exit_code == 1
    assert f"[{code}]" in err
    assert near in err
    assert "DATA" not in err  # The dataset, which does not exist, was not looked for.
    assert not {"timm", "torchvision"} & set(sys.modules)
    assert list(tmp_path.iterdir()) == []


def test_all_names_of_the_libraries_are_known() -> None:
    timm = pytest.importorskip("timm", reason="needs the train extra")
    torchvision = pytest.importorskip("torchvision", reason="needs the train extra")
    from tagbox.models.backbones.names import library_names, require_backbone, weight_tags

    assert library_names("timm") == set(timm.list_models())
    models = torchvision.models
    assert library_names("torchvision") == set(models.list_models(module=models))
    published = timm.list_models(pretrained=True)
    for name in published:
        assert require_backbone(f"timm/{name}") == ("timm", name)
    assert {f"resnet18.{tag}" for tag in weight_tags()["resnet18"]} <= set(published)


def dataset(folder: Path) -> Path:
    """Two images, each with one of the categories a and b, and a third category."""
    path = folder / "data.json"
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in (1, 2)]
    boxes = [
        {"id": n, "image_id": n, "category_id": n, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
        for n in (1, 2)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(("a", "b", "two words"), 1)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ((), ("--categories", "a", "b"), ["a", "b"]),
        ((), ("--categories", "a", "--categories", "b"), ["a", "b"]),
        (("--categories", "b", "two words", "--no-pictures"), (), ["b", "two words"]),
        (("--categories", "a"), (), ["a"]),
        (("--categories=a",), (), ["a"]),
    ],
)
def test_several_categories_follow_the_option(
    typed: Typed, tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...], kept: list[str]
) -> None:
    path = dataset(tmp_path)
    code, out, err = typed("check", *before, path, *after, "--limit", "5", "--json")
    assert code in (0, 1), err
    (found,) = json.loads(out)["datasets"]
    assert [category["name"] for category in found["statistics"]["categories"]] == kept
