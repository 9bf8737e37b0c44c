"""Crowd regions: which boxes are neither right nor wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from tagbox.models.detectors.base import Target

CROWDED = 0.5
"""Part of a box's area in a crowd region from which on it is not held up as background."""
CERTAIN = 30.0
"""A logit whose probability is 1 in float32, with a loss of 0."""


def crowded(boxes: Tensor, target: Target) -> Tensor:
    """(A,) bool: which of (A, 4) xyxy boxes lie at least half in a crowd region and touch no object."""
    if not len(target.ignore):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    inside = _shared(boxes, target.ignore).amax(dim=1) >= CROWDED * area
    if not len(target.boxes):
        return inside
    return inside & (_shared(boxes, target.boxes).amax(dim=1) == 0)


def _shared(boxes: Tensor, others: Tensor) -> Tensor:
    """(A, G) areas of intersections."""
    upper = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    lower = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (lower - upper).clamp(min=0).prod(dim=2)
