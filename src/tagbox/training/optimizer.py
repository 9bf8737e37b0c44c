"""AdamW on the one-cycle schedule.

The same updates as `torch.optim.AdamW` under `torch.optim.lr_scheduler.OneCycleLR` (the tests hold them
equal). torch's optimizers import its compiler at their first step, which takes longer than training a
head on cached features; `training.loop.fit` takes either.

References
----------
Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; Smith and Topin,
"Super-Convergence", 2018, with torch's cosine phases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch.nn import Parameter

SECOND_DECAY, EPSILON = 0.999, 1e-8
WARM_UP, START_DIVISOR, END_DIVISOR = 0.3, 25.0, 1e4
LEAST_MOMENTUM, MOST_MOMENTUM = 0.85, 0.95


class Optimizer(Protocol):
    """What the loop asks of an optimizer; torch's have it."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Update the weights by their gradients."""


class Scheduler(Protocol):
    """What the loop asks of a schedule; torch's have it."""

    def step(self) -> None:
        """One step on."""

    def get_last_lr(self) -> list[float]:
        """The learning rate in force, of each group."""


class AdamW:
    """Adam with decoupled weight decay.

    Parameters
    ----------
    parameters
        Weights to train; matrices decay, vectors (biases) do not.
    weight_decay
        Per step and unit of learning rate.
    """

    def __init__(self, parameters: Iterable[Parameter], weight_decay: float) -> None:
        import torch

        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.learning_rate = 0.0
        self.momentum = MOST_MOMENTUM
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

        self.steps += 1
        size = self.learning_rate / (1 - self.momentum**self.steps)
        correction = math.sqrt(1 - SECOND_DECAY**self.steps)
        with torch.no_grad():
            for parameter, first, second in zip(
                self.parameters, self.first, self.second, strict=True
            ):
                if parameter.grad is None:
                    continue
                if parameter.ndim > 1:
                    parameter.mul_(1 - self.learning_rate * self.weight_decay)
                first.lerp_(parameter.grad, 1 - self.momentum)
                second.mul_(SECOND_DECAY).addcmul_(
                    parameter.grad, parameter.grad, value=1 - SECOND_DECAY
                )
                spread = (second.sqrt() / correction).add_(EPSILON)
                parameter.addcdiv_(first, spread, value=-size)


class OneCycle:
    """Learning rate up to `peak` in the first 30 % of the steps and down to nearly 0; momentum against it.

    Parameters
    ----------
    optimizer
        Its `learning_rate` and `momentum` are set, for the first step already here.
    peak
        Highest learning rate.
    total_steps
        Steps of the whole training.
    """

    def __init__(self, optimizer: AdamW, peak: float, total_steps: int) -> None:
        self.optimizer, self.peak, self.total = optimizer, peak, total_steps
        self.done = -1
        self.step()

    def step(self) -> None:
        """One step on."""
        self.done += 1
        turn, end = WARM_UP * self.total - 1, self.total - 1
        start = self.peak / START_DIVISOR
        if self.done <= turn:
            share = self.done / turn if turn else 1.0
            rate, momentum = (start, self.peak), (MOST_MOMENTUM, LEAST_MOMENTUM)
        else:
            share = (self.done - turn) / max(end - turn, 1e-9)
            rate, momentum = (self.peak, start / END_DIVISOR), (LEAST_MOMENTUM, MOST_MOMENTUM)
        self.optimizer.learning_rate = _cosine(*rate, share)
        self.optimizer.momentum = _cosine(*momentum, share)

    def get_last_lr(self) -> list[float]:
        """The learning rate in force."""
        return [self.optimizer.learning_rate]


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
