"""The saved model: `model.safetensors` + `model.json`, which load with no pickle and no network.

The bundle holds all that using a model needs: every backbone's weights, the head, category names and
original ids, input size, geometry and normalisation, thresholds, versions, the data's fingerprint.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.config import Geometry, LabelKind, Pooling
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.evaluation.thresholds import Thresholds
from tagbox.files import atomic_path, atomic_write, sha256_of
from tagbox.models.backbones import BackboneSpec
from tagbox.models.heads import HeadKind, kind_of

FORMAT_VERSION = 1
JSON_NAME, WEIGHTS_NAME = "model.json", "model.safetensors"

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """A classifier, whole.

    Attributes
    ----------
    backbones
        Specifications and the weights of each, under the names of its architecture.
    head
        The head's state; see `models.heads.head_logits`.
    head_kind
        ``linear``, ``mlp``, ``ml_decoder`` or ``csra``.
    categories
        What the K outputs mean.
    geometry, pooling
        How a picture becomes a square, and a feature map a vector (unless the head takes the map).
    thresholds
        Where a probability becomes a label.
    ema
        Decay of the moving average that the weights are; 0 for weights as the last step left them.
    versions
        Library to version at training time.
    data_fingerprint
        `Dataset.fingerprint` of the training images.
    base_rates
        K parts of the training images in which each category is present; None in bundles that are older.
    labels
        Whether a picture has any number of categories, or exactly one: sigmoid or softmax.
    """

    backbones: tuple[tuple[BackboneSpec, Arrays], ...]
    head: Arrays
    head_kind: HeadKind
    categories: Categories
    geometry: Geometry
    pooling: Pooling
    thresholds: Thresholds
    ema: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    data_fingerprint: str = ""
    base_rates: tuple[float, ...] | None = None
    labels: LabelKind = "multi"


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    kind: HeadKind


class _Categories(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str]
    ids: list[int]
    supercategories: list[str]


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """`model.json`, field for field."""

    format: str
    format_version: int
    backbones: list[BackboneSpec]
    geometry: Geometry
    pooling: Pooling
    head: _Head
    categories: _Categories
    thresholds: dict[str, Any]
    weights_sha256: str
    data_fingerprint: str
    versions: dict[str, str]
    ema: float = 0.0
    base_rates: list[float] | None = None
    # Bundles from before there were exclusive labels do not say.
    labels: LabelKind = "multi"


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the two files into `folder`, each atomically, the description last."""
    from safetensors.numpy import save_file

    arrays = {f"head.{name}": value for name, value in bundle.head.items()}
    for index, (_, weights) in enumerate(bundle.backbones):
        arrays |= {f"backbones.{index}.{name}": value for name, value in weights.items()}
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)
    description = {
        "format": "tagbox-classifier",
        "format_version": FORMAT_VERSION,
        "backbones": [asdict(spec) for spec, _ in bundle.backbones],
        "geometry": bundle.geometry,
        "pooling": bundle.pooling,
        "labels": bundle.labels,
        "head": {"kind": bundle.head_kind},
        "categories": {
            "names": list(bundle.categories.names),
            "ids": bundle.categories.ids.tolist(),
            "supercategories": list(bundle.categories.supercategories),
        },
        "thresholds": bundle.thresholds.to_dict(),
        "weights_sha256": sha256_of(folder / WEIGHTS_NAME),
        "ema": bundle.ema,
        "data_fingerprint": bundle.data_fingerprint,
        "versions": bundle.versions,
        "base_rates": bundle.base_rates,
    }
    atomic_write(
        folder / JSON_NAME, msgspec.json.format(msgspec.json.encode(description), indent=2)
    )


def load_bundle(folder: Path) -> Bundle:
    """Read a run folder's bundle.

    Raises
    ------
    TagboxError
        ``bundle-missing`` where one of the two files is not there; ``bundle-json`` for a description
        that cannot be read, with the field; ``bundle-version``; ``bundle-weights`` for weights that
        are not those the description names; ``bundle-mismatch`` where their shapes do not fit it.
    """
    description = _read_description(folder / JSON_NAME)
    weights_path = folder / WEIGHTS_NAME
    arrays = _read_weights(weights_path, description.weights_sha256)
    head = _under("head.", arrays)
    names = description.categories.names
    outputs = head.get("output.bias", np.zeros(0)).shape
    if outputs != (len(names),):
        raise TagboxError(
            "bundle-mismatch",
            f"the head has {outputs[0] if outputs else 0} outputs for {len(names)} categories",
            file=folder / JSON_NAME,
            where="categories.names",
            hint="restore both files from the same run",
        )
    if kind_of(head) != description.head.kind:
        raise TagboxError(
            "bundle-mismatch",
            f"the weights are those of the head {kind_of(head)}",
            file=folder / JSON_NAME,
            where="head.kind",
            hint="restore both files from the same run",
        )
    return Bundle(
        backbones=tuple(
            (spec, _under(f"backbones.{index}.", arrays))
            for index, spec in enumerate(description.backbones)
        ),
        head=head,
        head_kind=description.head.kind,
        categories=_categories(description.categories, folder / JSON_NAME),
        geometry=description.geometry,
        pooling=description.pooling,
        thresholds=Thresholds.from_dict(description.thresholds, file=folder / JSON_NAME),
        ema=description.ema,
        versions=description.versions,
        data_fingerprint=description.data_fingerprint,
        base_rates=None if description.base_rates is None else tuple(description.base_rates),
        labels=description.labels,
    )


def _read_description(path: Path) -> _Description:
    description = read_json(path, _Description)
    if description.format != "tagbox-classifier" or description.format_version != FORMAT_VERSION:
        raise TagboxError(
            "bundle-version",
            f"{description.format} version {description.format_version}; this tagbox reads "
            f"tagbox-classifier version {FORMAT_VERSION}",
            file=path,
            where="format_version",
            hint="use the tagbox that wrote it, or train again",
        )
    rates, names = description.base_rates, description.categories.names
    if rates is not None and not (len(rates) == len(names) and all(0 < r < 1 for r in rates)):
        raise TagboxError(
            "bundle-mismatch",
            f"not a number between 0 and 1 for each of the {len(names)} categories",
            file=path,
            where="base_rates",
            hint="restore the file, or train again",
        )
    return description


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


def _read_weights(path: Path, expected: str) -> Arrays:
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


def _categories(given: _Categories, path: Path) -> Categories:
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


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
