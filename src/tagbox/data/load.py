"""`load_dataset`: read a dataset of any format, and describe it in one line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from tagbox.config import DataConfig, DataSettings, with_settings
from tagbox.config.arguments import checked_arguments
from tagbox.data import categories as category_tools
from tagbox.data import split
from tagbox.data.dataset import Dataset, Note
from tagbox.data.folder_layouts import unread_lists
from tagbox.data.formats.common import Report, refuse
from tagbox.data.image_files import is_visible, passed_over
from tagbox.data.recognise import find_source, require_path
from tagbox.data.recognise import recognise as recognise
from tagbox.data.split_names import choose, role_of_path, several
from tagbox.data.stated_splits import Part, stated_splits
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import readable_files, refused_folders

NAMES = {
    "coco": "COCO JSON",
    "cls": "challenge folder",
    "labels": "labels JSON",
    "csv": "CSV",
    "yolo": "YOLO folder",
    "labelme": "labelme folder",
    "voc": "Pascal VOC folder",
    "folders": "a folder a class",
    "memory": "dataset in memory",
}


@checked_arguments
def load_dataset(
    path: Path | str,
    config: DataConfig | None = None,
    *,
    split: str | None = None,
    **settings: Unpack[DataSettings],
) -> Dataset:
    """Read a dataset of any known format.

    Categories are first renamed and merged (`mapping`), then grouped (`group_by`), then selected
    (`categories`): each step uses the names that the one before it made.

    Parameters
    ----------
    path
        The dataset.
    config
        How it is read.
    split
        One of the splits that the dataset states (``train``); that of the config when not given.
    **settings
        Fields of `DataConfig`, in place of those of `config`: ``categories=["cat", "dog"]``.

    Raises
    ------
    TagboxError
        ``format-unknown`` and what the format's reader raises; ``format-ambiguous`` where the dataset states
        several splits and none is chosen, ``split-unknown``; ``config-field`` and ``config-value`` for settings.
    """
    config = with_settings(config or DataConfig(), settings, ("split",))
    if split is not None:
        config = replace(config, split=split)
    return adapt(read(Path(path), config), config)


def adapt(dataset: Dataset, config: DataConfig) -> Dataset:
    """Apply the changes that the config asks for to `dataset`; see `load_dataset`."""
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


@readable_files()
def read(path: Path, config: DataConfig, report: Report = refuse) -> Dataset:
    """Read a dataset without the changes that the config asks for.

    `report` gets the faults that readers of line-by-line formats can skip.
    """
    given = path
    format, path, split = source_of(path, config)
    dataset = _read(format, path, split, config, report)
    if format not in ("yolo", "labelme", "voc", "folders", "cls"):
        return dataset
    notes = list(dataset.source.notes)
    found = passed_over([dataset.images.root])
    if found is not None and format != "voc":
        notes.append(Note("images-passed-over", found))
    sides = {role_of_path(name) for name in dataset.images.files.tolist()}
    if split is None and format != "folders" and len(sides) == 2 and None in sides:
        found = f"a folder may be the split {next(filter(None, sides))}, and images outside it are read too"
        notes.append(Note("split-doubtful", found))
    lists = unread_lists(given) if format == "folders" else []
    if lists:
        notes.append(Note("lists-unread", f"files that may state more are not read: {some(lists)}"))
    roots = {each for each in (path, dataset.images.root) if os.path.isdir(each)}
    refused = {str(error.filename) for each in roots for error in refused_folders(each, is_visible)}
    if refused:
        found = f"folders passed over that may not be read: {some(sorted(refused))}"
        notes.append(Note("folder-unreadable", found))
    return replace(dataset, source=replace(dataset.source, notes=tuple(notes)))


def _read(
    format: str, path: Path, split: str | None, config: DataConfig, report: Report
) -> Dataset:
    match format:
        case "coco":
            from tagbox.data.formats.coco import read_coco

            return read_coco(path, config.images, mapped_names(config))
        case "labels":
            from tagbox.data.formats.challenge import read_labels

            return read_labels(path, config.images, config.names)
        case "cls":
            from tagbox.data.formats.challenge import read_cls

            return read_cls(path, config.images, config.names, report, split)
        case "csv":
            from tagbox.data.formats.csv import read_csv

            wanted = _wanted(config)
            return read_csv(path, config.images, config.names, report, split, wanted=wanted)
        case "yolo":
            from tagbox.data.formats.yolo import read_yolo

            return read_yolo(path, config.images, config.names, report, split)
        case "labelme":
            from tagbox.data.formats.labelme import read_labelme

            return read_labelme(path, config.images, config.names, report)
        case "voc":
            from tagbox.data.formats.voc import read_voc

            return read_voc(path, config.images, config.names, report, split)
        case "folders":
            from tagbox.data.formats.class_folders import read_folders

            return read_folders(path, config.names, report)
    raise ValueError(f"no format {format!r}")


def _wanted(config: DataConfig) -> frozenset[str]:
    """The names that a selection of categories may mean, before and after they are renamed; none without one."""
    if not config.categories:
        return frozenset()
    return frozenset(config.categories) | mapped_names(config)


def mapped_names(config: DataConfig) -> frozenset[str]:
    """The categories that the config's mapping names; none without one."""
    if config.mapping is None:
        return frozenset()
    return frozenset(category_tools.read_mapping(config.mapping))


