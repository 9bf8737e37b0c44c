"""Backbones by name: EfficientNet-Lite with packaged weights, and any model of torchvision or timm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config.classifier import SIZES
from tagbox.errors import TagboxError
from tagbox.models.backbones import efficientnet_lite as lite
from tagbox.models.backbones.base import (
    Arrays,
    Backbone,
    BackboneSpec,
    arrays_sha256,
    require_same_shapes,
)
from tagbox.models.backbones.packaged import PACKAGES, load_packaged, with_timm_names


@dataclass(frozen=True)
class BackboneRequest:
    """A name and, where the user gave one, the side of the square in pixels."""

    name: str
    size: int | None = None


def parse_backbones(text: str) -> tuple[BackboneRequest, ...]:
    """``"a@384+b"`` as requests.

    Raises
    ------
    TagboxError
        ``backbone-size`` for a size that is not a whole number from 32 to 2048; ``backbone-unknown``
        for an empty name.
    """
    requests = []
    for part in text.split("+"):
        name, at, size = part.strip().partition("@")
        if not name:
            raise TagboxError(
                "backbone-unknown",
                f"{text!r} has an empty name",
                where="backbone",
                hint="write NAME, NAME@SIZE or NAME@SIZE+NAME@SIZE",
            )
        if at and not (size.isdecimal() and int(size) in SIZES):
            raise TagboxError(
                "backbone-size",
                f"{part.strip()!r} asks for size {size!r}",
                where="backbone",
                hint=f"give a whole number from {SIZES[0]} to {SIZES[-1]}, as in {name}@384",
            )
        requests.append(BackboneRequest(name, int(size) if at else None))
    return tuple(requests)


def create_backbone(request: BackboneRequest, weights: str = "default") -> Backbone:
    """The backbone that was asked for.

    Parameters
    ----------
    weights
        ``default``: the packaged weights where there are any, else the hub's; ``packaged``; ``none``:
        random ones, always the same; or the path or URL of a checkpoint of that architecture.

    Raises
    ------
    TagboxError
        ``backbone-unknown``, with near names; ``weights-packaged`` where that backbone has no packaged
        weights; ``extra-missing``; ``weights-missing``, ``weights-corrupt``, ``weights-mismatch``; the
        ``download-…`` codes of `tagbox.data.http_download.download_file`.
    """
    name = request.name.removeprefix("tf_")
    if name in PACKAGES:
        return _create_lite(name, request.size, weights)
    if weights == "packaged":
        raise TagboxError(
            "weights-packaged",
            f"{request.name} has no packaged weights",
            where="weights",
            hint=f"those that have are {', '.join(PACKAGES)}; or pass --weights default",
        )
    from tagbox.models.backbones.torch_backbones import create_torch_backbone

    return create_torch_backbone(request.name, request.size, weights)


def load_backbone(spec: BackboneSpec, arrays: Arrays) -> Backbone:
    """The backbone `spec` describes with the weights in `arrays`, as a saved model holds them.

    Raises
    ------
    TagboxError
        ``weights-mismatch`` where the arrays are not that architecture's; ``extra-missing``.
    """
    if spec.source == "packaged":
        checked = _checked(spec.name, arrays, None)
        return lite.LiteBackbone(spec, lambda: checked)
    from tagbox.models.backbones.torch_backbones import load_torch_backbone

    return load_torch_backbone(spec, arrays)


def trained_backbone(backbone: Backbone, arrays: Arrays) -> Backbone:
    """`backbone` after its weights were trained on: another backbone, known by its own digest."""
    spec = backbone.spec
    return load_backbone(
        replace(
            spec,
            weights=f"trained from {spec.weights.removeprefix('trained from ')}",
            weights_sha256=arrays_sha256(arrays),
        ),
        arrays,
    )


def _create_lite(name: str, size: int | None, weights: str) -> Backbone:
    package = PACKAGES[name]
    read: Callable[[], Arrays]
    if weights in ("default", "packaged"):
        origin, digest, read = "packaged", package.sha256, partial(load_packaged, name)
    elif weights == "none":
        arrays = _random_arrays(name)
        origin, digest, read = "none", arrays_sha256(arrays), lambda: arrays
    else:
        from tagbox.models.weights import locate_checkpoint, read_arrays

        path, digest = locate_checkpoint(weights)
        # Read now: a checkpoint of another architecture is refused before any image is decoded.
        arrays = _checked(name, read_arrays(path), path)
        origin, read = weights, lambda: arrays
    spec = BackboneSpec(
        name=name,
        source="packaged",
        size=size or package.size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=lite.FEATURES,
        weights=origin,
        weights_sha256=digest,
        mean_pooled=True,
    )
    return lite.LiteBackbone(spec, read)


def _checked(name: str, state: Arrays, file: Path | None) -> dict[str, NDArray[Any]]:
    """The arrays of `state` that the variant has, all of them in their shapes."""
    state = with_timm_names(name, state)
    wanted = lite.state_shapes(name)
    require_same_shapes(wanted, {key: value.shape for key, value in state.items()}, name, file)
    return {key: np.asarray(state[key]) for key in wanted}


def _random_arrays(name: str) -> dict[str, NDArray[Any]]:
    """The same random weights each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = lite.torch_module(name).state_dict()
    return {key: state[key].numpy() for key in lite.state_shapes(name)}
