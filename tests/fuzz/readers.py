"""Every reader of files from outside, with a valid file that mutants are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COCO = {
    "info": {"year": 2017},
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 16, "height": 12} for n in (1, 2, 3)],
    "categories": [{"id": 1, "name": "elk", "supercategory": "deer"}, {"id": 7, "name": "yak"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 2, 3.5, 4],
            "area": 14.0,
            "iscrowd": 0,
        },
        {"id": 2, "image_id": 2, "category_id": 7, "segmentation": [[1, 1, 5, 1, 5, 5.5]]},
        {
            "id": 3,
            "image_id": 3,
            "category_id": 1,
            "iscrowd": 1,
            "segmentation": {"size": [12, 16], "counts": [12, 20, 160]},
        },
        {
            "id": 4,
            "image_id": 3,
            "category_id": 7,
            "segmentation": {"size": [12, 16], "counts": "0P6"},
        },
    ],
}
RESULTS = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.75}] * 2
TEXT_IDS = {
    "images": [
        {"id": f"a{n}", "file_name": f"{n}.jpg", "width": 16, "height": 12} for n in (1, 2, 3)
    ],
    "categories": [{"id": "1", "name": "elk"}, {"id": "y", "name": "yak"}],
    "annotations": [
        {"id": "n1", "image_id": "a1", "category_id": "1", "bbox": [1, 2, 3.5, 4]},
        {"id": "2", "image_id": "a2", "category_id": "y", "bbox": [0, 0, 5, 5], "iscrowd": 0},
        {"id": "3", "image_id": "a3", "category_id": "1", "bbox": [2, 2, 4, 4]},
    ],
}
LABELME = {
    "version": "5.0.1",
    "flags": {"yak": True},
    "shapes": [
        {"label": "elk", "points": [[1, 2], [9, 8]], "shape_type": "rectangle", "flags": {}},
        {"label": "yak", "points": [[1, 2], [9, 8], [3, 7.5]], "shape_type": "polygon"},
    ],
    "imagePath": "1.jpg",
    "imageData": None,
    "imageHeight": 12,
    "imageWidth": 16,
}
PREDICTIONS = {
    "format": "tagbox-predictions",
    "version": 1,
    "categories": ["elk", "yak"],
    "images": [
        {"image": "1", "probabilities": [0.25, 0.75]},
        {"image": "2", "probabilities": [1, 0]},
    ],
}
SPLIT = {
    "version": 1,
    "parts": {"train": ["1", "2"], "val": ["3"]},
    "key": "stem",
    "seed": 0,
    "folds": False,
    "source": "labels.json",
    "images": ".",
}
DOWNLOADS = {
    "a.zip": {"url": "http://host/a.zip", "bytes": 3, "sha256": "0" * 64, "files": {"a": 2}},
}
VOC = """<annotation><folder>JPEGImages</folder><filename>1.jpg</filename>
<source><database>The VOC2007 Database</database></source>
<size><width>16</width><height>12</height><depth>3</depth></size>
<object><name>elk</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8.5</ymax></bndbox>
<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>
</object>
<object><name>yak</name><difficult>1</difficult>
<bndbox><ymin>1</ymin><xmin>1</xmin><ymax>12</ymax><xmax>16</xmax></bndbox></object></annotation>
"""
RECIPE = """about: A test.
expect: Nothing.
classifier:
  head: mlp
  dropout: 0.1
  finetune: {epochs: 3, unfreeze: all}
search:
  learning_rate: {low: 1.0e-4, high: 1e-2, log: true}
  loss: {choices: [bce, focal]}
"""
CONFIG = """data: &data {max_images: 100, categories: [elk, yak]}
classifier:
  epochs: 3
  learning_rate: 5e-4
  augment: {flip: no, rotate: 5}
