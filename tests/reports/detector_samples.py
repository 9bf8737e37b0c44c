"""Reports of simulated detectors, with everything a real one has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.evaluation.box_matching import Matches, match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.predictions.predictions import Detections
from tagbox.reports.detector_examples import (
    choose_examples,
    make_example,
    match_images,
)
from tagbox.reports.detector_sections import DetectorReport
from tagbox.reports.examples import Example


def annotations_of(
    image_rows: list[int],
    category_rows: list[int],
    boxes: list[tuple[float, float, float, float]],
    crowd: list[bool] | None = None,
) -> Annotations:
    """Annotations with the given boxes xywh."""
    table = np.array(boxes, np.float64).reshape(-1, 4)
    return Annotations(
        image_rows=np.array(image_rows, np.int32),
        category_rows=np.array(category_rows, np.int32),
        boxes=table,
        has_box=np.isfinite(table).all(axis=1),
        areas=table[:, 2:].prod(axis=1),
        crowd=np.array(crowd or [False] * len(table), bool),
        ids=np.arange(1, len(table) + 1),
    )


def matches_of(annotations: Annotations, detections: Detections) -> Matches:
    """The detections matched with the annotations of a dataset of the same images and categories."""
    images = len(detections.images)
    dataset = Dataset(
        images=Images(
            ids=np.arange(images),
            files=np.array([f"{name}.jpg" for name in detections.images]),
            widths=np.full(images, 320, np.int32),
            heights=np.full(images, 240, np.int32),
            labelled=np.ones(images, bool),
            root=Path("images"),
        ),
        categories=Categories.from_names(detections.categories),
        annotations=annotations,
        source=memory_source(images, len(annotations)),
    )
    return match_boxes(ground_truth(dataset), detections)


def simulated(
    categories: tuple[str, ...], images: int, *, seed: int = 0, found: float = 0.7
) -> tuple[Annotations, Detections]:
    """Objects in pictures of 320 x 240, and a detector that finds a share `found` of them and invents some."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, images)
    rows = np.repeat(np.arange(images), counts)
    sides = np.exp(random.normal(3.8, 0.6, (len(rows), 2))).clip(6, 200)
    corners = random.random((len(rows), 2)) * (np.array([320.0, 240.0]) - sides)
    boxes = np.hstack([corners, sides])
    labels = random.integers(0, len(categories), len(rows))
    truth = annotations_of(rows.tolist(), labels.tolist(), [tuple(b) for b in boxes.tolist()])
    hit = random.random(len(rows)) < found
    moved = boxes[hit] * random.normal(1, 0.05, (int(hit.sum()), 4))
    predicted = np.where(random.random(len(rows)) < 0.9, labels, 0)[hit]
    extra = int(images * found / 2)
    invented = np.hstack([random.random((extra, 2)) * 200, random.random((extra, 2)) * 60 + 10])
    return truth, Detections(
        images=tuple(f"{row:012d}" for row in range(images)),
        categories=categories,
        image_rows=np.concatenate([rows[hit], random.integers(0, images, extra)]).astype(np.int32),
        category_rows=np.concatenate(
            [predicted, random.integers(0, len(categories), extra)]
        ).astype(np.int32),
        boxes=np.vstack([moved, invented]),
        scores=np.concatenate([random.beta(5, 2, int(hit.sum())), random.beta(2, 5, extra)]),
    )


