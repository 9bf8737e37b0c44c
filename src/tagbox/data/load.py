"""`load_dataset`: whatever people have, recognised, read and said in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tagbox.config import DataConfig
from tagbox.data import categories as category_tools
from tagbox.data import split
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco import read_coco

NAMES = {
    "coco": "COCO JSON",
    "cls": "challenge folder",
    "labels": "labels JSON",
    "csv": "CSV",
    "yolo": "YOLO folder",
    "labelme": "labelme folder",
    "folders": "a folder a class",
    "memory": "dataset in memory",
}


def load_dataset(path: Path | str, config: DataConfig | None = None) -> Dataset:
    """Read a dataset of any known format.

    Categories are first renamed and merged (`mapping`), then grouped (`group_by`), then kept
    (`categories`), so each step speaks of the names the one before it made.

    Raises
    ------
    TagboxError
        ``format-unknown`` and what the format's reader raises.
    """
    path, config = Path(path), config or DataConfig()
    dataset = read_coco(path, config.images)
    if config.mapping is not None:
        mapping = category_tools.read_mapping(config.mapping)
        dataset = category_tools.apply_mapping(dataset, mapping, config.mapping)
    if config.group_by is not None:
        dataset = category_tools.group_by_supercategory(dataset)
    if config.categories:
        dataset = category_tools.keep(dataset, config.categories)
    dataset = replace(dataset, crowd_is_present=config.crowd_is_present)
    if config.max_images is not None:
        dataset = split.sample(dataset, config.max_images, config.sample_seed)
    return dataset


def describe(dataset: Dataset) -> str:
    """One line: ``COCO JSON, 337 images in …/train2017, 80 categories, 2,828 annotations``."""
    images, labelled = len(dataset), int(dataset.images.labelled.sum())
    parts = [
        NAMES[dataset.source.format],
        f"{images:,} image{'s' * (images != 1)} in {dataset.images.root}",
        f"{len(dataset.categories):,} categories",
        f"{len(dataset.annotations):,} annotations",
    ]
    if labelled < images:
        parts.append(f"{images - labelled:,} images unlabelled")
    return ", ".join(parts)
