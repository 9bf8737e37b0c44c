"""Learning-rate schedules, optimizers with layer-wise rates, and the moving average of weights.

References
----------
One-cycle: Smith and Topin, "Super-Convergence", 2018, with torch's cosine phases. Cosine: Loshchilov and
Hutter, "SGDR", ICLR 2017, one cycle after a linear warm-up (Goyal et al., 2017). AdamW: Loshchilov and
Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2. Moving average: Polyak and Juditsky,
1992; the rising decay of the first steps is TensorFlow's ``ExponentialMovingAverage``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tagbox.config import FinetuneConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.nn import Parameter

START_DIVISOR, END_DIVISOR = 25.0, 1e4
LEAST_MOMENTUM, MOST_MOMENTUM = 0.85, 0.95
STEP_FACTOR, STEPS_DOWN = 0.1, 3
MILESTONES = (16 / 26, 22 / 26)
"""Where `multistep` goes down, as torchvision's references/detection do: after epochs 16 and 22 of 26."""

Course = Callable[[int], tuple[float, float | None]]
"""Step, from 0, to (share of the peak learning rate, momentum or None to leave it unchanged)."""


class HasGroups(Protocol):
    """An optimizer, torch's or `AdamW`; each group holds ``lr``, and ``peak``, which a `Schedule` adds."""

    param_groups: Any


class Schedule:
    """Sets learning rate and momentum of every parameter group, for the first step on construction.

    A pure function of the number of steps, so that its state is that number.
    """

    def __init__(self, optimizer: HasGroups, course: Course) -> None:
        self.optimizer, self.course = optimizer, course
        self.done = 0
        for group in optimizer.param_groups:
            group.setdefault("peak", group["lr"])
        self._set()

    def step(self) -> None:
        """Advance by one step."""
        self.go_to(self.done + 1)

    def go_to(self, steps: int) -> None:
        """Set the state after that many steps."""
        self.done = steps
        self._set()

    def get_last_lr(self) -> list[float]:
        """The current learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set(self) -> None:
        share, momentum = self.course(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
            if momentum is None:
                continue
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif "momentum" in group:
                group["momentum"] = momentum


def one_cycle(total: int, warmup: float) -> Course:
    """Up from 1/25 of the peak in the first `warmup` of `total` steps, then down to nearly 0; momentum against it."""

    def course(step: int) -> tuple[float, float]:
        turn, end = warmup * total - 1, total - 1
        start = 1 / START_DIVISOR
        if step <= turn:
            share = step / turn if turn else 1.0
            return _cosine(start, 1.0, share), _cosine(MOST_MOMENTUM, LEAST_MOMENTUM, share)
        share = (step - turn) / max(end - turn, 1e-9)
        return (
            _cosine(1.0, start / END_DIVISOR, share),
            _cosine(LEAST_MOMENTUM, MOST_MOMENTUM, share),
        )

    return course


def cosine(total: int, warmup: float) -> Course:
    """Linearly up in the first `warmup` of `total` steps, then half a cosine down to 0."""

    def course(step: int) -> tuple[float, None]:
        rising = round(warmup * total)
        if step < rising:
            return (step + 1) / rising, None
        return _cosine(1.0, 0.0, (step - rising) / max(total - rising, 1)), None

    return course


def step_down(total: int) -> Course:
    """A tenth after each third of `total` steps."""

    def course(step: int) -> tuple[float, None]:
        return STEP_FACTOR ** min(step * STEPS_DOWN // max(total, 1), STEPS_DOWN - 1), None

    return course


def multistep(total: int, warmup: float) -> Course:
    """Linearly up in the first `warmup` of `total` steps, then a tenth after each of `MILESTONES`."""

    def course(step: int) -> tuple[float, None]:
        rising = round(warmup * total)
        down = sum(step >= share * total for share in MILESTONES)
        return min(1.0, (step + 1) / max(rising, 1)) * STEP_FACTOR**down, None

    return course


def create_course(name: str, total: int, warmup: float) -> Course:
    """The course called `name` in `FinetuneConfig.schedule`."""
    if name == "one_cycle":
        return one_cycle(total, warmup)
    if name == "multistep":
        return multistep(total, warmup)
    return cosine(total, warmup) if name == "cosine" else step_down(total)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))


SECOND_DECAY, EPSILON = 0.999, 1e-8


class Optimizer(Protocol):
    """The interface of torch's optimizers that the training loop uses."""

    param_groups: Any

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""

    def step(self) -> object:
        """Update the weights by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""


class AdamW:
    """Adam with decoupled weight decay: the updates of `torch.optim.AdamW`, to which tests hold it.

    For heads on cached features: torch's optimizers import its compiler at the first step, which takes
    longer than the whole training of a head.

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
        """Clear the gradients."""
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
        """Everything but the weights, for a checkpoint."""
        return {
            "steps": self.steps,
            "groups": self.param_groups,
            "first": self.first,
            "second": self.second,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.steps = state["steps"]
        self.param_groups = [dict(group) for group in state["groups"]]
        self.first, self.second = list(state["first"]), list(state["second"])


MOMENTUM = 0.9


def optimizer_of(
    backbone: Mapping[str, Any],
    trained: Sequence[Sequence[str]],
    own: Sequence[Any],
    config: FinetuneConfig,
) -> Any:
    """torch's optimizer with layer-wise learning-rate decay; biases and norms have no weight decay.

    A stage at distance d from the head, the last stage being at 0, learns at
    ``learning_rate * backbone_rate * layer_decay ** d``.

    Parameters
    ----------
    backbone
        Parameters by name.
    trained
        Names of the trained stages' parameters, from the input on.
    own
        Parameters that are not the backbone's.
    """
    import torch

    groups = _groups(own, config.learning_rate, config.weight_decay)
    for distance, names in enumerate(reversed(trained)):
        rate = config.learning_rate * config.backbone_rate * config.layer_decay**distance
        groups += _groups([backbone[name] for name in names], rate, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups)


def _groups(parameters: Sequence[Any], rate: float, decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "lr": rate, "weight_decay": decay},
        {"params": vectors, "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Ema:
    """Averages every weight and statistic of `model` over its steps.

    Parameters
    ----------
    model
        Copied; updates do not change it.
    decay
        Weight of the old average at each step, less in the first steps: ``min(decay, (1 + n) / (10 + n))``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    def update(self, model: nn.Module) -> None:
        """Update the average after an optimizer step."""
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
        """Restore a `state_dict`."""
        self.steps = state["steps"]
        self.model.load_state_dict(state["model"])
