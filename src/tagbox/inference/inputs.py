"""From what a person types to a list of pictures."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from tagbox.data.image_files import list_images
from tagbox.errors import TagboxError


def collect_images(arguments: Sequence[Path | str]) -> list[Path]:
    """The pictures that files, folders (with those below them) and glob patterns name, each once.

    Files come in the order given, those of a folder or pattern sorted. A file is taken at its word,
    whatever its name ends in.

    Raises
    ------
    TagboxError
        ``image-missing`` for a path that is not there; ``no-images`` for a folder or pattern without
        pictures.
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
                hint="give pictures, folders of pictures, or a pattern such as 'photos/*.jpg'",
            )
        if not inside:
            raise TagboxError(
                "no-images",
                "no pictures there",
                file=path,
                hint="give a folder or pattern that holds JPEG, PNG or other pictures",
            )
        found |= dict.fromkeys(inside)
    return list(found)
