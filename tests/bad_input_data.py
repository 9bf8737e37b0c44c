"""Builders of sound input that a case of `test_bad_input` then breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Build = Callable[[Path], object]

# Not names of COCO, which some commands know more about than the file says.
COCO: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "c.jpg", "width": 40, "height": 30},
        {"id": 4, "file_name": "d.jpg", "width": 40, "height": 30},
    ],
    "categories": [
        {"id": 1, "name": "elk"},
        {"id": 2, "name": "yak"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10]},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 40, 30]},
        {"id": 3, "image_id": 3, "category_id": 1, "bbox": [5, 5, 5, 5]},
        {"id": 4, "image_id": 4, "category_id": 2, "bbox": [5, 5, 5, 5]},
    ],
}


def pictures(folder: Path, stems: str = "abcd") -> None:
    """Small JPEGs of noise, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        pixels = np.random.default_rng(ord(stem)).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{stem}.jpg")


def write(name: str, content: str | bytes) -> Build:
    """A file of that content."""

    def build(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def coco(spoil: Callable[[dict[str, Any]], object] = lambda content: None) -> Build:
    """A COCO dataset, its records spoilt."""

    def build(folder: Path) -> None:
        pictures(folder / "images")
        content = copy.deepcopy(COCO)
        spoil(content)
        (folder / "labels.json").write_text(json.dumps(content))

    return build


def coco_text(change: Callable[[str], str | bytes]) -> Build:
    """A COCO dataset, one record a line, its text spoilt."""

    def build(folder: Path) -> None:
        pictures(folder / "images")
        lines = ",\n".join(
            f'"{section}": [\n' + ",\n".join(json.dumps(record) for record in records) + "\n]"
            for section, records in COCO.items()
        )
        changed = change("{\n" + lines + "\n}\n")
        content = changed.encode() if isinstance(changed, str) else changed
        (folder / "labels.json").write_bytes(content)

    return build


def field(section: str, position: int, **values: Any) -> Build:
    """A COCO dataset with other values in one record."""
    return coco(lambda content: content[section][position].update(values))


def without(section: str, position: int, name: str) -> Build:
    """A COCO dataset with one record lacking a field."""
    return coco(lambda content: content[section][position].pop(name))


def challenge(**files: str | bytes) -> Build:
    """A challenge folder of two categories; `files` replace or add label files by stem."""

    def build(folder: Path) -> None:
        pictures(folder / "data" / "images" / "train")
        write("data/classes.txt", "elk\nyak\n")(folder)
        for stem, content in {"a": "0\n", "b": "1\n", "c": "0\n", "d": "1\n", **files}.items():
            write(f"data/labels/train/{stem}.cls", content)(folder)

    return build


def table(content: str | bytes) -> Build:
    """A CSV beside its pictures."""

    def build(folder: Path) -> None:
        pictures(folder)
        write("labels.csv", content)(folder)

    return build


def yolo(names: str = "names: [elk, yak]\n", **files: str) -> Build:
    """A YOLO folder of two categories; `files` replace or add label files by stem."""

    def build(folder: Path) -> None:
        pictures(folder / "data" / "images")
        write("data/data.yaml", names)(folder)
        line = "{} 0.5 0.5 0.2 0.2\n"
        labels = {
            "a": line.format(0),
            "b": line.format(1),
            "c": line.format(0),
            "d": line.format(1),
        }
        for stem, content in {**labels, **files}.items():
            write(f"data/labels/{stem}.txt", content)(folder)

    return build


def labelme(**files: str) -> Build:
    """A folder of labelme files; `files` replace or add some by stem."""

    def build(folder: Path) -> None:
        pictures(folder / "data")
        record = (
            '{{"shapes": [{{"label": "elk", "points": [[1, 1], [9, 9]]}}], "imagePath": "{}.jpg"}}'
        )
        for stem in "abcd":
            write(f"data/{stem}.json", files.get(stem, record.format(stem)))(folder)

    return build


def both(*builds: Build) -> Build:
    """Several builders, one after the other."""

    def build(folder: Path) -> None:
        for one in builds:
            one(folder)

    return build


def picture(name: str, change: Callable[[bytes], bytes]) -> Build:
    """A COCO dataset with one picture's bytes changed."""

    def build(folder: Path) -> None:
        coco()(folder)
        path = folder / "images" / name
        path.write_bytes(change(path.read_bytes()))

    return build


def run(spoil: Callable[[Path], object] = lambda folder: None, *, categories: int = 2) -> Build:
    """A COCO dataset and the folder `run` of a finished run, its bundle spoilt.

    The backbone has no weights: whatever is wrong must be said before anything is computed.
    """

    def build(folder: Path) -> None:
        from tagbox.data.dataset import Categories
        from tagbox.models.backbones import BackboneSpec
        from tagbox.models.bundle import ClassifierBundle
        from tagbox.predictions.thresholds import Thresholds

        coco()(folder)
        spec = BackboneSpec(
            name="efficientnet_lite0",
            source="packaged",
            size=224,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            dim=8,
            weights="none",
            weights_sha256="0" * 64,
            mean_pooled=True,
        )
        head = {
            "mean": np.zeros(8, np.float32),
            "scale": np.ones(8, np.float32),
            "output.weight": np.zeros((categories, 8), np.float32),
            "output.bias": np.zeros(categories, np.float32),
        }
        (folder / "run").mkdir()
        bundle = ClassifierBundle(
            backbones=((spec, {}),),
            head=head,
            head_kind="linear",
            categories=Categories.from_names(["elk", "yak"]),
            geometry="squash",
            pooling="mean",
            thresholds=Thresholds(),
        )
        bundle.save(folder / "run")
        spoil(folder / "run")

    return build


def described(change: Callable[[dict[str, Any]], object]) -> Build:
    """A run whose `model.json` is changed."""

    def spoil(folder: Path) -> None:
        path = folder / "model.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return run(spoil)


def runs(*categories: str) -> Build:
    """A COCO dataset, the run `run`, and the run `other`, which knows `categories`."""

    def build(folder: Path) -> None:
        from dataclasses import replace

        from tagbox.data.dataset import Categories
        from tagbox.models.bundle import ClassifierBundle

        run()(folder)
        (folder / "other").mkdir()
        bundle = ClassifierBundle.load(folder / "run")
        replace(bundle, categories=Categories.from_names(categories)).save(folder / "other")

    return build


def ensemble(spoil: Callable[[Path], object] = lambda folder: None) -> Build:
    """A COCO dataset and the folder `both` of an ensemble of two runs, spoilt."""

    def build(folder: Path) -> None:
        from tagbox.models.bundle import ClassifierBundle
        from tagbox.models.ensembles import Ensemble, Member, save_ensemble
        from tagbox.predictions.thresholds import Thresholds

        run()(folder)
        bundle = ClassifierBundle.load(folder / "run")
        members = tuple(Member(bundle=bundle, run=name, weight=0.5) for name in ("a", "b"))
        save_ensemble(Ensemble(members=members, thresholds=Thresholds()), folder / "both")
        spoil(folder / "both")

    return build
