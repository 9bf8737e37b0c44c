"""Networks built for weights that come from elsewhere: drawing the first ones takes most of a large network's time."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWS = frozenset(
    {
        *("uniform_", "normal_", "trunc_normal_", "orthogonal_", "sparse_", "erfinv_"),
        *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"),
    }
)
"""Functions that fill a tensor with random numbers, of `torch.nn.init` and of tensors themselves."""


class Undrawn(TorchFunctionMode):
    """Inside it, what `DRAWS` names leaves a tensor as it lies in memory.

    Only for networks of which every weight is loaded before anything is computed. Constants are set as ever.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """See `TorchFunctionMode`."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            filled = args[0] if args else kwargs["tensor"]
            if isinstance(filled, torch.Tensor):
                return filled
        return func(*args, **kwargs)
