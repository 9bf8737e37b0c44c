"""Which positions of a dense detector answer for which object, while it is trained.

Task-aligned assignment (Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021,
section 3.2): a position is judged by how well it does both tasks now, ``t = score^alpha * iou^beta``; each
object takes the best few near it. Targets of the scores are t scaled so that an object's best position is
asked for the largest IoU that it reached: scores come to rank boxes by how well they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tagbox.models.detectors.base import Target

ALPHA, BETA, TOP = 1.0, 6.0, 13
"""Exponents and number of positions an object, as the paper has them."""
REACH = 1.0
"""An object reaches at least this many strides from its centre: one smaller than a cell still has positions."""


@dataclass(frozen=True, eq=False)
class Assigned:
    """What each of A positions of B pictures is to say.

    Attributes
    ----------
    scores
        (B, A, K) float32 targets in 0..1; 0 where nothing is to be found.
    boxes
        (B, A, 4) float32 xyxy of the object a position answers for; meaningless where it answers for none.
    weight
        (B, A) float32: the target score of that object, 0 where there is none.
    known
        (B, A) bool: False in regions that are to be ignored, unless an object was assigned.
    """

    scores: Tensor
    boxes: Tensor
    weight: Tensor
    known: Tensor


def assign(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Target],
) -> Assigned:
    """Assign the objects of a batch.

    Parameters
    ----------
    scores
        (B, A, K) probabilities as they are now.
    boxes
        (B, A, 4) xyxy in pixels as they are now.
    points
        (A, 2) xy in pixels of each position's centre.
    strides
        (A,) pixels between neighbouring positions.
    targets
        The truth of each picture.
    """
    pictures, positions, _ = scores.shape
    most = max((len(target.boxes) for target in targets), default=0)
    known = ~_within_any([target.ignore for target in targets], points)
    if most == 0:
        return Assigned(
            scores=torch.zeros_like(scores),
            boxes=torch.zeros_like(boxes),
            weight=scores.new_zeros(pictures, positions),
            known=known,
        )
    truth, labels, there = _padded(targets, most, scores)
    near = _near(truth, points, strides) & there[:, :, None]  # (B, G, A)
    overlap = _iou(truth, boxes) * near
    said = scores.gather(2, labels[:, None, :].expand(-1, positions, -1)).transpose(1, 2)
    aligned = said.pow(ALPHA) * overlap.pow(BETA) * near
    best = aligned.topk(min(TOP, positions), dim=2)
    taken = torch.zeros_like(near).scatter_(2, best.indices, best.values > 0)
    # Where two objects want a position, the one it overlaps more has it.
    owner_overlap = torch.where(taken, overlap, -1.0)
    owner = owner_overlap.argmax(dim=1)  # (B, A)
    positive = taken.any(dim=1)
    taken &= torch.arange(most, device=scores.device)[None, :, None] == owner[:, None, :]
    kept = aligned * taken
    scale = (overlap * taken).amax(dim=2) / kept.amax(dim=2).clamp(min=1e-12)  # (B, G)
    weight = (kept * scale[:, :, None]).amax(dim=1)  # (B, A)
    batch = torch.arange(pictures, device=scores.device)[:, None]
    wanted = torch.zeros_like(scores)
    wanted.scatter_(2, labels[batch, owner][:, :, None], weight[:, :, None])
    return Assigned(scores=wanted, boxes=truth[batch, owner], weight=weight, known=known | positive)


def _padded(targets: Sequence[Target], most: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, G, 4), labels (B, G) and which of them are real (B, G)."""
    truth = like.new_zeros(len(targets), most, 4)
    labels = torch.zeros(len(targets), most, dtype=torch.long, device=like.device)
    there = torch.zeros(len(targets), most, dtype=torch.bool, device=like.device)
    for row, target in enumerate(targets):
        count = len(target.boxes)
        truth[row, :count] = target.boxes
        labels[row, :count] = target.labels
        there[row, :count] = True
    return truth, labels, there


def _near(truth: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """(B, G, A): positions inside an object, or within `REACH` strides of its centre."""
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    half = (truth[..., 2:] - truth[..., :2]) / 2
    reach = torch.maximum(half[:, :, None], (REACH * strides)[None, None, :, None])
    away = (points[None, None] - centre[:, :, None]).abs()
    return (away < reach).all(dim=-1)


def _iou(truth: Tensor, boxes: Tensor) -> Tensor:
    """(B, G, A) intersection over union of (B, G, 4) and (B, A, 4)."""
    low = torch.maximum(truth[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(truth[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=-1)
    own = (truth[..., 2:] - truth[..., :2]).clamp(min=0).prod(dim=-1)
    other = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
    return both / (own[:, :, None] + other[:, None] - both).clamp(min=1e-9)


def _within_any(regions: Sequence[Tensor], points: Tensor) -> Tensor:
    """(B, A) bool: positions whose centre lies in one of the picture's (I, 4) xyxy regions."""
    inside = torch.zeros(len(regions), len(points), dtype=torch.bool, device=points.device)
    for row, boxes in enumerate(regions):
        if len(boxes):
            low = (points[:, None] >= boxes[None, :, :2]).all(dim=-1)
            high = (points[:, None] <= boxes[None, :, 2:]).all(dim=-1)
            inside[row] = (low & high).any(dim=1)
    return inside
