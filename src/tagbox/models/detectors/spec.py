"""What a detector is, as plain values: read without torch, and all that is needed to make it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """What a detector is; with its weights it can be made again without a network.

    Attributes
    ----------
    detector, backbone
        As `DetectorConfig` names them; `backbone` is empty where the detector brings its own.
    categories
        K; the background is not one of them.
    size
        Longest side of a picture in the network, in pixels.
    fixed
        Whether every picture is stretched to `size` x `size` (SSD), instead of keeping its own proportions.
    multiple
        Height and width of a batch are multiples of it.
    mean, std
        Of each colour in 0..1, taken off and divided by.
    options
        What else its construction needs, as plain JSON values.
    """

    detector: str
    backbone: str
    categories: int
    size: int
    fixed: bool
    multiple: int
    mean: Colour
    std: Colour
    options: dict[str, Any]
