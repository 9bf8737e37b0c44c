"""Datasets with boxes, detections, and pycocotools' opinion of them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.evaluation.coco_ground_truth import GroundTruth
from tagbox.predictions.coco_results import encode_results, image_keys
from tagbox.predictions.predictions import Detections

# (image row, category row, x, y, w, h); a detection has a score after it, a crowd region True.
Box = Sequence[Any]


def boxed(
    boxes: Sequence[Box],
    *,
    images: int = 1,
    categories: int = 1,
    image_ids: Sequence[int] | None = None,
    category_ids: Sequence[int] | None = None,
    areas: Sequence[float] | None = None,
    ids: Sequence[int] | None = None,
    side: int = 200,
) -> Dataset:
    """A dataset of square pictures."""
    count = len(boxes)
    table = np.array([box[2:6] for box in boxes], np.float64).reshape(count, 4)
    return Dataset(
        images=Images(
            ids=np.array(image_ids or range(1, images + 1), np.int64),
            files=np.array([f"{row}.jpg" for row in range(images)], np.str_),
            widths=np.full(images, side, np.int32),
            heights=np.full(images, side, np.int32),
            labelled=np.ones(images, bool),
            root=Path(),
        ),
        categories=Categories(
            names=tuple(f"c{row}" for row in range(categories)),
            ids=np.array(category_ids or range(1, categories + 1), np.int64),
            supercategories=("",) * categories,
        ),
        annotations=Annotations(
            image_rows=np.array([box[0] for box in boxes], np.int32),
            category_rows=np.array([box[1] for box in boxes], np.int32),
            boxes=table,
            has_box=~np.isnan(table).any(axis=1),
            areas=np.full(count, np.nan) if areas is None else np.array(areas, np.float64),
            crowd=np.array([len(box) > 6 and box[6] for box in boxes], bool),
            ids=np.array(range(1, count + 1) if ids is None else ids, np.int64),
        ),
        source=memory_source(images, count),
    )


def detected(boxes: Sequence[Box], dataset: Dataset) -> Detections:
    """Detections aligned with `dataset`."""
    return Detections(
        images=image_keys(dataset),
        categories=dataset.categories.names,
        image_rows=np.array([box[0] for box in boxes], np.int32),
        category_rows=np.array([box[1] for box in boxes], np.int32),
        boxes=np.array([box[2:6] for box in boxes], np.float64).reshape(len(boxes), 4),
        scores=np.array([box[6] for box in boxes], np.float64),
    )


def random_set(seed: int) -> tuple[Dataset, Detections]:
    """A small set with all that is odd: ties, crowd regions, more than 100 detections of an image, images and
    categories without truth or detections, ids in no order, boxes that stand twice or have no area."""
    rng = np.random.default_rng(seed)
    images, categories = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    count = int(rng.integers(0, 25))
    truth = []
    for _ in range(count):
        size = float(rng.choice([8, 20, 50, 120])) * rng.uniform(0.5, 1.5, 2)
        box = [*rng.uniform(0, 150, 2), *size]
        truth.append(
            [rng.integers(images), rng.integers(categories), *box, bool(rng.random() < 0.15)]
        )
        if rng.random() < 0.1:
            truth.append(list(truth[-1]))
    if truth and rng.random() < 0.2:
        truth[0][4] = 0.0
    wanted = 260 if seed % 10 == 0 else int(rng.integers(0, 60))
    found = []
    for _ in range(wanted):
        score = round(float(rng.random()), int(rng.integers(1, 4)))
        if truth and rng.random() < 0.7:
            image, category, *box, _ = truth[rng.integers(len(truth))]
            moved = np.array(box) + rng.normal(0, rng.choice([0, 1, 6]), 4)
            moved[2:] = np.maximum(moved[2:], 0)
            if rng.random() < 0.2:
                category = rng.integers(categories)
            found.append([image, category, *moved, score])
        else:
            box = [*rng.uniform(0, 150, 2), *rng.uniform(0, 100, 2)]
            found.append([rng.integers(images), rng.integers(categories), *box, score])
        if seed % 10 == 0:
            found[-1][:2] = [0, 0]
    areas = [box[4] * box[5] * rng.uniform(0.3, 1) for box in truth]
    dataset = boxed(
        truth,
        images=images,
        categories=categories,
        image_ids=rng.permutation(1000)[:images].tolist(),
        category_ids=rng.permutation(90)[:categories].tolist(),
        areas=areas if rng.random() < 0.5 else None,
        ids=list(range(len(truth))),
    )
    return dataset, detected(found, dataset)


def pycocotools_eval(truth: GroundTruth, detections: Detections) -> Any:
    """pycocotools' ``COCOeval`` after ``summarize``, fed the repaired truth and the exported results."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO()
        theirs.dataset = truth.to_coco_dict()
        theirs.createIndex()
        results = json.loads(encode_results(detections, truth.dataset))
        if results:
            found = theirs.loadRes(results)
        else:  # loadRes cannot read an empty list.
            found = COCO()
            found.dataset = {**theirs.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(theirs, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def in_their_order(table: NDArray[Any], truth: GroundTruth) -> NDArray[Any]:
    """(..., K) of the dataset's categories in the order of their ids."""
    return table[..., np.argsort(truth.dataset.categories.ids)]
