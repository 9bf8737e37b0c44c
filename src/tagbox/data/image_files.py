"""Where the pictures of a dataset lie, when nobody said.

Sizes of pictures without decoding them, and putting pictures where an export needs them.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.images.decode import ORIENTATION_TAG

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".avif",
    )
)
_SAMPLE = 64


def locate_images(
    path: Path, names: Sequence[str], images: Path | None = None
) -> tuple[Path, list[str]]:
    """The folder of the pictures that an annotation file names.

    Searched, in this order: `images` alone when given; where a ``split.json`` beside the file
    says; beside the file; ``images/`` and ``data/`` beside it; ``../images``; ``../images/SPLIT``; ``../SPLIT``; ``SPLIT`` beside it, where SPLIT
    comes from the file's name (``instances_train2017.json`` is ``train2017``). The folder with
    most of a sample of the named files wins, the first of equals. Where none holds a file as it
    is named, base names are tried, as long as they are unambiguous.

    Parameters
    ----------
    path
        The annotation file.
    names
        File names as the annotations give them, ``/`` or ``\\`` between folders.
    images
        The folder the user named.

    Returns
    -------
    root : Path
        The folder; the best guess when no picture is found (scoring needs none).
    files : list of str
        Each picture's path relative to it.

    Raises
    ------
    TagboxError
        ``images-folder-missing`` when `images` is not a folder.
    """
    require_folder(images)
    files = [name.replace("\\", "/") for name in names]
    places = [images] if images is not None else candidate_folders(path)
    sample = _sample(files)
    hits = [sum((place / name).is_file() for name in sample) for place in places]
    if any(hits):
        return places[hits.index(max(hits))], files
    bases = [name.rpartition("/")[2] for name in files]
    if len(set(bases)) == len(bases):
        sample = _sample(bases)
        hits = [sum((place / name).is_file() for name in sample) for place in places]
        if any(hits):
            return places[hits.index(max(hits))], bases
        for place in places:
            if images is not None or place.name == "images":
                found = _by_base_name(place, bases)
                if found is not None:
                    return place, found
    return places[0], files


def require_folder(images: Path | None) -> None:
    """Raise ``images-folder-missing`` when the folder of pictures that the user named is not there."""
    if images is not None and not images.is_dir():
        raise TagboxError(
            "images-folder-missing", "no such folder", file=images, hint="check --images"
        )


def candidate_folders(path: Path) -> list[Path]:
    """The existing folders in which pictures of the annotation file `path` are searched."""
    beside, above, split = path.parent, path.parent.parent, split_name(path)
    places = [beside, beside / "images", beside / "data", above / "images"]
    if (beside / "split.json").is_file():
        places = [*_of_split(beside / "split.json"), *places]
    if split:
        places += [
            above / "images" / split,
            above / split,
            beside / split,
            beside / "images" / split,
        ]
    seen = dict.fromkeys(place for place in places if place.is_dir())
    return list(seen) or [beside]


def split_name(path: Path) -> str:
    """``train2017`` of ``instances_train2017.json``; empty when the name tells no split."""
    stem = path.name.partition(".")[0].lstrip("_")
    match = re.fullmatch(
        r"(?:[a-z]+_)*?(?:instances|keypoints|captions|labels|annotations|info)_(.+)", stem
    )
    return match[1] if match else stem


def require_images(dataset: Dataset) -> None:
    """Refuse a dataset of which no picture is found.

    Raises
    ------
    TagboxError
        ``images-not-found`` naming every place that was searched.
    """
    sample = _sample(dataset.images.files.tolist())
    if not sample or any((dataset.images.root / name).is_file() for name in sample):
        return
    source = dataset.source.path
    places = [dataset.images.root]
    if source.is_file():
        places += [place for place in candidate_folders(source) if place not in places]
    raise TagboxError(
        "images-not-found",
        f"none of its pictures ({some(sample, 2)}) is in {some(places, 12)}",
        file=source,
        hint="name their folder with --images",
    )


def check_relative(names: Sequence[str], path: Path, where: str) -> None:
    """Refuse file names that lead out of the folder of pictures.

    `where` is the place of a name in the file `path`, with ``{}`` for its position.

    Raises
    ------
    TagboxError
        ``file-name-outside``.
    """
    for position, name in enumerate(names):
        if leads_outside(name):
            raise TagboxError(
                "file-name-outside",
                f"{name!r} leads out of the folder of pictures",
                file=path,
                where=where.format(position),
                hint="write it relative to that folder, without '..'",
            )


def leads_outside(name: str) -> bool:
    """Whether a file name is absolute or has ``..`` among its folders, with ``/`` or ``\\`` between them."""
    # Nearly every name has neither, and a dataset has 100,000 of them.
    if ".." not in name and name[:1] not in "/\\~" and name[1:2] != ":":
        return False
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))


def list_images(folder: Path, *, recursive: bool = True) -> list[str]:
    """Relative paths (``/`` between folders) of the pictures in a folder, sorted; hidden ones not."""
    found: list[str] = []
    for current, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recursive else []
        prefix = os.path.relpath(current, folder).replace(os.sep, "/")
        prefix = "" if prefix == "." else f"{prefix}/"
        found += [prefix + name for name in files if is_image(name)]
    return sorted(found)


def collect_images(arguments: Sequence[Path | str]) -> list[Path]:
    """The images that files, folders (with those below them) and glob patterns name, each once.

    Files come in the order given, those of a folder or pattern sorted. A file counts as an image whatever its
    suffix.

    Raises
    ------
    TagboxError
        ``image-missing`` for a path that is not there; ``no-images`` for a folder or pattern without
        images.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = [path / name for name in list_images(path)]
        elif path.exists():
            inside = [path]
        elif glob.has_magic(str(argument)):
            matches = sorted(glob.glob(str(argument), recursive=True))
            inside = [Path(match) for match in matches if Path(match).is_file()]
        else:
            raise TagboxError(
                "image-missing",
                "no such file or folder",
                file=path,
                hint="give images, folders of images, or a pattern such as 'photos/*.jpg'",
            )
        if not inside:
            raise TagboxError(
                "no-images",
                "it holds no images",
                file=path,
                hint="give a folder or pattern with JPEG, PNG or other images",
            )
        found |= dict.fromkeys(inside)
    return list(found)


