"""How saved runs are put together, and how many views of a picture each of them gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagbox.config.base import Config, require
from tagbox.config.classifier import Objective

SIZES = range(32, 2049)
"""Sides in pixels that a backbone may be asked to look at."""


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(Config):
    """Test-time views and the weights of runs that decide together."""

    flip: bool = False
    """Look at each picture's mirror image too."""
    scales: tuple[int, ...] = ()
    """Sides in pixels of the squares that each run looks at; its own size when not given."""
    weights: Literal["auto", "equal"] = "auto"
    """Weights of the runs; auto fits them on the validation pictures and keeps them where cross-fitting says
    that they help."""
    objective: Objective | None = None
    """What the thresholds are tuned for; that of the first run when not given."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where to compute."""

    def __post_init__(self) -> None:
        for size in self.scales:
            wanted = f"a number of pixels from {SIZES[0]} to {SIZES[-1]}"
            require(size in SIZES, "scales", size, wanted)
