"""A folder per class: the one label of an image is the folder that it is in."""

from __future__ import annotations

import os
from pathlib import Path

from tagbox.data.dataset import Categories, Dataset
from tagbox.data.formats.common import (
    Report,
    build_dataset,
    from_label_lists,
    not_listed,
    read_names,
    refuse,
)
from tagbox.data.image_files import is_visible, list_images, visible_folders
from tagbox.data.split_names import role
from tagbox.errors import TagboxError

LONGEST_FOLDER = 255
"""Bytes of a folder's name on most file systems."""
OTHER_NAMES = ("images", "labels", "annotations", "tagbox.json")
"""What other formats call their folders, and the mark of those that tagbox wrote."""


def read_folders(path: Path, names: Path | None = None, report: Report = refuse) -> Dataset:
    """Read ``cat/1.jpg``, ``cat/more/2.jpg``, ``dog/3.jpg``: the first folder is the category.

    Images directly in `path` are unlabelled; an empty folder is a category without images.

    Parameters
    ----------
    path
        The folder of class folders.
    names
        Names of the folders, in the order of the categories; alphabetical when not given.
    report
        Called with each fault after which reading can go on; raises it unless given.

    Raises
    ------
    TagboxError
        ``format-unknown`` when there is no folder with images, ``unknown-category`` for a folder
        that `names` does not list, ``class-without-pictures`` for a folder of other files.
    """
    folders = [folder.name for folder in visible_folders(path)]
    files = list_images(path)
    if not any("/" in name for name in files):
        raise TagboxError(
            "format-unknown",
            "no folder in it holds pictures",
            file=path,
            hint="put the pictures of each category into a folder of that name",
        )
    for folder in sorted(set(folders) - {name.partition("/")[0] for name in files}):
        others = _visible_files(path / folder)
        if others:
            report(
                TagboxError(
                    "class-without-pictures",
                    f"none of its {len(others):,} files is a picture that can be read, such as {others[0]}",
                    file=path / folder,
                    hint="convert them to JPEG or PNG, or move the folder away",
                )
            )
            folders.remove(folder)
    categories = folders if names is None else list(read_names(names))
    for folder in folders:
        if folder not in categories:
            raise not_listed(f"the folder {folder!r}", folder, categories, path, folder)
    row = {name: index for index, name in enumerate(categories)}
    labels = [[row[name.partition("/")[0]]] if "/" in name else [] for name in files]
    return build_dataset(
        path=path,
        format="folders",
        root=path,
        files=files,
        categories=Categories.from_names(categories),
        annotations=from_label_lists(labels),
        labelled=[bool(rows) for rows in labels],
    )


def _visible_files(folder: Path) -> list[str]:
    return sorted(
        name for _, _, files in os.walk(folder) for name in files if not name.startswith(".")
    )


def class_of_each(dataset: Dataset) -> list[str]:
    """The only category of each labelled image, empty for unlabelled ones.

    Raises
    ------
    TagboxError
        ``not-exclusive`` for an image with no or several categories; ``name-unwritable`` for a category that is no
        name of a folder, or that of a folder which is taken for something else.
    """
    for name in dataset.categories.names:
        if not _names_a_folder(name):
            raise TagboxError(
                "name-unwritable",
                f"the category {name!r} cannot be the name of a folder of pictures",
                file=dataset.source.path,
                hint="rename it, or choose the format coco",
            )
    classes = []
    for row, labels in enumerate(dataset.labels == 1):
        present = labels.nonzero()[0].tolist()
        if dataset.images.labelled[row] and len(present) != 1:
            raise TagboxError(
                "not-exclusive",
                f"the picture {str(dataset.images.files[row])!r} has {len(present)} categories",
                file=dataset.source.path,
                hint="a folder a class needs exactly one category a picture; choose another format",
            )
        classes.append(dataset.categories.names[present[0]] if present else "")
    return classes


def _names_a_folder(name: str) -> bool:
    return (
        not any(character in name for character in "/\\\0")
        and is_visible(name)
        and len(name.encode(errors="surrogatepass")) <= LONGEST_FOLDER
        and name not in OTHER_NAMES
        and role(name) is None
    )
