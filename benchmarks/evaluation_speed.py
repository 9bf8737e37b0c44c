"""Evaluating detections of val2017's size: tagbox against pycocotools, wall time and figures.

    python benchmarks/evaluation_speed.py [--images 5000] [--detections 500000] [--repeats 1]

Generates 5,000 images with about 36,000 boxes of 80 categories and half a million detections: shifted truth, wrong
categories, boxes of nothing (seeded). Both get the same arrays or records in memory and come to the twelve numbers:
tagbox from `Dataset` and `Detections`, pycocotools from the dictionaries its `COCO` and `loadRes` take, the making of which is
not timed. All twelve must be equal to the last bit. Beside them: the whole of `tagbox evaluate`, from the
results file, with curves, error types, confusion matrix and intervals; pycocotools has no counterpart.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import score_boxes, twelve_numbers
from tagbox.evaluation.evaluate_detections import evaluate_boxes
from tagbox.predictions.coco_results import image_keys, read_results, write_results
from tagbox.predictions.predictions import Detections
from timing import alternated, machine, ratio, report, seconds_of, summary

CATEGORIES = 80
SIZES = np.array([20.0, 60.0, 160.0])
"""Typical sides of COCO's small, medium and large boxes."""


def generated(images: int, boxes: int, detections: int) -> tuple[Dataset, Detections]:
    """Truth, and detections a third of which lie about a box of truth."""
    rng = np.random.default_rng(0)
    sides = rng.choice(SIZES, (boxes, 1)) * rng.uniform(0.5, 1.5, (boxes, 2))
    truth = np.column_stack([rng.uniform(0, 480, boxes), rng.uniform(0, 320, boxes), sides])
    of_image = rng.integers(0, images, boxes).astype(np.int32)
    of_category = (CATEGORIES * rng.beta(0.7, 2, boxes)).astype(np.int32)
    dataset = Dataset(
        images=Images(
            ids=np.sort(rng.choice(600_000, images, replace=False)).astype(np.int64),
            files=np.array([f"{row}.jpg" for row in range(images)], np.str_),
            widths=np.full(images, 640, np.int32),
            heights=np.full(images, 480, np.int32),
            labelled=np.ones(images, bool),
            root=Path(),
        ),
        categories=Categories(
            names=tuple(f"category {row}" for row in range(CATEGORIES)),
            ids=np.arange(1, CATEGORIES + 1, dtype=np.int64),
            supercategories=("",) * CATEGORIES,
        ),
        annotations=Annotations(
            image_rows=of_image,
            category_rows=of_category,
            boxes=truth,
            has_box=np.ones(boxes, bool),
            areas=truth[:, 2] * truth[:, 3] * rng.uniform(0.4, 1, boxes),
            crowd=rng.random(boxes) < 0.012,
            ids=np.arange(1, boxes + 1, dtype=np.int64),
        ),
        source=memory_source(images, boxes),
    )
    near = rng.integers(0, boxes, detections)
    good = rng.random(detections) < 0.35
    scale = truth[near, 2:].mean(axis=1, keepdims=True)
    about = truth[near] + rng.normal(0, 0.08, (detections, 4)) * scale
    anywhere = np.column_stack(
        [rng.uniform(0, 500, (detections, 2)), rng.uniform(5, 200, (detections, 2))]
    )
    found = np.where(good[:, None], about, anywhere)
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    wrong = rng.random(detections) < 0.2
    category = np.where(good & ~wrong, of_category[near], rng.integers(0, CATEGORIES, detections))
    scores = np.where(good, rng.beta(2, 3, detections), rng.beta(1, 8, detections))
    return dataset, Detections(
        images=image_keys(dataset),
        categories=dataset.categories.names,
        image_rows=np.where(good, of_image[near], rng.integers(0, images, detections)).astype(
            np.int32
        ),
        category_rows=category.astype(np.int32),
        boxes=found,
        scores=np.round(scores, 4),
    )


def records(dataset: Dataset, detections: Detections) -> list[dict[str, Any]]:
    """What `json.load` of the results file gives."""
    columns = zip(
        dataset.images.ids[detections.image_rows].tolist(),
        dataset.categories.ids[detections.category_rows].tolist(),
        detections.boxes.tolist(),
        detections.scores.tolist(),
        strict=True,
    )
    names = ("image_id", "category_id", "bbox", "score")
    return [dict(zip(names, values, strict=True)) for values in columns]


def pycocotools_numbers(truth: dict[str, Any], found: list[dict[str, Any]]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def tagbox_numbers(dataset: Dataset, detections: Detections) -> list[float]:
    numbers, _ = twelve_numbers(score_boxes(ground_truth(dataset), detections))
    return [-1.0 if value is None else value for value in numbers.values()]


def everything(dataset: Dataset, path: Path) -> None:
    """From the results file to all that `tagbox evaluate` says."""
    evaluate_boxes(dataset, read_results(path, dataset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--boxes", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    dataset, detections = generated(options.images, options.boxes, options.detections)
    truth, found = ground_truth(dataset).to_coco_dict(), records(dataset, detections)
    numbers: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], list[float]]) -> float:
        return seconds_of(lambda: numbers.update({name: work()}))

    ways = {
        "pycocotools": partial(pycocotools_numbers, truth, found),
        "tagbox": partial(tagbox_numbers, dataset, detections),
    }
    seconds = alternated(
        {name: partial(timed, name, way) for name, way in ways.items()}, options.repeats
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        write_results(path, detections, dataset)
        whole = seconds_of(lambda: everything(dataset, path))
    equal = numbers["pycocotools"] == numbers["tagbox"]
    report(
        {
            "machine": machine(["tagbox", "hotcoco", "pycocotools", "numpy"]),
            "images": options.images,
            "boxes": options.boxes,
            "detections": options.detections,
            "seconds": {name: summary(values) for name, values in seconds.items()},
            "times_faster": ratio(seconds["pycocotools"], seconds["tagbox"]),
            "whole_evaluation_seconds": round(whole, 3),
            "ap": numbers["tagbox"][0],
            "all_twelve_equal": equal,
        }
    )
    if not equal:
        raise SystemExit("the twelve numbers differ")


if __name__ == "__main__":
    main()
