"""Layouts of folders: those of classes, and files or folders that are the splits of one dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tagbox.data.image_files import list_images, split_name, visible_folders
from tagbox.data.split_names import role, split_folders
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import find_files, open_file, require_rights

OTHER_KINDS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
_PICTURES = re.compile(
    r"(?:images?|imgs?|pictures|photos|frames|data|jpegimages)[ _-]?\d*", re.IGNORECASE
)
"""Names of folders of all images, whatever is in them."""
_IMAGE_TITLE = re.compile(
    rb"(?:^|[,;\t])\W*(?:(?:image|img|file|picture|photo)s?(?:[ _-]?(?:id|name|path|file|index|url))?s?|f?name|path|id)\W*(?:[,;\t]|$)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
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
    parts = {_split_word(name) for name in classes}
    if len(parts) > 1 and None not in parts:
        raise _doubtful(root, f"{some(classes)} may be parts of splits")
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


def unread_lists(path: Path) -> list[str]:
    """Tables, and files named as splits such as ``meta/train.txt``, in `path` and the folders in it, relative to it."""
    found = []
    for folder in (path, *visible_folders(path)):
        for file in (f for suffix in (".csv", ".json", ".txt") for f in find_files(folder, suffix)):
            stem = file.stem
            if file.suffix == ".csv" or stem == "train_test_split" or role(stem, prefixed=True):
                found.append(file.relative_to(path).as_posix())
    return found


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
    """Names of the folders in `path` that are splits and hold class folders; none beside folders of images.

    Beside splits, other folders of the same classes are splits too.
    """
    files = list_images(path)
    classes = _children(files)
    sides = split_folders(classes)
    if (set(classes) - set(sides)) & _with_files(files):
        return []
    classes_of = {name: set(_children(list_images(class_root(path / name)))) for name in classes}
    sides = [side for side in sides if _may_be_classes(classes_of[side])]
    known = {name for side in sides for name in classes_of[side]}
    # Such as CVAT's subset default.
    return [name for name in classes if name in sides or known & classes_of[name]]


def _may_be_classes(names: set[str]) -> bool:
    """Whether folders of a split are categories: neither splits themselves, nor one that holds all images."""
    if len(names) == 1 and _PICTURES.fullmatch(next(iter(names))):
        return False
    return any(role(name, prefixed=True) is None for name in names)


def _children(files: Sequence[str]) -> list[str]:
    """The first folders of relative paths, sorted."""
    return sorted({name.partition("/")[0] for name in files if "/" in name})


def _with_files(files: Sequence[str]) -> set[str]:
    """Those of the first folders that hold images directly."""
    return {name.partition("/")[0] for name in files if name.count("/") == 1}


def _split_word(name: str) -> str | None:
    """The role of a name's first or last word: of ``train_real``, ``testA``."""
    words = _WORD.findall(name)
    return role(words[0]) or role(words[-1]) if words else None


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
        by_file = {_folder_name(file): file for file in files}
    roles = [role(name, prefixed=True) for name in by_file]
    return by_file if len(by_file) == len(files) and None not in roles else {}


def _folder_name(file: Path) -> str:
    return file.parent.parent.name if file.parent.name == "annotations" else file.parent.name


def table_splits(folder: Path) -> dict[str, Path]:
    """Split to its CSV file: ``train.csv`` and ``test.csv``, or the only one in each of ``train`` and ``test``."""
    files = {file.stem: file for file in find_files(folder, ".csv")}
    found = {name: files[name] for name in split_folders(files)}
    if found:
        return found
    sides = split_folders([entry.name for entry in visible_folders(folder)])
    inner = {name: find_files(folder / name, ".csv") for name in sides}
    return {name: tables[0] for name, tables in inner.items() if len(tables) == 1}


def names_images(table: Path, images: Sequence[str]) -> bool:
    """Whether a table has a column of images by its title, or some of `images` are named in its first 4 MB."""
    with open_file(table) as opened:
        content = opened.read(1 << 22)
    if _IMAGE_TITLE.search(content.partition(b"\n")[0].strip()):
        return True
    stems = (PurePosixPath(name).stem for name in images[:: max(1, len(images) // 50)])
    return any(os.fsencode(stem) in content for stem in stems)
