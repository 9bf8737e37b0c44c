"""Courses of the learning rate, as shares of its peak.

References
----------
One-cycle: Smith and Topin, "Super-Convergence", 2018, with torch's cosine phases; cosine: Loshchilov and
Hutter, "SGDR", ICLR 2017, one cycle after a linear warm-up (Goyal et al., 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

START_DIVISOR, END_DIVISOR = 25.0, 1e4
LEAST_MOMENTUM, MOST_MOMENTUM = 0.85, 0.95
STEP_FACTOR, STEPS_DOWN = 0.1, 3

Course = Callable[[int], tuple[float, float | None]]
"""Step, from 0, to the share of the peak rate and the momentum (None: as it is)."""


class HasGroups(Protocol):
    """An optimizer: torch's or ours; each group holds ``lr``, and ``peak``, which a `Schedule` adds."""

    param_groups: Any


class Schedule:
    """Sets rate and momentum of every group of an optimizer, for the first step already here.

    A pure function of the number of steps, so that its state is that number.
    """

    def __init__(self, optimizer: HasGroups, course: Course) -> None:
        self.optimizer, self.course = optimizer, course
        self.done = 0
        for group in optimizer.param_groups:
            group.setdefault("peak", group["lr"])
        self._set()

    def step(self) -> None:
        """One step on."""
        self.go_to(self.done + 1)

    def go_to(self, steps: int) -> None:
        """The state after that many steps."""
        self.done = steps
        self._set()

    def get_last_lr(self) -> list[float]:
        """The learning rate in force, of each group."""
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


def create_course(name: str, total: int, warmup: float) -> Course:
    """The course called `name` in `FinetuneConfig.schedule`."""
    if name == "one_cycle":
        return one_cycle(total, warmup)
    return cosine(total, warmup) if name == "cosine" else step_down(total)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(share, 1.0)))
