"""The splits that a dataset states itself, of any format, and what is read for each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tagbox.data.folder_layouts import class_root, class_sides, coco_splits, table_splits
from tagbox.data.image_files import visible_folders
from tagbox.data.recognise import (
    challenge_root,
    coco_files,
    inner_coco_files,
    is_labelme,
    label_folders,
)
from tagbox.data.split_names import by_role, split_folders
from tagbox.files import find_files


class Part(NamedTuple):
    """What to read for one split: a file or folder, and the split in it where that holds several."""

    path: Path
    split: str | None = None


def stated_splits(
    format: str, path: Path, images: Path | None = None, names: Path | None = None
) -> dict[str, Part]:
    """Split to what is read for it, ``train`` first; empty where `path` is one dataset.

    Parameters
    ----------
    format, path
        What `tagbox.data.recognise.find_source` found.
    images
        The folder of images that the user named.
    names
        The file of category names that the user named.

    Raises
    ------
    TagboxError
        ``yolo-yaml``, ``csv-header`` and the like, for files that cannot be read.
    """
    inside: list[str] = []
    found: dict[str, Path] = {}
    match format:
        case "yolo":
            from tagbox.data.formats.yolo import yolo_layout

            inside = list(yolo_layout(path, images).splits)
        case "cls":
            inside = [name for name in label_folders(challenge_root(path)) if name]
        case "csv" if os.path.isfile(path):
            from tagbox.data.formats.csv import csv_splits

            inside = list(csv_splits(path, names))
        case "voc":
            from tagbox.data.formats.voc import voc_splits

            inside = list(voc_splits(path))
        case "csv":
            found = table_splits(path)
        case "coco" if os.path.isdir(path):
            found = coco_splits(coco_files(path) or inner_coco_files(path))
        case "folders" if os.path.isdir(path):
            found = {name: class_root(path / name) for name in class_sides(path)}
        case "labelme" if os.path.isdir(path):
            folders = {folder.name: folder for folder in visible_folders(path)}
            found = {n: folders[n] for n in split_folders(folders) if _holds_labelme(folders[n])}
            found = found if len(found) > 1 else {}
    if inside:
        return {name: Part(path, split) for name, split in by_role(inside).items()}
    return {name: Part(found[key]) for name, key in by_role(list(found)).items()}


def _holds_labelme(folder: Path) -> bool:
    return any(is_labelme(file) for file in find_files(folder, ".json", below=True))
