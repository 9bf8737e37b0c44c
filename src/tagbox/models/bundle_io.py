"""What the descriptions and weights of saved models have in common, whatever kind of model it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_path, atomic_write, sha256_of
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


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a `model.json` that every kind of saved model has."""

    format: str
    format_version: int
    categories: SavedCategories
    weights_sha256: str
    data_fingerprint: str
    versions: dict[str, str]


D = TypeVar("D", bound=Description)


class _Format(msgspec.Struct):
    """The one field that every file with a format has."""

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


def save_model(folder: Path, arrays: Arrays, description: Mapping[str, Any]) -> None:
    """Write a model's two files into `folder`, each atomically, the description last.

    Parameters
    ----------
    arrays
        The weights by name, in any memory layout.
    description
        Everything of `model.json` but ``weights_sha256``.
    """
    from safetensors.numpy import save_file

    # `np.ascontiguousarray` would give a counter, which has no dimension, one.
    plain = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        save_file(plain, temporary)
    whole = {**description, "weights_sha256": sha256_of(folder / WEIGHTS_NAME)}
    atomic_write(folder / JSON_NAME, msgspec.json.format(msgspec.json.encode(whole), indent=2))


def read_description(folder: Path, kind: type[D], format_name: str, version: int) -> D:
    """The description of a folder's model, which must be of that format and version.

    Raises
    ------
    TagboxError
        ``bundle-missing``; ``bundle-json``, with the field; ``bundle-version``.
    """
    path, expected = folder / JSON_NAME, f"{format_name} version {version}"
    if (found := saved_format(folder)) not in (None, format_name):
        raise _version_error(path, str(found), expected, "format")
    description = read_json(path, kind)
    if description.format_version != version:
        said = f"{format_name} version {description.format_version}"
        raise _version_error(path, said, expected, "format_version")
    return description


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


def mismatch(path: Path, where: str, found: str) -> TagboxError:
    """The error for two parts of a saved model that are not of one training."""
    hint = "restore both files from the same run"
    return TagboxError("bundle-mismatch", found, file=path, where=where, hint=hint)


def _version_error(path: Path, found: str, expected: str, where: str) -> TagboxError:
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