"""


@dataclass(frozen=True)
class Reader:
    """A file in a folder of valid files, what reads it, and a command that does."""

    file: str
    read: Callable[[Path], object]
    command: str = ""


def write_valid_files(folder: Path) -> None:
    """The valid files of all readers."""
    for name in (
        "coco",
        "yolo/images",
        "cls/images",
        "labelme",
        "classes/elk",
        "classes/yak",
        "run",
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in (
        "detector",
        "downloads",
        "voc/JPEGImages",
        "voc/Annotations",
        "devkit/JPEGImages",
        "devkit/Annotations",
        "devkit/ImageSets/Main",
        "splits/images/train",
        "splits/images/val",
        "splits/labels/train",
        "splits/labels/val",
        "texts",
        "yolo/labels",
        "cls/labels",
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for place in (
        "coco",
        "yolo/images",
        "cls/images",
        "labelme",
        "classes/elk",
        "classes/yak",
        "voc/JPEGImages",
        "devkit/JPEGImages",
        "splits/images/train",
        "splits/images/val",
        "texts",
    ):
        for number in (1, 2, 3):
            pixels = rng.integers(0, 255, (12, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.jpg")
    texts: dict[str, Any] = {
        "coco/labels.json": COCO,
        "results.json": RESULTS,
        "labelme/1.json": LABELME,
        "predictions.json": PREDICTIONS,
        "split.json": SPLIT,
        "downloads/downloads.json": DOWNLOADS,
        "labels.json": {"1": [0, 1], "2": [], "3": [1]},
        "thresholds.json": {"per_category": {"elk": 0.25, "yak": 0.75}},
        "cuts.json": {"value": 0.5, "per_category": [0.25, 0.75]},
        "coco/table.csv": "image,elk,yak\n1.jpg,1,0\n2.jpg,0,?\n3.jpg,1,1\n",
        "coco/names.csv": "image,labels\n1.jpg,elk|yak\n2.jpg,yak\n3.jpg,\n",
        "coco/boxes.csv": "image,label,x,y,width,height\n1.jpg,elk,1,2,3,4\n2.jpg,yak,0,0,5.5,5\n",
        "predictions.csv": "image,elk,yak\n1,0.25,0.75\n2,1,0\n3,0.5,5e-1\n",
        "yolo/data.yaml": "path: .\ntrain: images\nnc: 2\nnames: {0: elk, 1: yak}\n",
        "yolo/labels/1.txt": "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.4 0.1 0.4 0.6\n",
        "yolo/labels/2.txt": "1 0.5 0.5 0.25 0.25\n",
        "cls/labels/1.cls": "0\n1\n",
        "cls/labels/2.cls": "1\n",
        "cls/labels/3.cls": "",
        "cls/classes.txt": "elk\nyak\n",
        "names.txt": "elk\nyak\n",
        "voc/Annotations/1.xml": VOC,
        "devkit/Annotations/1.xml": VOC,
        "devkit/Annotations/2.xml": VOC.replace("1.jpg", "2.jpg").replace("elk", "yak"),
        "devkit/ImageSets/Main/train.txt": "1\n",
        "devkit/ImageSets/Main/val.txt": "2\n",
        "texts/labels.json": TEXT_IDS,
        "splits/data.yaml": "path: .\ntrain: images/train\nval: val.txt\nnames: [elk, yak]\n",
        "splits/val.txt": "./images/val/1.jpg\nimages/val/2.jpg\nimages/val/3.jpg\n",
        "splits/labels/train/1.txt": "0 0.5 0.5 0.25 0.25\n",
        "splits/labels/val/2.txt": "1 0.5 0.5 0.25 0.25\n",
        "mapping.yaml": "elk: deer\nyak: null\n",
        "recipe.yaml": RECIPE,
        "config.yaml": CONFIG,
    }
    for name, content in texts.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    _write_bundles(folder)


def _write_bundles(folder: Path) -> None:
    from tagbox.data.dataset import Categories
    from tagbox.models.backbones import BackboneSpec
    from tagbox.models.bundle import ClassifierBundle, DetectorBundle, DetectorSpec
    from tagbox.models.ensembles import Ensemble, Member, save_ensemble
    from tagbox.predictions.thresholds import ScoreThresholds, Thresholds

    grey = (0.5, 0.5, 0.5)
    categories = Categories.from_names(["elk", "yak"])
    spec = BackboneSpec(
        name="efficientnet_lite0",
        source="packaged",
        size=64,
        mean=grey,
        std=grey,
        dim=8,
        weights="none",
        weights_sha256="0" * 64,
        mean_pooled=True,
    )
    head = {
        "mean": np.zeros(8),
        "scale": np.ones(8),
        "output.weight": np.zeros((2, 8)),
        "output.bias": np.zeros(2),
    }
    classifier = ClassifierBundle(
        backbones=((spec, {}),),
        head={name: value.astype(np.float32) for name, value in head.items()},
        head_kind="linear",
        categories=categories,
        geometry="squash",
        pooling="mean",
        thresholds=Thresholds(),
        base_rates=(0.25, 0.5),
    )
    classifier.save(folder / "run")
    members = tuple(Member(bundle=classifier, run=name, weight=0.5) for name in ("a", "b"))
    if not (folder / "both").exists():
        save_ensemble(Ensemble(members=members, thresholds=Thresholds()), folder / "both")
    detector = DetectorSpec(
        detector="dense",
        backbone="efficientnet_lite0",
        categories=2,
        size=64,
        fixed=False,
        multiple=32,
        mean=grey,
        std=grey,
        options={},
    )
    weights = {"a": np.zeros(3, np.float32)}
    DetectorBundle(
        spec=detector, weights=weights, cuts=ScoreThresholds(), categories=categories
    ).save(folder / "detector")


def _matching(description: str, run: Callable[[Path], object]) -> Callable[[Path], object]:
    """Give mutated weights the digest that the description names, so that they are read at all."""

    def read(path: Path) -> object:
        described = path.with_name(description)
        before = described.read_bytes()
        content = json.loads(before)
        content["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        described.write_text(json.dumps(content))
        try:
            return run(path.parent)
        finally:
            described.write_bytes(before)

    return read


def readers() -> dict[str, Reader]:
    """All readers by name; modules are imported here, for the time of a mutant is to be its reading."""
    from tagbox.checks.check import check_dataset
    from tagbox.cli.config_file import read_settings
    from tagbox.config import DataConfig, load_recipe
    from tagbox.data.categories import read_mapping
    from tagbox.data.download_record import MANIFEST, Manifest
    from tagbox.data.formats.common import read_names
    from tagbox.data.load import load_dataset
    from tagbox.data.recognise import recognise
    from tagbox.data.split import Split
    from tagbox.data.submission import read_submission
    from tagbox.images.decode import read_image
    from tagbox.inference.classifier import Classifier
    from tagbox.inference.detector import restore_detector
    from tagbox.models.bundle import ClassifierBundle, DetectorBundle
    from tagbox.models.ensembles import load_ensemble
    from tagbox.predictions.coco_results import read_results
    from tagbox.predictions.files import read_predictions
    from tagbox.predictions.thresholds import read_score_thresholds, read_thresholds

    names = ["elk", "yak"]

    def dataset(path: Path, **settings: Any) -> object:
        check_dataset(path, DataConfig(**settings))
        found = load_dataset(path, DataConfig(**settings))
        return found.labels.shape, found.annotations.boxes.shape

    def above(path: Path) -> object:
        return dataset(path.parent.parent)

    def both_splits(path: Path) -> object:
        return dataset(path, split="train"), dataset(path, split="val")

    return {
        "coco": Reader("coco/labels.json", dataset, "check {}"),
        "recognise": Reader("coco/labels.json", recognise, "split {} --out {out}"),
        "challenge": Reader("cls/labels/1.cls", above),
        "labels": Reader(
            "labels.json", lambda p: load_dataset(p, DataConfig(names=p.with_name("names.txt")))
        ),
        "csv": Reader("coco/table.csv", dataset, "check {}"),
        "csv names": Reader("coco/names.csv", dataset),
        "csv boxes": Reader("coco/boxes.csv", dataset),
        "yolo": Reader("yolo/labels/1.txt", above),
        "data.yaml": Reader("yolo/data.yaml", dataset, "check {}"),
        "labelme": Reader("labelme/1.json", lambda p: dataset(p.parent)),
        "class folders": Reader("classes/elk/1.jpg", above),
        "voc": Reader("voc/Annotations/1.xml", above, "check {folder}/voc"),
        "voc list": Reader(
            "devkit/ImageSets/Main/val.txt",
            lambda p: both_splits(p.parents[2]),
            "check {folder}/devkit",
        ),
        "coco texts": Reader("texts/labels.json", dataset, "split {} --out {out}"),
        "yolo splits": Reader("splits/data.yaml", both_splits, "check {}"),
        "yolo list": Reader("splits/val.txt", lambda p: both_splits(p.with_name("data.yaml"))),
        "image": Reader("coco/1.jpg", read_image),
        "submission": Reader(
            "labels.json", lambda p: read_submission(p, 2), "evaluate {} {folder}/coco/labels.json"
        ),
        "results": Reader(
            "results.json",
            lambda p: read_results(p, load_dataset(p.with_name("coco") / "labels.json")),
            "evaluate {} {folder}/coco/labels.json",
        ),
        "prediction csv": Reader("predictions.csv", lambda p: read_predictions(p, names)),
        "prediction json": Reader("predictions.json", lambda p: read_predictions(p, names)),
        "thresholds": Reader("thresholds.json", lambda p: read_thresholds(p, names)),
        "score thresholds": Reader("cuts.json", lambda p: read_score_thresholds(p, names)),
        "names": Reader("names.txt", read_names),
        "split": Reader(
            "split.json", Split.load, "split {folder}/coco/labels.json --split {} --out {out}"
        ),
        "mapping": Reader(
            "mapping.yaml", read_mapping, "split {folder}/coco/labels.json --mapping {} --out {out}"
        ),
        "recipe": Reader("recipe.yaml", load_recipe, "recipes {}"),
        "config": Reader("config.yaml", read_settings),
        "downloads": Reader(
            "downloads/downloads.json", lambda p: Manifest(p.parent / MANIFEST).entries
        ),
        "classifier": Reader("run/model.json", lambda p: Classifier.load(p.parent)),
        "classifier weights": Reader(
            "run/model.safetensors", _matching("model.json", ClassifierBundle.load)
        ),
        "detector": Reader(
            "detector/model.json", lambda p: restore_detector(DetectorBundle.load(p.parent))
        ),
        "detector weights": Reader(
            "detector/model.safetensors", _matching("model.json", DetectorBundle.load)
        ),
        "ensemble": Reader("both/ensemble.json", lambda p: load_ensemble(p.parent)),
    }
