"""Detection as a criterion of the loop: parts of the loss, boxes found, figures over a whole pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.evaluation.coco_metrics import epoch_box_scores
from tagbox.predictions.predictions import Detections
from tagbox.training.box_batches import BoxBatch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.models.detectors.base import Detector, Found
    from tagbox.training.distributed import Runtime


@dataclass(frozen=True, eq=False)
class DetectionTask:
    """See `training.loop.Criterion`; the model is a `models.detectors.base.Detector`.

    Attributes
    ----------
    detector
        Says what its losses are divided by.
    validation
        The images whose detections are judged.
    """

    detector: Detector
    validation: Dataset

    def start_epoch(self, epoch: int) -> None:
        """Nothing changes from epoch to epoch."""

    def count(self, part: BoxBatch) -> float:
        """See `Detector.loss_count`; what only fills a batch up does not count."""
        return self.detector.loss_count(
            [t for t, r in zip(part.targets, part.rows, strict=True) if r >= 0]
        )

    def cost(self, model: nn.Module, part: BoxBatch, runtime: Runtime) -> tuple[Tensor, Said]:
        """The sum of all parts of the loss; each of them and, in eval mode, the boxes found."""
        real = np.flatnonzero(part.rows >= 0)
        # With nothing real in it the part still goes through: every process takes part in every exchange.
        rows = real if len(real) else np.arange(len(part.rows))
        pictures = part.pictures[rows].to(runtime.device)
        sizes = [part.sizes[row] for row in rows]
        targets = [part.targets[row].to(runtime.device) for row in rows]
        with runtime.autocast():
            losses, found = model(pictures, sizes, targets)
        value: Any = sum(losses.values())
        if not len(real):
            return value * 0.0, Said({}, None, part.rows[real], part.scales[real])
        parts = {name: float(loss.detach()) for name, loss in losses.items()}
        return value, Said(parts, found, part.rows[real], part.scales[real])

    def figures(self) -> BoxFigures:
        """For a new pass."""
        return BoxFigures(self.validation)


@dataclass(frozen=True, eq=False)
class Said:
    """What a detector said of a part.

    Attributes
    ----------
    losses
        Sums of each part of the loss.
    found
        Detections of each picture, in pixels of the batch; None while training.
    rows, scales
        (B,) rows of the dataset; (B, 2) xy pixels of the batch for one of the original picture.
    """

    losses: dict[str, float]
    found: Sequence[Found] | None
    rows: NDArray[np.intp]
    scales: NDArray[np.float64]


class BoxFigures:
    """See `training.loop.Figures`; boxes are kept in pixels of the original pictures.

    Parameters
    ----------
    dataset
        Whose rows are meant.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.losses: dict[str, float] = defaultdict(float)
        self.total, self.count = 0.0, 0.0
        self.rows: list[NDArray[np.int32]] = []
        self.labels: list[NDArray[np.int32]] = []
        self.boxes: list[NDArray[np.float64]] = []
        self.scored: list[NDArray[np.float64]] = []

    def add_loss(self, total: float, count: float) -> None:
        """See `Figures.add_loss`."""
        self.total += total
        self.count += count

    def add(self, part: BoxBatch, said: Said) -> None:
        """See `Figures.add`."""
        for name, value in said.losses.items():
            self.losses[name] += value
        if said.found is None:
            return
        images = self.dataset.images
        for found, row, scale in zip(said.found, said.rows, said.scales, strict=True):
            size = (float(images.widths[row]), float(images.heights[row]))
            boxes = original_boxes(found.boxes.double().cpu().numpy(), scale, size)
            self.rows.append(np.full(len(boxes), row, np.int32))
            self.labels.append(found.labels.cpu().numpy().astype(np.int32))
            self.boxes.append(boxes)
            self.scored.append(found.scores.double().cpu().numpy())

    def gathered(self, runtime: Runtime) -> BoxFigures:
        """See `Figures.gathered`."""
        whole = BoxFigures(self.dataset)
        for other in runtime.gather(self.state_dict()):
            whole.extend(other)
        # Totals were summed over all processes as they came; parts of the loss were not.
        whole.total, whole.count = self.total, self.count
        return whole

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
        """``loss``, ``loss_`` and each part's name, and `epoch_box_scores` where boxes were added."""
        count = max(self.count, 1.0)
        figures: dict[str, float | None] = {"loss": self.total / count}
        figures |= {f"loss_{name}": value / count for name, value in sorted(self.losses.items())}
        if self.rows:
            figures |= epoch_box_scores(self.dataset, self.detections)
        return figures

    def state_dict(self) -> dict[str, Any]:
        """See `Figures.state_dict`."""
        return {
            "losses": dict(self.losses),
            "loss": [self.total, self.count],
            "rows": list(self.rows),
            "labels": list(self.labels),
            "boxes": list(self.boxes),
            "scores": list(self.scored),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Figures.load_state_dict`."""
        self.__init__(self.dataset)  # type: ignore[misc]
        self.extend(state)
        self.total, self.count = state["loss"]

    def extend(self, state: dict[str, Any]) -> None:
        """See `Figures.extend`."""
        for name, value in state["losses"].items():
            self.losses[name] += value
        self.rows += state["rows"]
        self.labels += state["labels"]
        self.boxes += state["boxes"]
        self.scored += state["scores"]


def original_boxes(
    boxes: NDArray[np.float64], scale: NDArray[np.float64], size: tuple[float, float]
) -> NDArray[np.float64]:
    """(D, 4) xyxy in pixels of a batch as xywh in pixels of the original picture, clipped to it.

    Parameters
    ----------
    scale
        (2,) xy pixels of the batch for one of the original.
    size
        Width and height of the original; 0 where nobody states it, and nothing is clipped.
    """
    limits = [side if side else np.inf for side in size]
    corners = np.clip(boxes / np.tile(scale, 2), 0.0, np.tile(limits, 2))
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
