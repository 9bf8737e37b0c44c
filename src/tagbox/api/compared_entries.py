"""What is compared: models or recipes by name, each with its runs, files or predictions in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tagbox.errors import TagboxError

Entries = Mapping[str, Sequence[Any]]
"""Name of a model or recipe to its runs or predictions: one of a model, several of a recipe."""


def named_entries(predictions: Sequence[Any] | Mapping[str, Any]) -> Entries:
    """The models or recipes by name; those of a list are named by the shortest ends of their paths that differ."""
    if isinstance(predictions, Mapping):
        return {
            str(name): list(given) if isinstance(given, (list, tuple)) else [given]
            for name, given in predictions.items()
        }
    found: dict[str, list[Any]] = {}
    for name, given in zip(
        short_names([source_of(each) for each in predictions]), predictions, strict=True
    ):
        found.setdefault(name, []).append(given)
    if len(found) < len(predictions):
        name = next(name for name, given in found.items() if len(given) > 1)
        raise _same(found[name][0], found[name][1])
    return found


def source_of(given: Any) -> str:
    """The path of a run or file, or what predictions in memory name as their source."""
    folder = getattr(given, "folder", given)
    if isinstance(folder, (str, os.PathLike)):
        return os.fspath(folder)
    return str(
        getattr(given, "source", None)
        or getattr(getattr(given, "predictions", given), "source", "predictions")
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path without its extension; as many parts, and the extension, as tell the paths apart."""
    parts = [Path(path).parts or (path,) for path in paths]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        stems = [
            name.removesuffix(Path(name).suffix) if Path(name).suffix in (".json", ".csv") else name
            for name in names
        ]
        for shown in (stems, names):
            if len(set(shown)) == len(shown):
                return shown
    return list(paths)


def are_recipes(predictions: Sequence[Any] | Mapping[str, Any]) -> bool:
    """Whether they are lists of runs by name."""
    given = predictions.values() if isinstance(predictions, Mapping) else ()
    return any(isinstance(each, (list, tuple)) for each in given)


def require_entries(entries: Entries, *, recipes: bool) -> None:
    """Refuse what is no comparison: one model, one run of a recipe, the same twice.

    Raises
    ------
    TagboxError
        ``too-few-models``, ``same-predictions``.
    """
    if len(entries) < 2:
        raise TagboxError(
            "too-few-models",
            f"{len(entries)} {'model is' if len(entries) == 1 else 'models are'} given, and a comparison takes at least two",
            hint="name the runs or files first and the dataset last",
        )
    single = [name for name, given in entries.items() if len(given) < 2]
    if recipes and single:
        name = single[0]
        raise TagboxError(
            "too-few-models",
            f"the recipe {name!r} has {len(entries[name])} run{'s' * (len(entries[name]) != 1)}, so the spread between its trainings is unknown",
            hint="give at least two runs of every recipe, with different seeds",
        )
    seen: list[Any] = []
    for given in (each for runs in entries.values() for each in runs):
        for other in seen:
            if other is given or _same_file(other, given):
                raise _same(other, given)
        seen.append(given)


def _same_file(one: Any, other: Any) -> bool:
    try:
        return os.path.samefile(getattr(one, "folder", one), getattr(other, "folder", other))
    except (OSError, TypeError, ValueError):
        return False


def _same(one: Any, other: Any) -> TagboxError:
    same = source_of(one) == source_of(other)
    return TagboxError(
        "same-predictions",
        "it is given twice" if same else f"it is the same as {source_of(one)}",
        file=source_of(other),
        hint="give each run or file once",
    )
