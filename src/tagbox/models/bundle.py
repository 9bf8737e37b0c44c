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
from tagbox.models.backbones import BackboneSpec
from tagbox.models.bundle_io import (
    JSON_NAME,
    WEIGHTS_NAME,
    Arrays,
    Description,
    mismatch,
    read_categories,
    read_description,
    read_weights,
    save_categories,
    save_model,
)
from tagbox.models.heads import HeadKind, kind_of
from tagbox.predictions.thresholds import Thresholds

FORMAT, FORMAT_VERSION = "tagbox-classifier", 1


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


class _Description(Description):
    """`model.json`, field for field."""

    backbones: list[BackboneSpec]
    geometry: Geometry
    pooling: Pooling
    head: _Head
    thresholds: dict[str, Any]
    ema: float = 0.0
    base_rates: list[float] | None = None
    # Bundles from before there were exclusive labels do not say.
    labels: LabelKind = "multi"


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the two files into `folder`, each atomically, the description last."""
    arrays = {f"head.{name}": value for name, value in bundle.head.items()}
    for index, (_, weights) in enumerate(bundle.backbones):
        arrays |= {f"backbones.{index}.{name}": value for name, value in weights.items()}
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
        "ema": bundle.ema,
        "data_fingerprint": bundle.data_fingerprint,
        "versions": bundle.versions,
        "base_rates": bundle.base_rates,
    }
    save_model(folder, arrays, description)


def load_bundle(folder: Path) -> Bundle:
    """Read a run folder's bundle.

    Raises
    ------
    TagboxError
        ``bundle-missing`` where one of the two files is not there; ``bundle-json`` for a description
        that cannot be read, with the field; ``bundle-version``; ``bundle-weights`` for weights that
        are not those the description names; ``bundle-mismatch`` where their shapes do not fit it.
    """
    path = folder / JSON_NAME
    description = read_description(folder, _Description, FORMAT, FORMAT_VERSION)
    names, rates = description.categories.names, description.base_rates
    if rates is not None and not (len(rates) == len(names) and all(0 < r < 1 for r in rates)):
        raise mismatch(
            path,
            "base_rates",
            f"not a number between 0 and 1 for each of the {len(names)} categories",
        )
    arrays = read_weights(folder / WEIGHTS_NAME, description.weights_sha256)
    head = _under("head.", arrays)
    outputs = head.get("output.bias", np.zeros(0)).shape
    if outputs != (len(names),):
        said = f"the head has {outputs[0] if outputs else 0} outputs for {len(names)} categories"
        raise mismatch(path, "categories.names", said)
    if kind_of(head) != description.head.kind:
        raise mismatch(path, "head.kind", f"the weights are those of the head {kind_of(head)}")
    return Bundle(
        backbones=tuple(
            (spec, _under(f"backbones.{index}.", arrays))
            for index, spec in enumerate(description.backbones)
        ),
        head=head,
        head_kind=description.head.kind,
        categories=read_categories(description.categories, path),
        geometry=description.geometry,
        pooling=description.pooling,
        thresholds=Thresholds.from_dict(description.thresholds, file=path),
        ema=description.ema,
        versions=description.versions,
        data_fingerprint=description.data_fingerprint,
        base_rates=None if rates is None else tuple(rates),
        labels=description.labels,
    )


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
