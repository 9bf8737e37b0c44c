"""What stands before and behind every backbone in torch: normalised pixels, pooled maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tagbox.config import Pooling
from tagbox.models.backbones import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor


def normalise(squares: Tensor, spec: BackboneSpec, *, channels_last: bool = False) -> Tensor:
    """(B, S, S, 3) of 0..255 to (B, 3, S, S) float32: ``(x / 255 - mean) / std`` in each colour.

    With `channels_last` the pixels stay where they are, which is that memory layout.
    """
    import torch

    mean, std = (torch.tensor(v, device=squares.device) for v in (spec.mean, spec.std))
    pixels = ((squares.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    return pixels if channels_last else pixels.contiguous()


def pool(feature_map: Tensor, pooling: Pooling | Literal["map"]) -> Tensor:
    """(B, D, h, w) to (B, D), (B, 2 D) for ``mean+max``, (B, D h w) for ``map``."""
    import torch

    if pooling == "map":
        return feature_map.flatten(1)
    parts = {
        "mean": lambda: feature_map.mean(dim=(2, 3)),
        "max": lambda: feature_map.amax(dim=(2, 3)),
    }
    return torch.cat([parts[name]() for name in pooling.split("+")], dim=1)
