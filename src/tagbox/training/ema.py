"""The moving average of a model's weights, which is what is evaluated and published where it is on.

References
----------
Polyak and Juditsky, 1992; the rising decay of the first steps is TensorFlow's ``ExponentialMovingAverage``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


class Ema:
    """Averages every weight and statistic of `model` over its steps.

    Parameters
    ----------
    model
        Copied; its module moves on.
    decay
        Of the old average at each step, less in the first ones: ``min(decay, (1 + n) / (10 + n))``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    def update(self, model: nn.Module) -> None:
        """Draw the average towards `model`, after an optimizer step."""
        import torch

        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mean, value in zip(
                self.model.state_dict().values(), model.state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"steps": self.steps, "model": dict(self.model.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.steps = state["steps"]
        self.model.load_state_dict(state["model"])
