"""What the descriptions and weights of saved models have in common, whatever kind of model it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError

JSON_NAME, WEIGHTS_NAME = "model.json", "model.safetensors"

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


class SavedCategories(msgspec.Struct, forbid_unknown_fields=True):
    """Categories as a description holds them."""

    names: list[str]
    ids: list[int]
    supercategories: list[str]


class _Format(msgspec.Struct):
    """The one field that every kind of saved model has."""

    format: str


def saved_format(folder: Path) -> str | None:
    """What kind of model a folder's `model.json` describes; None without one that can be read."""
    try:
        return read_json(folder / JSON_NAME, _Format).format
    except TagboxError:
        return None


def read_json(path: Path, kind: type[T]) -> T:
    """A saved model's description as the msgspec struct `kind`.

    Raises
    ------
    TagboxError
        ``bundle-missing``; ``bundle-json``, with the field.
    """
    content = _bytes(path)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, where = str(error).partition(" - at `")
        raise TagboxError(
            "bundle-json",
            what[0].lower() + what[1:],
            file=path,
            where=where.rstrip("`").removeprefix("$.") or None,
            hint="restore the file, or train again",
        ) from error


def read_weights(path: Path, expected: str) -> Arrays:
    """The arrays of a safetensors file whose SHA-256 is `expected`.

    Raises
    ------
    TagboxError
        ``bundle-missing``; ``bundle-weights`` for any other file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = _bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise TagboxError(
            "bundle-weights",
            f"its SHA-256 begins {found[:12]}, the description names {expected[:12]}",
            file=path,
            where="weights_sha256 of model.json",
            hint="restore both files from the same run",
        )
    try:
        return dict(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise TagboxError(
            "bundle-weights", f"not a safetensors file ({error})", file=path, hint="train again"
        ) from error


def version_error(path: Path, found: str, expected: str, where: str) -> TagboxError:
    """The error for a description of another kind or version than the one that is read."""
    return TagboxError(
        "bundle-version",
        f"{found}; this tagbox reads {expected}",
        file=path,
        where=where,
        hint="use the tagbox that wrote it, or train again",
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TagboxError(
            "bundle-missing",
            error.strerror or str(error),
            file=path,
            hint="give the folder of a finished run, such as runs/NAME",
        ) from error


def save_categories(categories: Categories) -> SavedCategories:
    """`categories` as a description holds them."""
    return SavedCategories(
        names=list(categories.names),
        ids=categories.ids.tolist(),
        supercategories=list(categories.supercategories),
    )


def read_categories(given: SavedCategories, path: Path) -> Categories:
    """The categories that the description `path` gives.

    Raises
    ------
    TagboxError
        ``bundle-mismatch`` where names, ids and supercategories differ in number; ``duplicate-category-name``.
    """
    if not len(given.names) == len(given.ids) == len(given.supercategories):
        raise TagboxError(
            "bundle-mismatch",
            "names, ids and supercategories differ in number",
            file=path,
            where="categories",
            hint="restore the file, or train again",
        )
    return Categories(
        names=tuple(given.names),
        ids=np.array(given.ids, np.int64),
        supercategories=tuple(given.supercategories),
    )
