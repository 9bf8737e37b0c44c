"""AdamW for heads on cached features.

The same updates as `torch.optim.AdamW` (the tests hold them equal). torch's optimizers import its compiler
at their first step, which takes longer than training a head on cached features; networks that are trained
whole use torch's.

References
----------
Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from tagbox.training.schedule import MOST_MOMENTUM

if TYPE_CHECKING:
    from torch.nn import Parameter

SECOND_DECAY, EPSILON = 0.999, 1e-8


class Optimizer(Protocol):
    """What the loop asks of an optimizer; torch's have it."""

    param_groups: Any

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Update the weights by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""


class AdamW:
    """Adam with decoupled weight decay.

    Parameters
    ----------
    parameters
        Weights to train; matrices decay, vectors (biases) do not.
    learning_rate
        Of every weight.
    weight_decay
        Per step and unit of learning rate.
    """

    def __init__(
        self, parameters: Iterable[Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        import torch

        self.parameters = [p for p in parameters if p.requires_grad]
        self.weight_decay = weight_decay
        self.param_groups: list[dict[str, Any]] = [
            {"lr": learning_rate, "betas": (MOST_MOMENTUM, SECOND_DECAY)}
        ]
        self.steps = 0
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update the weights by their gradients."""
        import torch

        rate, (momentum, second_decay) = (self.param_groups[0][key] for key in ("lr", "betas"))
        self.steps += 1
        size = rate / (1 - momentum**self.steps)
        correction = math.sqrt(1 - second_decay**self.steps)
        with torch.no_grad():
            for parameter, first, second in zip(
                self.parameters, self.first, self.second, strict=True
            ):
                if parameter.grad is None:
                    continue
                if parameter.ndim > 1:
                    parameter.mul_(1 - rate * self.weight_decay)
                first.lerp_(parameter.grad, 1 - momentum)
                second.mul_(second_decay).addcmul_(
                    parameter.grad, parameter.grad, value=1 - second_decay
                )
                spread = (second.sqrt() / correction).add_(EPSILON)
                parameter.addcdiv_(first, spread, value=-size)

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`."""
        return {
            "steps": self.steps,
            "groups": self.param_groups,
            "first": self.first,
            "second": self.second,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Optimizer.load_state_dict`."""
        self.steps = state["steps"]
        self.param_groups = [dict(group) for group in state["groups"]]
        self.first, self.second = list(state["first"]), list(state["second"])
