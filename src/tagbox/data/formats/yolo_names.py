"""What names a YOLO folder's categories: its ``data.yaml``, a ``classes.txt``, or the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tagbox.data.formats.common import read_names
from tagbox.data.text import read_text
from tagbox.errors import TagboxError

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES_FILES = ("classes.txt", "obj.names", "classes.names", "predefined_classes.txt")


def find_yaml(folder: Path) -> Path | None:
    """The ``data.yaml`` in a folder or, for a split's folder, up to two above; None without one."""
    for place in (folder, folder.parent, folder.parent.parent):
        for name in YAML_NAMES:
            if (place / name).is_file():
                return place / name
        others = [
            other
            for other in (sorted(place.glob("*.y*ml")) if place == folder else [])
            if "names:" in read_text(other)
        ]
        if len(others) == 1:
            return others[0]
    return None


def find_names(folder: Path) -> Path | None:
    """``classes.txt`` in a folder, its ``labels``, or above a split's folder; None without one."""
    for place in (folder, folder / "labels", folder.parent, folder.parent.parent):
        for name in NAMES_FILES:
            if (place / name).is_file():
                return place / name
    return None


def category_names(folder: Path, described: Path | None, names: Path | None) -> tuple[str, ...]:
    """The names from the user's file, else the ``data.yaml``, else a ``classes.txt``.

    Raises
    ------
    TagboxError
        ``names-missing``, ``names-file``, ``yolo-yaml``, ``duplicate-category-name``.
    """
    if names is not None:
        return read_names(names)
    if described is not None:
        return _yaml_names(read_yaml(described), described)
    listed = find_names(folder)
    if listed is None:
        raise TagboxError(
            "names-missing",
            "there is no data.yaml and no classes.txt that names the categories",
            file=folder,
            hint="give a file of names, one a line, with --names",
        )
    return read_names(listed)


def read_yaml(path: Path) -> dict[Any, Any]:
    """The settings in a ``data.yaml``.

    Raises
    ------
    TagboxError
        ``yolo-yaml`` when it is no YAML or holds no settings.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise TagboxError(
            "yolo-yaml",
            f"this is not YAML: {getattr(error, 'problem', None) or error}",
            file=path,
            where=f"line {mark.line + 1}" if mark else None,
            hint="mend the file there",
        ) from error
    if not isinstance(content, dict):
        raise TagboxError(
            "yolo-yaml", "expected settings 'name: value'", file=path, hint="check the file"
        )
    return content


def _yaml_names(content: dict[Any, Any], path: Path) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise TagboxError(
            "yolo-yaml",
            "expected a list of category names, or the indices from 0 with a name each",
            file=path,
            where="names",
            hint="write 'names: [cat, dog]'",
        )
    if content.get("nc", len(names)) != len(names):
        raise TagboxError(
            "yolo-yaml",
            f"{content['nc']} categories are announced and {len(names)} named",
            file=path,
            where="nc",
            hint="correct nc or names",
        )
    texts = tuple(str(name) for name in names)
    if len(set(texts)) < len(texts):
        twice = next(name for name in texts if texts.count(name) > 1)
        raise TagboxError(
            "duplicate-category-name",
            f"the category name {twice!r} stands twice",
            file=path,
            where="names",
            hint="give every category its own name",
        )
    return texts
