"""Writing a dataset in any format; its images are left where they are, linked or copied."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from tagbox.atomic_io import cannot_write
from tagbox.data.dataset import Dataset
from tagbox.data.formats.challenge import write_cls, write_labels
from tagbox.data.formats.class_folders import class_of_each
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.formats.csv import write_csv
from tagbox.data.formats.labelme import write_labelme
from tagbox.data.formats.voc import write_voc
from tagbox.data.formats.yolo import write_yolo
from tagbox.data.image_files import flat_names
from tagbox.data.record_pixels import RecordPixels
from tagbox.errors import TagboxError
from tagbox.paths import inside

Format = Literal["coco", "cls", "labels", "csv", "yolo", "labelme", "voc", "folders"]
Pictures = Literal["reference", "link", "copy"]

# Files that name images; the other formats are folders that hold them.
FILE_FORMATS: dict[str, str] = {"coco": ".json", "labels": ".json", "csv": ".csv"}


def export(
    dataset: Dataset,
    folder: Path,
    part: str,
    format: Format,
    pictures: Pictures,
    pixels: RecordPixels | None = None,
) -> Path:
    """Write one part of a dataset into `folder`.

    Parameters
    ----------
    dataset
        The dataset.
    folder
        Folder to write into; other parts of the same dataset may be in it.
    part
        Name of the part: ``train`` becomes ``train.json`` or the folder ``train``.
    format
        Format to write.
    pictures
        ``reference`` leaves the images where they are (not for the formats that hold them), ``link``
        makes symbolic links, ``copy`` copies.
    pixels
        Of the dataset, where its boxes are to be written in pixels of the files.

    Returns
    -------
    Path
        What `tagbox.data.load.load_dataset` reads the part from.

    Raises
    ------
    TagboxError
        The codes of the format's writer; ``image-missing``, ``cannot-write``.
    """
    files = dataset.images.files.tolist()
    names = flat_names(files)
    match format:
        case "coco":
            written = inside(folder, f"{part}.json")
            write_coco(dataset, written, pixels)
            images, names = folder / "images", files
        case "labels" | "csv":
            written = inside(folder, f"{part}{FILE_FORMATS[format]}")
            (write_labels if format == "labels" else write_csv)(dataset, written)
            images, names = folder / "images", files
        case "cls":
            written = inside(folder, part)
            write_cls(dataset, written, part)
            images = written / "images" / part
        case "yolo":
            written = images = inside(folder / "images", part)
            write_yolo(
                _without_crowd(dataset if pixels is None else pixels.in_file()), folder, part
            )
        case "labelme":
            written = images = inside(folder, part)
            write_labelme(_without_crowd(dataset if pixels is None else pixels.in_file()), written)
        case "voc":
            written = inside(folder, part)
            write_voc(dataset if pixels is None else pixels.in_file(), written)
            images = written / "JPEGImages"
        case "folders":
            written = images = inside(folder, part)
            classes = class_of_each(dataset)
            names = [f"{c}/{name}" if c else name for c, name in zip(classes, names, strict=True)]
    if pictures != "reference":
        for row, name in enumerate(names):
            target = inside(images, name)
            if not os.path.exists(target):
                _link_or_copy(dataset.images.path(row), target, pictures)
    return written


def _without_crowd(dataset: Dataset) -> Dataset:
    """The dataset without its crowd regions, which would become ordinary boxes."""
    kept = np.flatnonzero(~dataset.annotations.crowd)
    return replace(
        dataset,
        annotations=dataset.annotations.take(kept),
        source=dataset.source.take_annotations(kept),
    )


def _link_or_copy(source: Path, target: Path, how: Literal["link", "copy"]) -> None:
    """Copy an image to `target`, or make `target` a symbolic link to it."""
    if not os.path.isfile(source):
        raise TagboxError(
            "image-missing", "no such picture", file=source, hint="name its folder with --images"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            shutil.copy2(source, target)
        else:
            os.symlink(source.resolve(), target)
    except OSError as error:
        raise cannot_write(target, error) from error
