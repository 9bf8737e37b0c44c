"""Backbones that are torch modules, those of torchvision and timm, and their conversion to OpenVINO.

A name that both libraries know means torchvision's; ``timm/NAME`` and ``torchvision/NAME`` select one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tagbox.atomic_io import sha256_of
from tagbox.errors import TagboxError, extra_missing
from tagbox.models.backbones.base import Arrays, Backbone, BackboneSpec, arrays_sha256
from tagbox.models.backbones.names import require_backbone
from tagbox.models.freezing import Stages, module_stages
from tagbox.models.weights import download_weights, locate_checkpoint, read_checkpoint
from tagbox.sharing import shared_property

if TYPE_CHECKING:
    from torch import nn

    from tagbox.models.backbones.architectures import Architecture, State


def convert_module(module: nn.Module, shape: Sequence[int]) -> Any:
    """The `openvino.Model` of a module that takes one float32 tensor of that shape, traced once on the CPU."""
    import warnings

    import openvino
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        # torch's notes to the authors of OpenVINO and of the models; nothing a user can act on.
        warnings.simplefilter("ignore")
        # Traced here: OpenVINO would have torch trace it twice and compare, which takes longer than the rest.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.to("cpu"), torch.zeros(*shape), strict=False, check_trace=False
        )
        return openvino.convert_model(traced, input=[list(shape)])


class TorchBackbone(Backbone):
    """A torch module that computes a feature map."""

    def __init__(self, spec: BackboneSpec, module: nn.Module) -> None:
        super().__init__(spec)
        self._module = module

    @property
    def module(self) -> nn.Module:
        """See `Backbone.module`."""
        return self._module

    @property
    def parameters(self) -> int:
        """See `Backbone.parameters`."""
        return sum(p.numel() for p in self._module.parameters())

    @shared_property
    def map_shape(self) -> tuple[int, int, int]:
        """See `Backbone.map_shape`; a black square tells."""
        return _map_shape(self._module, self.spec.size, self.spec.name)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Backbone.arrays`."""
        return _arrays(self._module)

    def stages(self) -> Stages:
        """See `Backbone.stages`."""
        return module_stages(self._module.get_submodule("network"), "network.")

    def openvino_map(self, pixels: Any) -> Any:
        """See `Backbone.openvino_map`: the module traced once and grafted on `pixels`."""
        traced = convert_module(self._module, [1, 3, self.spec.size, self.spec.size])
        traced.inputs[0].get_node().output(0).replace(pixels.output(0))
        result: Any = traced.outputs[0].get_node().input_value(0)
        return result


def create_torch_backbone(asked: str, size: int | None, weights: str) -> TorchBackbone:
    """See `models.backbones.create_backbone`."""
    architecture = find_architecture(asked)
    if weights == "none":
        origin, state, file, digest = "none", None, None, ""
    elif weights == "default":
        origin = architecture.url()
        file = download_weights(origin)
        state, digest = read_checkpoint(file), sha256_of(file)
    else:
        file, digest = locate_checkpoint(weights)
        origin, state = weights, read_checkpoint(file)
    side = size or architecture.default_size
    module = _build(architecture, side, state, file)
    shape = _map_shape(module, side, architecture.name)
    spec = BackboneSpec(
        name=architecture.name,
        source=architecture.source,
        size=side,
        mean=architecture.mean,
        std=architecture.std,
        dim=shape[0],
        weights=origin,
        weights_sha256=digest or arrays_sha256(_arrays(module)),
        mean_pooled=shape[1] * shape[2] > 1,
    )
    return TorchBackbone(spec, module)


def load_torch_backbone(spec: BackboneSpec, arrays: Arrays) -> TorchBackbone:
    """See `models.backbones.load_backbone`."""
    import torch

    from tagbox.models.backbones.architectures import load_strictly

    module = _build(find_architecture(f"{spec.source}/{spec.name}"), spec.size, None, None)
    state = {name: torch.tensor(value) for name, value in arrays.items()}
    load_strictly(module.get_submodule("network"), state, spec.name, None)
    return TorchBackbone(spec, module)


def find_architecture(asked: str) -> Architecture:
    """The model of that name.

    Raises
    ------
    TagboxError
        ``backbone-unknown``, with the names that look like it; ``extra-missing``.
    """
    library, name = require_backbone(asked)
    try:
        from tagbox.models.backbones.architectures import TimmArchitecture, TorchvisionArchitecture
    except ImportError as error:
        raise extra_missing(asked, error.name) from error
    return TorchvisionArchitecture(name) if library == "torchvision" else TimmArchitecture(name)


def _build(
    architecture: Architecture, size: int, state: State | None, file: Path | None
) -> nn.Module:
    """The module, frozen, in eval mode; random weights are always the same."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            module = architecture.build(size, state, file)
        except TagboxError:
            raise
        except Exception as error:  # Constructors refuse sizes each in its own way.
            raise _bad_size(architecture.name, size, error) from error
    return module.eval().requires_grad_(False)


def _map_shape(module: nn.Module, size: int, name: str) -> tuple[int, int, int]:
    """(D, h, w) of the feature map of a square of `size` pixels."""
    import torch

    device = next(module.parameters()).device
    try:
        with torch.inference_mode():
            found = module(torch.zeros(1, 3, size, size, device=device))
    except Exception as error:  # As above.
        raise _bad_size(name, size, error) from error
    depth, height, width = found.shape[1:]
    return int(depth), int(height), int(width)


def _bad_size(name: str, size: int, error: Exception) -> TagboxError:
    reason = " ".join(str(error).split())[:120].rstrip(".")
    return TagboxError(
        "backbone-size",
        f"{name} does not take {size}x{size} pixels ({reason})",
        where="backbone",
        hint=f"leave the size out: --backbone {name}",
    )


def _arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    state = module.get_submodule("network").state_dict()
    return {name: value.cpu().numpy() for name, value in state.items()}