def detector_metrics(categories: tuple[str, ...], *, seed: int = 0) -> dict[str, Any]:
    """What `evaluate_boxes` returns, invented but fitting: the matrix gives support, precision, recall, errors."""
    random = np.random.default_rng(seed)
    count = len(categories)
    matrix = random.integers(0, 3, (count + 1, count + 1))
    matrix[np.arange(count), np.arange(count)] = random.integers(0, 60, count)
    matrix[:-1, -1] = random.integers(0, 25, count)
    matrix[-1, :-1] = random.integers(0, 25, count)
    matrix[-1, -1] = 0
    right, truth, predicted = (
        np.diag(matrix)[:-1],
        matrix[:-1].sum(axis=1),
        matrix[:, :-1].sum(axis=0),
    )
    recall, precision = right / np.maximum(truth, 1), right / np.maximum(predicted, 1)
    f1 = 2 * right / np.maximum(truth + predicted, 1)
    cuts = random.uniform(0.2, 0.6, count)
    rows = [
        {
            "name": name,
            "support": int(truth[k]),
            "ap50": float(0.9 * recall[k]),
            "ap": float(0.6 * recall[k]),
            "ap75": float(0.5 * recall[k]),
            "ar100": float(0.8 * recall[k]),
            "precision": float(precision[k]),
            "recall": float(recall[k]),
            "f1": float(f1[k]),
            "cut": float(cuts[k]),
        }
        for k, name in enumerate(categories)
    ]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in ("ap", "ap50", "ap75")}
    ar = float(np.mean([row["ar100"] for row in rows]))
    levels = np.linspace(0.05, 0.95, 91)
    tp, fp, fn = int(right.sum()), int((predicted - right).sum()), int((truth - right).sum())
    shown = {"scores": levels, "score_recall": 1 - levels**2, "score_precision": 0.4 + 0.6 * levels}
    p, r = shown["score_precision"], shown["score_recall"]
    shown["score_f1"] = 2 * p * r / (p + r)
    recall_levels = np.linspace(0, 1, 101)
    at_50 = np.where(recall_levels < 0.85, 1 - 0.4 * recall_levels, 0.0)
    shown |= {"recall": recall_levels, "precision_at_50": at_50, "precision_over_ious": at_50 * 0.7}
    wrong = int(matrix[:-1, :-1].sum() - right.sum())
    invented = int(matrix[-1, :-1].sum())
    return {
        "task": "detection",
        "images": 200,
        "categories": count,
        "boxes": int(truth.sum()),
        "detections": int(predicted.sum()),
        **mean,
        "ap_small": mean["ap"] / 2,
        "ap_medium": mean["ap"],
        "ap_large": None,
        "ar1": ar / 2,
        "ar10": 0.9 * ar,
        "ar100": ar,
        "ar_small": ar / 2,
        "ar_medium": ar,
        "ar_large": None,
        "cuts": {"value": 0.37, "per_category": cuts.tolist(), "source": "given"},
        "at_cuts": {
            "precision": tp / max(tp + fp, 1),
            "recall": tp / max(tp + fn, 1),
            "f1": 2 * tp / max(2 * tp + fp + fn, 1),
            "macro_f1": float(f1.mean()),
            "tp": tp,
            "fp": fp,
            "fn": fn,
        },
        "per_category": rows,
        "intervals": {
            "ap": {
                "low": 0.9 * mean["ap"],
                "high": 1.1 * mean["ap"],
                "level": 0.9,
                "method": "percentile",
                "reliable": False,
                "reason": "there are 20 images, fewer than 100",
            }
        },
        "errors": {
            "missed": {"ap50": 0.143, "count": int(matrix[:-1, -1].sum())},
            "location": {"ap50": 0.104, "count": invented // 2},
            "background": {"ap50": 0.052, "count": invented - invented // 2},
            "category": {"ap50": 0.031, "count": wrong},
            "both": {"ap50": 0.004, "count": 3},
            "duplicate": {"ap50": 0.0, "count": 0},
            "false_positives": {"ap50": 0.11, "count": fp},
            "false_negatives": {"ap50": 0.3, "count": fn},
        },
        "confusion": {"names": [*categories, "background"], "matrix": matrix.tolist()},
        "curves": {name: values.tolist() for name, values in shown.items()},
        "calibration": {
            "error": 0.0625,
            "largest": 0.2,
            "detections": 360,
            "bins": [
                {
                    "low": i / 10,
                    "high": (i + 1) / 10,
                    "count": 40,
                    "score": i / 10 + 0.05,
                    "right": (i / 10 + 0.05) ** 1.3,
                }
                for i in range(1, 10)
            ],
        },
        "repairs": [{"code": "no-area", "count": 3, "sentence": "3 boxes <of> no area left out"}],
        "reasons": ["No object is large: see https://example.invalid/<y>."],
        "absent": {"ap_large": "there is no large box to find"},
    }


def detector_history(epochs: int) -> list[dict[str, float | int | None]]:
    """Losses whose parts add up to them on scales far from each other, AP, and a rate that falls."""
    rows: list[dict[str, float | int | None]] = []
    for e in range(1, epochs + 1):
        row: dict[str, float | int | None] = {"epoch": e}
        for side, worse in (("train", 1.0), ("val", 1.15)):
            parts = {"class": worse * 3.0 / e, "box": worse * 0.4 / e**0.5, "centre": worse * 0.01}
            row |= {f"{side}_loss": sum(parts.values())}
            row |= {f"{side}_loss_{name}": value for name, value in parts.items()}
        ap = 0.5 * (1 - 1 / e)
        row |= {"val_ap": None if e < 2 else ap, "val_ap50": 1.4 * ap, "val_ap75": 0.9 * ap}
        row |= {"val_ar100": 1.2 * ap, "learning_rate": 0.002 * (1 - (e - 1) / epochs)}
        rows.append(row)
    return rows


def detector_examples(
    categories: tuple[str, ...], *, images: int = 16, found: float = 0.7, count: int = 7
) -> list[Example]:
    """The best and the worst of simulated images."""
    truth, detections = simulated(categories, images, found=found)
    random = np.random.default_rng(1)
    matches = matches_of(truth, detections)
    best, worst = choose_examples(match_images(matches, 0.3), count)
    return [
        make_example(
            np.tile(random.integers(60, 220, (240, 1, 3), dtype=np.uint8), (1, 320, 1)),
            f"<i>{matched.row:012d}.jpg",
            kind,
            matched,
            matches,
            detections,
        )
        for kind, chosen in (("best", best), ("worst", worst))
        for matched in chosen
    ]


def detector_report(categories: tuple[str, ...], *, epochs: int = 12) -> DetectorReport:
    """A report with every section."""
    truth, _ = simulated(categories, 200)
    labels = np.bincount(truth.category_rows, minlength=len(categories))
    return DetectorReport(
        title="run <i>1</i>",
        categories=categories,
        metrics=detector_metrics(categories),
        history=detector_history(epochs),
        best_epoch=max(epochs - 1, 1),
        images=detector_examples(categories),
        statistics={
            "images": 200,
            "labelled_images": 200,
            "empty_images": 0,
            "annotations": len(truth),
            "boxes": len(truth),
            "crowds": 0,
            "labels_per_image": {"mean": 2.9, "histogram": [0, 40, 60, 50, 30, 20]},
            "categories": [
                {"name": name, "images": int(n), "annotations": int(n)}
                for name, n in zip(categories, labels, strict=True)
            ],
            "imbalance": 2.5,
            "co_occurrence": [],
            "widths": {"min": 320, "median": 320, "max": 320},
            "heights": {"min": 240, "median": 240, "max": 240},
            "objects": {"small": 210, "medium": 350, "large": 40},
        },
        box_sizes=truth.boxes[:, 2:],
        config={"detector": "dense", "augment": {"mirror": 0.5}, "val": None, "size": 320},
        notes=["2 pictures could not be read & were left out."],
        versions={"tagbox": "0"},
        command="tagbox train detector 'a & b.json'",
    )
