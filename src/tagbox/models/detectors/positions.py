"""Detectors that predict K scores and a box at every position of maps: assignment, losses, suppression.

While one is trained, each object is assigned the positions that answer for it. Task-aligned assignment (Feng et al.,
"TOOD: Task-aligned One-stage Object Detection", ICCV 2021, section 3.2): a position is judged by how well it does
both tasks now, ``t = score^alpha * iou^beta``; each object takes the best few near it. Targets of the scores are t
scaled so that an object's best position is asked for the largest IoU that it reached: scores come to rank boxes by
how well they lie.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tagbox.models.detectors.base import Detector, DetectorSpec, Found, Target

ALPHA, BETA, TOP = 1.0, 6.0, 13
"""Exponents and number of positions an object, as the paper has them."""
REACH = 1.0
"""An object reaches at least this many strides from its centre: one smaller than a cell still has positions."""
FOCUS = 2.0
"""Exponent of the quality focal loss (Li et al., "Generalized Focal Loss", NeurIPS 2020)."""
BOX_WEIGHT = 2.0
"""Weight of the box loss relative to the score loss, as in TOOD and the generalised focal loss."""
PRIOR = 0.01
"""Score of every position before training."""
LEAST_SCORE, CANDIDATES, MOST, NMS_IOU = 0.005, 1000, 100, 0.6
"""Detections below the score are none; the best of the rest are suppressed class by class, and at most 100 kept."""


@dataclass(frozen=True, eq=False)
class Assigned:
    """The targets of A positions of B images.

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
        The truth of each image.
    """
    images, positions, _ = scores.shape
    most = max((len(target.boxes) for target in targets), default=0)
    known = ~_within_any([target.ignore for target in targets], points)
    if most == 0:
        return Assigned(
            scores=torch.zeros_like(scores),
            boxes=torch.zeros_like(boxes),
            weight=scores.new_zeros(images, positions),
            known=known,
        )
    truth, labels, there = _padded(targets, most, scores)
    near = _near(truth, points, strides) & there[:, :, None]  # (B, G, A)
    overlap = _iou(truth, boxes) * near
    class_scores = scores.gather(2, labels[:, None, :].expand(-1, positions, -1)).transpose(1, 2)
    aligned = class_scores.pow(ALPHA) * overlap.pow(BETA) * near
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
    batch = torch.arange(images, device=scores.device)[:, None]
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
    """(B, A) bool: positions whose centre lies in one of the image's (I, 4) xyxy regions."""
    inside = torch.zeros(len(regions), len(points), dtype=torch.bool, device=points.device)
    for row, boxes in enumerate(regions):
        if len(boxes):
            low = (points[:, None] >= boxes[None, :, :2]).all(dim=-1)
            high = (points[:, None] <= boxes[None, :, 2:]).all(dim=-1)
            inside[row] = (low & high).any(dim=1)
    return inside


class PositionDetector(Detector):
    """A detector whose body gives one map (B, K + ..., H / s, W / s) for each stride s: logits, then the box."""

    def __init__(self, spec: DetectorSpec, body: nn.Module, strides: Sequence[int]) -> None:
        super().__init__(spec)
        self._body = body
        self.strides = tuple(strides)

    @property
    def body(self) -> nn.Module:
        """See `Detector.body`."""
        return self._body

    @abstractmethod
    def boxes(self, outputs: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """(B, A, 4) xyxy in pixels from outputs (B, A, ...) at points (A, 2) of strides (A,)."""

    def loss_count(self, targets: Sequence[Target]) -> float:
        """Boxes; a batch without any is divided by 1."""
        return float(sum(len(target.boxes) for target in targets))

    def losses(
        self,
        parts: Sequence[Tensor],
        pixels: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """``score``: quality focal loss; ``box``: generalised IoU, weighted by the target score; `box_losses`."""
        from torchvision.ops import generalized_box_iou_loss

        logits, outputs, points, strides = self._positions(parts)
        boxes = self.boxes(outputs, points, strides)
        with torch.no_grad():
            wanted = assign(logits.sigmoid(), boxes, points, strides, targets)
        known = wanted.known & _on_picture(points, sizes)
        focus = (wanted.scores - logits.sigmoid()).abs().pow(FOCUS)
        cost = functional.binary_cross_entropy_with_logits(logits, wanted.scores, reduction="none")
        positive = wanted.weight > 0
        weight = wanted.weight[positive]
        apart = generalized_box_iou_loss(boxes[positive], wanted.boxes[positive])
        position = positive.nonzero()[:, 1]
        return {
            "score": (focus * cost).sum(dim=2)[known].sum(),
            "box": BOX_WEIGHT * (apart * weight).sum(),
        } | self.box_losses(
            outputs[positive], points[position], strides[position], wanted.boxes[positive], weight
        )

    def box_losses(
        self, outputs: Tensor, points: Tensor, strides: Tensor, boxes: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        """Further losses, of P positions that answer for an object.

        Parameters
        ----------
        outputs, points, strides
            (P, ...), (P, 2), (P,); see `boxes`.
        boxes
            (P, 4) xyxy of the objects.
        weight
            (P,) target scores.
        """
        return {}

    def found(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Found]:
        """See `Detector.found`."""
        with torch.no_grad():
            logits, outputs, points, strides = self._positions([part.float() for part in parts])
            boxes = self.boxes(outputs, points, strides)
            on_picture = _on_picture(points, sizes)
            return [
                _best(scores[there], own[there], size)
                for scores, own, there, size in zip(
                    logits.sigmoid(), boxes, on_picture, sizes, strict=True
                )
            ]

    def _positions(self, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All levels in one row: logits (B, A, K), the rest (B, A, ...), centres (A, 2), strides (A,)."""
        flat, points, strides = [], [], []
        for part, stride in zip(parts, self.strides, strict=True):
            height, width = part.shape[-2:]
            flat.append(part.float().flatten(2).transpose(1, 2))
            y, x = torch.meshgrid(
                torch.arange(height, device=part.device),
                torch.arange(width, device=part.device),
                indexing="ij",
            )
            points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
            strides.append(torch.full((height * width,), float(stride), device=part.device))
        outputs = torch.cat(flat, dim=1)
        categories = self.spec.categories
        logits, box = outputs[..., :categories], outputs[..., categories:]
        return logits, box, torch.cat(points), torch.cat(strides)


def _on_picture(points: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, A) bool: positions whose centre lies on the image, not on what fills it up."""
    limits = torch.tensor([(w, h) for h, w in sizes], device=points.device)
    return (points[None] < limits[:, None]).all(dim=-1)


def _best(scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> Found:
    """The detections of an image of (height, width): scores (A, K), boxes (A, 4)."""
    from torchvision.ops import batched_nms, clip_boxes_to_image

    positions, labels = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    values = scores[positions, labels]
    order = values.sort(descending=True, stable=True).indices[:CANDIDATES]
    positions, labels, values = positions[order], labels[order], values[order]
    own = clip_boxes_to_image(boxes[positions], size)
    kept = batched_nms(own, values, labels, NMS_IOU)[:MOST]
    return Found(own[kept], values[kept], labels[kept])
