"""The saved model: `model.safetensors` + `model.json`, which load with no pickle and no network.

The bundle holds all that using a model needs: every backbone's weights, the head, category names and
original ids, input size, geometry and normalisation, thresholds, versions, the data's fingerprint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tagbox.config import Geometry, LabelKind, Pooling
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.evaluation.thresholds import Thresholds
from tagbox.files import atomic_path, atomic_write, sha256_of
from tagbox.models.backbones import BackboneSpec
from tagbox.models.heads import HeadKind, kind_of
from tagbox.models.saved import (
    JSON_NAME,
    WEIGHTS_NAME,
    Arrays,
    SavedCategories,
    read_categories,
    read_json,
    read_weights,
    save_categories,
    saved_format,
    version_error,
)

FORMAT, FORMAT_VERSION = "tagbox-classifier", 1
EXPECTED = f"{FORMAT} version {FORMAT_VERSION}"


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


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """`model.json`, field for field."""

    format: str
    format_version: int
    backbones: list[BackboneSpec]
    geometry: Geometry
    pooling: Pooling
    head: _Head
    categories: SavedCategories
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
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "backbones": [asdict(spec) for spec, _ in bundle.backbones],
        "geometry": bundle.geometry,
        "pooling": bundle.pooling,
        "labels": bundle.labels,
        "head": {"kind": bundle.head_kind},
        "categories": save_categories(bundle.categories),
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
    arrays = read_weights(weights_path, description.weights_sha256)
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
        categories=read_categories(description.categories, folder / JSON_NAME),
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
    if (found := saved_format(path.parent)) not in (None, FORMAT):
        raise version_error(path, str(found), EXPECTED, "format")
    description = read_json(path, _Description)
    if description.format_version != FORMAT_VERSION:
        found = f"{FORMAT} version {description.format_version}"
        raise version_error(path, found, EXPECTED, "format_version")
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


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
