"""A detector by name: a new one to train, or an empty one for saved weights."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tagbox.config.detector import (
    HUGGINGFACE,
    NANODET,
    OF_TORCHVISION,
    ON_A_BACKBONE,
    DetectorConfig,
)
from tagbox.errors import TagboxError, extra_missing

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector, DetectorSpec


def create_detector(config: DetectorConfig, names: Sequence[str]) -> Detector:
    """A new detector of the categories `names`, with the weights of `config.weights`.

    Layers whose size follows from the number of categories are drawn from `config.seed`, as are all with
    ``none``; the rest is kept.

    Raises
    ------
    TagboxError
        ``detector-unknown``, with near names; ``detector-size`` for a size that the detector does not take;
        ``detector-backbone`` for a backbone without the maps it needs; ``extra-missing``; what the
        modules of this folder raise for weights: ``weights-packaged``, ``detector-weights``,
        ``weights-missing``, ``weights-corrupt``, ``weights-mismatch``, the ``download-…`` codes.
    """
    name, categories = require_detector(config.detector), len(names)
    if name == "nanodet_g":
        from tagbox.models.detectors.nanodet_detector import create_nanodet

        return create_nanodet(config, names)
    if name == "dense":
        from tagbox.models.detectors.dense import create_dense

        return create_dense(config, categories)
    if name in ON_A_BACKBONE:
        from tagbox.models.detectors.torchvision_heads import create_on_pyramid

        return create_on_pyramid(config, categories)
    if _is_transformer(name):
        from tagbox.models.detectors.transformers_create import create_transformer

        return create_transformer(config, categories)
    from tagbox.models.detectors.torchvision_detectors import create_torchvision

    return create_torchvision(config, categories)


def build_detector(spec: DetectorSpec) -> Detector:
    """The detector that `spec` describes, for saved weights: its own mean nothing. Needs no network.

    Raises
    ------
    TagboxError
        ``detector-unknown``; ``extra-missing``.
    """
    name = require_detector(spec.detector)
    if name == "nanodet_g":
        from tagbox.models.detectors.nanodet_detector import build_nanodet

        return build_nanodet(spec)
    if name == "dense":
        from tagbox.models.detectors.dense import build_dense

        return build_dense(spec)
    if name in ON_A_BACKBONE:
        from tagbox.models.detectors.torchvision_heads import build_on_pyramid

        return build_on_pyramid(spec)
    if _is_transformer(name):
        from tagbox.models.detectors.transformers_create import build_transformer

        return build_transformer(spec)
    from tagbox.models.detectors.torchvision_detectors import build_torchvision

    return build_torchvision(spec)


def require_detector(name: str) -> str:
    """`name`, when there is such a detector and what it needs is installed; imports none of it.

    Raises
    ------
    TagboxError
        ``detector-unknown``, with near names; ``extra-missing``.
    """
    _require("torch", "train", name)
    _require("torchvision", "train", name)
    if _is_transformer(name):
        for module in ("transformers", "scipy"):
            _require(module, "transformers", name)
        return name
    known = (*ON_A_BACKBONE, NANODET, *OF_TORCHVISION)
    if name in known:
        return name
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    raise TagboxError(
        "detector-unknown",
        f"no detector is called {name!r}",
        where="detector",
        hint=f"did you mean {', '.join(near)}"
        if near
        else f"there are {', '.join(known)}, {HUGGINGFACE}OWNER/NAME, or the folder of a "
        "downloaded transformer",
    )


def _is_transformer(name: str) -> bool:
    """A model of the hub, or the folder of a downloaded one."""
    return name.startswith(HUGGINGFACE) or os.path.isfile(Path(name).expanduser() / "config.json")


def _require(module: str, extra: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise extra_missing(name, module, extra)
