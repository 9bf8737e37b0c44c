"""Drawn images as JPEG files in a folder, which never replace files of the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tagbox.atomic_io import atomic_path
from tagbox.errors import TagboxError
from tagbox.files import open_file
from tagbox.paths import refuse_inputs

DRAWN = b"drawn by tagbox"
"""The comment in drawn images, by which a later call knows that it may replace them."""


def save_jpegs(
    folder: Path,
    paths: Sequence[Path],
    ok: NDArray[np.bool_],
    draw: Callable[[int], Image.Image],
    progress: Callable[[int], object],
) -> None:
    """Write what `draw` makes of each row that is `ok`, named by `drawn_names`.

    Raises
    ------
    TagboxError
        ``output-is-input``, ``not-made-by-tagbox``, ``cannot-write``.
    """
    refuse_drawn(folder, paths)
    for row, name in enumerate(drawn_names(paths)):
        progress(1)
        if ok[row]:
            with atomic_path(folder / name) as temporary:
                draw(row).save(temporary, format="JPEG", quality=90, comment=DRAWN)


def drawn_names(paths: Sequence[Path]) -> list[str]:
    """The file name of each drawn image: its path's stem, numbered where that is taken, also in another case."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.jpg")
    return names


def refuse_drawn(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse to draw the images of `paths` into a `folder` where that would replace a file of the user.

    Raises
    ------
    TagboxError
        ``output-is-input`` where one would replace an image that is read; ``not-made-by-tagbox`` where one
        would replace a file that no earlier call wrote.
    """
    targets = [folder / name for name in drawn_names(paths)]
    refuse_inputs(targets, paths, flag="--save-images")
    for target in targets:
        if os.path.lexists(target) and not is_drawn(target):
            raise TagboxError(
                "not-made-by-tagbox",
                "tagbox did not draw this file and would replace it",
                file=target,
                where="--save-images",
                hint="choose another folder",
            )


def is_drawn(path: Path) -> bool:
    """Whether an earlier call of `save_jpegs` wrote the file."""
    try:
        with open_file(path) as content, Image.open(content) as opened:
            return bool(opened.info.get("comment") == DRAWN)
    except Exception:  # Pillow's plug-ins raise nearly anything on damaged files.
        return False
