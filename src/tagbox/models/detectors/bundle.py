"""The saved detector: `model.safetensors` + `model.json`, which load with no pickle and no network.

It holds all that using a detector needs: what it is and its weights, category names and original ids,
score cuts, versions, the data's fingerprint. Reading it does not import torch.

What a detector is, as plain values: read without torch, and all that is needed to make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tagbox.data.dataset import Categories
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
    saved_format,
)
from tagbox.predictions.thresholds import ScoreThresholds

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """What a detector is; with its weights it can be made again without a network.

    Attributes
    ----------
    detector, backbone
        As `DetectorConfig` names them; `backbone` is empty where the detector brings its own.
    categories
        K; the background is not one of them.
    size
        Longest side of a picture in the network, in pixels.
    fixed
        Whether every picture is stretched to `size` x `size` (SSD), instead of keeping its own proportions.
    multiple
        Height and width of a batch are multiples of it.
    mean, std
        Of each colour in 0..1, taken off and divided by.
    options
        What else its construction needs, as plain JSON values.
    """

    detector: str
    backbone: str
    categories: int
    size: int
    fixed: bool
    multiple: int
    mean: Colour
    std: Colour
    options: dict[str, Any]


FORMAT, FORMAT_VERSION = "tagbox-detector", 1


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorBundle:
    """A detector, whole.

    Attributes
    ----------
    spec
        What it is.
    weights
        Its state, under the names of `torch.nn.Module.state_dict`.
    categories
        What the K category rows mean.
    cuts
        From which score on a box is said.
    ema
        Decay of the moving average that the weights are; 0 for weights as the last step left them.
    versions
        Library to version at training time.
    data_fingerprint
        `Dataset.fingerprint` of the training images.
    """

    spec: DetectorSpec
    weights: Arrays
    categories: Categories
    cuts: ScoreThresholds
    ema: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    data_fingerprint: str = ""


class _Description(Description):
    """`model.json`, field for field."""

    spec: DetectorSpec
    cuts: dict[str, Any]
    ema: float


def is_detector(folder: Path) -> bool:
    """Whether the folder of a run holds a detector."""
    return saved_format(folder) == FORMAT


def save_detector(bundle: DetectorBundle, folder: Path) -> None:
    """Write the two files into `folder`, each atomically, the description last."""
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "spec": asdict(bundle.spec),
        "categories": save_categories(bundle.categories),
        "cuts": bundle.cuts.to_dict(),
        "ema": bundle.ema,
        "data_fingerprint": bundle.data_fingerprint,
        "versions": dict(bundle.versions),
    }
    save_model(folder, bundle.weights, description)


def load_detector_bundle(folder: Path) -> DetectorBundle:
    """Read the saved detector of a run folder.

    Raises
    ------
    TagboxError
        ``bundle-missing`` where one of the two files is not there; ``bundle-json`` for a description
        that cannot be read, with the field; ``bundle-version``; ``bundle-weights`` for weights that
        are not those the description names; ``bundle-mismatch`` where its parts do not fit each
        other; ``score-cuts-invalid``.
    """
    path = folder / JSON_NAME
    description = read_description(folder, _Description, FORMAT, FORMAT_VERSION)
    categories = read_categories(description.categories, path)
    if description.spec.categories != len(categories):
        raise mismatch(
            path,
            "spec.categories",
            f"{description.spec.categories} outputs for {len(categories)} categories",
        )
    cuts = ScoreThresholds.from_dict(description.cuts, file=path)
    if cuts.per_category is not None and len(cuts.per_category) != len(categories):
        raise mismatch(
            path,
            "cuts.per_category",
            f"{len(cuts.per_category)} cuts for {len(categories)} categories",
        )
    return DetectorBundle(
        spec=description.spec,
        weights=read_weights(folder / WEIGHTS_NAME, description.weights_sha256),
        categories=categories,
        cuts=cuts,
        ema=description.ema,
        versions=description.versions,
        data_fingerprint=description.data_fingerprint,
    )
