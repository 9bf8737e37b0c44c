"""The validation metric that trials are compared by."""

from __future__ import annotations

from typing import Literal

Direction = Literal["minimize", "maximize"]


def column(metric: str) -> str:
    """The column of `history.csv` that holds a validation metric."""
    return metric if metric == "val_loss" else f"val_{metric}"


def direction(metric: str) -> Direction:
    """Whether small or large values are good."""
    return "minimize" if metric == "val_loss" else "maximize"


def gain(metric: str, before: float, after: float) -> float:
    """By how much `after` is better; negative where it is worse."""
    return before - after if direction(metric) == "minimize" else after - before
