"""Labels laid beside the truth: right, wrong, missed, and how a picture or a page shows that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["right", "wrong", "missed", "unjudged", "unknown", "dropped"]

COLOURS: dict[Outcome, str] = {
    "right": "#00734f",
    "wrong": "#b34700",
    "missed": "#0062a3",
    "unjudged": "#3f4954",
    "unknown": "#7a6000",
    "dropped": "#6b7178",
}
"""Okabe and Ito's colour-blind safe hues, darkened until white text on them has a contrast of 4.5."""


@dataclass(frozen=True)
class Verdict:
    """One label of a picture: what it is called, how likely, and whether it is right.

    Augmentation has outcomes of its own: a label became ``unknown``, or was ``dropped``.
    """

    name: str
    probability: float | None
    outcome: Outcome


def verdicts(
    truth: Sequence[str] | None, predicted: Sequence[tuple[str, float | None]] | None
) -> list[Verdict]:
    """Lay predicted labels beside the true ones.

    Parameters
    ----------
    truth
        Names of the categories in the picture; None when nobody knows.
    predicted
        (name, probability) of the labels given; the probability is None for bare label sets.

    Returns
    -------
    list of Verdict
        The predicted in their order (``right`` or ``wrong``; ``unjudged`` without truth), then what
        was ``missed``. Without predictions the true names, ``unjudged``.
    """
    if predicted is None:
        return [Verdict(name, None, "unjudged") for name in truth or ()]
    if truth is None:
        return [Verdict(name, probability, "unjudged") for name, probability in predicted]
    given = {name for name, _ in predicted}
    said = [Verdict(n, p, "right" if n in set(truth) else "wrong") for n, p in predicted]
    return said + [Verdict(name, None, "missed") for name in truth if name not in given]


def percent(probability: float) -> str:
    """``0.1%`` to ``99.9%`` and whole numbers between: never 0 or 100 for what is neither."""
    value = 100 * probability
    if 0 < value < 1 or 99 < value < 100:
        return f"{min(max(value, 0.1), 99.9):.1f}%"
    return f"{value:.0f}%"
