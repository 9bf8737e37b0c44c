"""The interface of a backbone, and what surrounds every backbone: normalised pixels, pooled maps, checked weights."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.config import Pooling
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.models.freezing import Stages

Arrays = Mapping[str, NDArray[Any]]
Mean = Annotated[float, msgspec.Meta(ge=-1000, le=1000)]
Deviation = Annotated[float, msgspec.Meta(ge=1e-4, le=1000)]
Colour = tuple[Mean, Mean, Mean]
"""A value of each of red, green and blue."""
Source = Literal["packaged", "torchvision", "timm", "detector"]
Reduction = Pooling | Literal["map"]
"""How a feature map becomes a vector: pooled, or flattened (``map``)."""


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """What a backbone is; with its weights' arrays it can be made again without a network.

    Attributes
    ----------
    name
        Without the source's prefix: ``resnet18``.
    source
        Who defines the architecture; ``detector`` for the scores of one.
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
        Whether there is a map that is pooled over positions. Where not (a class token), the "map" has one
        position.
    """

    name: str
    source: Source
    size: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    mean: Colour
    std: tuple[Deviation, Deviation, Deviation]
    dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    weights: str
    weights_sha256: str
    mean_pooled: bool

    def pooling(self, asked: Reduction) -> Reduction:
        """How its map becomes a vector where `asked` is the setting of the classifier.

        A class token is one position, whose mean, maximum and map are the same numbers. Of a detector's scores
        the maximum says whether there is an object; their mean says how large it is.
        """
        if not self.mean_pooled:
            return "mean"
        return "max" if self.source == "detector" and asked != "map" else asked

    def features(self, asked: Pooling) -> int:
        """Length of its pooled vector."""
        return self.dim * len(self.pooling(asked).split("+"))


class Backbone(ABC):
    """A network without its classifier: a square to a feature map."""

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
        """Names of the parameters in `module` of each stage, from the image to the map."""

    @abstractmethod
    def openvino_map(self, pixels: Any) -> Any:
        """The OpenVINO node of the feature map, given that of normalised pixels (B, 3, S, S)."""


def normalise(squares: Tensor, spec: BackboneSpec, *, channels_last: bool = False) -> Tensor:
    """(B, S, S, 3) of 0..255 to (B, 3, S, S) float32: ``(x / 255 - mean) / std`` in each colour.

    With `channels_last` the pixels stay where they are, which is that memory layout.
    """
    import torch

    mean, std = (torch.tensor(v, device=squares.device) for v in (spec.mean, spec.std))
    pixels = ((squares.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    return pixels if channels_last else pixels.contiguous()


def pool(feature_map: Tensor, pooling: Reduction) -> Tensor:
    """(B, D, h, w) to (B, D), (B, 2 D) for ``mean+max``, (B, D h w) for ``map``."""
    import torch

    if pooling == "map":
        return feature_map.flatten(1)
    parts = {
        "mean": lambda: feature_map.mean(dim=(2, 3)),
        "max": lambda: feature_map.amax(dim=(2, 3)),
    }
    return torch.cat([parts[name]() for name in pooling.split("+")], dim=1)


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


def arrays_sha256(arrays: Arrays) -> str:
    """Hex SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
