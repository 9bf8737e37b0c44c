"""Backbones by name: what each one is, where its weights come from, and how to run it.

Three sources share one face. The EfficientNet-Lite family is ours (`models.efficientnet_lite`) with
packaged weights and needs no torch to be encoded with; torchvision's classification models and any
timm model are loaded when asked for (`models.torch_backbones`).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config.classifier import SIZES
from tagbox.errors import TagboxError
from tagbox.models import efficientnet_lite as lite
from tagbox.models.freezing import Stages, lite_stages
from tagbox.models.packaged import PACKAGES, load_packaged, with_timm_names

if TYPE_CHECKING:
    from torch import nn

Arrays = Mapping[str, NDArray[Any]]
Source = Literal["packaged", "torchvision", "timm"]


@dataclass(frozen=True)
class BackboneRequest:
    """A name and, where the user gave one, the side of the square in pixels."""

    name: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """What a backbone is; with its weights' arrays it can be made again without a network.

    Attributes
    ----------
    name
        Without the source's prefix: ``resnet18``.
    source
        Who defines the architecture.
    size
        Side in pixels of the square it is given.
    mean, std
        Of each colour in 0..1, taken off and divided by.
    dim
        D, the length of a feature vector.
    weights
        Where the weights came from: ``packaged``, ``none``, a URL or a path.
    weights_sha256
        Of the file of weights; of the arrays where there is no file.
    mean_pooled
        Whether there is a map whose mean over positions is the feature. Where not (a class token),
        the "map" has one position.
    """

    name: str
    source: Source
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int
    weights: str
    weights_sha256: str
    mean_pooled: bool


class Backbone(ABC):
    """A network without its classifier: a square in, a feature map out."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec = spec

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """In eval mode: normalised float32 (B, 3, S, S) to the feature map (B, D, h, w)."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of weights, without the statistics of normalisation layers."""

    @property
    @abstractmethod
    def map_shape(self) -> tuple[int, int, int]:
        """(D, h, w) of the feature map; one position where there is only a class token."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every weight and statistic under its name in `module`."""

    @abstractmethod
    def stages(self) -> Stages:
        """Names of the parameters in `module` of each stage, from the picture to the map."""

    @abstractmethod
    def openvino_map(self, pixels: Any) -> Any:
        """The OpenVINO node of the feature map, given that of normalised pixels (B, 3, S, S)."""


class LiteBackbone(Backbone):
    """One of the EfficientNet-Lite family; its weights are read when they are first needed."""

    def __init__(self, spec: BackboneSpec, read: Callable[[], Arrays]) -> None:
        super().__init__(spec)
        self._read = read

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._read())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Backbone.arrays`."""
        return self._arrays

    @cached_property
    def module(self) -> nn.Module:
        """See `Backbone.module`."""
        import torch

        module = lite.torch_module(self.spec.name)
        state = {k: torch.from_numpy(np.array(v)) for k, v in self._arrays.items()}
        # Names and shapes were checked on reading; the counters of seen batches are not needed.
        module.load_state_dict(state, strict=False)
        return module.eval().requires_grad_(False)

    @property
    def parameters(self) -> int:
        """See `Backbone.parameters`."""
        shapes = lite.state_shapes(self.spec.name)
        return sum(int(np.prod(s)) for name, s in shapes.items() if "running" not in name)

    def stages(self) -> Stages:
        """See `Backbone.stages`."""
        names = lite.state_shapes(self.spec.name)
        return lite_stages([name for name in names if "running" not in name])

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """See `Backbone.map_shape`."""
        side = lite.map_side(self.spec.size)
        return self.spec.dim, side, side

    def openvino_map(self, pixels: Any) -> Any:
        """See `Backbone.openvino_map`."""
        return lite.openvino_graph(self.spec.name, self._arrays, pixels)


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
        ``download-…`` codes of `data.fetch`.
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
    from tagbox.models.torch_backbones import create_torch_backbone

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
        return LiteBackbone(spec, lambda: checked)
    from tagbox.models.torch_backbones import load_torch_backbone

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
        # Read now: a checkpoint of another architecture is refused before any picture is decoded.
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
    return LiteBackbone(spec, read)


def _checked(name: str, state: Arrays, file: Path | None) -> dict[str, NDArray[Any]]:
    """The arrays of `state` that the variant has, all of them in their shapes."""
    state = with_timm_names(name, state)
    wanted = lite.state_shapes(name)
    require_same_shapes(wanted, {key: value.shape for key, value in state.items()}, name, file)
    return {key: np.asarray(state[key]) for key in wanted}


def require_same_shapes(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    name: str,
    file: Path | None,
) -> None:
    """Raise ``weights-mismatch``, naming the first weights, unless `found` has all that is `wanted`."""
    missing = [key for key in wanted if key not in found]
    other = [key for key in wanted if key in found and found[key] != wanted[key]]
    if not missing and not other:
        return
    what = (
        f"{len(missing)} weights of {name} are missing ({', '.join(missing[:3])}…)"
        if missing
        else f"{other[0]} has shape {found[other[0]]}, {name} needs {wanted[other[0]]}"
    )
    raise TagboxError(
        "weights-mismatch",
        what,
        file=file,
        hint="give a checkpoint of that architecture, or the --backbone it belongs to",
    )


def _random_arrays(name: str) -> dict[str, NDArray[Any]]:
    """The same random weights each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = lite.torch_module(name).state_dict()
    return {key: state[key].numpy() for key in lite.state_shapes(name)}


def arrays_sha256(arrays: Arrays) -> str:
    """Hex SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
