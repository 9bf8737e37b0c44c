"""The detection task of the training loop: components of the loss, detections, metrics of a pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tagbox.data.record_pixels import RecordPixels
from tagbox.evaluation.coco_metrics import epoch_box_scores
from tagbox.predictions.predictions import Detections
from tagbox.training.box_batches import BoxBatch
from tagbox.training.task import Metrics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.models.detectors.base import Detector, Found
    from tagbox.training.distributed import Runtime


@dataclass(frozen=True, eq=False)
class DetectionTask:
    """A `training.task.Task` for a `models.detectors.base.Detector`.

    Attributes
    ----------
    detector
        Defines what its losses are divided by.
    validation
        The records of the images whose detections are evaluated.
    """

    detector: Detector
    validation: RecordPixels

    def start_epoch(self, epoch: int) -> None:
        """Nothing changes from epoch to epoch."""

    def count(self, part: BoxBatch) -> float:
        """`Detector.loss_count` of the targets, without padding rows."""
        return self.detector.loss_count(
            [t for t, r in zip(part.targets, part.rows, strict=True) if r >= 0]
        )

    def compute_loss(
        self, model: nn.Module, part: BoxBatch, runtime: Runtime
    ) -> tuple[Tensor, DetectionOutputs]:
        """The sum of the components of the loss; each of them and, in eval mode, the detections."""
        real = np.flatnonzero(part.rows >= 0)
        # A part of padding alone still goes forward: every process must take part in every gradient exchange.
        rows = real if len(real) else np.arange(len(part.rows))
        images = part.images[rows].to(runtime.device)
        sizes = [part.sizes[row] for row in rows]
        targets = [part.targets[row].to(runtime.device) for row in rows]
        with runtime.autocast():
            losses, found = model(images, sizes, targets)
        value: Any = sum(losses.values())
        if not len(real):
            return value * 0.0, DetectionOutputs({}, None, part.rows[real], part.scales[real])
        parts = {name: float(loss.detach()) for name, loss in losses.items()}
        return value, DetectionOutputs(parts, found, part.rows[real], part.scales[real])

    def metrics(self) -> DetectionMetrics:
        """Empty metrics for a new pass."""
        return DetectionMetrics(self.validation)


@dataclass(frozen=True, eq=False)
class DetectionOutputs:
    """Outputs of a detector for a part.

    Attributes
    ----------
    losses
        Sum of each component of the loss.
    found
        Detections of each image, in pixels of the batch; None in training mode.
    rows, scales
        (B,) rows of the dataset; (B, 2) xy pixels of the batch per pixel of the upright file.
    """

    losses: dict[str, float]
    found: Sequence[Found] | None
    rows: NDArray[np.intp]
    scales: NDArray[np.float64]


class DetectionMetrics(Metrics[BoxBatch]):
    """Losses and detections of one pass; boxes in pixels of the records.

    Parameters
    ----------
    pixels
        Of the dataset that rows refer to.
    """

    def __init__(self, pixels: RecordPixels) -> None:
        super().__init__()
        self.pixels, self.dataset = pixels, pixels.dataset
        self.losses: dict[str, float] = defaultdict(float)
        self.rows: list[NDArray[np.int32]] = []
        self.labels: list[NDArray[np.int32]] = []
        self.boxes: list[NDArray[np.float64]] = []
        self.scored: list[NDArray[np.float64]] = []

    def empty(self) -> Self:
        """Metrics of the same dataset."""
        return type(self)(self.pixels)

    def add(self, part: BoxBatch, outputs: DetectionOutputs) -> None:
        """Add the outputs for a part."""
        for name, value in outputs.losses.items():
            self.losses[name] += value
        if outputs.found is None:
            return
        for found, row, scale in zip(outputs.found, outputs.rows, outputs.scales, strict=True):
            width, height = self.pixels.sizes[row].tolist()
            boxes = original_boxes(found.boxes.double().cpu().numpy(), scale, (width, height))
            rows = np.full(len(boxes), row, np.int32)
            boxes = self.pixels.to_record(boxes, rows)
            self.rows.append(rows)
            self.labels.append(found.labels.cpu().numpy().astype(np.int32))
            self.boxes.append(boxes)
            self.scored.append(found.scores.double().cpu().numpy())

    @property
    def detections(self) -> Detections:
        """All boxes, images in the order of the dataset, best first in each."""
        found = Detections(
            images=tuple(self.dataset.images.files.tolist()),
            categories=self.dataset.categories.names,
            image_rows=_joined(self.rows, np.int32),
            category_rows=_joined(self.labels, np.int32),
            boxes=_joined(self.boxes, np.float64).reshape(-1, 4),
            scores=_joined(self.scored, np.float64),
        )
        return found.take(np.argsort(found.image_rows, kind="stable"))

    def scores(self) -> dict[str, float | None]:
        """``loss``, ``loss_NAME`` of each component, and `epoch_box_scores` if detections were added."""
        count = max(self.loss_count, 1.0)
        metrics: dict[str, float | None] = {"loss": self.loss_sum / count}
        metrics |= {f"loss_{name}": value / count for name, value in sorted(self.losses.items())}
        if self.rows:
            metrics |= epoch_box_scores(self.dataset, self.detections)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Components of the loss, the loss, and the detections."""
        return {
            "losses": dict(self.losses),
            "loss": [self.loss_sum, self.loss_count],
            "rows": list(self.rows),
            "labels": list(self.labels),
            "boxes": list(self.boxes),
            "scores": list(self.scored),
        }

    def extend(self, state: dict[str, Any]) -> None:
        """Add the outputs of another process's `state_dict`."""
        for name, value in state["losses"].items():
            self.losses[name] += value
        self.rows += state["rows"]
        self.labels += state["labels"]
        self.boxes += state["boxes"]
        self.scored += state["scores"]


def original_boxes(
    boxes: NDArray[np.float64], scale: NDArray[np.float64], size: tuple[float, float]
) -> NDArray[np.float64]:
    """(D, 4) xyxy in pixels of a batch as xywh in pixels of the original image, clipped to it.

    Parameters
    ----------
    scale
        (2,) xy pixels of the batch per pixel of the original.
    size
        Width and height of the original; 0 where unknown, and nothing is clipped.
    """
    limits = [side if side else np.inf for side in size]
    corners = np.clip(boxes / np.tile(scale, 2), 0.0, np.tile(limits, 2))
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
