"""A dataset written in any format, its pictures left where they are, linked or copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from tagbox.atomic_io import cannot_write
from tagbox.data.dataset import Dataset
from tagbox.data.formats.challenge import write_cls, write_labels
from tagbox.data.formats.class_folders import class_of_each
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.formats.csv import write_csv
from tagbox.data.formats.labelme import write_labelme
from tagbox.data.formats.yolo import write_yolo
from tagbox.data.image_files import flat_names
from tagbox.errors import TagboxError

Format = Literal["coco", "cls", "labels", "csv", "yolo", "labelme", "folders"]
Pictures = Literal["reference", "link", "copy"]

# These are files that speak of pictures; the other formats are folders that hold them.
FILE_FORMATS: dict[str, str] = {"coco": ".json", "labels": ".json", "csv": ".csv"}


def export(dataset: Dataset, folder: Path, part: str, format: Format, pictures: Pictures) -> Path:
    """Write one part of a dataset into `folder`.

    Parameters
    ----------
    dataset
        What to write.
    folder
        Where; other parts of the same dataset go into the same folder.
    part
        Its name: ``train`` becomes ``train.json`` or the folder ``train``.
    format
        The format.
    pictures
        ``reference`` leaves the pictures where they are (not for the formats that hold them),
        ``link`` makes symbolic links, ``copy`` copies.

    Returns
    -------
    Path
        What `tagbox.data.load.load_dataset` opens to read the part again.

    Raises
    ------
    TagboxError
        What the format's writer raises; ``image-missing``, ``cannot-write``.
    """
    files = dataset.images.files.tolist()
    names = flat_names(files)
    match format:
        case "coco" | "labels" | "csv":
            written = folder / f"{part}{FILE_FORMATS[format]}"
            writers = {"coco": write_coco, "labels": write_labels, "csv": write_csv}
            writers[format](dataset, written)
            place, names = folder / "images", files
        case "cls":
            written = folder / part
            write_cls(dataset, written, part)
            place = written / "images" / part
        case "yolo":
            written = place = folder / "images" / part
            write_yolo(dataset, folder, part)
        case "labelme":
            written = place = folder / part
            write_labelme(dataset, written)
        case "folders":
            written = place = folder / part
            classes = class_of_each(dataset)
            names = [f"{c}/{name}" if c else name for c, name in zip(classes, names, strict=True)]
    if pictures != "reference":
        for row, name in enumerate(names):
            target = place / name
            if not target.exists():
                place_picture(dataset.images.path(row), target, pictures)
    return written


def place_picture(source: Path, target: Path, how: Literal["link", "copy"]) -> None:
    """Copy a picture to `target`, or make `target` a symbolic link to it.

    Raises
    ------
    TagboxError
        ``image-missing`` when there is no such picture, ``cannot-write``.
    """
    if not source.is_file():
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
