"""Sizes of pictures without decoding them, and putting pictures where an export needs them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from tagbox.errors import TagboxError
from tagbox.files import cannot_write

_ORIENTATION = 0x0112


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, upright by EXIF, from the header; (0, 0) when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0
    return (height, width) if turned else (width, height)


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