def is_image(name: str) -> bool:
    """Whether a file's name is a picture's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _of_split(path: Path) -> list[Path]:
    """The folder of pictures that a saved split names."""
    try:
        named = msgspec.json.decode(path.read_bytes(), type=_SavedSplit).images
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []
    return [] if named is None else [Path(os.path.normpath(path.parent / named))]


class _SavedSplit(msgspec.Struct):
    images: str | None = None


def _by_base_name(folder: Path, bases: Sequence[str]) -> list[str] | None:
    """Paths of the pictures anywhere under `folder`; None when one is ambiguous or none is there."""
    index: dict[str, str] = {}
    twice: set[str] = set()
    for relative in list_images(folder):
        base = relative.rpartition("/")[2]
        if base in index:
            twice.add(base)
        index[base] = relative
    wanted = set(bases)
    if wanted & twice or not wanted & index.keys():
        return None
    return [index.get(base, base) for base in bases]


def _sample(names: Sequence[str]) -> list[str]:
    """Evenly spaced names, first and last among them."""
    rows = np.unique(np.linspace(0, len(names) - 1, min(_SAMPLE, len(names))).astype(int))
    return [names[row] for row in rows]


def image_sizes(dataset: Dataset, rows: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
    """(N, 2) width and height of every image as the dataset states them, 0 where it does not.

    For the images `rows`, sizes that are not stated are read from the files; 0 where that fails.
    """
    images = dataset.images
    sizes = np.column_stack([images.widths, images.heights]).astype(np.float64)
    if rows is not None:
        for row in rows[(sizes[rows] == 0).any(axis=1)].tolist():
            sizes[row] = picture_size(images.path(row))
    return sizes


def picture_size(path: Path | IO[bytes]) -> tuple[int, int]:
    """Upright width and height in pixels, read from the header; (0, 0) when it cannot be read."""
    try:
        width, height, _ = upright_size(path)
    except Exception:  # Pillow's plug-ins raise nearly anything on damaged files.
        return 0, 0
    return width, height


def upright_size(image: Path | IO[bytes]) -> tuple[int, int, bool]:
    """Upright width and height of an image, and whether EXIF turns it by a quarter; raises what Pillow does."""
    from PIL import Image

    with Image.open(image) as opened:
        width, height = opened.size
        try:
            sideways = opened.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        except Exception:  # Broken EXIF raises nearly anything, and turns nothing.
            sideways = False
    return (height, width, True) if sideways else (width, height, False)


def flat_names(files: list[str]) -> list[str]:
    """A name without folders for each picture, with a stem that no other has.

    The base names when they are that; else the paths with ``__`` between their parts, and a
    number where even those meet.
    """
    names = [name.rpartition("/")[2] for name in files]
    if len({Path(name).stem for name in names}) < len(names):
        names = [name.replace("/", "__") for name in files]
    taken: set[str] = set()
    for row, name in enumerate(names):
        stem, suffix = os.path.splitext(name)
        number = 1
        while stem in taken:
            number += 1
            stem = f"{os.path.splitext(name)[0]}__{number}"
        taken.add(stem)
        names[row] = stem + suffix
    return names