@readable_files()
def source_of(path: Path, config: DataConfig) -> tuple[str, Path, str | None]:
    """The format of a dataset, the file or folder to read, and the split in it where it holds several.

    Raises
    ------
    TagboxError
        ``format-ambiguous`` where the dataset states several splits and the config chooses none;
        ``split-unknown``; ``config-value`` for settings that the format does not use.
    """
    format, source, parts = _parts(path, config)
    if config.split is not None:
        return format, *parts[choose(config.split, parts, path)]
    if len(parts) > 1:
        raise several(path, parts)
    return format, *next(iter(parts.values()), Part(source))


@readable_files()
def stated_names(path: Path, config: DataConfig) -> tuple[str, ...]:
    """The splits that a dataset states, ``train`` first; empty where it is one dataset.

    Raises
    ------
    TagboxError
        What recognising it raises.
    """
    return tuple(_parts(path, config)[2])


def _parts(path: Path, config: DataConfig) -> tuple[str, Path, dict[str, Part]]:
    format, source = _format_of(path, config)
    return format, source, stated_splits(format, source, config.images, config.names)


def _format_of(path: Path, config: DataConfig) -> tuple[str, Path]:
    format: str = config.format
    require_path(path)
    if format == "auto":
        format, path = find_source(path)
    elif os.path.isdir(path) and format in ("coco", "csv", "labels"):
        found, inside = find_source(path)
        path = inside if found == format else path
    elif os.path.isfile(path) and format in ("cls", "labelme", "voc", "folders"):
        raise TagboxError(
            "not-a-folder",
            f"the format {format} is a folder",
            file=path,
            hint="point at the folder",
        )
    if config.names is not None and format == "coco":
        raise TagboxError(
            "config-value",
            "a COCO file names its categories itself",
            file=path,
            where="names",
            hint="leave it out; --mapping renames categories",
        )
    if config.images is not None and format == "folders":
        raise TagboxError(
            "config-value",
            "a folder a class holds its pictures itself",
            file=path,
            where="images",
            hint="leave it out",
        )
    return format, path


def describe(dataset: Dataset) -> str:
    """One line: ``COCO JSON, 337 images in …/train2017, 80 categories, 2,828 annotations``, and the reader's notes."""
    images, labelled = len(dataset), int(dataset.images.labelled.sum())
    parts = [
        NAMES[dataset.source.format],
        f"{_count(images, 'image', 'images')} in {dataset.images.root}",
        _count(len(dataset.categories), "category", "categories"),
        _count(len(dataset.annotations), "annotation", "annotations"),
    ]
    if labelled < images:
        parts.append(f"{_count(images - labelled, 'image', 'images')} without labels")
    return "; ".join([", ".join(parts), *map(str, dataset.source.notes)])


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
