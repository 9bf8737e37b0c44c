"""Saved models: ``model.safetensors`` and ``model.json``, which load with no pickle, no network and no torch.

A bundle holds all that using a model needs: its weights and structure, category names and original ids, input
size and normalisation, thresholds, versions, and the fingerprint of its training data.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import msgspec
import numpy as np

from tagbox.atomic_io import atomic_path, atomic_write, sha256_of
from tagbox.config import Geometry, HeadKind, LabelKind, Pooling
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.models.backbones import BackboneSpec, Colour
from tagbox.models.backbones.base import Deviation
from tagbox.models.bundle_files import (
    Arrays,
    Header,
    building,
    decode_description,
    mismatch,
    read_description,
    read_weights,
)
from tagbox.models.heads import head_logits, kind_of, wants_map
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds

JSON_NAME, WEIGHTS_NAME, ENSEMBLE_NAME = "model.json", "model.safetensors", "ensemble.json"
FORMAT_VERSION = 1


class _Categories(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str]
    ids: list[Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]]
    supercategories: list[str]


class _Description(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of ``model.json`` that every kind of model has."""

    format: str
    format_version: int
    categories: _Categories
    weights_sha256: str
    ema: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    data_fingerprint: str
    versions: dict[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle(ABC):
    """A model with everything that using it needs.

    Attributes
    ----------
    categories
        Of the K outputs.
    ema
        Decay of the moving average of the weights; 0 for the weights of the last step.
    versions
        Library to version at training time.
    data_fingerprint
        `Dataset.fingerprint` of the training images.
    """

    categories: Categories
    ema: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    data_fingerprint: str = ""

    _format: ClassVar[str]
    _description_type: ClassVar[type[_Description]]

    @abstractmethod
    def _arrays(self) -> Arrays:
        """All weights, by their names in ``model.safetensors``."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """``model.json`` without format, version and checksum of the weights."""

    @classmethod
    @abstractmethod
    def _fields_from(cls, description: Any, arrays: Arrays, path: Path) -> dict[str, Any]:
        """The kind's own fields; ``bundle-mismatch`` where they do not fit each other."""

    def save(self, folder: Path) -> None:
        """Write the two files into `folder`, each atomically, the description last."""
        from safetensors.numpy import save_file

        # `np.ascontiguousarray` would give a counter, which has no dimension, one.
        plain = {name: np.asarray(value, order="C") for name, value in self._arrays().items()}
        with atomic_path(folder / WEIGHTS_NAME) as temporary:
            save_file(plain, temporary)
        description = {
            "format": self._format,
            "format_version": FORMAT_VERSION,
            **self._description(),
            "weights_sha256": sha256_of(folder / WEIGHTS_NAME),
        }
        content = msgspec.json.encode(description, enc_hook=lambda ids: ids.tolist())
        atomic_write(folder / JSON_NAME, msgspec.json.format(content, indent=2))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the model in a run directory.

        Raises
        ------
        TagboxError
            ``bundle-missing``; ``bundle-json``, with the field; ``bundle-version``; ``bundle-weights`` for
            weights other than those described; ``bundle-mismatch`` where parts do not fit each other;
            ``thresholds-invalid``, ``score-cuts-invalid``.
        """
        path = folder / JSON_NAME
        description = read_description(path, cls._description_type, cls._format, FORMAT_VERSION)
        arrays = read_weights(folder / WEIGHTS_NAME, description.weights_sha256)
        return cls(
            categories=_read_categories(description.categories, path),
            ema=description.ema,
            versions=description.versions,
            data_fingerprint=description.data_fingerprint,
            **cls._fields_from(description, arrays, path),
        )


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    kind: HeadKind


class _ClassifierDescription(_Description, kw_only=True):
    backbones: list[BackboneSpec]
    geometry: Geometry
    pooling: Pooling
    head: _Head
    thresholds: dict[str, Any]
    base_rates: list[float] | None = None
    # Absent in bundles that are older than exclusive labels.
    labels: LabelKind = "multi"
    transfer: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierBundle(Bundle):
    """A classifier.

    Attributes
    ----------
    backbones
        Specifications and the weights of each, under the names of its architecture.
    head
        The head's state; see `models.heads.head_logits`.
    head_kind
        ``linear``, ``mlp``, ``ml_decoder`` or ``csra``.
    geometry, pooling
        From image to square, and from feature map to vector (unless the head takes the map).
    thresholds
        From probabilities to labels.
    base_rates
        K shares of the training images in which each category is present; None in older bundles.
    labels
        ``multi`` (sigmoid) or ``exclusive`` (softmax).
    transfer
        Whose training on COCO it uses, as ``COCO transfer (…)``: of a detector's scores, or of a teacher that used
        them; None where of none.
    """

    backbones: tuple[tuple[BackboneSpec, Arrays], ...]
    head: Arrays
    head_kind: HeadKind
    geometry: Geometry
    pooling: Pooling
    thresholds: Thresholds
    base_rates: tuple[float, ...] | None = None
    labels: LabelKind = "multi"
    transfer: str | None = None

    _format = "tagbox-classifier"
    _description_type = _ClassifierDescription

    def _arrays(self) -> Arrays:
        found = {f"head.{name}": value for name, value in self.head.items()}
        for index, (_, weights) in enumerate(self.backbones):
            found |= {f"backbones.{index}.{name}": value for name, value in weights.items()}
        return found

    def _description(self) -> dict[str, Any]:
        return {
            "backbones": [spec for spec, _ in self.backbones],
            "geometry": self.geometry,
            "pooling": self.pooling,
            "labels": self.labels,
            "head": {"kind": self.head_kind},
            "categories": self.categories,
            "thresholds": self.thresholds.to_dict(),
            "ema": self.ema,
            "data_fingerprint": self.data_fingerprint,
            "versions": self.versions,
            "base_rates": self.base_rates,
            **({} if self.transfer is None else {"transfer": self.transfer}),
        }

    @classmethod
    def _fields_from(
        cls, description: _ClassifierDescription, arrays: Arrays, path: Path
    ) -> dict[str, Any]:
        count, rates = len(description.categories.names), description.base_rates
        if rates is not None and not (len(rates) == count and all(0 < r < 1 for r in rates)):
            found = f"not a number between 0 and 1 for each of the {count} categories"
            raise mismatch(path, "base_rates", found)
        head = _under("head.", arrays)
        outputs = head.get("output.bias", np.zeros(0)).shape
        if outputs != (count,):
            found = f"the head has {outputs[0] if outputs else 0} outputs for {count} categories"
            raise mismatch(path, "categories.names", found)
        if kind_of(head) != description.head.kind:
            raise mismatch(path, "head.kind", f"the weights are those of the head {kind_of(head)}")
        _require_outputs(head, description, path)
        if description.transfer is None and any(
            s.source == "detector" for s in description.backbones
        ):
            raise mismatch(path, "transfer", "it uses a detector's scores and does not say so")
        thresholds = Thresholds.from_dict(description.thresholds, file=path)
        if thresholds.per_category is not None and len(thresholds.per_category) != count:
            found = f"{len(thresholds.per_category)} thresholds for {count} categories"
            raise mismatch(path, "thresholds.per_category", found)
        return {
            "backbones": tuple(
                (spec, _under(f"backbones.{index}.", arrays))
                for index, spec in enumerate(description.backbones)
            ),
            "head": head,
            "head_kind": description.head.kind,
            "geometry": description.geometry,
            "pooling": description.pooling,
            "thresholds": thresholds,
            "base_rates": None if rates is None else tuple(rates),
            "labels": description.labels,
            "transfer": description.transfer,
        }


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """The structure of a detector; with its weights it can be built without a network.

    Attributes
    ----------
    detector, backbone
        As in `DetectorConfig`; `backbone` is empty for detectors with one of their own.
    categories
        K, without a background.
    size
        Longest side of an image in the network, in pixels.
    fixed
        Whether images are stretched to `size` x `size` (SSD) or keep their aspect ratio.
    multiple
        Height and width of a batch are multiples of it.
    mean, std
        Of each colour in 0..1, subtracted and divided by.
    options
        Further arguments of its construction, as plain JSON values.
    """

    detector: str
    backbone: str
    categories: int
    size: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    fixed: bool
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    mean: Colour
    std: tuple[Deviation, Deviation, Deviation]
    options: dict[str, Any]


class _DetectorDescription(_Description, kw_only=True):
    spec: DetectorSpec
    cuts: dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorBundle(Bundle):
    """A detector.

    Attributes
    ----------
    spec
        Its structure.
    weights
        Its state, under the names of `torch.nn.Module.state_dict`.
    cuts
        Score thresholds.
    """

    spec: DetectorSpec
    weights: Arrays
    cuts: ScoreThresholds

    _format = "tagbox-detector"
    _description_type = _DetectorDescription

    def _arrays(self) -> Arrays:
        return self.weights

    def _description(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "categories": self.categories,
            "cuts": self.cuts.to_dict(),
            "ema": self.ema,
            "data_fingerprint": self.data_fingerprint,
            "versions": self.versions,
        }

    @classmethod
    def _fields_from(
        cls, description: _DetectorDescription, arrays: Arrays, path: Path
    ) -> dict[str, Any]:
        count, spec = len(description.categories.names), description.spec
        if spec.categories != count:
            found = f"{spec.categories} outputs for {count} categories"
            raise mismatch(path, "spec.categories", found)
        cuts = ScoreThresholds.from_dict(description.cuts, file=path)
        if cuts.per_category is not None and len(cuts.per_category) != count:
            found = f"{len(cuts.per_category)} cuts for {count} categories"
            raise mismatch(path, "cuts.per_category", found)
        return {"spec": spec, "weights": arrays, "cuts": cuts}


def is_detector(folder: Path) -> bool:
    """Whether the model in a run directory is a detector; False where it cannot be read."""
    try:
        return decode_description(folder / JSON_NAME, Header).format == DetectorBundle._format
    except TagboxError:
        return False


def is_ensemble(folder: Path) -> bool:
    """Whether a run folder holds an ensemble and not a single model."""
    return os.path.isfile(folder / ENSEMBLE_NAME)


def _read_categories(given: _Categories, path: Path) -> Categories:
    if not len(given.names) == len(given.ids) == len(given.supercategories):
        raise mismatch(path, "categories", "names, ids and supercategories differ in number")
    return Categories(
        names=tuple(given.names),
        ids=np.array(given.ids, np.int64),
        supercategories=tuple(given.supercategories),
    )


def _require_outputs(head: Arrays, description: _ClassifierDescription, path: Path) -> None:
    """Refuse a head that gives no finite logits for features of the backbones' dimensions."""
    if wants_map(description.head.kind):
        width = sum(spec.dim for spec in description.backbones)
        features = np.zeros((1, width, 1, 1), np.float32)
    else:
        width = sum(spec.features(description.pooling) for spec in description.backbones)
        features = np.zeros((1, width), np.float32)
    with building(path), np.errstate(all="ignore"):
        logits = head_logits(head, features)
    if logits.shape != (1, len(description.categories.names)) or not np.isfinite(logits).all():
        raise mismatch(path, "head", f"the head gives no logits for {features.shape[1]} features")


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
