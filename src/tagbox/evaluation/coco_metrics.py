"""The twelve numbers of COCO's box evaluation, through hotcoco; bit for bit those of pycocotools.

hotcoco matches and accumulates; the means over its arrays are taken as pycocotools takes them, in the same order,
so that not even the last digit differs. A metric without any category to average is None here, not -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.evaluation.coco_ground_truth import GroundTruth, ground_truth
from tagbox.predictions.predictions import Detections

Array = NDArray[np.float64]

IOUS = np.linspace(0.5, 0.95, 10)
"""The IoU thresholds that AP and AR average over."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which precision is read (the 101-point interpolation)."""
MOST = (1, 10, 100)
"""Detections counted for each category of an image, best first."""
SIZES = {
    "all": (0.0, 1e10),
    "small": (0.0, 1024.0),
    "medium": (1024.0, 9216.0),
    "large": (9216.0, 1e10),
}
"""Areas in pixels² of the truth (and of unmatched detections) by size: COCO's, 32² and 96² between them."""

# Of each number: precision or recall, the IoU (None: all of IOUS), the size, the detections for an image.
_NUMBERS: dict[str, tuple[str, float | None, str, int]] = {
    "ap": ("precision", None, "all", 100),
    "ap50": ("precision", 0.5, "all", 100),
    "ap75": ("precision", 0.75, "all", 100),
    "ap_small": ("precision", None, "small", 100),
    "ap_medium": ("precision", None, "medium", 100),
    "ap_large": ("precision", None, "large", 100),
    "ar1": ("recall", None, "all", 1),
    "ar10": ("recall", None, "all", 10),
    "ar100": ("recall", None, "all", 100),
    "ar_small": ("recall", None, "small", 100),
    "ar_medium": ("recall", None, "medium", 100),
    "ar_large": ("recall", None, "large", 100),
}
BOX_METRICS = tuple(_NUMBERS)


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxScores:
    """Precision and recall as hotcoco accumulates them.

    Attributes
    ----------
    truth
        The boxes scored against.
    evaluator
        hotcoco's ``COCOeval`` after ``evaluate`` and ``accumulate``.
    precision
        (10, 101, K, 4, 3) float64: IoUs, recalls, categories by ascending id, sizes, detections an image; -1
        where a category has no truth of the size.
    recall
        (10, K, 4, 3) float64.
    columns
        (K,) index of each of the dataset's categories among those by ascending id.
    sizes, most
        Names of the sizes and numbers of detections that the arrays have.
    """

    truth: GroundTruth
    evaluator: Any
    precision: Array
    recall: Array
    columns: NDArray[np.intp]
    sizes: tuple[str, ...] = tuple(SIZES)
    most: tuple[int, ...] = MOST

    def values(self, name: str) -> Array:
        """The values that metric `name` is the mean of: (IoUs, [recalls,] K), with -1 where there is no truth."""
        kind, iou, size, most = _NUMBERS[name]
        table = self.precision if kind == "precision" else self.recall
        table = table[..., self.sizes.index(size), self.most.index(most)]
        return table if iou is None else table[np.flatnonzero(iou == IOUS)]

    def number(self, name: str) -> float | None:
        """One of the twelve; None where no category has truth of that size."""
        return _mean(self.values(name))

    def of_category(self, name: str, row: int) -> float | None:
        """One of the twelve for one category (a row of the dataset's)."""
        return _mean(self.values(name)[..., self.columns[row]])


def score_boxes(
    truth: GroundTruth, detections: Detections, *, only_all_sizes: bool = False
) -> BoxScores:
    """Match detections and accumulate precision and recall.

    Parameters
    ----------
    truth
        The boxes of a dataset.
    detections
        Rows are those of the same dataset. Where scores tie, the earlier one counts first.
    only_all_sizes
        Leave out sizes and the smaller numbers of detections: the other metrics are the same, and it is faster.
    """
    from hotcoco import COCOeval

    evaluator = COCOeval(*hotcoco_pair(truth, detections), "bbox")
    sizes: tuple[str, ...] = tuple(SIZES)
    most: tuple[int, ...] = MOST
    if only_all_sizes:
        sizes, most = ("all",), MOST[-1:]
        evaluator.params.area_rng = [list(SIZES["all"])]
        evaluator.params.area_rng_lbl = ["all"]
        evaluator.params.max_dets = list(most)
    evaluator.evaluate()
    evaluator.accumulate()
    found: dict[str, Any] = evaluator.eval or {}
    return BoxScores(
        truth=truth,
        evaluator=evaluator,
        precision=found["precision"],
        recall=found["recall"],
        columns=(truth.category_numbers() - 1).astype(np.intp),
        sizes=sizes,
        most=most,
    )


def hotcoco_pair(truth: GroundTruth, detections: Detections) -> tuple[Any, Any]:
    """hotcoco's ``COCO`` of the truth, and of the detections in the images that are scored."""
    dataset = truth.dataset
    if detections.categories != dataset.categories.names or len(detections.images) != len(dataset):
        raise ValueError("detections are not aligned with this dataset; see align_detections")
    kept = detections.take(truth.scored[detections.image_rows])
    coco = truth.coco()
    table = np.column_stack(
        [
            truth.image_numbers()[kept.image_rows],
            kept.boxes,
            kept.scores,
            truth.category_numbers()[kept.category_rows],
        ]
    )
    return coco, coco.load_res(table)


def twelve_numbers(scores: BoxScores) -> tuple[dict[str, float | None], dict[str, str]]:
    """COCO's twelve numbers by name, and of those that are None the reason."""
    numbers = {name: scores.number(name) for name in BOX_METRICS}
    absent = {}
    for name, value in numbers.items():
        if value is None:
            size = _NUMBERS[name][2]
            low, high = (round(limit**0.5) for limit in SIZES[size])
            limits = {"small": f" up to {high}²", "large": f" from {low}²"}
            area = "" if size == "all" else limits.get(size, f" from {low}² to {high}²") + " pixels"
            absent[name] = (
                "there is no box to find"
                if size == "all"
                else f"there is no {size} box to find (an area{area})"
            )
    return numbers, absent


def category_scores(scores: BoxScores) -> list[dict[str, Any]]:
    """Of each category, in the dataset's order, ``name``, ``support`` and the twelve numbers."""
    support = scores.truth.support
    return [
        {"name": name, "support": int(support[row])}
        | {metric: scores.of_category(metric, row) for metric in BOX_METRICS}
        for row, name in enumerate(scores.truth.dataset.categories.names)
    ]


def epoch_box_scores(dataset: Dataset, detections: Detections) -> dict[str, float | None]:
    """``ap``, ``ap50``, ``ap75``, ``ar100`` after an epoch; None where there is no box to find.

    Raises
    ------
    TagboxError
        As `ground_truth`.
    """
    scores = score_boxes(ground_truth(dataset), detections, only_all_sizes=True)
    return {name: scores.number(name) for name in ("ap", "ap50", "ap75", "ar100")}


def _mean(values: Array) -> float | None:
    """The mean of the values that are not -1; None where there are none."""
    there = values[values > -1]
    return float(np.mean(there)) if len(there) else None
