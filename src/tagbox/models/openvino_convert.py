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
        return openvino.convert_model(
            module.to("cpu"), input=[list(shape)], example_input=torch.zeros(*shape)
        )
