"""Layouts of folders: those of classes, and files or folders that are the splits of one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagbox.data.image_files import list_images, split_name, visible_folders
from tagbox.data.split_names import role, split_folders
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import find_files, require_rights

OTHER_KINDS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
LAYOUT_FOLDERS = {"images", "labels", "annotations", "imgs", "masks", "img", "ann"}


def find_classes(path: Path, files: Sequence[str]) -> Path | None:
    """The folder of class folders at or in `path`, or the folder of splits that hold class folders.

    Parameters
    ----------
    path
        The folder.
    files
        Its images; see `list_images`.

    Returns
    -------
    Path or None
        `path`, or the only folder in it; None where no folders of classes are there.

    Raises
    ------
    TagboxError
        ``format-unknown`` where folders would be mistaken for categories: splits beside categories, folders
        that hold the same folders, a single one with all images.
    """
    root = class_root(path)
    inner = list_images(root) if root != path else files
    classes = _children(inner)
    if not classes or any(name.lower() in LAYOUT_FOLDERS for name in classes):
        return None
    sides = split_folders(classes)
    if class_sides(root):
        return root
    if len(sides) == len(classes):
        return None
    if sides:
        others = [name for name in classes if name not in sides]
        raise _doubtful(root, f"{some(sides)} may be a split, and {some(others)} may be categories")
    if len(classes) == 1 and role(root.name) is None:
        raise _doubtful(
            root,
            f"all pictures are in the folder {classes[0]!r}, which would be their only category",
        )
    below = [
        _children([n.partition("/")[2] for n in inner if n.startswith(f"{c}/")]) for c in classes
    ]
    alike = len(below[0]) > 1 and all(names == below[0] for names in below)
    if alike and not _with_files(inner) & set(classes):
        raise _doubtful(
            root,
            f"each of its folders {some(classes, 3)} holds the same folders {some(below[0], 3)}",
        )
    return root


def class_root(path: Path) -> Path:
    """`path`, or the folder that it wraps: its only folder, where that holds folders of images itself."""
    while True:
        files = list_images(path)
        classes = _children(files)
        inside = [name.partition("/")[2] for name in files]
        if len(classes) != 1 or role(classes[0]) or not all("/" in name for name in inside):
            return path
        path = path / classes[0]


def class_sides(path: Path) -> list[str]:
    """Names of the folders in `path` that are splits and hold class folders; none beside folders of images."""
    files = list_images(path)
    classes = _children(files)
    sides = split_folders(classes)
    if (set(classes) - set(sides)) & _with_files(files):
        return []
    return [
        side
        for side in sides
        if _children([n.partition("/")[2] for n in files if n.startswith(f"{side}/")])
    ]


def _children(files: Sequence[str]) -> list[str]:
    """The first folders of relative paths, sorted."""
    return sorted({name.partition("/")[0] for name in files if "/" in name})


def _with_files(files: Sequence[str]) -> set[str]:
    """Those of the first folders that hold images directly."""
    return {name.partition("/")[0] for name in files if name.count("/") == 1}


def _doubtful(path: Path, found: str) -> TagboxError:
    for folder in visible_folders(path):
        require_rights(folder, listed=True)
    return TagboxError(
        "format-unknown",
        found,
        file=path,
        hint="point at the folder of one split; --format folders takes every folder for a category",
    )


def coco_splits(files: Sequence[Path]) -> dict[str, Path]:
    """Split, as files or their folders name it, to its COCO file; empty where the files are not splits.

    Of COCO's own several kinds of annotations these are the instances.
    """
    if any(file.name.startswith("instances_") for file in files):
        files = [file for file in files if not file.name.startswith(OTHER_KINDS)]
    by_file = {split_name(file): file for file in files}
    if not all(role(name, prefixed=True) for name in by_file) or len(by_file) < len(files):
        by_file = {file.parent.name: file for file in files}
    roles = [role(name, prefixed=True) for name in by_file]
    return by_file if len(by_file) == len(files) and None not in roles else {}


def table_splits(folder: Path) -> dict[str, Path]:
    """Split to its CSV file: ``train.csv`` and ``test.csv``, or the only one in each of ``train`` and ``test``."""
    files = {file.stem: file for file in find_files(folder, ".csv")}
    found = {name: files[name] for name in split_folders(files)}
    if found:
        return found
    sides = split_folders([entry.name for entry in visible_folders(folder)])
    inner = {name: find_files(folder / name, ".csv") for name in sides}
    return {name: tables[0] for name, tables in inner.items() if len(tables) == 1}
