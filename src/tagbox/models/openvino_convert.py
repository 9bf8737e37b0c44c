"""From a torch module to an OpenVINO model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


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
